//! Rows that this version cannot read: damaged ones, or another version's. They are left out and
//! left in place, and are a problem with a name until somebody sets the same anew or sets them
//! aside. Whatever takes such a row's place, the row itself is kept, in a table of its own.

use std::collections::BTreeSet;

use parking_lot::Mutex;

/// Where a row is.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct RowName {
    /// Its table.
    pub(super) table: &'static str,
    /// Its key in it.
    pub(super) key: String,
}

/// The rows of an open store that could not be read and are still in their places.
#[derive(Debug, Default)]
pub(super) struct Unreadable(Mutex<BTreeSet<RowName>>);

impl Unreadable {
    pub(super) fn new(rows: BTreeSet<RowName>) -> Self {
        Self(Mutex::new(rows))
    }

    /// The rows as they are now.
    pub(super) fn rows(&self) -> BTreeSet<RowName> {
        self.0.lock().clone()
    }

    /// These are no longer in their places.
    pub(super) fn forget(&self, rows: &BTreeSet<RowName>) {
        self.0.lock().retain(|row| !rows.contains(row));
    }

    /// As status says it.
    pub(super) fn problem(&self) -> Option<String> {
        const SHOWN: usize = 4;
        let rows = self.0.lock();
        let n_more = rows.len().saturating_sub(SHOWN);
        let names = rows.iter().take(SHOWN);
        let names: Vec<_> = names
            .map(|row| format!("{} `{}`", row.table, row.key))
            .collect();
        let more = match n_more {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        (!rows.is_empty()).then(|| {
            format!(
                "{} rows of the store cannot be read by this version and are not in force: {}{more}; \
                 they are kept. Set the same anew to replace one; `botguard block flush` sets all of \
                 them aside, and removes every block",
                rows.len(),
                names.join(", "),
            )
        })
    }
}

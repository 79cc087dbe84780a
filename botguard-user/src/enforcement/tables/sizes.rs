//! How large the tables of a generation are: for what is to stand in them, with room to grow.

use botguard_common::lookup::{SLOTS_V4, SLOTS_V6};
use botguard_common::maps::{
    HOSTS_V4, HOSTS_V6, LEAST_BUCKETS, LEAST_PAGES, LEAST_POLICIES, NETS_V4, POLICIES, ROOT_PAGES,
};

use serde::{Deserialize, Serialize};

use super::Full;

/// What is to stand in the tables, counted or over-counted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Needs {
    /// IPv4 hosts.
    pub hosts_v4: usize,
    /// IPv6 hosts and /64s.
    pub hosts_v6: usize,
    /// Pages of IPv4 networks beyond the roots.
    pub pages: usize,
    /// Distinct policies.
    pub policies: usize,
}

impl Needs {
    /// More of what a table of these sizes had too little room for, and of nothing else.
    #[must_use]
    pub fn grown(mut self, Full(table): Full, sizes: &Sizes) -> Self {
        // As many hosts as there are slots take twice the buckets.
        let slots = |buckets: u32, slots: usize| buckets as usize * slots;
        match table {
            HOSTS_V4 => self.hosts_v4 = slots(sizes.buckets_v4, SLOTS_V4),
            HOSTS_V6 => self.hosts_v6 = slots(sizes.buckets_v6, SLOTS_V6),
            NETS_V4 => self.pages = 2 * sizes.pages as usize,
            _ => self.policies = 2 * sizes.policies as usize,
        }
        self
    }
}

/// Capacities of the tables that grow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sizes {
    /// Buckets of `hosts_v4`, a power of two.
    pub buckets_v4: u32,
    /// Buckets of `hosts_v6`, a power of two.
    pub buckets_v6: u32,
    /// Pages of `nets_v4`.
    pub pages: u32,
    /// Policies.
    pub policies: u32,
}

impl Sizes {
    /// Large enough, and no larger than that takes.
    ///
    /// Errors: more than the tables can be made for; the operator's fault.
    pub fn of(needs: &Needs) -> Result<Self, Full> {
        Ok(Self {
            buckets_v4: buckets(needs.hosts_v4, SLOTS_V4, HOSTS_V4)?,
            buckets_v6: buckets(needs.hosts_v6, SLOTS_V6, HOSTS_V6)?,
            pages: (with_room(needs.pages, MOST_PAGES, NETS_V4)? + ROOT_PAGES).max(LEAST_PAGES),
            policies: with_room(needs.policies, MOST_POLICIES, POLICIES)?.max(LEAST_POLICIES),
        })
    }
}

/// 256 MiB of buckets: some 20 million IPv4 hosts.
const MOST_BUCKETS: usize = 1 << 22;
/// 512 MiB.
const MOST_PAGES: usize = 1 << 19;
/// 32 MiB.
pub const MOST_POLICIES: usize = 1 << 20;

/// A power of two, so that at most 7 of 10 slots are taken: with two choices a bucket overflows
/// there hardly ever, and then one host moves.
fn buckets(n_hosts: usize, slots: usize, table: &'static str) -> Result<u32, Full> {
    let n_buckets = n_hosts.saturating_mul(10).div_ceil(7 * slots);
    if n_buckets > MOST_BUCKETS {
        return Err(Full(table));
    }
    let n_buckets = n_buckets.next_power_of_two();
    if n_buckets > MOST_BUCKETS {
        return Err(Full(table));
    }
    u32::try_from(n_buckets)
        .map(|n_buckets| n_buckets.max(LEAST_BUCKETS))
        .map_err(|_too_many| Full(table))
}

/// A quarter more.
fn with_room(n: usize, most: usize, table: &'static str) -> Result<u32, Full> {
    if n > most {
        return Err(Full(table));
    }
    u32::try_from(n + n / 4).map_err(|_too_many| Full(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_lists_have_small_tables() {
        let sizes = Sizes::of(&Needs::default()).unwrap();
        assert_eq!((sizes.buckets_v4, sizes.buckets_v6), (1 << 10, 1 << 10));
        let needs = Needs {
            hosts_v4: 1_000_000,
            ..Needs::default()
        };
        // 16 MiB.
        assert_eq!(Sizes::of(&needs).unwrap().buckets_v4, 1 << 18);
    }

    /// A list that has room in one table is not refused for what another lacks.
    #[test]
    fn what_was_full_grows_and_nothing_else() {
        let check = |table, larger: fn(&Sizes) -> u32| {
            let needs = Needs {
                hosts_v4: 15_000_000,
                ..Needs::default()
            };
            let sizes = Sizes::of(&needs).unwrap();
            let grown = needs.grown(Full(table), &sizes);
            let grown_sizes = Sizes::of(&grown).unwrap();
            assert!(larger(&grown_sizes) > larger(&sizes), "{table}");
            assert_eq!(grown_sizes.buckets_v4, sizes.buckets_v4, "{table}");
        };
        check("policies", |sizes| sizes.policies);
        check("nets_v4", |sizes| sizes.pages);
        check("hosts_v6", |sizes| sizes.buckets_v6);
        // The last size there is.
        let needs = Needs {
            hosts_v4: 15_000_000,
            ..Needs::default()
        };
        let sizes = Sizes::of(&needs).unwrap();
        let grown = needs.grown(Full("hosts_v4"), &sizes);
        assert_eq!(Sizes::of(&grown), Err(Full("hosts_v4")));
    }

    #[test]
    fn what_no_table_can_hold_is_refused() {
        let check = |needs: Needs, table: Option<&str>| {
            assert_eq!(Sizes::of(&needs).err().map(|Full(table)| table), table);
        };
        let needs = Needs::default();
        check(
            Needs {
                hosts_v4: 20_000_000,
                ..needs
            },
            None,
        );
        check(
            Needs {
                hosts_v4: 40_000_000,
                ..needs
            },
            Some("hosts_v4"),
        );
        check(
            Needs {
                pages: 600_000,
                ..needs
            },
            Some("nets_v4"),
        );
        check(
            Needs {
                policies: 2_000_000,
                ..needs
            },
            Some("policies"),
        );
    }
}

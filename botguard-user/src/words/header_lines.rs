//! Header lines as text, in one piece of memory: requests have a dozen, and each is kept until its
//! record is written. No meaning is known here, and nothing is redacted.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names and values in order. As JSON: `[["name", "value"], …]`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HeaderLines {
    text: String,
    /// Where each name and then each value ends.
    ends: Vec<usize>,
}

impl HeaderLines {
    /// Empty, with room for so many lines of so many bytes in all.
    #[must_use]
    pub fn with_capacity(n_lines: usize, n_bytes: usize) -> Self {
        Self {
            text: String::with_capacity(n_bytes),
            ends: Vec::with_capacity(2 * n_lines),
        }
    }

    /// Adds a line.
    pub fn push(&mut self, name: &str, value: &str) {
        for part in [name, value] {
            self.text.push_str(part);
            self.ends.push(self.text.len());
        }
    }

    /// Name and value of each line.
    pub fn iter(&self) -> impl Iterator<Item = [&str; 2]> {
        let mut start = 0;
        self.ends.chunks_exact(2).map(move |ends| {
            let (middle, end) = (ends[0], ends[1]);
            let line = [&self.text[start..middle], &self.text[middle..end]];
            start = end;
            line
        })
    }

    fn len(&self) -> usize {
        self.ends.len() / 2
    }
}

impl<'a> FromIterator<[&'a str; 2]> for HeaderLines {
    fn from_iter<I: IntoIterator<Item = [&'a str; 2]>>(iter: I) -> Self {
        let mut lines = Self::default();
        for [name, value] in iter {
            lines.push(name, value);
        }
        lines
    }
}

impl Serialize for HeaderLines {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        for line in self.iter() {
            list.serialize_element(&line)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for HeaderLines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Lines)
    }
}

struct Lines;

impl<'de> Visitor<'de> for Lines {
    type Value = HeaderLines;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of [name, value]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<HeaderLines, A::Error> {
        let mut lines = HeaderLines::default();
        // Text with escapes cannot be borrowed.
        while let Some([name, value]) = list.next_element::<[String; 2]>()? {
            lines.push(&name, &value);
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_come_out_as_they_went_in(fields in prop::collection::vec(("\\PC{0,8}", "\\PC{0,20}"), 0..6)) {
            let pairs = || fields.iter().map(|(name, value)| [name.as_str(), value.as_str()]);
            let lines: HeaderLines = pairs().collect();
            prop_assert!(lines.iter().eq(pairs()));
            let json = serde_json::to_string(&lines).unwrap();
            prop_assert_eq!(&json, &serde_json::to_string(&Vec::from_iter(pairs())).unwrap());
            prop_assert_eq!(serde_json::from_str::<HeaderLines>(&json).unwrap(), lines);
        }
    }

    #[test]
    fn other_json_is_refused() {
        for json in ["{}", "[[\"a\"]]", "[[\"a\", 1]]", "[\"a\"]"] {
            assert!(serde_json::from_str::<HeaderLines>(json).is_err(), "{json}");
        }
    }
}

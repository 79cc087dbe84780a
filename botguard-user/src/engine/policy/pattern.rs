//! Patterns for whole keys, in which `*` stands for any number of characters.

/// A pattern: its text between the stars.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    prefix: Box<str>,
    /// `None` without a star: the prefix is all there is.
    after: Option<After>,
}

#[derive(Clone, Debug)]
struct After {
    middles: Vec<Box<str>>,
    suffix: Box<str>,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        let mut parts = text.split('*');
        let prefix = parts.next().unwrap_or_default();
        let mut middles: Vec<Box<str>> = parts.map(Box::from).collect();
        Self {
            prefix: Box::from(prefix),
            after: middles.pop().map(|suffix| After { middles, suffix }),
        }
    }

    /// Linear in the text: the leftmost place for each part leaves most room for the next.
    pub(super) fn matches(&self, text: &str) -> bool {
        let Some(mut rest) = text.strip_prefix(&*self.prefix) else {
            return false;
        };
        let Some(after) = &self.after else {
            return rest.is_empty();
        };
        for middle in &after.middles {
            match rest.split_once(&**middle) {
                Some((_skipped, tail)) => rest = tail,
                None => return false,
            }
        }
        rest.ends_with(&*after.suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        let check = |pattern, text, expected| {
            assert_eq!(
                Pattern::new(pattern).matches(text),
                expected,
                "{pattern} {text}"
            );
        };
        check("sk_pub_*", "sk_pub_xyz", true);
        check("sk_pub_*", "sk_pub_", true);
        check("sk_pub_*", "sk_pri_xyz", false);
        check("sk_pub_*", "a_sk_pub_xyz", false);
        check("*", "", true);
        check("exact", "exact", true);
        check("exact", "exactly", false);
        check("*_live", "a_live", true);
        check("*_live", "a_lively", false);
        check("a*b*c", "axxbyyc", true);
        check("a*b*c", "abc", true);
        check("a*b*c", "acb", false);
        check("a*a", "a", false);
        check("**", "x", true);
    }
}

//! What changed and is to be remembered, until somebody fetches it: within a second as a rule, and
//! after hours where the disk is full. So it is bounded: what stands there twice, or is known no
//! longer, goes when there are many.

/// Subjects with something new about them.
#[derive(Debug)]
pub(crate) struct Fresh<T> {
    subjects: Vec<T>,
    room: usize,
}

/// So many for each that is known: as often as that they are looked through.
const PER_KNOWN: usize = 4;

impl<T: Copy + Ord> Fresh<T> {
    /// None yet. At most `n_known` different subjects are known at one time.
    pub(crate) fn new(n_known: u32) -> Self {
        Self {
            subjects: Vec::new(),
            room: (n_known.max(1) as usize).saturating_mul(PER_KNOWN),
        }
    }

    /// Adds one, which may stand there already.
    pub(crate) fn push(&mut self, subject: T, is_known: impl Fn(&T) -> bool) {
        if self.subjects.len() >= self.room {
            self.subjects.sort_unstable();
            self.subjects.dedup();
            self.subjects.retain(is_known);
        }
        self.subjects.push(subject);
    }

    /// All of them, each perhaps several times.
    pub(crate) fn take(&mut self) -> Vec<T> {
        std::mem::take(&mut self.subjects)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.subjects.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_is_known_and_not_much_more() {
        let mut fresh = Fresh::new(10);
        // Ten of a thousand are known at any time, each of them told of many times.
        for n in 0..10_000u32 {
            let known = n / 10;
            fresh.push(known, |it| *it + 10 > known);
            assert!(fresh.len() <= 40);
        }
        let mut left = fresh.take();
        left.dedup();
        assert!(
            left.ends_with(&(990..1_000).collect::<Vec<_>>()),
            "{left:?}"
        );
        assert!(fresh.take().is_empty());
    }
}

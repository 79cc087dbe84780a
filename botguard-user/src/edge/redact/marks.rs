//! What a text cannot hold, by one look at each of its bytes. Says nothing for certain about what it
//! does hold: who asks looks closer then.

/// The kinds of bytes that a text has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Marks(u8);

impl Marks {
    pub(super) fn of(text: &str) -> Self {
        Self(
            text.bytes()
                .fold(0, |kinds, byte| kinds | KINDS[usize::from(byte)]),
        )
    }

    /// Whether it may have a query, a fragment, or an authority behind a scheme.
    pub(super) const fn may_be_url(self) -> bool {
        self.0 & URL != 0
    }

    /// Whether parts may be written as escapes.
    pub(super) const fn has_escape(self) -> bool {
        self.0 & ESCAPE != 0
    }

    /// Whether a JSON Web Token may be in it, as it is or escaped.
    pub(super) const fn may_hold_token(self) -> bool {
        self.0 & (DOT | ESCAPE) != 0
    }
}

/// `%` and `+`.
const ESCAPE: u8 = 1;
/// What a query, a fragment, and the authority of a URL begin with.
const URL: u8 = 2;
/// What parts of a token are separated by.
const DOT: u8 = 4;

const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    kinds[b'%' as usize] = ESCAPE;
    kinds[b'+' as usize] = ESCAPE;
    kinds[b'?' as usize] = URL;
    kinds[b'#' as usize] = URL;
    kinds[b':' as usize] = URL;
    kinds[b'.' as usize] = DOT;
    kinds
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks() {
        let check = |text: &str, url: bool, escape: bool, token: bool| {
            let marks = Marks::of(text);
            let found = (
                marks.may_be_url(),
                marks.has_escape(),
                marks.may_hold_token(),
            );
            assert_eq!(found, (url, escape, token), "{text}");
        };
        check("", false, false, false);
        check("gzip, br", false, false, false);
        check("/a?b", true, false, false);
        check("https://u:p@a", true, false, false);
        check("x#y", true, false, false);
        check("eyJ.a.b", false, false, true);
        check("a%2Eb", false, true, true);
        check("a+b", false, true, true);
        check("é", false, false, false);
    }
}

//! What others wrote, on an operator's terminal: a path in a request or the reason of a block must
//! neither move the cursor nor begin a line of its own.

use std::fmt::{self, Display, Write as _};

/// Text in which control characters, and those that turn the direction of writing, are escaped.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a>(pub &'a str);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| {
            if is_command(character) {
                write!(f, "{}", character.escape_default())
            } else {
                f.write_char(character)
            }
        })
    }
}

/// Cc, the line and paragraph separators, and the bidirectional controls of Unicode Annex 9.
fn is_command(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_escaped_and_words_are_not() {
        let check = |text: &str, expected: &str| assert_eq!(Plain(text).to_string(), expected);
        check("GET /users?cursor=… × 4,200", "GET /users?cursor=… × 4,200");
        check("größe 東京", "größe 東京");
        check("/a\nscore 0.00", "/a\\nscore 0.00");
        check("\u{1b}[2J\u{9b}2J\u{7f}", "\\u{1b}[2J\\u{9b}2J\\u{7f}");
        check("\u{202e}gpj", "\\u{202e}gpj");
    }
}

//! In which order the pseudo-header fields of a field block stand (HPACK, RFC 7541).
//!
//! Walks over the block without decoding it: names by their index in the static table, or written
//! out; values only by their length. There is no dynamic table, since the first block of a
//! connection has nothing in it to begin with. Ends with the first field that is no pseudo-header
//! field (they stand first, RFC 9113 section 8.3), and with what it cannot read.

/// The order as in `m,a,s,p`: method, authority, scheme, path.
pub(super) fn pseudo_order(block: &[u8]) -> String {
    let mut order = String::new();
    let mut rest = block;
    // Four of them, each once; a client that repeats them is refused by hyper.
    while order.len() + 1 < 2 * MOST_NAMES {
        let Some((field, after)) = field(rest) else {
            break;
        };
        rest = after;
        match field {
            Field::TableSize => {}
            Field::Pseudo(letter) => {
                if !order.is_empty() {
                    order.push(',');
                }
                order.push(letter);
            }
            Field::Other => break,
        }
    }
    order
}

/// `:method`, `:authority`, `:scheme`, `:path`, `:protocol` (RFC 8441), and one too many.
const MOST_NAMES: usize = 6;

enum Field {
    Pseudo(char),
    Other,
    /// A change of the dynamic table's size: no field.
    TableSize,
}

/// The first field of `block` and what follows it.
fn field(block: &[u8]) -> Option<(Field, &[u8])> {
    let first = *block.first()?;
    // RFC 7541 section 6: indexed; literal with indexing; change of size; literal without.
    let (is_literal, prefix) = match first.leading_zeros() {
        0 => (false, 7),
        1 => (true, 6),
        2 => return Some((Field::TableSize, integer(block, 5)?.1)),
        _ => (true, 4),
    };
    let (index, rest) = integer(block, prefix)?;
    if !is_literal {
        return Some((by_index(index), rest));
    }
    let (name, rest) = match index {
        0 => {
            let (name, rest) = string(rest)?;
            (by_name(name), rest)
        }
        index => (by_index(index), rest),
    };
    let (_value, rest) = string(rest)?;
    Some((name, rest))
}

/// RFC 7541 appendix A.
const fn by_index(index: u32) -> Field {
    match index {
        1 => Field::Pseudo('a'),
        2 | 3 => Field::Pseudo('m'),
        4 | 5 => Field::Pseudo('p'),
        6 | 7 => Field::Pseudo('s'),
        _ => Field::Other,
    }
}

/// A name that is written out; one in Huffman's code is taken for another, as no client is known
/// to write these names so.
fn by_name(name: &[u8]) -> Field {
    match name {
        b":authority" => Field::Pseudo('a'),
        b":method" => Field::Pseudo('m'),
        b":path" => Field::Pseudo('p'),
        b":scheme" => Field::Pseudo('s'),
        _ => Field::Other,
    }
}

/// A string as it stands there, in Huffman's code or not (RFC 7541 section 5.2).
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = integer(bytes, 7)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

/// A number whose first `prefix` bits are in the first byte (RFC 7541 section 5.1).
fn integer(bytes: &[u8], prefix: u32) -> Option<(u32, &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    let most = (1_u32 << prefix) - 1;
    let mut value = u32::from(*first) & most;
    if value < most {
        return Some((value, rest));
    }
    // Three more bytes are 2 MiB: more than any block has.
    for shift in [0, 7, 14] {
        let (next, after) = rest.split_first()?;
        rest = after;
        value += u32::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_every_form() {
        let check = |block: &[u8], expected: &str| assert_eq!(pseudo_order(block), expected);
        check(&[], "");
        check(&[0x82, 0x81, 0x87, 0x85], "m,a,s,p");
        // Literals: with indexing, without, never indexed; the value is skipped.
        check(&[0x41, 1, b'x', 0x04, 2, b'/', b'y', 0x13, 0], "a,p,m");
        // Names that are written out.
        let written = [&[0x00, 7], &b":method"[..], &[3], b"GET", &[0x86]].concat();
        check(&written, "m,s");
        // A value whose length takes three bytes.
        let long = [&[0x44, 0x7f, 0x81, 0x01], &[b'a'; 256][..], &[0x82]].concat();
        check(&long, "p,m");
        // A change of the table's size before the first.
        check(&[0x3f, 0xe1, 0x1f, 0x82], "m");
        // The first other field ends them.
        check(&[0x82, 0x90, 0x84], "m");
        check(&[0x82, 0x40, 1, b'x', 0, 0x84], "m");
        // What is cut off, or out of bounds.
        check(&[0x82, 0x41], "m");
        check(&[0x82, 0x41, 9, b'x'], "m");
        check(&[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], "m");
        check(&[0x82, 0xbe, 0x84], "m");
        check(&[0x82; 400], "m,m,m,m,m,m");
    }
}

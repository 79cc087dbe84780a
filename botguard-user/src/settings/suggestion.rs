//! "Did you mean": the closest of the known names.

/// The known name with the fewest edits from `name`, if they are few enough for a typing error:
/// one in three letters.
#[must_use]
pub fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (edits(name, candidate), candidate))
        .filter(|(edits, candidate)| edits * 3 <= candidate.chars().count().max(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance: insertions, deletions, replacements, and swaps of
/// neighbours.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous = None;
    for (row, letter) in a.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in b.iter().enumerate() {
            let replaced = last[column] + usize::from(letter != *other);
            let mut best = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            let swapped = column > 0 && previous == Some(*other) && b[column - 1] == letter;
            if swapped {
                best = best.min(before_last[column - 1] + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
        previous = Some(letter);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_wins_and_a_far_one_does_not() {
        let known = ["interfaces", "mode", "scope", "pin_dir", "ttl"];
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(closest(name, known.into_iter()), expected, "{name}");
        };
        check("interface", Some("interfaces"));
        check("interafces", Some("interfaces"));
        check("mdoe", Some("mode"));
        check("pindir", Some("pin_dir"));
        check("tll", Some("ttl"));
        check("colour", None);
        check("", None);
    }
}

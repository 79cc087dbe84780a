//! Words that must not be in the source: bare lint exceptions, `unsafe` outside its places,
//! unfinished work, and paths of somebody's machine.

use super::Complaint;

/// Where `unsafe` may be: map types that cross into the kernel, maps mapped into this process, and
/// the kernel's packet reader and map pointers.
const UNSAFE_PLACES: [&str; 3] = [
    "botguard-common/src/mapping.rs",
    "botguard-common/src/pod.rs",
    "botguard-ebpf/src/",
];

/// A forbidden text, in which files, and what to do instead. Written in two halves so that this
/// file does not complain about itself.
const FORBIDDEN: [(&str, &str, &str, &str); 6] = [
    (
        "#[all",
        "ow(",
        ".rs",
        "use `#[expect(lint, reason = \"…\")]`",
    ),
    (
        "#![all",
        "ow(",
        ".rs",
        "use `#![expect(lint, reason = \"…\")]`",
    ),
    (
        "TO",
        "DO",
        ".rs",
        "finish it, or say in the docs that it does not work yet",
    ),
    ("FIX", "ME", ".rs", "fix it"),
    ("/wo", "rk/", "", "a path of somebody's machine"),
    (
        "#[ign",
        "ore",
        ".rs",
        "a test that does not run is not a test",
    ),
];

/// Forbidden words and misplaced `unsafe`.
pub(super) fn check(path: &str, text: &str) -> Vec<Complaint> {
    if path == "Cargo.lock" {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (head, tail, ending, advice) in FORBIDDEN {
            if path.ends_with(ending) && line.contains(&format!("{head}{tail}")) {
                let message = format!("`{head}{tail}`: {advice}");
                complaints.push(Complaint {
                    line: index + 1,
                    message,
                });
            }
        }
        if path.ends_with(".rs") && opens_unsafe(line) && !may_be_unsafe(path) {
            let message = "unsafe code outside its places".to_owned();
            complaints.push(Complaint {
                line: index + 1,
                message,
            });
        }
    }
    complaints
}

fn opens_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let marker = concat!("uns", "afe ");
    ["{", "impl", "fn", "extern"]
        .iter()
        .any(|next| code.contains(&format!("{marker}{next}")))
}

fn may_be_unsafe(path: &str) -> bool {
    UNSAFE_PLACES.iter().any(|place| path.starts_with(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_words() {
        let check = |path, text: &str, n_complaints| {
            assert_eq!(check(path, text).len(), n_complaints, "{path}: {text}");
        };
        check("a.rs", concat!("#[all", "ow(dead_code)]"), 1);
        check("a.rs", "#[expect(dead_code, reason = \"…\")]", 0);
        check("a.md", concat!("TO", "DO"), 0);
        check("a.rs", concat!("uns", "afe { x }"), 1);
        check("a.rs", concat!("// uns", "afe { x }"), 0);
        check(
            "botguard-common/src/pod.rs",
            concat!("uns", "afe impl Pod for X {}"),
            0,
        );
        check("docs/a.md", concat!("see /wo", "rk/main"), 1);
    }
}

//! The floors of `botguard-user`: a module imports only from lower floors; siblings on floors 3
//! and 4 do not import each other; floors 1 and 2 know no IO.

use super::Complaint;

/// Module and floor; the table that `botguard-user/src/lib.rs` shows.
const FLOORS: [(&str, u8); 14] = [
    ("words", 1),
    ("engine", 2),
    ("audit", 3),
    ("enforcement", 3),
    ("store", 3),
    ("telemetry", 3),
    ("challenge", 4),
    ("edge", 4),
    ("intel", 4),
    ("interaction", 4),
    ("admin", 5),
    ("cli", 5),
    ("daemon", 5),
    ("settings", 5),
];

/// What floors 1 and 2 must not name. `words/clock.rs` alone reads time.
const IMPURE: [&str; 15] = [
    "aya::",
    "hyper::",
    "metrics::",
    "nix::",
    "parking_lot::",
    "redb::",
    "rustls::",
    "std::env",
    "std::fs",
    "std::io",
    "std::process",
    "std::thread",
    "tokio::",
    "tracing::",
    "TcpStream",
];

/// Imports point downwards.
pub(super) fn check(path: &str, text: &str) -> Vec<Complaint> {
    let Some(module) = module(path) else {
        return Vec::new();
    };
    let Some(floor) = floor_of(module) else {
        return vec![Complaint {
            line: 0,
            message: format!("module `{module}` has no floor"),
        }];
    };
    let mut complaints = Vec::new();
    for (line, imported) in imports(text) {
        let reachable = match floor_of(imported) {
            None => continue,
            Some(_) if imported == module => true,
            Some(other) if floor == 5 => other <= 5,
            Some(other) => other < floor,
        };
        if !reachable {
            let message =
                format!("`{module}` (floor {floor}) imports `{imported}`, which is not below it");
            complaints.push(Complaint { line, message });
        }
    }
    complaints
}

/// Floors 1 and 2 are pure.
pub(super) fn check_purity(path: &str, text: &str) -> Vec<Complaint> {
    let pure = module(path)
        .and_then(floor_of)
        .is_some_and(|floor| floor <= 2);
    if !pure || path.ends_with("words/clock.rs") {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (number, line) in code_lines(text) {
        for word in IMPURE {
            if line.contains(word) {
                let message = format!("`{word}` on a pure floor; take it as an argument");
                complaints.push(Complaint {
                    line: number,
                    message,
                });
            }
        }
    }
    complaints
}

/// First path component below `botguard-user/src`; the roots `lib.rs` and `main.rs` have none.
fn module(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("botguard-user/src/")?;
    let module = inside.split('/').next()?.trim_end_matches(".rs");
    (!matches!(module, "lib" | "main")).then_some(module)
}

fn floor_of(module: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, floor)| *floor)
}

/// Every `crate::MODULE` in code, and each branch of `use crate::{…}`.
fn imports(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in code_lines(text) {
        for (at, marker) in line.match_indices("crate::") {
            let rest = &line[at + marker.len()..];
            let rest = rest.strip_prefix('{').unwrap_or(rest);
            found.push((number, word(rest)));
        }
    }
    found
}

fn word(text: &str) -> &str {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    &text[..end]
}

/// Lines that are not comments, with their 1-based numbers.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_point_downwards() {
        let check = |path, text, n_complaints| {
            assert_eq!(check(path, text).len(), n_complaints, "{path}: {text}");
        };
        check(
            "botguard-user/src/engine/score.rs",
            "use crate::words::points::Points;",
            0,
        );
        check(
            "botguard-user/src/engine/score.rs",
            "use crate::engine::facts::Asn;",
            0,
        );
        check(
            "botguard-user/src/engine/score.rs",
            "use crate::audit::Record;",
            1,
        );
        check("botguard-user/src/audit.rs", "use crate::store::Store;", 1);
        check(
            "botguard-user/src/edge/tls.rs",
            "let x = crate::intel::load();",
            1,
        );
        check(
            "botguard-user/src/edge/tls.rs",
            "// not crate::intel::load();",
            0,
        );
        check(
            "botguard-user/src/cli.rs",
            "use crate::settings::Settings;",
            0,
        );
        check("botguard-user/src/newcomer.rs", "", 1);
        check("xtask/src/main.rs", "use crate::cli;", 0);
    }

    #[test]
    fn pure_floors_name_no_io() {
        let check = |path, text, n_complaints| {
            assert_eq!(
                check_purity(path, text).len(),
                n_complaints,
                "{path}: {text}"
            );
        };
        check("botguard-user/src/engine.rs", "use std::fs::File;", 1);
        check("botguard-user/src/engine.rs", "/// like std::fs", 0);
        check(
            "botguard-user/src/words/clock.rs",
            "use nix::time::clock_gettime;",
            0,
        );
        check("botguard-user/src/audit.rs", "use std::fs::File;", 0);
    }
}

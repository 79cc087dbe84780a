//! One file, one idea: every Rust file says what it is, and stays short.

use super::Complaint;

/// Lines before the tests; rarely reached.
const MOST_CODE_LINES: usize = 400;
/// Lines with the tests.
const MOST_LINES: usize = 600;

/// Module doc at the top, size within bounds.
pub(super) fn check(path: &str, text: &str) -> Vec<Complaint> {
    if !path.ends_with(".rs") {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    if !text.starts_with("//!") {
        let message = "starts without a module doc (`//!`): what it is, what it is not".to_owned();
        complaints.push(Complaint { line: 1, message });
    }
    let n_lines = text.lines().count();
    let n_code = text
        .lines()
        .position(|line| line == "#[cfg(test)]")
        .unwrap_or(n_lines);
    if n_code > MOST_CODE_LINES || n_lines > MOST_LINES {
        let message = format!(
            "{n_code} lines of code, {n_lines} in all; at most {MOST_CODE_LINES} and {MOST_LINES}: \
             which two ideas share it?"
        );
        complaints.push(Complaint { line: 0, message });
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        let check = |path, text: &str, n_complaints| {
            assert_eq!(check(path, text).len(), n_complaints, "{path}");
        };
        check("a.rs", "//! A.\n", 0);
        check("a.rs", "fn a() {}\n", 1);
        check("a.md", "text", 0);
        check("a.rs", &format!("//! A.\n{}", "\n".repeat(399)), 0);
        check("a.rs", &format!("//! A.\n{}", "\n".repeat(400)), 1);
        check(
            "a.rs",
            &format!(
                "//! A.\n{}#[cfg(test)]\n{}",
                "\n".repeat(300),
                "\n".repeat(290)
            ),
            0,
        );
    }
}

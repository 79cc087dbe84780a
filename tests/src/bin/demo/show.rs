//! What the person at the terminal sees. One line a thing, so that it reads the same in a terminal,
//! a pipe and a CI log.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the demo talks to a person"
)]

use serde_json::Value;

/// A heading.
pub(crate) fn heading(text: &str) {
    println!("\n━━ {text}");
}

/// A line.
pub(crate) fn line(text: &str) {
    println!("   {text}");
}

/// Why the demo ended early.
pub(crate) fn failure(error: &anyhow::Error) {
    eprintln!("botguard-demo: {error:#}");
}

/// Column heads for [`climb`].
pub(crate) fn climb_head() {
    line("time   requests     key  + pattern + behav. + network =   raw    score  would");
}

/// One line of the climbing score, from an audit record.
pub(crate) fn climb(second: u64, n_requests: u64, record: &Value) {
    let group = |name: &str| record["groups"][name].as_f64().unwrap_or(0.0);
    line(&format!(
        "{second:>3} s  {n_requests:>9}    {:.2}  +  {:.2}   +  {:.2}  +  {:.2}   =  {:.2}    {:.2}   {}",
        group("key"),
        group("pattern"),
        group("behaviour"),
        group("network"),
        record["raw"].as_f64().unwrap_or(0.0),
        record["score"].as_f64().unwrap_or(0.0),
        record["decision"]["would"].as_str().unwrap_or("?"),
    ));
}

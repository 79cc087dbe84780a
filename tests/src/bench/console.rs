//! What a benchmark tells the person who waits for it, and what it says of the machine.

use serde_json::{Value, json};

/// Says on standard error what is being done.
#[expect(
    clippy::print_stderr,
    reason = "for the person who waits for the figures"
)]
pub fn progress(step: &str) {
    eprintln!("   {step}");
}

/// Writes the figures on standard output.
#[expect(clippy::print_stdout, reason = "what a benchmark is for")]
pub fn print(text: &str) {
    println!("{text}");
}

/// The machine as it is now: `kernel`, `cpu` (model), `n_cpus`, `load` (as `/proc/loadavg` has it).
/// What cannot be read is empty.
#[must_use]
pub fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let models: Vec<_> = cpuinfo
        .lines()
        .filter_map(|line| Some(line.strip_prefix("model name")?.split(':').nth(1)?.trim()))
        .collect();
    json!({
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "cpu": models.first(),
        "n_cpus": models.len(),
        "load": read("/proc/loadavg").trim(),
    })
}

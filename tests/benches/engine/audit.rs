//! Audit records a second, from the caller to the file, beside writing the same bytes.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use botguard::audit::record::{Event, OperatorRecord, Record};
use botguard::audit::writer::AuditLog;
use botguard::words::clock::{Monotonic, Wall};
use botguard_tests::bench::report::Report;

use crate::crowd::{configuration, load};
use crate::decisions::ratio;
use crate::gate;
use crate::{Scale, progress};

pub(crate) fn measure(scale: Scale, report: &mut Report) -> Result<()> {
    progress("audit records");
    let directory = tempfile::tempdir().context("temporary directory")?;
    let template = template(&directory.path().join("template"))?;
    let (mut rates, mut floors, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..scale.rounds {
        let path = directory.path().join(format!("{round}.jsonl"));
        let log = AuditLog::open(&path)?;
        let start = Monotonic::read();
        for k in 0..scale.records {
            log.record(Wall::read(), template.clone());
            // As fast as the writer is, and no faster: a full queue would lose records.
            if k % 8_192 == 8_191 {
                log.flush();
            }
        }
        log.flush();
        rates.push(per_second(scale.records, start));
        anyhow::ensure!(log.lost() == 0, "{} records were lost", log.lost());
        drop(log);

        let written = std::fs::read(&path).context("reading the log back")?;
        sizes.push(written.len() as f64 / scale.records as f64);
        let aside = directory.path().join(format!("{round}.floor"));
        let start = Monotonic::read();
        let mut file = std::fs::File::create(&aside).context("file")?;
        for chunk in written.chunks(256 * 1024) {
            file.write_all(chunk).context("writing")?;
        }
        floors.push(per_second(scale.records, start));
        std::fs::remove_file(&path).context("removing")?;
        std::fs::remove_file(&aside).context("removing")?;
    }
    let section = "audit log, sustained";
    report.figure(section, "records a second", "1/s", &rates);
    report.figure(
        section,
        "floor: the same bytes, written only",
        "1/s",
        &floors,
    );
    report.figure(section, "floor to log", "×", &ratio(&floors, &rates));
    report.figure(section, "a record", "B", &sizes);
    Ok(())
}

fn per_second(n: usize, start: Monotonic) -> f64 {
    n as f64 / Monotonic::read().since(start).as_secs_f64()
}

/// A request record as the gate makes them.
fn template(directory: &std::path::Path) -> Result<Event> {
    std::fs::create_dir_all(directory).context("directory")?;
    let (pipeline, audit) = gate::pipeline(&load(configuration(10))?, directory)?;
    gate::one_request(&pipeline);
    audit.flush();
    let text = std::fs::read_to_string(directory.join("audit.jsonl")).context("record")?;
    let line = text.lines().next().context("no record")?;
    let record: Record = serde_json::from_str(line)?;
    match record.event {
        Event::Request(request) => Ok(Event::Request(request)),
        // Never: one request was all that happened.
        _ => Ok(Event::Operator(OperatorRecord {
            actor: String::new(),
            operation: String::new(),
            target: String::new(),
            result: String::new(),
        })),
    }
}

//! A new configuration of many routes: parsed, compiled, and taken up between two requests.

use anyhow::{Context as _, Result};
use botguard::daemon::pipeline::View;
use botguard::words::clock::Monotonic;
use botguard_tests::bench::report::Report;

use crate::crowd::{configuration, load};
use crate::gate;
use crate::{Scale, progress};

pub(crate) fn measure(scale: Scale, report: &mut Report) -> Result<()> {
    progress("reloads");
    let directory = tempfile::tempdir().context("temporary directory")?;
    let text = configuration(scale.routes);
    let (pipeline, _audit) = gate::pipeline(&load(text.clone())?, directory.path())?;
    let (mut parsing, mut compiling, mut swapping) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let start = Monotonic::read();
        let loaded = load(text.clone())?;
        let parsed = Monotonic::read();
        let policy = loaded.policy()?;
        let compiled = Monotonic::read();
        let view = View {
            policy,
            ..View::clone(&pipeline.view())
        };
        let ready = Monotonic::read();
        pipeline.replace(view);
        swapping.push(Monotonic::read().since(ready).as_secs_f64() * 1e3);
        parsing.push(parsed.since(start).as_secs_f64() * 1e3);
        compiling.push(compiled.since(parsed).as_secs_f64() * 1e3);
    }
    let section = format!("reload, {} routes", scale.routes);
    report.figure(&section, "parse", "ms", &parsing);
    report.figure(&section, "compile", "ms", &compiling);
    report.figure(
        &section,
        "swap, with freeing the old policy",
        "ms",
        &swapping,
    );
    Ok(())
}

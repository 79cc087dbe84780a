//! `block import` and `block export`: from a file to a request, from a refusal back to the line of
//! the file, and from an answer to a list.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use ipnet::IpNet;
use serde::Serialize;

use super::arguments::{ExportFormat, Import, ImportFormat};
use crate::admin::protocol::{Export, ExportPart, Failed, Request};
use crate::enforcement::import::file::{self, FileError};
use crate::enforcement::import::{self, Format, ImportError};
use crate::words::block::{Effect, Scope};
use crate::words::rule::ListName;

/// A list as it was read.
#[derive(Debug)]
pub(super) struct Source {
    /// How messages call it.
    name: String,
    content: Vec<u8>,
    format: Format,
}

/// Why there is no list to import.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{name}:{}: {}; nothing was imported", error.line, error.problem)]
    Entry { name: String, error: ImportError },
    #[error("{name} gives no name to a list; give one by `--origin NAME`")]
    Nameless { name: String },
}

impl ListError {
    /// Whether it is the operator's fault, or of whoever made the file.
    pub(super) const fn is_usage(&self) -> bool {
        !matches!(self, Self::File(FileError::Changed { .. }))
    }
}

impl Source {
    pub(super) fn read(import: &Import) -> Result<Self, ListError> {
        let content = file::read(&import.file)?;
        let name = if import.file == Path::new("-") {
            "standard input".to_owned()
        } else {
            import.file.display().to_string()
        };
        Ok(Self {
            name,
            format: match import.format {
                ImportFormat::Auto => Format::of(&content),
                ImportFormat::Cidr => Format::Cidr,
                ImportFormat::Json => Format::Json,
            },
            content,
        })
    }

    pub(super) fn request(&self, import: &Import) -> Result<Request, ListError> {
        let name = (import.origin.clone()).or_else(|| name_of(&import.file));
        let name = name.ok_or_else(|| ListError::Nameless {
            name: self.name.clone(),
        })?;
        let networks = import::wire(&self.content, self.format);
        let networks = networks.map_err(|error| ListError::Entry {
            name: self.name.clone(),
            error,
        })?;
        Ok(Request::ListImport {
            name,
            networks,
            ttl_s: import.ttl.map(|span| span.0.as_secs()),
            reason: import.reason.clone(),
            scope: import.scope.map(Scope::from),
            effect: if import.count_only {
                Effect::Count
            } else {
                Effect::Drop
            },
            force: import.force,
        })
    }

    /// The failure, with the file and the line of the entry that is at fault.
    pub(super) fn place(&self, mut failed: Failed) -> Failed {
        let line = failed
            .entry
            .and_then(|entry| import::line_of(&self.content, self.format, entry));
        let line = line.map(|line| format!(":{line}")).unwrap_or_default();
        failed.message = format!("{}{line}: {}", self.name, failed.message);
        failed
    }
}

/// The name of a file's list: its own without its ending, in small letters, with dashes for what
/// cannot be in one.
fn name_of(file: &Path) -> Option<ListName> {
    if file == Path::new("-") {
        return None;
    }
    let stem = file.file_stem()?.to_str()?.to_ascii_lowercase();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = stem
        .chars()
        .map(|c| if is_plain(c) { c } else { '-' })
        .collect();
    let has_word = name.chars().any(|c| c.is_ascii_alphanumeric());
    has_word.then(|| name.parse().ok())?
}

/// One network of an export in JSON.
#[derive(Serialize)]
struct Row<'a> {
    network: &'a str,
    rule: &'a str,
    scope: Scope,
    effect: Effect,
    created: &'a str,
    expires: Option<&'a str>,
    reason: &'a str,
}

/// Writes what is blocked so that it can be imported.
pub(super) fn write(export: &Export, format: ExportFormat, out: &mut impl Write) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    match format {
        ExportFormat::Cidr => write_lines(export, &mut out)?,
        ExportFormat::Json => write_rows(export, &mut out)?,
    }
    out.flush()
}

/// In order, each once.
fn write_lines(export: &Export, out: &mut impl Write) -> io::Result<()> {
    if let [only] = export.parts.as_slice() {
        return out.write_all(only.networks.as_bytes());
    }
    let texts = export.parts.iter().flat_map(|part| part.networks.lines());
    let networks: BTreeSet<IpNet> = texts.filter_map(|text| text.parse().ok()).collect();
    networks
        .iter()
        .try_for_each(|network| writeln!(out, "{network}"))
}

/// An array, a network a line, so that a mistake in one that was edited has a line as well.
fn write_rows(export: &Export, out: &mut impl Write) -> io::Result<()> {
    let mut lead = "[\n";
    for part in &export.parts {
        for network in part.networks.lines() {
            out.write_all(lead.as_bytes())?;
            serde_json::to_writer(&mut *out, &row(part, network))?;
            lead = ",\n";
        }
    }
    out.write_all(if lead == "[\n" { b"[]\n" } else { b"\n]\n" })
}

fn row<'a>(part: &'a ExportPart, network: &'a str) -> Row<'a> {
    Row {
        network,
        rule: &part.rule,
        scope: part.scope,
        effect: part.effect,
        created: &part.created,
        expires: part.expires.as_deref(),
        reason: &part.reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforcement::import::parse;

    #[test]
    fn a_list_is_called_as_its_file() {
        let check = |file: &str, expected: Option<&str>| {
            let name = name_of(Path::new(file));
            assert_eq!(name.as_ref().map(ListName::as_str), expected, "{file}");
        };
        check("/var/lib/lists/drop.txt", Some("drop"));
        check("Spamhaus DROP (v4).json", Some("spamhaus-drop--v4-"));
        check("drop", Some("drop"));
        check("drop.v4.txt", Some("drop.v4"));
        check("größe.txt", Some("gr--e"));
        check("()", None);
        check("-", None);
        check(&"a".repeat(60), None);
    }

    fn part(rule: &str, networks: &str, expires: Option<&str>) -> ExportPart {
        ExportPart {
            rule: rule.to_owned(),
            scope: Scope::Listeners,
            effect: Effect::Drop,
            created: "2026-11-23T12:00:00.000Z".to_owned(),
            expires: expires.map(str::to_owned),
            reason: "a \"list\"".to_owned(),
            networks: networks.to_owned(),
        }
    }

    #[test]
    fn an_export_is_read_back() {
        let check = |parts: Vec<ExportPart>, n_lines_cidr, n_lines_json| {
            let export = Export { parts };
            let mut lines = vec![];
            write(&export, ExportFormat::Cidr, &mut lines).unwrap();
            assert_eq!(
                lines.iter().filter(|byte| **byte == b'\n').count(),
                n_lines_cidr
            );
            let mut rows = vec![];
            write(&export, ExportFormat::Json, &mut rows).unwrap();
            assert_eq!(
                rows.iter().filter(|byte| **byte == b'\n').count(),
                n_lines_json
            );
            let mut expected: Vec<Option<String>> = export
                .parts
                .iter()
                .map(|part| part.expires.clone())
                .collect();
            expected.sort();
            let parsed = parse(&rows, Format::of(&rows)).unwrap();
            let ends = parsed.groups.iter().map(|group| group.expires);
            let ends: Vec<_> = ends.map(|end| end.map(|end| end.to_string())).collect();
            assert_eq!(ends, expected);
            let n_cidr = parse(&lines, Format::of(&lines)).unwrap().n_entries;
            assert_eq!(n_cidr, n_lines_cidr);
        };
        check(vec![], 0, 1);
        let end = Some("2026-11-23T13:00:00.000Z");
        check(vec![part("operator", "192.0.2.0/24\n", end)], 1, 3);
        check(
            vec![
                part("list:drop", "192.0.2.0/24\n2001:db8::/32\n", None),
                part("operator", "192.0.2.0/24\n198.51.100.7/32\n", end),
            ],
            3,
            6,
        );
    }
}

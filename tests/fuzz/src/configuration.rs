//! The configuration file: whatever it says, it loads or it is refused with a place that exists and
//! words that do nothing to a terminal; and what loads says the same however it is written.

use std::path::Path;

use botguard::settings::document::Document;
use botguard::settings::{Loaded, Settings, SettingsError, policy_hash};

const FILE: &str = "/etc/botguard/botguard.toml";

/// Loads and validates a text as `run --check` does, but for what stands in other files.
///
/// # Panics
///
/// A refusal names no file, a line that the text has not, or writes a control character; or a file
/// that loads does not load again, or as another one.
pub fn check(text: &str) {
    let loaded = match judge(text) {
        Ok(loaded) => loaded,
        Err(error) => return check_words(&error.to_string(), error.line, text),
    };
    for warning in loaded.warnings() {
        check_words(&warning, None, text);
    }
    assert_eq!(
        judge(text).map(|again| policy_hash(&again.document)),
        Ok(policy_hash(&loaded.document))
    );
    // Without its comments, and in another order.
    let Ok(rewritten) = toml::from_str::<toml::Table>(text).map(|table| table.to_string()) else {
        panic!("it loads, and is no TOML")
    };
    let again = judge(&rewritten).map(|again| again.settings);
    assert_eq!(again, Ok(loaded.settings), "{rewritten}");
}

fn judge(text: &str) -> Result<Loaded, SettingsError> {
    let document = Document::from_text(Path::new(FILE), text.to_owned());
    let loaded = Loaded::parse(document)?;
    loaded.policy()?;
    if !reads_files(&loaded.settings) {
        loaded.listeners()?;
    }
    Ok(loaded)
}

/// Whether certificates, keys or authorities would be read: those that it names, or the host's own.
fn reads_files(settings: &Settings) -> bool {
    let listeners = settings.listener.iter().any(|listener| {
        // Keys are made for these, which takes a while.
        let makes_many = listener.self_signed.len() > 4;
        makes_many || !listener.certificate.is_empty() || listener.client_certificates.is_some()
    });
    let mut upstreams = settings.upstream.clone();
    let upstreams = (upstreams.values_mut()).any(|upstream| {
        let speaks_tls = |endpoint: &String| endpoint.starts_with("https:");
        upstream.endpoints.iter().any(speaks_tls) || upstream.paths_mut().next().is_some()
    });
    listeners || settings.listener.len() > 4 || upstreams
}

fn check_words(words: &str, line: Option<usize>, text: &str) {
    assert!(words.starts_with(FILE), "{words:?} names no file");
    let control = words.chars().find(|character| character.is_control());
    assert_eq!(control, None, "in {words:?}");
    let n_lines = text.bytes().filter(|&byte| byte == b'\n').count() + 1;
    assert!(
        line.is_none_or(|line| (1..=n_lines).contains(&line)),
        "{words:?} of {n_lines} lines"
    );
}

/// The promised file, whole and table by table, what the pages for operators show, and a mistake of
/// each kind.
pub fn seeds() -> impl Iterator<Item = Vec<u8>> {
    let tables = (CONTRACT.split("\n\n")).map(str::to_owned);
    let pages = [README, OPERATIONS, AUDIT, OBSERVE].map(examples);
    let seeds = [CONTRACT.to_owned()].into_iter().chain(tables);
    seeds
        .chain(pages.into_iter().flatten())
        .chain(SEEDS.map(str::to_owned))
        .map(String::into_bytes)
}

/// The blocks of TOML on a page.
fn examples(page: &str) -> Vec<String> {
    let blocks = page.split("```toml\n").skip(1);
    blocks
        .filter_map(|block| Some(block.split_once("```")?.0.to_owned()))
        .collect()
}

const CONTRACT: &str = include_str!("../../../botguard-user/tests-data/contract.toml");
const README: &str = include_str!("../../../README.md");
const OPERATIONS: &str = include_str!("../../../docs/operations.md");
const AUDIT: &str = include_str!("../../../docs/audit.md");
const OBSERVE: &str = include_str!("../../../docs/observe.md");

const SEEDS: [&str; 10] = [
    "[[listener]]\nbind = '127.0.0.1:0'\nupstream = 'app'\nself_signed = ['localhost']\n\
     [upstream.app]\nendpoints = ['http://a', 'unix:/x', 'h2c://[::1]:1']\n",
    "mode = \"enforced\"\nstat_dir = 1\n",
    "\"a\\u001bb\" = 1\n",
    "[default]\nthrottle = 0.9\n\nblock = 0.5\n",
    "[[route]]\npath = \"/a/{id}/*\"\nhost = \"*.a.test\"\n[[route]]\npath = \"/a/{b}/*\"\n",
    "[enforcement]\nttl = \"48h\"\nban_after = { denied = 0, within = \"1ms\" }\n",
    "[[crawler]]\nname = \"g\"\nuser_agent = \"G\"\ndomains = [\"a.test\"]\nranges = \"x\"\n",
    "[[tier]]\nname = \"\\t\"\nkeys = [\"*_*\"]\nrate = \"18446744073709551615/d\"\nburst = -1\n",
    "[default]\nrollout = \"101%\"\nlimits = [{ per = \"key\", rate = \"1/s\", burst = 1 }]\n",
    "[identity]\napi_key = [\"header:\\u0000\", \"bearer\"]\n[step_up]\n[reputation]\n",
];

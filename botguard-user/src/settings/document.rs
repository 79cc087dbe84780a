//! A configuration file as text: parses it into any settings type, and finds the line of a key
//! again, so that an error of a later check names `file:line` too.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use super::SettingsError;
use super::suggestion::closest;

/// The file's path and text.
#[derive(Clone, Debug)]
pub struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    /// Reads the file, or pipe, of UTF-8.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let refuse = |line, message| SettingsError {
            path: path.to_owned(),
            line,
            message,
        };
        let bytes = read_bounded(path).map_err(|error| {
            let message = format!("cannot be read: {error}; name the file with `--config FILE`");
            refuse(None, message)
        })?;
        if bytes.len() > MAX_BYTES {
            let message = "is larger than 16 MiB; name the file with `--config FILE`".to_owned();
            return Err(refuse(None, message));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let line = line_at(&String::from_utf8_lossy(error.as_bytes()), good);
            let message = "is not UTF-8 text from here on; save it as UTF-8".to_owned();
            refuse(Some(line), message)
        })?;
        Ok(Self::from_text(path, text))
    }

    /// A text that stands for the file at `path`.
    #[must_use]
    pub fn from_text(path: &Path, text: String) -> Self {
        Self {
            path: path.to_owned(),
            text,
        }
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file says.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Parses the text.
    ///
    /// Errors name the line, and for an unknown key the known one that is closest.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        toml::from_str(&self.text).map_err(|error| {
            let line = error.span().map(|span| line_at(&self.text, span.start));
            SettingsError {
                path: self.path.clone(),
                line,
                message: with_suggestion(error.message()),
            }
        })
    }

    /// An error about `key`, as in `route[2].path`; on the line of the key, or of the innermost
    /// of its parents that the file has.
    #[must_use]
    pub fn error(&self, key: &str, message: &str) -> SettingsError {
        SettingsError {
            path: self.path.clone(),
            line: self.line(key),
            message: format!("{key}: {message}"),
        }
    }

    /// An error whose message begins with the key it is about, as the modules' own errors do:
    /// `route[2].path: …`, or `[upstream.app] health …`.
    #[must_use]
    pub fn error_of(&self, message: &str) -> SettingsError {
        SettingsError {
            path: self.path.clone(),
            line: self.line(&named_key(message)),
            message: message.to_owned(),
        }
    }

    /// Line of a key, from 1.
    #[must_use]
    pub fn line(&self, key: &str) -> Option<usize> {
        let document = DeTable::parse(&self.text).ok()?;
        let mut table = Some(document.get_ref());
        let mut offset = None;
        for step in key.split('.') {
            let (name, indexes) = split_indexes(step);
            let Some((key, mut value)) = table.and_then(|table| table.get_key_value(name)) else {
                break;
            };
            // `[[route]]` headers are found by their tables, plain keys by themselves.
            offset = Some(key.span().start);
            for index in indexes {
                let Some(item) = value.get_ref().as_array().and_then(|all| all.get(index)) else {
                    break;
                };
                value = item;
                offset = Some(value.span().start);
            }
            table = match value.get_ref() {
                DeValue::Table(inner) => Some(inner),
                _ => None,
            };
        }
        offset.map(|offset| line_at(&self.text, offset))
    }
}

/// A device or pipe has no end that can be asked for beforehand. A byte more than is allowed tells
/// that there was more.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let bound = MAX_BYTES as u64 + 1;
    File::open(path)?.take(bound).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A hundred thousand routes are less.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// The key that a message begins with, as a path.
fn named_key(message: &str) -> String {
    let first_word = |text: &str| {
        let word = text.trim_start().split([' ', ':']).next();
        word.unwrap_or_default().trim_matches('`').to_owned()
    };
    match message
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((section, rest)) => format!("{section}.{}", first_word(rest)),
        None => first_word(message),
    }
}

/// `route[2]` is `route` and 2.
fn split_indexes(step: &str) -> (&str, Vec<usize>) {
    let mut parts = step.split('[');
    let name = parts.next().unwrap_or_default();
    let indexes = parts
        .filter_map(|part| part.trim_end_matches(']').parse().ok())
        .collect();
    (name, indexes)
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

/// serde says: unknown field `x`, expected one of `a`, `b` (or: expected `a`).
fn with_suggestion(message: &str) -> String {
    let Some((unknown, known)) = message
        .strip_prefix("unknown field ")
        .or_else(|| message.strip_prefix("unknown variant "))
        .and_then(|rest| rest.split_once(", expected "))
    else {
        return message.to_owned();
    };
    let unknown = unknown.trim_matches('`');
    let kind = if message.starts_with("unknown field") {
        "key"
    } else {
        "value"
    };
    match closest(unknown, known.split('`').skip(1).step_by(2)) {
        Some(name) => format!("unknown {kind} `{unknown}`; did you mean `{name}`?"),
        None => format!("unknown {kind} `{unknown}`; known here: {known}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        _interfaces: Option<u32>,
        _route: Option<Vec<SampleRoute>>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct SampleRoute {
        _path: String,
    }

    fn document(text: &str) -> Document {
        Document::from_text(Path::new("b.toml"), text.to_owned())
    }

    #[test]
    fn what_is_not_a_text_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("b.toml");
        let check = |bytes: &[u8], expected: Result<(), &str>| {
            std::fs::write(&path, bytes).unwrap();
            let read = Document::read(&path).map_err(|error| error.to_string());
            match (read, expected) {
                (Ok(document), Ok(())) => assert_eq!(document.text().as_bytes(), bytes),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (read, _) => panic!("{read:?}"),
            }
        };
        check(b"mode = \"log\"\n", Ok(()));
        check("# \u{fc}".as_bytes(), Ok(()));
        check(b"# \xfc", Err("b.toml:1: is not UTF-8"));
        check(b"a\n\xff\nb", Err("b.toml:2: is not UTF-8"));
        check(&vec![b'#'; MAX_BYTES], Ok(()));
        let endless = Document::read(Path::new("/dev/zero")).unwrap_err();
        assert!(
            endless.to_string().contains("larger than 16 MiB"),
            "{endless}"
        );
    }

    #[test]
    fn parse_errors_name_line_key_and_the_mend() {
        let check = |text: &str, expected: &str| {
            let error = document(text).parse::<Sample>().unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(
            "\n_interfcaes = 1\n",
            "b.toml:2: unknown key `_interfcaes`; did you mean `_interfaces`?",
        );
        check(
            "zebra = 1\n",
            "b.toml:1: unknown key `zebra`; known here: `_interfaces` or `_route`",
        );
        check(
            "[[_route]]\n_path = \"/\"\n\n[[_route]]\n_pth = \"/\"\n",
            "b.toml:5: unknown key `_pth`; did you mean `_path`?",
        );
        check(
            "_interfaces = \"x\"",
            "b.toml:1: invalid type: string \"x\", expected u32",
        );
        check("_interfaces = = 1", "b.toml:1: extra `=`, expected nothing");
    }

    #[test]
    fn keys_are_found_again() {
        let text = "\
mode = \"log\"
[upstream.app]
endpoints = [
  \"a\",
  \"b\",
]
[[route]]
path = \"/a\"
[[route]]
login = { user = \"x\" }
";
        let document = document(text);
        let check = |key: &str, expected| assert_eq!(document.line(key), expected, "{key}");
        check("mode", Some(1));
        check("upstream.app", Some(2));
        check("upstream.app.endpoints[1]", Some(5));
        check("route[0]", Some(7));
        check("route[1]", Some(9));
        check("route[1].login.user", Some(10));
        check("route[1].path", Some(9));
        check("missing", None);
    }

    #[test]
    fn an_error_that_names_its_key_gets_its_line() {
        let document = document("\n[kernel]\nscope = 1");
        let check = |message: &str, line| {
            let error = document.error_of(message);
            assert_eq!((error.line, error.message.as_str()), (line, message));
        };
        check("kernel.scope: not so", Some(3));
        check("`kernel.scope` is not so", Some(3));
        check("[kernel] scope is not so", Some(3));
        check("[kernel]: it is not so", Some(2));
        check("it is not so", None);
    }
}

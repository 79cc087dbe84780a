//! The page: one file without anything of third parties, under a policy that lets it do nothing but
//! what it is for (Content Security Policy Level 3).

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, header};

use super::puzzle::Puzzle;

/// The page but for its puzzle.
pub(super) struct Page {
    /// With places left open.
    template: String,
    policy: Option<HeaderValue>,
}

/// What the page does once it is solved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum After {
    /// It loads itself again: it was shown instead of what was asked for.
    Reload,
    /// It says so: it was asked for itself.
    Stay,
}

impl Page {
    /// For solutions that are posted to `path`.
    pub(super) fn new(path: &str) -> Self {
        let template = TEMPLATE
            .replace("%style%", STYLE)
            .replace("%solver%", SOLVER)
            .replace("%script%", SCRIPT)
            .replace("%path%", &escaped(path));
        // The worker is made from text of this page, so `blob:` lets in no other: there is no
        // place where somebody else's script could make one.
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; worker-src blob:; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
            hash_source(SCRIPT),
            hash_source(STYLE),
        );
        Self {
            template,
            policy: HeaderValue::from_str(&policy).ok(),
        }
    }

    /// The page with its puzzle, status 200.
    pub(super) fn response(
        &self,
        puzzle: &Puzzle,
        after: After,
        request_id: &str,
    ) -> Response<Bytes> {
        let after = match after {
            After::Reload => "reload",
            After::Stay => "stay",
        };
        let page = (self.template)
            .replace("%token%", &escaped(&puzzle.token))
            .replace("%difficulty%", &puzzle.difficulty.bits().to_string())
            .replace("%floor_ms%", &puzzle.floor_ms.to_string())
            .replace("%after%", after)
            .replace("%request_id%", &escaped(request_id));
        let mut response = Response::new(Bytes::from(page));
        let headers = response.headers_mut();
        let fields = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "same-origin"),
            (HeaderName::from_static("x-robots-tag"), "noindex"),
            (header::VARY, "Accept, Cookie"),
        ];
        for (name, value) in fields {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Some(policy) = &self.policy {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
        }
        response
    }
}

/// A script or style of exactly this text.
fn hash_source(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    format!("sha256-{}", STANDARD.encode(hash))
}

/// As text or a quoted attribute of HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // So that nothing that is filled in can open a place of the template.
            '%' => escaped.push_str("&#37;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");
const SOLVER: &str = include_str!("page/solver.js");

#[cfg(test)]
mod tests {
    use super::super::settings::ChallengeSettings;
    use super::*;

    fn page(path: &str, after: After, request_id: &str) -> String {
        let puzzle = Puzzle {
            token: "tok".to_owned(),
            difficulty: ChallengeSettings::default().difficulty,
            floor_ms: 1_000,
        };
        let response = Page::new(path).response(&puzzle, after, request_id);
        String::from_utf8(response.body().to_vec()).unwrap()
    }

    #[test]
    fn every_place_is_filled_in() {
        let page = page("/.botguard/challenge", After::Reload, "r-1");
        for place in [
            "style",
            "solver",
            "script",
            "path",
            "token",
            "request_id",
            "after",
        ] {
            assert!(TEMPLATE.contains(&format!("%{place}%")), "{place}");
            assert!(!page.contains(&format!("%{place}%")), "{place}");
        }
        for source in [STYLE, SOLVER, SCRIPT] {
            assert!(page.contains(source), "{source}");
        }
        for part in [
            "data-path=\"/.botguard/challenge\"",
            "data-token=\"tok\"",
            "data-difficulty=\"16\"",
            "data-floor-ms=\"1000\"",
            "data-after=\"reload\"",
            "<code>r-1</code>",
            "<html lang=\"en\">",
            "role=\"status\"",
            "<noscript>",
            "<title>",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("http://") && !page.contains("https://"));
    }

    #[test]
    fn what_is_filled_in_stays_text() {
        let page = page("/\"><b>/&'%token%/", After::Stay, "<b>%token%");
        assert!(page.contains("data-path=\"/&quot;&gt;&lt;b&gt;/&amp;&#39;&#37;token&#37;/\""));
        assert!(page.contains("<code>&lt;b&gt;&#37;token&#37;</code>"));
        assert!(page.contains("data-after=\"stay\""));
    }

    #[test]
    fn scripts_hold_nothing_that_ends_them() {
        for script in [SCRIPT, SOLVER] {
            assert!(!script.contains("</") && !script.contains("<!--"));
        }
    }
}

//! What the engine is told of a request: its head, and what lists and tables say of it. Secrets end
//! here: what goes on are keyed hashes.

use http::{HeaderMap, Method, header};

use super::{Pipeline, View};
use crate::edge::gate::RequestHead;
use crate::edge::redact::{Redactor, without_user};
use crate::engine::facts::{Clearance, Reader, RequestFacts};
use crate::words::clock::Monotonic;
use crate::words::identity::Crawler;
use crate::words::key::KeyRuling;

impl Pipeline {
    pub(super) fn facts(&self, head: &RequestHead<'_>, view: &View) -> RequestFacts {
        let ip = head.client.ip();
        let headers = &head.parts.headers;
        let query = head.parts.uri.query().unwrap_or_default();
        let now = self.enforcer.now();
        let judges = (&self.hasher, view.tokens.as_ref());
        let visitor = view.identity.visitor(headers, query, judges, now);
        RequestFacts {
            client: head.client,
            network: view.intel.network(ip),
            standing: self.enforcer.standing(ip, now),
            key: self.key(head),
            ruling: KeyRuling::default(),
            session: visitor.session,
            user: visitor.user,
            authentication: visitor.authentication,
            crawler: crawler(head, view),
            clearance: Clearance::None,
            reader: reader(&head.parts.method, headers),
            host: host(head.authority).into(),
            fingerprint: self.fingerprint(head),
            method: head.parts.method.clone(),
            // A secret in it would come out again in evidence. Its place keeps a keyed hash.
            path: Redactor::new(&view.identity, &self.hasher)
                .path(headers, query, head.path)
                .into(),
            query: query.into(),
        }
    }
}

fn crawler(head: &RequestHead<'_>, view: &View) -> Crawler {
    let user_agent = head.parts.headers.get(header::USER_AGENT);
    let user_agent = user_agent.and_then(|value| value.to_str().ok());
    let crawlers = view.intel.crawlers();
    crawlers.judge(
        user_agent,
        head.client.ip(),
        &view.lookups,
        Monotonic::read(),
    )
}

/// Who would read an answer. Fetch Metadata (W3C) says it best; browsers send it over TLS only, and
/// old ones not at all.
fn reader(method: &Method, headers: &HeaderMap) -> Reader {
    let value = |name| {
        let value = headers.get(name)?.to_str().ok()?;
        Some(value.trim().to_ascii_lowercase())
    };
    let mode = value("sec-fetch-mode");
    let is_scripted = matches!(mode.as_deref(), Some("cors" | "same-origin" | "no-cors"))
        || value("sec-fetch-dest").is_some_and(|destination| destination == "empty");
    if is_scripted {
        return Reader::Script;
    }
    let accepts_html = (headers.get_all(header::ACCEPT).iter())
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let media = range.split(';').next().unwrap_or_default();
            media.trim().eq_ignore_ascii_case("text/html")
        });
    if accepts_html && matches!(*method, Method::GET | Method::HEAD) {
        Reader::Page
    } else {
        Reader::Program
    }
}

/// An authority without user and port, in lower case.
fn host(authority: &str) -> String {
    let authority = without_user(authority);
    // The colons of an IPv6 address stand in brackets (RFC 3986 section 3.2.2).
    let end = match authority.rfind(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    authority[..end].to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn who_would_read_an_answer() {
        let check = |method: Method, fields: &[(&'static str, &'static str)], expected| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(reader(&method, &headers), expected, "{method} {fields:?}");
        };
        let page = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        check(Method::GET, &[("accept", page)], Reader::Page);
        check(
            Method::HEAD,
            &[("accept", "a/b, Text/HTML;q=0.1")],
            Reader::Page,
        );
        check(
            Method::GET,
            &[("accept", "a/b"), ("accept", "text/html")],
            Reader::Page,
        );
        check(Method::POST, &[("accept", page)], Reader::Program);
        check(
            Method::GET,
            &[("accept", "text/html5, */*")],
            Reader::Program,
        );
        check(Method::GET, &[], Reader::Program);
        let navigates = [("accept", page), ("sec-fetch-mode", "navigate")];
        check(Method::GET, &navigates, Reader::Page);
        for mode in ["cors", "same-origin", "no-cors", "CORS"] {
            let fields = [("accept", page), ("sec-fetch-mode", mode)];
            check(Method::GET, &fields, Reader::Script);
        }
        check(Method::POST, &[("sec-fetch-dest", "empty")], Reader::Script);
        check(
            Method::GET,
            &[("sec-fetch-dest", "document")],
            Reader::Program,
        );
        check(
            Method::GET,
            &[("sec-fetch-mode", "websocket")],
            Reader::Program,
        );
    }

    #[test]
    fn hosts_have_no_port_and_one_case() {
        let check = |authority, expected| assert_eq!(host(authority), expected);
        check("API.Example.com:8443", "api.example.com");
        check("a.test", "a.test");
        check("u:p@A.test:1", "a.test");
        check("[2001:DB8::1]:443", "[2001:db8::1]");
        check("[::1]", "[::1]");
        check("127.0.0.1:80", "127.0.0.1");
        check("", "");
    }
}

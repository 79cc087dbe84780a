//! What the engine is told of a request: its head, and what lists and tables say of it. Secrets end
//! here: what goes on are keyed hashes.

use http::header;

use super::ticket::Redacted;
use super::{Pipeline, View};
use crate::challenge::Holder;
use crate::edge::gate::RequestHead;
use crate::edge::prints;
use crate::edge::reader::reader;
use crate::edge::redact::{Redactor, without_user};
use crate::engine::facts::RequestFacts;
use crate::words::clock::{Monotonic, Wall};
use crate::words::identity::Crawler;
use crate::words::key::KeyRuling;

impl Pipeline {
    /// What is recorded is what is decided on, so that replay decides the same: without secrets,
    /// which would come out again in evidence. In their places are keyed hashes.
    pub(super) fn facts(&self, head: &RequestHead<'_>, view: &View) -> (RequestFacts, Redacted) {
        let ip = head.client.ip();
        let headers = &head.parts.headers;
        let query = head.parts.uri.query().unwrap_or_default();
        let now = self.enforcer.now();
        let judges = (&self.hasher, view.tokens.as_ref());
        let secrets = view.identity.secrets(headers, query);
        let session = secrets.session.as_deref();
        let visitor = (view.identity).visitor((headers, query), session, judges, now);
        let key = (secrets.key.as_ref()).map(|key| self.identify(key, view));
        let redactor = Redactor::new((&view.identity, &self.hasher), &secrets, key.as_ref());
        let redacted = Redacted::of(head.parts, head.authority, &redactor);
        let (path, query) = (
            redactor.path(head.path).into(),
            redactor.query(query).into(),
        );
        let fingerprint = self.fingerprint(head);
        let holder = Holder::new(visitor.session.as_ref(), fingerprint);
        let facts = RequestFacts {
            client: head.client,
            network: view.intel.network(ip),
            standing: self.enforcer.standing(ip, now),
            ruling: (key.as_ref()).map_or_else(KeyRuling::default, |key| {
                self.enforcer.ruling(key.hash, now)
            }),
            key,
            session: visitor.session,
            user: visitor.user,
            authentication: visitor.authentication,
            crawler: crawler(head, view),
            clearance: (view.challenge).clearance(Wall::read(), headers, &holder),
            reader: reader(&head.parts.method, headers),
            host: host(head.authority).into(),
            fingerprint,
            prints: prints::facts(head),
            method: head.parts.method.clone(),
            path,
            query,
        };
        (facts, redacted)
    }

    /// Whom a challenge and its clearance are for.
    pub(in crate::daemon) fn holder(&self, head: &RequestHead<'_>) -> Holder {
        Holder::new(self.session(head).as_ref(), self.fingerprint(head))
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

/// An authority without user and port, in lower case, and without the dot that a name may end with:
/// with it, it is the same host.
fn host(authority: &str) -> String {
    let authority = without_user(authority);
    // The colons of an IPv6 address stand in brackets (RFC 3986 section 3.2.2).
    let end = match authority.rfind(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let host = &authority[..end];
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // The root of the DNS is the end of every name (RFC 1034 section 3.1).
        check("API.Example.com.", "api.example.com");
        check("api.example.com.:8443", "api.example.com");
        check("api.example.com..", "api.example.com.");
    }
}

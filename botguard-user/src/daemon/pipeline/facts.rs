//! What the engine is told of a request: its head, and what lists and tables say of it. Secrets end
//! here: what goes on are keyed hashes.

use super::{Pipeline, View};
use crate::edge::gate::RequestHead;
use crate::edge::redact::Redactor;
use crate::engine::facts::{Clearance, Reader, RequestFacts};
use crate::words::identity::Crawler;
use crate::words::key::KeyRuling;

impl Pipeline {
    pub(super) fn facts(&self, head: &RequestHead<'_>, view: &View) -> RequestFacts {
        let ip = head.client.ip();
        let query = head.parts.uri.query().unwrap_or_default();
        let now = self.enforcer.now();
        let key = self.key(head);
        RequestFacts {
            client: head.client,
            network: view.intel.network(ip),
            standing: self.enforcer.standing(ip, now),
            ruling: (key.as_ref()).map_or_else(KeyRuling::default, |key| {
                self.enforcer.ruling(key.hash, now)
            }),
            key,
            session: None,
            user: None,
            authentication: None,
            crawler: Crawler::No,
            clearance: Clearance::None,
            reader: Reader::Program,
            host: head.authority.into(),
            fingerprint: self.fingerprint(head),
            method: head.parts.method.clone(),
            // An API key in it would come out again in evidence. Its place keeps a keyed hash.
            path: Redactor::new(&view.identity, &self.hasher)
                .path(&head.parts.headers, query, head.path)
                .into(),
            query: query.into(),
        }
    }
}

//! What the engine is told of a request: its head, and what lists and tables say of it. Secrets end
//! here: what goes on are keyed hashes.

use super::{Pipeline, View};
use crate::challenge::Holder;
use crate::edge::gate::RequestHead;
use crate::edge::reader::reader;
use crate::edge::redact::Redactor;
use crate::engine::facts::RequestFacts;
use crate::words::clock::Wall;
use crate::words::identity::Crawler;
use crate::words::key::KeyRuling;

impl Pipeline {
    pub(super) fn facts(&self, head: &RequestHead<'_>, view: &View) -> RequestFacts {
        let ip = head.client.ip();
        let query = head.parts.uri.query().unwrap_or_default();
        let holder = self.holder(head);
        RequestFacts {
            client: head.client,
            network: view.intel.network(ip),
            standing: self.enforcer.standing(ip, self.enforcer.now()),
            key: self.key(head),
            ruling: KeyRuling::default(),
            session: None,
            user: None,
            authentication: None,
            crawler: Crawler::No,
            clearance: (view.challenge).clearance(Wall::read(), &head.parts.headers, &holder),
            reader: reader(&head.parts.method, &head.parts.headers),
            host: head.authority.into(),
            fingerprint: holder.fingerprint,
            method: head.parts.method.clone(),
            // An API key in it would come out again in evidence. Its place keeps a keyed hash.
            path: Redactor::new(&view.identity, &self.hasher)
                .path(&head.parts.headers, query, head.path)
                .into(),
            query: query.into(),
        }
    }

    /// Whom a challenge and its clearance are for.
    pub(in crate::daemon) fn holder(&self, head: &RequestHead<'_>) -> Holder {
        Holder::new(None, self.fingerprint(head))
    }
}

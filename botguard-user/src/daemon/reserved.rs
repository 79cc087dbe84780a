//! The reserved prefix: hands the edge's requests to `interaction`, and what was touched to the
//! engine.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::Response;

use super::pipeline::Pipeline;
use crate::edge::gate::RequestHead;
use crate::edge::reserved::ReservedRoutes;
use crate::interaction::{Interaction, KeyHeader, UiRequest, Visitor};
use crate::settings::Settings;
use crate::store::secrets::{SecretsError, random_secret};
use crate::words::clock::Monotonic;

/// Answers under the prefix.
pub(super) struct Reserved {
    interaction: ArcSwap<Interaction>,
    pipeline: Arc<Pipeline>,
}

impl Reserved {
    /// Mints under a new secret.
    pub(super) fn new(pipeline: Arc<Pipeline>, settings: &Settings) -> Result<Self, SecretsError> {
        let interaction = interaction(settings, &random_secret()?);
        Ok(Self {
            interaction: ArcSwap::from_pointee(interaction),
            pipeline,
        })
    }

    /// Takes up new settings. Where they are the old ones, so are the tokens; else a new secret
    /// makes those that are out worthless, spent ones among them, and pages fetch others.
    ///
    /// Errors: without randomness the old settings stay.
    pub(super) fn replace(&self, old: &Settings, new: &Settings) -> Result<(), SecretsError> {
        if old.ui != new.ui || old.identity != new.identity {
            let fresh = interaction(new, &random_secret()?);
            self.interaction.store(Arc::new(fresh));
        }
        Ok(())
    }
}

impl ReservedRoutes for Reserved {
    fn owns(&self, path: &str) -> bool {
        self.interaction.load().owns(path)
    }

    fn answer(&self, head: &RequestHead<'_>, id: &str, body: Bytes) -> Response<Bytes> {
        let request = UiRequest {
            method: &head.parts.method,
            path: head.path,
            authority: head.authority,
            headers: &head.parts.headers,
            body: &body,
            visitor: Visitor {
                client: head.client,
                key: self.pipeline.key(head),
                fingerprint: self.pipeline.fingerprint(head),
            },
        };
        let reply = self.interaction.load().answer(Monotonic::read(), &request);
        if let Some(facts) = &reply.interaction {
            self.pipeline.interaction(id, facts);
        }
        reply.response
    }
}

fn interaction(settings: &Settings, secret: &[u8; 32]) -> Interaction {
    let key_header =
        (settings.identity.first_header()).map(|(name, before)| KeyHeader { name, before });
    Interaction::new(settings.ui.clone(), secret, key_header)
}

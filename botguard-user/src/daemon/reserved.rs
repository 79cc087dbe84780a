//! The reserved prefix: hands the edge's requests to `interaction` and `challenge`, and what was
//! touched to the engine.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::Response;

use super::pipeline::Pipeline;
use crate::challenge::{After, Challenge, ChallengeRequest};
use crate::edge::gate::RequestHead;
use crate::edge::reserved::ReservedRoutes;
use crate::interaction::{Interaction, KeyHeader, UiRequest, Visitor};
use crate::settings::Settings;
use crate::store::secrets::{Secrets, SecretsError, random_secret};
use crate::words::clock::{Monotonic, Now};

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
        let challenge = &self.pipeline.view().challenge;
        if head.path == challenge.path() {
            let request = ChallengeRequest {
                method: &head.parts.method,
                body: &body,
                holder: self.pipeline.holder(head),
                request_id: id,
            };
            return challenge.answer(Now::read(), &request);
        }
        let request = UiRequest {
            method: &head.parts.method,
            path: head.path,
            authority: head.authority,
            headers: &head.parts.headers,
            body: &body,
            visitor: Visitor {
                client: head.client,
                key: self.pipeline.key(head),
                session: self.pipeline.session(head),
                fingerprint: self.pipeline.fingerprint(head),
            },
        };
        let reply = self.interaction.load().answer(Monotonic::read(), &request);
        if let Some(facts) = &reply.interaction {
            self.pipeline.interaction(id, facts);
        }
        reply.response
    }

    fn challenge_page(&self, head: &RequestHead<'_>, request_id: &str) -> Option<Response<Bytes>> {
        let holder = self.pipeline.holder(head);
        let challenge = &self.pipeline.view().challenge;
        challenge.page(Monotonic::read(), &holder, After::Reload, request_id)
    }

    fn challenge_path(&self) -> Option<String> {
        Some(self.pipeline.view().challenge.path().to_owned())
    }

    fn own_cookie(&self) -> Option<String> {
        Some(self.pipeline.view().challenge.cookie().as_str().to_owned())
    }
}

/// Challenges of this process, whose clearances outlive it.
pub(super) fn challenge(settings: &Settings, secrets: &Secrets) -> Result<Challenge, SecretsError> {
    let path = challenge_path(settings);
    let puzzles = random_secret()?;
    Ok(Challenge::new(
        settings.challenge.clone(),
        path,
        &secrets.clearance,
        &puzzles,
    ))
}

/// The same under other settings.
pub(super) fn next_challenge(now: &Arc<Challenge>, settings: &Settings) -> Arc<Challenge> {
    let next = now.with(&settings.challenge, &challenge_path(settings));
    next.map_or_else(|| Arc::clone(now), Arc::new)
}

fn challenge_path(settings: &Settings) -> String {
    format!("{}challenge", settings.ui.prefix.as_str())
}

fn interaction(settings: &Settings, secret: &[u8; 32]) -> Interaction {
    let key_header =
        (settings.identity.first_header()).map(|(name, before)| KeyHeader { name, before });
    Interaction::new(settings.ui.clone(), secret, key_header)
}

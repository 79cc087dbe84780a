//! The compact serialisation of a signed token (RFC 7515 section 7.1): three parts, of which the
//! first says how the third was made. No key is needed here, and nothing is believed yet.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::TokenProblem;
use super::object::Object;
use super::settings::{Algorithm, JwtSettings};

/// A token, taken apart.
pub(super) struct Compact<'a> {
    /// What was signed.
    pub(super) signed: &'a [u8],
    /// The claims, as JSON text.
    pub(super) payload: Vec<u8>,
    pub(super) signature: Vec<u8>,
    header: Object,
}

impl<'a> Compact<'a> {
    /// Errors: not three parts, not base64url, or not an object for a header.
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenProblem> {
        let malformed = TokenProblem::Malformed;
        let (signed, signature) = token.rsplit_once('.').ok_or(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(malformed)?;
        // A dot that is left over is not of the alphabet.
        let decode = |part: &str| {
            let decoded = URL_SAFE_NO_PAD.decode(part);
            decoded.map_err(|_cause| malformed)
        };
        Ok(Self {
            signed: signed.as_bytes(),
            header: Object::parse(&decode(header)?).map_err(|_cause| malformed)?,
            payload: decode(payload)?,
            signature: decode(signature)?,
        })
    }

    /// How it is signed, if that is allowed.
    ///
    /// Errors: `none`, unknown or not allowed; or it asks for an extension.
    pub(super) fn algorithm(&self, settings: &JwtSettings) -> Result<Algorithm, TokenProblem> {
        // `b64` (RFC 7797) and all other extensions that change the meaning must stand in `crit`.
        if self.header.value("crit").is_some() {
            return Err(TokenProblem::Critical);
        }
        let algorithm = self.header.value("alg").and_then(Value::as_str);
        algorithm
            .and_then(Algorithm::parse)
            .filter(|algorithm| settings.allows(*algorithm))
            .ok_or(TokenProblem::Algorithm)
    }

    /// Which key made it, if it says so.
    ///
    /// Errors: a `kid` that is not text.
    pub(super) fn key_id(&self) -> Result<Option<&str>, TokenProblem> {
        match self.header.value("kid") {
            None => Ok(None),
            Some(Value::String(id)) => Ok(Some(id)),
            Some(_) => Err(TokenProblem::Malformed),
        }
    }
}

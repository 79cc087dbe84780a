//! `Botguard-Observe`: what the application says of a request, in a header field of its response.
//!
//! A dictionary (RFC 9651) of `user`, `owner`, `records`, `login`, `fresh_auth` and `sig`. It is
//! believed only where `sig` is HMAC-SHA-256, under a key that the application shares with botguard,
//! over the id of this request and the other members; `docs/observe.md` has the exact input. So an
//! application that reflects what a client wrote, or repeats what it said of another request,
//! changes nothing. The field is always stripped (`headers`), and never read from a trailer.

use http::{HeaderMap, HeaderName};
use sfv::visitor::{DictionaryVisitor, EntryVisitor, Ignored};
use sfv::{BareItem, Dictionary, FieldType as _, Item, KeyRef, ListEntry, Parser};

use super::signing_keys::SigningKeys;
use crate::engine::facts::{Login, Observation};
use crate::words::identity::UserHash;

/// What the application said, its signature verified; names in plain text, so it does not print.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Observed {
    user: Option<String>,
    owner: Option<String>,
    records: Option<u64>,
    login: Option<Login>,
    fresh_auth: bool,
}

impl std::fmt::Debug for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Observed")
    }
}

impl Observed {
    /// What may be kept of it: `hash` turns a user's name into its keyed hash, or into nothing.
    #[must_use]
    pub fn kept(&self, hash: impl Fn(&str) -> Option<UserHash>) -> Observation {
        Observation {
            user: self.user.as_deref().and_then(&hash),
            owner: self.owner.as_deref().and_then(&hash),
            records: self.records,
            login: self.login,
            fresh_auth: self.fresh_auth,
        }
    }
}

/// Why an observation is not believed. Blame: the application, or who speaks through it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Disbelief {
    /// `[upstream.NAME] observe` is off.
    Off,
    /// It has no `sig`.
    Unsigned,
    /// It is no dictionary, or a member has another type.
    Malformed,
    /// A member stands there twice.
    Doubled,
    /// `sig` is not ours, or for another request.
    BadSignature,
}

/// Reads the field of a response to the request `request_id`; `keys` are none where the upstream
/// is not believed. What is not believed is counted, and otherwise as if it were not there.
pub(super) fn read(
    headers: &HeaderMap,
    keys: Option<&SigningKeys>,
    request_id: &str,
) -> Option<Observed> {
    let lines: Vec<&[u8]> = (headers.get_all(FIELD).iter())
        .map(http::HeaderValue::as_bytes)
        .collect();
    if lines.is_empty() {
        return None;
    }
    let field = lines.join(&b", "[..]);
    let observed = match keys {
        Some(keys) => believe(&field, keys, request_id),
        None => Err(Disbelief::Off),
    };
    let outcome = match observed {
        Ok(_) => "believed",
        Err(Disbelief::Off) => "off",
        Err(Disbelief::Unsigned) => "unsigned",
        Err(Disbelief::Malformed) => "malformed",
        Err(Disbelief::Doubled) => "doubled",
        Err(Disbelief::BadSignature) => "bad_signature",
    };
    metrics::counter!("botguard_observations_total", "outcome" => outcome).increment(1);
    observed.ok()
}

fn believe(field: &[u8], keys: &SigningKeys, request_id: &str) -> Result<Observed, Disbelief> {
    if field.len() > MAX_BYTES {
        return Err(Disbelief::Malformed);
    }
    let malformed = |_cause| Disbelief::Malformed;
    let mut members: Dictionary = Parser::new(field).parse().map_err(malformed)?;
    let n_members = Parser::new(field)
        .parse_dictionary_with_visitor(Count(0))
        .map_err(malformed)?;
    // The parser keeps the last of equal ones (RFC 9651 section 4.2.2), others keep the first.
    if members.len() != n_members {
        return Err(Disbelief::Doubled);
    }
    // `shift_remove` leaves the others in their order.
    let sig = match members.shift_remove(SIG) {
        Some(ListEntry::Item(Item {
            bare_item: BareItem::ByteSequence(sig),
            ..
        })) => sig,
        Some(_) => return Err(Disbelief::Malformed),
        None => return Err(Disbelief::Unsigned),
    };
    if !keys.verify(signing_input(request_id, &members).as_bytes(), &sig) {
        return Err(Disbelief::BadSignature);
    }
    observed(&members).ok_or(Disbelief::Malformed)
}

/// What `sig` signs: three lines, the last of which is the other members as RFC 9651 section 4.1.2
/// serialises them, in the order in which they stand there.
fn signing_input(request_id: &str, members: &Dictionary) -> String {
    let members = members.serialize().unwrap_or_default();
    format!("observe v1\n{request_id}\n{members}")
}

/// Unknown members are those of later versions.
fn observed(members: &Dictionary) -> Option<Observed> {
    let mut observed = Observed::default();
    for (name, entry) in members {
        let ListEntry::Item(Item { bare_item, .. }) = entry else {
            if KNOWN.contains(&name.as_str()) {
                return None;
            }
            continue;
        };
        match name.as_str() {
            "user" => observed.user = Some(text(bare_item)?),
            "owner" => observed.owner = Some(text(bare_item)?),
            "records" => {
                let records = i64::from(bare_item.as_integer()?);
                observed.records = Some(u64::try_from(records).ok()?);
            }
            "login" => {
                observed.login = Some(match bare_item.as_token()?.as_str() {
                    "ok" => Login::Ok,
                    "fail" => Login::Fail,
                    "unknown_user" => Login::UnknownUser,
                    _ => return None,
                });
            }
            "fresh_auth" => observed.fresh_auth = bare_item.as_boolean()?,
            _ => {}
        }
    }
    Some(observed)
}

/// A string, or a display string where the name is not ASCII; never empty.
fn text(item: &BareItem) -> Option<String> {
    let text = match item {
        BareItem::String(text) => text.as_str().to_owned(),
        BareItem::DisplayString(text) => text.clone(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// Counts members, equal ones too.
struct Count(usize);

impl<'de> DictionaryVisitor<'de> for Count {
    type Out = usize;
    type Error = std::convert::Infallible;

    fn entry(&mut self, _key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Self::Error> {
        self.0 += 1;
        Ok(Ignored)
    }

    fn finish(self) -> Result<usize, Self::Error> {
        Ok(self.0)
    }
}

const FIELD: HeaderName = HeaderName::from_static("botguard-observe");
const SIG: &str = "sig";
const KNOWN: [&str; 5] = ["user", "owner", "records", "login", "fresh_auth"];

/// A user and an owner of a few hundred bytes each are less.
const MAX_BYTES: usize = 4_096;

#[cfg(test)]
mod tests;

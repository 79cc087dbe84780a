//! Lists in JSON, handed over entry by entry: no tree is built, no text kept.
//!
//! Members of an object that say nothing about whom and until when are passed over, whatever they
//! are: published lists have such, and so has `block export`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::entry::{Problem, network, time};
use super::{Entry, ImportError};
use crate::words::clock::Wall;

pub(super) fn scan(
    content: &[u8],
    take: &mut impl FnMut(Entry) -> Result<(), Problem>,
) -> Result<(), ImportError> {
    let mut problem = None;
    let mut json = serde_json::Deserializer::from_slice(content);
    let array = Array {
        take,
        problem: &mut problem,
    };
    let read = json.deserialize_seq(array).and_then(|()| json.end());
    read.map_err(|error| ImportError {
        line: error.line().max(1),
        problem: problem.unwrap_or_else(|| Problem::Json(without_place(&error))),
    })
}

/// serde_json puts the place behind its message; it stands in front of ours.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

struct Array<'a, T> {
    take: &'a mut T,
    /// What was found, since the error that ends the reading carries text only.
    problem: &'a mut Option<Problem>,
}

impl<'de, T: FnMut(Entry) -> Result<(), Problem>> Visitor<'de> for Array<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<(), A::Error> {
        loop {
            let element = Element(&mut self);
            if array.next_element_seed(element)?.is_none() {
                return Ok(());
            }
        }
    }
}

/// One entry of the array.
struct Element<'a, 'b, T>(&'a mut Array<'b, T>);

impl<'de, T: FnMut(Entry) -> Result<(), Problem>> DeserializeSeed<'de> for Element<'_, '_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, T: FnMut(Entry) -> Result<(), Problem>> Visitor<'de> for Element<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an object")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let entry = network(text.as_bytes()).map(|network| Entry {
            network,
            expires: None,
        });
        let taken = entry.and_then(|entry| (self.0.take)(entry));
        taken.map_err(|problem| found(self.0.problem, problem))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut object: M) -> Result<(), M::Error> {
        let (mut whom, mut expires) = (None, None);
        while let Some(Key(key)) = object.next_key_seed(KeySeed)? {
            match key {
                Member::Network => {
                    let text = Text(network_of, &mut *self.0.problem);
                    whom = Some(object.next_value_seed(text)?);
                }
                Member::Expires => {
                    let text = Text(end_of, &mut *self.0.problem);
                    expires = object.next_value_seed(text)?;
                }
                Member::Other => {
                    object.next_value::<IgnoredAny>()?;
                }
            }
        }
        let network = whom.flatten();
        let network = network.ok_or_else(|| M::Error::custom("an object without `network`"))?;
        let taken = (self.0.take)(Entry { network, expires });
        taken.map_err(|problem| found(self.0.problem, problem))
    }
}

fn found<E: Error>(place: &mut Option<Problem>, problem: Problem) -> E {
    *place = Some(problem);
    E::custom("")
}

fn network_of(text: Option<&str>) -> Result<Option<ipnet::IpNet>, Problem> {
    text.map(|text| network(text.as_bytes())).transpose()
}

fn end_of(text: Option<&str>) -> Result<Option<Wall>, Problem> {
    text.map(time).transpose()
}

/// The members of an object that are read.
enum Member {
    Network,
    Expires,
    Other,
}

struct Key(Member);

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Key, D::Error> {
        json.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
        Ok(Key(match name {
            "network" => Member::Network,
            "expires" => Member::Expires,
            _ => Member::Other,
        }))
    }
}

/// A string or null, read by a function.
struct Text<'a, F>(F, &'a mut Option<Problem>);

impl<'de, R, F: FnOnce(Option<&str>) -> Result<R, Problem>> DeserializeSeed<'de> for Text<'_, F> {
    type Value = R;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<R, D::Error> {
        json.deserialize_any(self)
    }
}

impl<R, F: FnOnce(Option<&str>) -> Result<R, Problem>> Visitor<'_> for Text<'_, F> {
    type Value = R;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<R, E> {
        (self.0)(Some(text)).map_err(|problem| found(self.1, problem))
    }

    fn visit_unit<E: Error>(self) -> Result<R, E> {
        (self.0)(None).map_err(|problem| found(self.1, problem))
    }
}

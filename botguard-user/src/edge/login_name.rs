//! The user that a login's body names. Pure: bytes in, a name out or why there is none.
//!
//! A name that two readers might read differently is none: a member or field that stands there
//! twice, or text that is not UTF-8.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::engine::facts::Unread;
use crate::engine::policy::login::LoginField;

/// The name in a whole body, without spaces around it and in lower case: for most applications
/// `Ann@example.com` is `ann@example.com`, and one that tries names must not look like many by
/// writing one of them in different ways. Who are two for the application by case alone are one
/// here; that costs evidence, and lets nobody in.
pub(super) fn login_name(field: &LoginField, body: &[u8]) -> Result<String, Unread> {
    let name = match field {
        LoginField::Json(path) => of_json(path, body)?,
        LoginField::Form(name) => of_form(name, body)?,
    };
    let name = name.trim().to_lowercase();
    match name.len() {
        0 => Err(Unread::Absent),
        1..=MAX_NAME_BYTES => Ok(name),
        _ => Err(Unread::TooLarge),
    }
}

/// An address for mail has at most 254 bytes (RFC 5321 section 4.5.3.1.3).
const MAX_NAME_BYTES: usize = 512;

fn of_form(name: &str, body: &[u8]) -> Result<String, Unread> {
    let mut values = form_urlencoded::parse(body).filter(|(key, _)| key == name);
    let (_, value) = values.next().ok_or(Unread::Absent)?;
    if values.next().is_some() {
        return Err(Unread::Doubled);
    }
    // What the parser puts in place of bytes that are no UTF-8.
    if value.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Unread::Malformed);
    }
    Ok(value.into_owned())
}

fn of_json(path: &[Box<str>], body: &[u8]) -> Result<String, Unread> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let found = Seek(path).deserialize(&mut reader);
    match (found, reader.end()) {
        (Ok(found), Ok(())) => found,
        _ => Err(Unread::Malformed),
    }
}

/// Goes down one way and keeps nothing of what stands beside it.
struct Seek<'p>(&'p [Box<str>]);

type Found = Result<String, Unread>;

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            match self.0.split_first() {
                Some((first, rest)) if **first == *key => {
                    let value = map.next_value_seed(Seek(rest))?;
                    found = Some(match found {
                        None => value,
                        Some(_) => Err(Unread::Doubled),
                    });
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found.unwrap_or(Err(Unread::Absent)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Found, E> {
        Ok(match self.0 {
            [] => Ok(text.to_owned()),
            _ => Err(Unread::Absent),
        })
    }

    /// A number names a user too; a fraction or a negative one does not.
    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Found, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        Ok(Err(Unread::Absent))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(Err(Unread::Absent))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(Err(Unread::Absent))
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Err(Unread::Absent))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut all: A) -> Result<Found, A::Error> {
        while all.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err(Unread::Absent))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(field: &str, body: &[u8]) -> Result<String, Unread> {
        login_name(&field.parse().unwrap(), body)
    }

    #[test]
    fn a_name_is_read_or_it_is_said_why_not() {
        let check = |field: &str, body: &str, expected: Result<&str, Unread>| {
            let expected = expected.map(str::to_owned);
            assert_eq!(read(field, body.as_bytes()), expected, "{field} of {body}");
        };
        check(
            "json:email",
            r#"{"password": "x", "email": "a@b.test"}"#,
            Ok("a@b.test"),
        );
        check(
            "json:email",
            r#"{"email": " Ann@B.test "}"#,
            Ok("ann@b.test"),
        );
        check("json:email", r#"{"email": "\u00c4"}"#, Ok("ä"));
        check("json:email", r#"{"\u0065mail": "a"}"#, Ok("a"));
        check(
            "json:user.email",
            r#"{"email": "a", "user": {"email": "b"}}"#,
            Ok("b"),
        );
        check("json:id", r#"{"id": 17}"#, Ok("17"));
        check(
            "json:email",
            r#"{"user": {"email": "b"}}"#,
            Err(Unread::Absent),
        );
        check("json:user.email", r#"{"user": "b"}"#, Err(Unread::Absent));
        for value in ["null", "true", "[\"a\"]", "{}", "\" \"", "-1", "1.5"] {
            check(
                "json:email",
                &format!("{{\"email\": {value}}}"),
                Err(Unread::Absent),
            );
        }
        check("json:email", "[]", Err(Unread::Absent));
        check(
            "json:email",
            r#"{"email": "a", "email": "b"}"#,
            Err(Unread::Doubled),
        );
        check(
            "json:u.e",
            r#"{"u": {"e": "a"}, "u": {}}"#,
            Err(Unread::Doubled),
        );
        for body in [
            "",
            "{",
            r#"{"email": "a"} x"#,
            r#"{"email": "a",}"#,
            "email=a",
        ] {
            check("json:email", body, Err(Unread::Malformed));
        }
        check(
            "form:user",
            "user=Ann%40b.test&password=x",
            Ok("ann@b.test"),
        );
        check("form:user", "a=1&user=a+b", Ok("a b"));
        check("form:user", "users=a", Err(Unread::Absent));
        check("form:user", "user=", Err(Unread::Absent));
        check("form:user", "user=a&user=b", Err(Unread::Doubled));
        check("form:user", "user=a&us%65r=b", Err(Unread::Doubled));
        check("form:user", "user=%ff", Err(Unread::Malformed));
        let long = |bytes: usize| format!("user={}", "a".repeat(bytes));
        check(
            "form:user",
            &long(MAX_NAME_BYTES),
            Ok(&"a".repeat(MAX_NAME_BYTES)),
        );
        check(
            "form:user",
            &long(MAX_NAME_BYTES + 1),
            Err(Unread::TooLarge),
        );
    }

    /// What stands beside the way is passed over without a call for each level.
    #[test]
    fn depth_costs_no_stack() {
        let deep = format!("{}{}", "[".repeat(60_000), "]".repeat(60_000));
        assert_eq!(read("json:a", deep.as_bytes()), Err(Unread::Absent));
        let beside = format!("{{\"b\": {deep}, \"a\": \"ann\"}}");
        assert_eq!(read("json:a", beside.as_bytes()), Ok("ann".to_owned()));
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for field in ["json:a", "json:a.b", "form:a"] {
                let name = read(field, &bytes);
                prop_assert!(name.is_ok_and(|name| !name.is_empty()) || read(field, &bytes).is_err());
            }
        }

        #[test]
        fn what_was_written_is_read(name in "[a-zäöß0-9@.+&=%\"\\\\ ]{1,40}") {
            let expected = match name.trim().to_lowercase() {
                trimmed if trimmed.is_empty() => Err(Unread::Absent),
                trimmed => Ok(trimmed),
            };
            let json = serde_json::json!({ "x": [1], "a": { "b": name } }).to_string();
            prop_assert_eq!(&read("json:a.b", json.as_bytes()), &expected);
            let mut form = form_urlencoded::Serializer::new(String::new());
            form.append_pair("x", "y").append_pair("a", &name);
            prop_assert_eq!(read("form:a", form.finish().as_bytes()), expected);
        }
    }
}

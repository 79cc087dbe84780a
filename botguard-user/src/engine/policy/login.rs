//! How a route's logins are read: where a request names its user, and which statuses say no.

use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;

use crate::engine::facts::Login;

/// `[[route]] login`, as the edge works with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoginRule {
    /// Where the body names the user.
    pub field: LoginField,
    /// Statuses of a failed login.
    pub failure: Arc<[u16]>,
}

impl LoginRule {
    /// What a status of the application's says of a login; nothing where it names none.
    #[must_use]
    pub fn outcome(&self, status: u16) -> Option<Login> {
        self.failure.contains(&status).then_some(Login::Fail)
    }
}

/// A field of a request's body: `json:email`, `json:user.email` or `form:username`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub enum LoginField {
    /// A member of a JSON object, by its way from the outermost; never empty.
    Json(Arc<[Box<str>]>),
    /// A field of a form.
    Form(Box<str>),
}

/// Text that is no place for a user's name. The configuration's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is not a place for a user's name; write json:FIELD, json:OUTER.FIELD or form:FIELD", .0.escape_debug())]
pub struct LoginFieldError(String);

impl FromStr for LoginField {
    type Err = LoginFieldError;

    fn from_str(text: &str) -> Result<Self, LoginFieldError> {
        let field = match text.split_once(':') {
            Some(("json", path)) if path.split('.').all(|step| !step.is_empty()) => {
                Some(Self::Json(path.split('.').map(Into::into).collect()))
            }
            Some(("form", name)) if !name.is_empty() => Some(Self::Form(name.into())),
            _ => None,
        };
        field.ok_or_else(|| LoginFieldError(text.to_owned()))
    }
}

impl TryFrom<String> for LoginField {
    type Error = LoginFieldError;

    fn try_from(text: String) -> Result<Self, LoginFieldError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_json_or_form() {
        let check = |text: &str, expected: Option<LoginField>| {
            assert_eq!(text.parse().ok(), expected, "{text}");
        };
        let json = |path: &[&str]| {
            Some(LoginField::Json(
                path.iter().map(|it| (*it).into()).collect(),
            ))
        };
        check("json:email", json(&["email"]));
        check("json:user.email", json(&["user", "email"]));
        check("form:user.name", Some(LoginField::Form("user.name".into())));
        for text in [
            "",
            "email",
            "json:",
            "json:.a",
            "json:a..b",
            "form:",
            "header:x",
            "JSON:a",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn a_status_that_is_not_named_says_nothing() {
        let rule = LoginRule {
            field: LoginField::Form("user".into()),
            failure: [401, 403].into(),
        };
        assert_eq!(rule.outcome(401), Some(Login::Fail));
        assert_eq!(rule.outcome(200), None);
    }
}

//! Whose page a request comes from, and whether its script may read the answer (Fetch standard,
//! "CORS protocol").

use http::{HeaderMap, HeaderValue, header};

use super::settings::Origin;

/// Where the page is that asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Asker {
    /// No `Origin`: the same origin, or not a page.
    Unnamed,
    /// The application itself, or one of the configured origins.
    Allowed(HeaderValue),
    /// Somebody else's.
    Foreign,
}

pub(super) fn asker(headers: &HeaderMap, authority: &str, origins: &[Origin]) -> Asker {
    let Some(value) = headers.get(header::ORIGIN) else {
        return Asker::Unnamed;
    };
    let own = format!("https://{authority}");
    let known = std::iter::once(own.as_str()).chain(origins.iter().map(Origin::as_str));
    if known.into_iter().any(|origin| origin.as_bytes() == value) {
        Asker::Allowed(value.clone())
    } else {
        Asker::Foreign
    }
}

/// Lets the page read the answer, if it may; caches must tell pages apart in any case.
pub(super) fn mark(headers: &mut HeaderMap, asker: &Asker) {
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    if let Asker::Allowed(origin) = asker {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let exposed = HeaderValue::from_static("retry-after");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_origins_are_allowed() {
        let origins = [Origin::try_from("https://App.example.com".to_owned()).unwrap()];
        let check = |origin: &'static str, allowed: bool| {
            let value = HeaderValue::from_static(origin);
            let headers = HeaderMap::from_iter([(header::ORIGIN, value.clone())]);
            let expected = if allowed {
                Asker::Allowed(value)
            } else {
                Asker::Foreign
            };
            assert_eq!(asker(&headers, "api.example.com:8443", &origins), expected);
        };
        check("https://app.example.com", true);
        check("https://api.example.com:8443", true);
        check("http://app.example.com", false);
        check("https://app.example.com.evil.test", false);
        check("https://api.example.com", false);
        check("null", false);
        assert_eq!(asker(&HeaderMap::new(), "a", &origins), Asker::Unnamed);
    }
}

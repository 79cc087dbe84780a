//! Route templates: `/users/{id}/orders`, `/static/*`.

/// A template's segments.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Template {
    pub(super) segments: Vec<Segment>,
    pub(super) tail: Tail,
}

/// One segment of a template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Segment {
    /// Exactly this.
    Literal(Box<str>),
    /// `{name}`: any one segment. Two templates that differ only in names are the same.
    Parameter,
}

/// How a template ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tail {
    /// With its last segment.
    Closed,
    /// `*`: zero or more segments.
    Open,
}

impl Template {
    /// Errors: what is wrong with `text`, and the mend.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = text
            .strip_prefix('/')
            .ok_or("it must start with `/`, as in \"/users\"")?;
        let (rest, tail) = match rest.strip_suffix('*') {
            Some("") => ("", Tail::Open),
            Some(before) => {
                let before = before
                    .strip_suffix('/')
                    .ok_or("`*` must be a segment of its own, as in \"/static/*\"")?;
                (before, Tail::Open)
            }
            None => (rest, Tail::Closed),
        };
        let segments = match rest {
            "" => Vec::new(),
            _ => rest.split('/').map(segment).collect::<Result<_, _>>()?,
        };
        Ok(Self { segments, tail })
    }

    /// Whether the paths it matches differ from it.
    pub(super) fn has_parameters(&self) -> bool {
        self.segments.contains(&Segment::Parameter)
    }
}

fn segment(text: &str) -> Result<Segment, &'static str> {
    let name = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    match (text, name) {
        ("", _) => Err("an empty segment never matches; remove the doubled or last `/`"),
        ("." | "..", _) => Err("dot segments are removed before matching; leave them out"),
        (_, Some(name)) if is_name(name) => Ok(Segment::Parameter),
        _ if text.contains(['{', '}']) => Err(
            "a parameter is a whole segment with a name of letters, digits and `_`, as in \"{id}\"",
        ),
        _ if text.contains('*') => Err("`*` may only be the last segment"),
        _ if text.contains(['?', '#']) => Err("it must be a path, without query or fragment"),
        _ => Ok(Segment::Literal(Box::from(text))),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || octet == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_parsed_or_explained() {
        let check = |text, expected: Result<(usize, Tail), &str>| {
            let parsed = Template::parse(text).map(|it| (it.segments.len(), it.tail));
            match (parsed, expected) {
                (Err(problem), Err(part)) => assert!(problem.contains(part), "{text}: {problem}"),
                (parsed, expected) => assert_eq!(parsed, expected, "{text}"),
            }
        };
        check("/", Ok((0, Tail::Closed)));
        check("/*", Ok((0, Tail::Open)));
        check("/users", Ok((1, Tail::Closed)));
        check("/users/{id}/orders", Ok((3, Tail::Closed)));
        check("/users/*", Ok((1, Tail::Open)));
        check("users", Err("start with `/`"));
        check("", Err("start with `/`"));
        check("/users/", Err("empty segment"));
        check("/a//b", Err("empty segment"));
        check("/a/../b", Err("dot segments"));
        check("/us*", Err("segment of its own"));
        check("/*/a", Err("last segment"));
        check("/{id", Err("whole segment"));
        check("/{}", Err("whole segment"));
        check("/v{n}", Err("whole segment"));
        check("/{a b}", Err("whole segment"));
        check("/a?b=1", Err("without query"));
    }
}

//! Which route a request takes: a trie of path segments, so that the cost follows the depth of the
//! path and not the number of routes.
//!
//! The most literal template wins, compared segment by segment from the left: a literal before a
//! parameter before `*`. At the end, a route that names the method comes before one for all. A
//! template whose methods do not fit gives way to a less literal one. Routes for the request's host
//! come first, then those for the names above it (the longest first), then those for all hosts.

use std::sync::Arc;

use hashbrown::HashMap;
use http::Method;

use super::RoutePolicy;
use super::error::PolicyError;
use super::limit::Limit;
use super::login::LoginRule;
use super::rollout::{Rollout, mix_text};
use super::settings::{DefaultSettings, LimitSettings, RouteSettings};
use super::template::{Segment, Tail, Template};
use crate::engine::decision::RouteThresholds;

/// One `[[route]]`, compiled.
#[derive(Clone, Debug)]
pub(super) struct Route {
    template: Template,
    host: Option<HostPattern>,
    /// Empty means all.
    pub(super) methods: Vec<Method>,
    pub(super) policy: RoutePolicy,
}

/// The hosts of a route.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum HostPattern {
    /// This one.
    Exact(Box<str>),
    /// `*.example.com`, without its star and dot: any name below it.
    Below(Box<str>),
}

/// All routes and the tries that find them: one for each host pattern, and one for the rest.
#[derive(Clone, Debug)]
pub(super) struct Routes {
    routes: Vec<Route>,
    nodes: Vec<Node>,
    /// Where the trie of a host begins.
    hosts: HashMap<HostPattern, usize>,
    have_logins: bool,
}

#[derive(Clone, Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, usize>,
    parameter: Option<usize>,
    /// Routes whose template ends here.
    closed: Vec<usize>,
    /// Routes whose template goes on with `*`.
    open: Vec<usize>,
}

impl Route {
    pub(super) fn compile(
        index: usize,
        settings: &RouteSettings,
        default: &DefaultSettings,
    ) -> Result<Self, PolicyError> {
        let table = format!("route[{index}]");
        let template =
            Template::parse(&settings.path).map_err(|problem| PolicyError::Template {
                key: format!("{table}.path"),
                text: settings.path.clone(),
                problem,
            })?;
        let methods = settings
            .methods
            .iter()
            .map(|text| method(&table, text))
            .collect::<Result<Vec<_>, _>>()?;
        let thresholds = settings.thresholds().or(default.thresholds());
        let host = (settings.host.as_deref())
            .map(|text| {
                HostPattern::parse(text).ok_or_else(|| PolicyError::Host {
                    key: format!("{table}.host"),
                    text: text.to_owned(),
                })
            })
            .transpose()?;
        if settings.cost == 0 {
            return Err(PolicyError::Zero {
                key: format!("{table}.cost"),
            });
        }
        let mut statuses = settings.login.iter().flat_map(|login| &login.failure);
        if let Some(&status) = statuses.find(|status| !(100..=599).contains(*status)) {
            return Err(PolicyError::Status {
                key: format!("{table}.login.failure"),
                status,
            });
        }
        let name = match &settings.host {
            Some(host) => format!("{host}{}", settings.path),
            None => settings.path.clone(),
        };
        let policy = RoutePolicy {
            hash: mix_text(&name),
            has_parameters: template.has_parameters(),
            mode: settings.mode.unwrap_or(default.mode),
            thresholds: RouteThresholds::compile(&table, &thresholds)?,
            expects: settings.expects,
            rollout: settings.rollout.or(default.rollout).unwrap_or(Rollout::ALL),
            cost: u64::from(settings.cost),
            limits: limits(&table, &name, &methods, settings)?,
            login: settings.login.as_ref().map(|login| {
                Arc::new(LoginRule {
                    field: login.user.clone(),
                    failure: login.failure.as_slice().into(),
                })
            }),
            name: Arc::from(name),
        };
        Ok(Self {
            template,
            host,
            methods,
            policy,
        })
    }

    /// Both for all methods, or both for the same one.
    fn collides_with(&self, other: &Self) -> bool {
        match (self.methods.is_empty(), other.methods.is_empty()) {
            (true, true) => true,
            (false, false) => self.methods.iter().any(|it| other.methods.contains(it)),
            _ => false,
        }
    }
}

impl Routes {
    /// Errors: [`PolicyError::DuplicateRoute`].
    pub(super) fn new(routes: Vec<Route>) -> Result<Self, PolicyError> {
        let mut nodes = vec![Node::default()];
        let mut hosts = HashMap::new();
        for (index, route) in routes.iter().enumerate() {
            let root = match &route.host {
                None => 0,
                Some(host) => *hosts.entry(host.clone()).or_insert_with(|| {
                    nodes.push(Node::default());
                    nodes.len() - 1
                }),
            };
            let end = insert(&mut nodes, root, &route.template.segments);
            let ending = match route.template.tail {
                Tail::Closed => &mut nodes[end].closed,
                Tail::Open => &mut nodes[end].open,
            };
            if let Some(first) = ending.iter().find(|it| routes[**it].collides_with(route)) {
                return Err(PolicyError::DuplicateRoute {
                    first: format!("route[{first}]"),
                    second: format!("route[{index}].path"),
                    template: route.policy.name.to_string(),
                });
            }
            ending.push(index);
        }
        let have_logins = routes.iter().any(|route| route.policy.login.is_some());
        Ok(Self {
            routes,
            nodes,
            hosts,
            have_logins,
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// Whether any of them reads logins.
    pub(super) const fn have_logins(&self) -> bool {
        self.have_logins
    }

    /// The route of a normalised path on a host in lower case without its port.
    pub(super) fn find(&self, host: &str, method: &Method, path: &str) -> Option<&Route> {
        let rest = path.strip_prefix('/').unwrap_or(path);
        let rest = (!rest.is_empty()).then_some(rest);
        let of_host = self
            .roots(host)
            .find_map(|root| self.search(root, method, rest));
        of_host.or_else(|| self.search(0, method, rest))
    }

    /// Where the tries for this host begin, the most specific first.
    fn roots<'a>(&'a self, host: &'a str) -> impl Iterator<Item = usize> + 'a {
        let host = (!self.hosts.is_empty()).then_some(host);
        let exact = host.and_then(|host| self.hosts.get(&Lookup::Exact(host)));
        let above = std::iter::successors(host, |name| Some(name.split_once('.')?.1)).skip(1);
        let below = above.filter_map(|name| self.hosts.get(&Lookup::Below(name)));
        exact.into_iter().chain(below).copied()
    }

    /// Each node is visited once at most, since a node has one path to it; as deep as the deepest
    /// template.
    fn search(&self, node: usize, method: &Method, rest: Option<&str>) -> Option<&Route> {
        let node = &self.nodes[node];
        let deeper = match rest {
            None => self.choose(&node.closed, method),
            Some(rest) => {
                let (segment, rest) = match rest.split_once('/') {
                    Some((segment, rest)) => (segment, Some(rest)),
                    None => (rest, None),
                };
                let literal = node.literals.get(segment).copied();
                literal
                    .and_then(|child| self.search(child, method, rest))
                    .or_else(|| self.search(node.parameter?, method, rest))
            }
        };
        deeper.or_else(|| self.choose(&node.open, method))
    }

    fn choose(&self, candidates: &[usize], method: &Method) -> Option<&Route> {
        let routes = || candidates.iter().map(|index| &self.routes[*index]);
        routes()
            .find(|route| route.methods.contains(method))
            .or_else(|| routes().find(|route| route.methods.is_empty()))
    }
}

impl HostPattern {
    /// `None` where it is not a host name.
    fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let (name, below) = match lower.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (lower.as_str(), false),
        };
        let is_label = |label: &str| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
        };
        let is_address = name.parse::<std::net::IpAddr>().is_ok();
        if !is_address && !name.split('.').all(is_label) {
            return None;
        }
        let name = Box::from(name);
        Some(if below {
            Self::Below(name)
        } else {
            Self::Exact(name)
        })
    }
}

/// A [`HostPattern`] to be looked up without a copy of the host. Hashes as that does.
#[derive(Hash)]
enum Lookup<'a> {
    Exact(&'a str),
    Below(&'a str),
}

impl hashbrown::Equivalent<HostPattern> for Lookup<'_> {
    fn equivalent(&self, pattern: &HostPattern) -> bool {
        match (self, pattern) {
            (Self::Exact(a), HostPattern::Exact(b)) | (Self::Below(a), HostPattern::Below(b)) => {
                **a == **b
            }
            _ => false,
        }
    }
}

/// The limits of one route, whose names differ.
fn limits(
    table: &str,
    name: &str,
    methods: &[Method],
    settings: &RouteSettings,
) -> Result<Vec<Limit>, PolicyError> {
    let methods: Vec<&str> = methods.iter().map(Method::as_str).collect();
    let scope = format!("{} {name}", methods.join(","));
    let mut limits = compile_limits(table, &scope, &settings.limits)?;
    if let Some(quota) = &settings.quota {
        limits.push(Limit::quota(&format!("{table}.quota"), &scope, quota)?);
    }
    Ok(limits)
}

/// Limits in the order of the settings.
pub(super) fn compile_limits(
    table: &str,
    scope: &str,
    settings: &[LimitSettings],
) -> Result<Vec<Limit>, PolicyError> {
    let mut limits: Vec<Limit> = Vec::new();
    for (index, limit) in settings.iter().enumerate() {
        let key = format!("{table}.limits[{index}]");
        let limit = Limit::compile(&key, scope, limit)?;
        if let Some(first) = limits.iter().position(|it| it.name == limit.name) {
            return Err(PolicyError::DuplicateLimit {
                first: format!("{table}.limits[{first}]"),
                second: key,
                name: limit.name.to_string(),
            });
        }
        limits.push(limit);
    }
    Ok(limits)
}

fn insert(nodes: &mut Vec<Node>, root: usize, segments: &[Segment]) -> usize {
    let mut node = root;
    for segment in segments {
        let fresh = nodes.len();
        let child = match segment {
            Segment::Literal(text) => *nodes[node].literals.entry(text.clone()).or_insert(fresh),
            Segment::Parameter => *nodes[node].parameter.get_or_insert(fresh),
        };
        if child == fresh {
            nodes.push(Node::default());
        }
        node = child;
    }
    node
}

/// Methods are upper case by registration (RFC 9110 section 16.1.2); `get` would never match.
fn method(table: &str, text: &str) -> Result<Method, PolicyError> {
    let refuse = || PolicyError::Method {
        key: format!("{table}.methods"),
        text: text.to_owned(),
    };
    if text.is_empty()
        || !text
            .bytes()
            .all(|octet| octet.is_ascii_uppercase() || octet == b'-')
    {
        return Err(refuse());
    }
    Method::from_bytes(text.as_bytes()).map_err(|_cause| refuse())
}

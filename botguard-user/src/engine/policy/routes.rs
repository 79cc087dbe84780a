//! Which route a request takes: a trie of path segments, so that the cost follows the depth of the
//! path and not the number of routes.
//!
//! The most literal template wins, compared segment by segment from the left: a literal before a
//! parameter before `*`. At the end, a route that names the method comes before one for all. A
//! template whose methods do not fit gives way to a less literal one.

use std::sync::Arc;

use hashbrown::HashMap;
use http::Method;

use super::RoutePolicy;
use super::error::PolicyError;
use super::settings::{DefaultSettings, RouteSettings};
use super::template::{Segment, Tail, Template};
use super::thresholds::Thresholds;

/// One `[[route]]`, compiled.
#[derive(Clone, Debug)]
pub(super) struct Route {
    template: Template,
    /// Empty means all.
    pub(super) methods: Vec<Method>,
    pub(super) policy: RoutePolicy,
}

/// All routes and the trie that finds them.
#[derive(Clone, Debug)]
pub(super) struct Routes {
    routes: Vec<Route>,
    nodes: Vec<Node>,
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
        let policy = RoutePolicy {
            name: Arc::from(settings.path.as_str()),
            has_parameters: template.has_parameters(),
            mode: settings.mode.unwrap_or(default.mode),
            thresholds: Thresholds::compile(&table, &thresholds)?,
            expects: settings.expects,
        };
        Ok(Self {
            template,
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
        for (index, route) in routes.iter().enumerate() {
            let end = insert(&mut nodes, &route.template.segments);
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
        Ok(Self { routes, nodes })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// The route of a normalised path.
    pub(super) fn find(&self, method: &Method, path: &str) -> Option<&Route> {
        let rest = path.strip_prefix('/').unwrap_or(path);
        self.search(0, method, (!rest.is_empty()).then_some(rest))
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

fn insert(nodes: &mut Vec<Node>, segments: &[Segment]) -> usize {
    let mut node = 0;
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

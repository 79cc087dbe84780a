//! The clients of a run and the policy that they meet.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::Result;
use botguard::engine::facts::RequestFacts;
use botguard::engine::policy::Policy;
use botguard::settings::Loaded;
use botguard::settings::document::Document;
use botguard::words::address::ClientAddress;
use botguard::words::identity::{KeyHash, KeyIdentity};
use botguard_tests::bench::random::Random;
use http::Method;

/// The configuration text: tiers, limits of every kind, and so many routes.
pub(crate) fn configuration(n_routes: usize) -> String {
    let mut text = String::from(
        "[identity]\napi_key = [\"header:x-api-key\"]\n\
         [[tier]]\nname = \"free\"\nkeys = [\"sk_pub_*\"]\nclient = \"browser\"\nweight = 0.10\n\
         rate = \"120/min\"\nburst = 60\n\
         [default]\nmode = \"enforce\"\n\
         limits = [{ per = \"address\", rate = \"100000/min\", burst = 100000 }]\n",
    );
    for route in 0..n_routes {
        text.push_str(&format!(
            "[[route]]\npath = \"/v{}/resource{route}/{{id}}\"\nmethods = [\"GET\"]\n\
             mode = \"enforce\"\n\
             limits = [{{ per = \"key\", rate = \"100000/min\", burst = 100000 }}]\n",
            route % 7
        ));
    }
    text
}

/// Loads it as the daemon does.
pub(crate) fn load(text: String) -> Result<Loaded> {
    Ok(Loaded::parse(Document::from_text(
        "bench.toml".as_ref(),
        text,
    ))?)
}

/// The policy of a configuration.
pub(crate) fn policy(n_routes: usize) -> Result<Arc<Policy>> {
    Ok(Arc::new(load(configuration(n_routes))?.policy()?))
}

/// Clients with an address and a key each, who ask for any of the routes.
pub(crate) struct Crowd {
    paths: Vec<Arc<str>>,
    queries: [Arc<str>; 4],
    tier: Arc<str>,
    public_id: Arc<str>,
    shown: Arc<str>,
    n_clients: u32,
}

impl Crowd {
    pub(crate) fn new(n_clients: u32, n_routes: usize) -> Self {
        let paths = (0..n_routes)
            .map(|route| format!("/v{}/resource{route}/{}", route % 7, route * 31).into())
            .collect();
        Self {
            paths,
            queries: ["", "", "fields=name", "cursor=eyJpZCI6MX0"].map(Arc::from),
            tier: "free".into(),
            public_id: "xyz123kd92mv".into(),
            shown: "sk_pub_xyz123kd92mv…".into(),
            n_clients,
        }
    }

    /// One request of one client.
    pub(crate) fn request(&self, client: u32, random: &mut Random) -> RequestFacts {
        let address = IpAddr::V4(Ipv4Addr::from_bits(0x0B00_0000 + client));
        let client_address = ClientAddress::direct(address);
        let mut facts = RequestFacts::anonymous(client_address, Method::GET, "", "");
        facts.path = Arc::clone(random.choose(&self.paths));
        facts.query = Arc::clone(random.choose(&self.queries));
        facts.key = Some(KeyIdentity {
            public_id: Arc::clone(&self.public_id),
            shown: Arc::clone(&self.shown),
            hash: KeyHash(u128::from(client) << 64 | u128::from(client)),
            tier: Some(Arc::clone(&self.tier)),
        });
        facts
    }

    /// Any client.
    pub(crate) fn anybody(&self, random: &mut Random) -> u32 {
        random.below(self.n_clients)
    }

    /// Every client.
    pub(crate) fn everybody(&self) -> std::ops::Range<u32> {
        0..self.n_clients
    }
}

//! Sets the stage: the edge host, and everybody's addresses, which the ASN extract in the
//! repository knows.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use botguard_tests::config::Config;
use botguard_tests::host::Host;
use botguard_tests::sample_api::SampleApi;

use crate::people::{self, Tally, Way};

/// Everything that is on stage.
pub(crate) struct Scene {
    /// The edge host, the world, the application.
    pub(crate) host: Host,
    /// What ordinary users were given.
    pub(crate) users: Arc<Tally>,
    /// What the partner was given.
    pub(crate) partner: Arc<Tally>,
    /// What the scraper was given.
    pub(crate) scraper: Arc<Tally>,
    config: Config,
}

impl Scene {
    /// Builds the stage, with `/users` in log mode and the application up; nobody else plays yet.
    pub(crate) fn set(tier_weight: f64) -> Result<Self> {
        let config = Config {
            users_mode: "log",
            tier_weight,
            ..Config::default()
        };
        let mut host = Host::set_up("demo", &config)?;
        let mut sources = vec![PARTNER, SCRAPER];
        for (source, _) in USERS {
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        for source in sources {
            host.lab.add_source(address(source)?)?;
        }
        host.serve(SampleApi::new(&[PUBLIC_KEY, SHOP_KEY, PARTNER_KEY]));
        Ok(Self {
            host,
            users: Arc::default(),
            partner: Arc::default(),
            scraper: Arc::default(),
            config,
        })
    }

    /// Writes the configuration with `/users` in enforce mode.
    pub(crate) fn enforce(&self) -> Result<()> {
        self.host.configure(&Config {
            users_mode: "enforce",
            ..self.config.clone()
        })
    }

    /// Lets everybody begin.
    pub(crate) fn start_people(&mut self) {
        let tls = self.host.certificate.client(&["h2", "http/1.1"]);
        let plain_tls = self.host.certificate.client(&["http/1.1"]);
        let [users, partner, scraper] = [&self.users, &self.partner, &self.scraper].map(Arc::clone);
        self.host.beside(move |mut end| async move {
            let way = Way {
                tls,
                end: end.clone(),
            };
            // A scraper's HTTP library speaks HTTP/1.1 only, as most do.
            let scraper_way = Way {
                tls: plain_tls,
                end: end.clone(),
            };
            for (seed, (source, key)) in (1..).zip(USERS) {
                let source = address(source)?;
                tokio::spawn(people::user(
                    way.clone(),
                    source,
                    key,
                    seed,
                    Arc::clone(&users),
                ));
            }
            tokio::spawn(people::partner(
                way,
                address(PARTNER)?,
                PARTNER_KEY,
                partner,
            ));
            let source = address(SCRAPER)?;
            tokio::spawn(people::scraper(
                scraper_way.clone(),
                source,
                PUBLIC_KEY,
                scraper,
            ));
            // An error means that the host is gone, which is the end too.
            let _ended: Result<_, _> = end.wait_for(|&over| over).await;
            Ok(())
        });
    }

    /// Standard output of a `botguard` command, which must succeed.
    pub(crate) fn botguard(&self, arguments: &[&str]) -> Result<String> {
        self.host.botguard.expect(&self.host.lab, arguments)
    }
}

fn address(text: &str) -> Result<IpAddr> {
    text.parse().with_context(|| text.to_owned())
}

/// The scraper: an address of AS16509 (Amazon).
pub(crate) const SCRAPER: &str = "54.66.7.8";
/// The partner's server, in a hosting network too: AS24940 (Hetzner).
const PARTNER: &str = "5.9.10.20";

/// The scraper's free-tier key: public, since it stands in the page that browsers load.
const PUBLIC_KEY: &str = "sk_pub_xyz123kd92mvbq07trw4ynlcze518jqa3";
const SHOP_KEY: &str = "sk_pub_shop77q1mzx83hv02ckt5wrdy9b4e6fun";
const PARTNER_KEY: &str = "sk_live_partner5c1v9xkq27dmzt0hw84b3";

/// Address and key of each ordinary user: three with the very key that the scraper copied, three
/// behind one address, one with IPv6. AS7922 (Comcast), AS3320 (Deutsche Telekom), AS701 (Verizon).
const USERS: [(&str, &str); 8] = [
    ("73.15.20.30", PUBLIC_KEY),
    ("73.15.20.31", SHOP_KEY),
    ("87.140.5.6", PUBLIC_KEY),
    ("87.140.5.7", SHOP_KEY),
    ("71.183.1.2", SHOP_KEY),
    ("71.183.1.2", SHOP_KEY),
    ("71.183.1.2", PUBLIC_KEY),
    ("2003:c0:1::5", SHOP_KEY),
];

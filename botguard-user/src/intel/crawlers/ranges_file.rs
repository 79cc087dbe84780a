//! The addresses of a crawler, as its operator publishes them: `{"prefixes": [{"ipv4Prefix": …},
//! {"ipv6Prefix": …}]}` (Google, Bing, Apple, OpenAI, …), or a network a line.

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use serde::Deserialize;

use crate::intel::error::{IntelError, RowProblem, read};
use crate::intel::table_file::modified;
use crate::words::address::{canonical_network, host_network};
use crate::words::data_file::{DataFile, file_name};
use crate::words::network_set::{NetworkSet, Prefix};

/// The published form. Other members are passed over.
#[derive(Deserialize)]
struct Published {
    prefixes: Vec<PublishedPrefix>,
}

#[derive(Deserialize)]
struct PublishedPrefix {
    #[serde(rename = "ipv4Prefix")]
    v4: Option<String>,
    #[serde(rename = "ipv6Prefix")]
    v6: Option<String>,
}

/// `kind` is what `botguard status` calls the file.
///
/// Errors: [`IntelError`], naming file and line, or which of the prefixes.
pub(super) fn load(path: &Path, kind: String) -> Result<(NetworkSet, DataFile), IntelError> {
    let networks = parse(path, &read(path)?)?;
    let file = DataFile {
        kind,
        name: file_name(path),
        n_entries: networks.len(),
        date: Some(modified(path)?),
    };
    Ok((networks, file))
}

fn parse(path: &Path, content: &[u8]) -> Result<NetworkSet, IntelError> {
    let at = |line: u64, problem: RowProblem| IntelError::Row {
        path: path.to_owned(),
        line,
        problem,
    };
    let text = std::str::from_utf8(content);
    let text = text.map_err(|_cause| at(1, RowProblem::Text(EXPECTED)))?;
    let networks = if text.trim_start().starts_with('{') {
        let published: Published = serde_json::from_str(text)
            .map_err(|error| at(error.line() as u64, RowProblem::Prefixes(error.to_string())))?;
        let prefixes = published.prefixes.into_iter();
        let texts = prefixes.flat_map(|prefix| [prefix.v4, prefix.v6]).flatten();
        let networks = (1..).zip(texts).map(|(nth, text)| {
            network(&text).map_err(|problem| IntelError::Prefix {
                path: path.to_owned(),
                nth,
                problem,
            })
        });
        networks.collect::<Result<Vec<_>, _>>()?
    } else {
        let lines = (1..).zip(text.lines()).map(|(line, text)| {
            let bare = text.split_once('#').map_or(text, |(it, _comment)| it);
            (line, bare.trim())
        });
        let networks = lines
            .filter(|(_line, text)| !text.is_empty())
            .map(|(line, text)| network(text).map_err(|problem| at(line, problem)));
        networks.collect::<Result<Vec<_>, _>>()?
    };
    if networks.is_empty() {
        return Err(IntelError::Empty {
            path: path.to_owned(),
            expected: EXPECTED,
        });
    }
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for network in networks {
        match network {
            IpNet::V4(network) => v4.push(Prefix::from(network)),
            IpNet::V6(network) => v6.push(Prefix::from(network)),
        }
    }
    Ok(NetworkSet::new(v4, v6))
}

const EXPECTED: &str = "{\"prefixes\": [{\"ipv4Prefix\": …}]}, or a network a line";

/// A network, or an address alone. One as wide as a continent is nobody's crawler.
fn network(text: &str) -> Result<IpNet, RowProblem> {
    let network = text.parse().or_else(|_not_a_network| {
        let address: Result<IpAddr, _> = text.parse();
        address.map(host_network)
    });
    let network: IpNet = network.map_err(|_cause| RowProblem::Address(text.to_owned()))?;
    let network = canonical_network(network.trunc());
    let widest = match network {
        IpNet::V4(_) => 8,
        IpNet::V6(_) => 16,
    };
    if network.prefix_len() < widest {
        return Err(RowProblem::Wide(network));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_octets_are_answered(
            content in prop::collection::vec(any::<u8>(), 0..200),
            text in "[{}\\[\\]\":,/.a-z0-9#\\n ]{0,80}",
            networks in prop::collection::vec((any::<u32>(), 8_u8..=32), 1..20),
        ) {
            let path = Path::new("ranges");
            let _answered = (parse(path, &content), parse(path, text.as_bytes()));
            // And what is written in either form is read alike.
            let networks: Vec<_> = (networks.iter())
                .map(|(ip, len)| format!("{}/{len}", std::net::Ipv4Addr::from(*ip)))
                .collect();
            let prefixes = networks.iter().map(|it| serde_json::json!({"ipv4Prefix": it}));
            let published = serde_json::json!({"prefixes": prefixes.collect::<Vec<_>>()});
            let plain = parse(path, networks.join("\n").as_bytes()).unwrap();
            let published = parse(path, published.to_string().as_bytes()).unwrap();
            prop_assert_eq!(&plain, &published);
            for network in &networks {
                let network: IpNet = network.parse().unwrap();
                prop_assert!(plain.covering(&network.trunc()).is_some(), "{}", network);
            }
        }
    }

    #[test]
    fn published_and_plain_ranges_are_read_or_refused() {
        let check = |text: &str, expected: Result<usize, &str>| {
            let path = Path::new("data/googlebot.json");
            match (parse(path, text.as_bytes()), expected) {
                (Ok(networks), Ok(n)) => {
                    assert_eq!(networks.len(), n, "{text}");
                    let is_in = |ip: &str| {
                        let ip: IpAddr = ip.parse().unwrap();
                        networks.covering(&host_network(ip)).is_some()
                    };
                    assert!(is_in("192.0.2.7") && !is_in("192.0.3.7"), "{text}");
                }
                (Err(error), Err(part)) => {
                    let message = error.to_string();
                    assert!(
                        message.starts_with(&format!("data/googlebot.json{part}")),
                        "{message}"
                    );
                }
                (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
            }
        };
        check(
            r#" {"creationTime": "2026-11-01T00:00:00", "prefixes": [
                {"ipv4Prefix": "192.0.2.0/28"}, {"ipv6Prefix": "2001:db8::/32"}]}"#,
            Ok(2),
        );
        check("192.0.2.0/24\n# note\n\n2001:db8::1 # one\n", Ok(2));
        check("192.0.2.7", Ok(1));
        check("192.0.2.9/24", Ok(1));
        check("", Err(": is empty; expected"));
        check("{\"prefixes\": []}", Err(": is empty; expected"));
        check("{\"prefixes\":\n 7}", Err(":2: is not a list of prefixes"));
        check("{}", Err(":1: is not a list of prefixes"));
        check(
            "{\"prefixes\": [{\"ipv4Prefix\": \"192.0.2.0/24\"}, {\"ipv4Prefix\": \"x\"}]}",
            Err(": prefix 2: `x` is not an IP address"),
        );
        check(
            "192.0.2.0/24\nhello\n",
            Err(":2: `hello` is not an IP address"),
        );
        check(
            "192.0.2.0/24\n0.0.0.0/0\n",
            Err(":2: 0.0.0.0/0 is wider than"),
        );
        check("2000::/3\n", Err(":1: 2000::/3 is wider than"));
    }
}

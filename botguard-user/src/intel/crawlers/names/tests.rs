//! Against a name server on loopback that says what it is told to say.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::Record;
use hickory_resolver::proto::rr::rdata::PTR;
use tokio::net::UdpSocket;

use super::*;
use crate::words::units::Span;

/// Names of addresses, and addresses of names. What is not here does not exist.
#[derive(Clone, Copy)]
struct Zone {
    reverse: &'static [(&'static str, &'static str)],
    forward: &'static [(&'static str, &'static str)],
}

/// How the server behaves.
#[derive(Clone, Copy)]
enum Server {
    Answers(Zone),
    Fails(ResponseCode),
    AnswersNamesOnly(Zone),
    Silent,
}

impl Server {
    /// Short only where the end of it is what is looked at.
    const fn patience(self) -> Duration {
        match self {
            Self::Answers(_) | Self::Fails(_) => Duration::from_secs(5),
            Self::AnswersNamesOnly(_) | Self::Silent => Duration::from_millis(200),
        }
    }

    fn response(self, question: &Message) -> Option<Message> {
        let (zone, forward) = match self {
            Self::Answers(zone) => (zone, true),
            Self::AnswersNamesOnly(zone) => (zone, false),
            Self::Fails(code) => {
                let mut failed = response_to(question);
                failed.metadata.response_code = code;
                return Some(failed);
            }
            Self::Silent => return None,
        };
        let mut response = response_to(question);
        let query = question.queries.first().unwrap();
        let data: Vec<RData> = match query.query_type() {
            RecordType::PTR => (zone.reverse.iter())
                .filter(|(ip, _)| Name::from(ip.parse::<IpAddr>().unwrap()) == *query.name())
                .map(|(_, name)| RData::PTR(PTR(Name::from_ascii(name).unwrap())))
                .collect(),
            _ if !forward => return None,
            family => (zone.forward.iter())
                .filter(|(name, _)| Name::from_ascii(name).unwrap() == *query.name())
                .map(|(_, ip)| RData::from(ip.parse::<IpAddr>().unwrap()))
                .filter(|data| data.record_type() == family)
                .collect(),
        };
        if data.is_empty() {
            response.metadata.response_code = ResponseCode::NXDomain;
        }
        let records = data.into_iter();
        response
            .add_answers(records.map(|data| Record::from_rdata(query.name().clone(), 60, data)));
        Some(response)
    }
}

fn response_to(question: &Message) -> Message {
    let mut response = question.clone();
    response.metadata.message_type = MessageType::Response;
    response.metadata.recursion_available = true;
    response.additionals.clear();
    response
}

/// Serves on a port of its own until the runtime ends; counts what it is asked.
async fn serve(server: Server) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let n_questions = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&n_questions);
    tokio::spawn(async move {
        let mut buffer = [0; 2_048];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            counter.fetch_add(1, Ordering::Relaxed);
            let question = Message::from_vec(&buffer[..length]).unwrap();
            if let Some(response) = server.response(&question) {
                let response = response.to_vec().unwrap();
                socket.send_to(&response, peer).await.unwrap();
            }
        }
    });
    (address, n_questions)
}

async fn answer(server: Server, ip: &str) -> (Answer, usize) {
    let (address, n_questions) = serve(server).await;
    let answer = answer_of(address, server.patience(), ip).await;
    (answer, n_questions.load(Ordering::Relaxed))
}

async fn answer_of(server: SocketAddr, patience: Duration, ip: &str) -> Answer {
    let settings = CrawlerDnsSettings {
        servers: vec![server],
        timeout: Span(patience),
    };
    let domains = ["googlebot.com.", "google.com."].map(|name| Name::from_ascii(name).unwrap());
    let lookup = NameLookup {
        ip: ip.parse().unwrap(),
        domains: Arc::from(domains),
    };
    NameResolver::new(&settings).unwrap().answer(&lookup).await
}

#[tokio::test]
async fn a_name_in_the_domain_that_leads_back_is_proof() {
    const ZONE: Zone = Zone {
        reverse: &[
            ("192.0.2.1", "crawl-1.GoogleBot.com."),
            ("2001:db8::1", "crawl-6.google.com."),
            ("192.0.2.2", "other.test."),
            ("192.0.2.2", "crawl-2.googlebot.com."),
            ("192.0.2.3", "crawl.evilgooglebot.com."),
            ("192.0.2.4", "googlebot.com.evil.test."),
            ("192.0.2.5", "crawl-1.googlebot.com."),
            ("192.0.2.6", "nowhere.googlebot.com."),
            ("192.0.2.7", "somebody.else.test."),
            ("192.0.2.8", "googlebot.com."),
        ],
        forward: &[
            ("crawl-1.googlebot.com.", "192.0.2.1"),
            ("crawl-6.google.com.", "2001:db8::1"),
            ("crawl-2.googlebot.com.", "192.0.2.200"),
            ("crawl-2.googlebot.com.", "192.0.2.2"),
            ("crawl.evilgooglebot.com.", "192.0.2.3"),
            ("googlebot.com.evil.test.", "192.0.2.4"),
            ("somebody.else.test.", "192.0.2.7"),
            ("googlebot.com.", "192.0.2.8"),
        ],
    };
    for (ip, expected) in [
        ("192.0.2.1", Answer::Belongs),
        ("2001:db8::1", Answer::Belongs),
        ("192.0.2.2", Answer::Belongs),
        ("192.0.2.8", Answer::Belongs),
        // Ends alike, but not on a label; and begins alike.
        ("192.0.2.3", Answer::Stranger),
        ("192.0.2.4", Answer::Stranger),
        // The name is the crawler's, and leads to the crawler.
        ("192.0.2.5", Answer::Stranger),
        ("192.0.2.6", Answer::Stranger),
        ("192.0.2.7", Answer::Stranger),
        ("192.0.2.99", Answer::Stranger),
    ] {
        let (answer, _) = answer(Server::Answers(ZONE), ip).await;
        assert_eq!(answer, expected, "{ip}");
    }
    // Names of other domains are not followed.
    assert_eq!(
        answer(Server::Answers(ZONE), "192.0.2.7").await,
        (Answer::Stranger, 1)
    );
}

#[tokio::test]
async fn a_server_that_fails_says_nothing_about_anybody() {
    const ZONE: Zone = Zone {
        reverse: &[("192.0.2.1", "crawl-1.googlebot.com.")],
        forward: &[("crawl-1.googlebot.com.", "192.0.2.1")],
    };
    for server in [
        Server::Fails(ResponseCode::ServFail),
        Server::Fails(ResponseCode::Refused),
        Server::Silent,
        Server::AnswersNamesOnly(ZONE),
    ] {
        assert_eq!(answer(server, "192.0.2.1").await.0, Answer::Unknown);
    }
    // Nobody has the port, once this socket is gone.
    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr();
    let unreachable = answer_of(gone.unwrap(), Duration::from_secs(1), "192.0.2.1").await;
    assert_eq!(unreachable, Answer::Unknown);
    assert_eq!(
        answer(Server::Answers(ZONE), "192.0.2.1").await.0,
        Answer::Belongs
    );
}

#[tokio::test]
async fn an_address_of_many_names_is_not_followed_forever() {
    const ZONE: Zone = Zone {
        reverse: &[
            ("192.0.2.1", "a.google.com."),
            ("192.0.2.1", "b.google.com."),
            ("192.0.2.1", "c.google.com."),
            ("192.0.2.1", "d.google.com."),
            ("192.0.2.1", "e.google.com."),
            ("192.0.2.1", "f.google.com."),
        ],
        forward: &[],
    };
    let asked = answer(Server::Answers(ZONE), "192.0.2.1").await;
    assert_eq!(asked, (Answer::Stranger, 1 + MAX_NAMES));
}

//! Handshakes in memory: a rustls client against the configuration of a listener.

use std::path::PathBuf;

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ServerConnection;
use rustls::version::TLS12;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, ProtocolVersion, SignatureScheme,
};

use super::*;

/// Verifies nothing, and offers these schemes.
#[derive(Debug)]
struct Trusting(Vec<SignatureScheme>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

const ANY: &[SignatureScheme] = &[
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::RSA_PSS_SHA256,
];
const RSA_ONLY: &[SignatureScheme] = &[SignatureScheme::RSA_PSS_SHA256];

/// A folder of certificates.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Writes `NAME.pem` and `NAME.key`.
    fn write(&self, name: &str, names: &[&str], key: &KeyPair) -> CertificateSettings {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = CertificateParams::new(names)
            .unwrap()
            .self_signed(key)
            .unwrap();
        let path = |end: &str| self.0.path().join(format!("{name}.{end}"));
        std::fs::write(path("pem"), made.pem()).unwrap();
        std::fs::write(path("key"), key.serialize_pem()).unwrap();
        CertificateSettings {
            cert: PathBuf::from(format!("{name}.pem")),
            key: PathBuf::from(format!("{name}.key")),
        }
    }

    fn tls(
        &self,
        files: &[CertificateSettings],
        min_tls: MinTls,
        client_certificates: Option<&ClientCertificateSettings>,
    ) -> Result<Tls, CertificateError> {
        Tls::new(&Terms {
            identity: Identity::Files(files),
            min_tls,
            client_certificates,
            base: self.0.path(),
        })
    }
}

fn ecdsa() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn rsa() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap()
}

type ClientIdentity = Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>;

fn client_config(
    schemes: &[SignatureScheme],
    versions: &[&'static SupportedProtocolVersion],
    identity: ClientIdentity,
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(schemes.to_vec())));
    let mut config = match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

/// What the client saw.
#[derive(Debug)]
struct Met {
    certificate: CertificateDer<'static>,
    version: ProtocolVersion,
    kind: HandshakeKind,
}

/// Both sides to the end of the handshake, tickets included.
fn meet(server: &Tls, client: &Arc<ClientConfig>, name: &str) -> Result<Met, Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let mut server = ServerConnection::new(Arc::clone(&server.config))?;
    let mut wire = Vec::new();
    while client.wants_write() || server.wants_write() {
        wire.clear();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Met {
        certificate: client.peer_certificates().unwrap()[0].clone().into_owned(),
        version: client.protocol_version().unwrap(),
        kind: client.handshake_kind().unwrap(),
    })
}

fn leaf(folder: &Folder, files: &CertificateSettings) -> CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_file(folder.0.path().join(&files.cert)).unwrap()
}

#[test]
fn clients_get_the_certificate_of_the_name_that_they_can_verify() {
    let folder = Folder::new();
    let (ecdsa, rsa) = (ecdsa(), rsa());
    let files = [
        folder.write("default", &["a.test"], &ecdsa),
        folder.write("rsa", &["b.test", "*.b.test"], &rsa),
        folder.write("ecdsa", &["b.test", "*.b.test"], &ecdsa),
        folder.write("exact", &["www.b.test"], &ecdsa),
    ];
    let tls = folder.tls(&files, MinTls::default(), None).unwrap();
    let check = |name: &str, schemes: &[SignatureScheme], expected: Result<usize, ()>| {
        for version in [&TLS12, &TLS13] {
            let client = client_config(schemes, &[version], None);
            let met = meet(&tls, &client, name).map_err(|_refused| ());
            let expected = expected.map(|index| leaf(&folder, &files[index]));
            assert_eq!(
                met.map(|met| met.certificate),
                expected,
                "{name} {version:?}"
            );
        }
    };
    check("a.test", ANY, Ok(0));
    check("unknown.test", ANY, Ok(0));
    check("192.0.2.1", ANY, Ok(0));
    check("b.test", ANY, Ok(2));
    check("B.test", ANY, Ok(2));
    check("x.b.test", ANY, Ok(2));
    check("x.b.test", RSA_ONLY, Ok(1));
    check("www.b.test", ANY, Ok(3));
    // The wildcard's, since it covers the name as well.
    check("www.b.test", RSA_ONLY, Ok(1));
    check("a.test", RSA_ONLY, Err(()));
}

#[test]
fn the_oldest_version_is_as_configured() {
    let folder = Folder::new();
    let files = [folder.write("a", &["a.test"], &ecdsa())];
    let check = |min_tls, versions: &[&'static SupportedProtocolVersion], expected| {
        let tls = folder.tls(&files, min_tls, None).unwrap();
        let met = meet(&tls, &client_config(ANY, versions, None), "a.test");
        assert_eq!(met.ok().map(|met| met.version), expected);
    };
    let (old, new) = (ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3);
    check(MinTls::Tls12, &[&TLS12], Some(old));
    check(MinTls::Tls12, &[&TLS12, &TLS13], Some(new));
    check(MinTls::Tls13, &[&TLS12], None);
    check(MinTls::Tls13, &[&TLS12, &TLS13], Some(new));
    let keys: MinTls = serde_json::from_str("\"1.3\"").unwrap();
    assert_eq!(keys, MinTls::Tls13);
    let error = serde_json::from_str::<MinTls>("\"1.1\"")
        .unwrap_err()
        .to_string();
    assert!(error.contains("`1.2` or `1.3`"), "{error}");
}

#[test]
fn new_certificates_are_served_and_old_sessions_resumed() {
    for version in [&TLS12, &TLS13] {
        let folder = Folder::new();
        let old = [folder.write("a", &["a.test"], &ecdsa())];
        let tls = folder.tls(&old, MinTls::default(), None).unwrap();
        let returning = client_config(ANY, &[version], None);
        let first = meet(&tls, &returning, "a.test").unwrap();
        assert_eq!(first.certificate, leaf(&folder, &old[0]));
        assert_ne!(first.kind, HandshakeKind::Resumed);

        let new = folder.write("a", &["a.test"], &ecdsa());
        let fresh = tls.certificates.read().unwrap().unwrap();
        let visit = || meet(&tls, &client_config(ANY, &[version], None), "a.test").unwrap();
        assert_eq!(visit().certificate, first.certificate);
        tls.certificates.accept(fresh);
        assert_eq!(visit().certificate, leaf(&folder, &new));
        let resumed = meet(&tls, &returning, "a.test").unwrap();
        assert_eq!(resumed.kind, HandshakeKind::Resumed);
    }
}

#[test]
fn what_cannot_be_read_leaves_the_old_in_force() {
    let folder = Folder::new();
    let files = [
        folder.write("a", &["a.test"], &ecdsa()),
        folder.write("b", &["b.test"], &ecdsa()),
    ];
    let tls = folder.tls(&files, MinTls::default(), None).unwrap();
    let before = leaf(&folder, &files[0]);
    folder.write("a", &["a.test"], &ecdsa());
    std::fs::write(folder.0.path().join("b.key"), ecdsa().serialize_pem()).unwrap();
    let error = tls.certificates.read().unwrap_err().to_string();
    assert!(error.contains("b.key does not belong"), "{error}");
    let met = meet(&tls, &client_config(ANY, &[&TLS13], None), "a.test").unwrap();
    assert_eq!(met.certificate, before);
}

#[test]
fn what_was_made_for_the_same_names_stays() {
    let made = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        Tls::new(&Terms {
            identity: Identity::SelfSigned(&names),
            min_tls: MinTls::default(),
            client_certificates: None,
            base: Path::new("/"),
        })
        .unwrap()
    };
    let running = made(&["a.test"]);
    let served = || {
        let met = meet(&running, &client_config(ANY, &[&TLS13], None), "a.test");
        met.unwrap().certificate
    };
    let first = served();
    running
        .certificates
        .take_over(&made(&["a.test"]).certificates);
    assert_eq!(served(), first);
    running
        .certificates
        .take_over(&made(&["b.test"]).certificates);
    assert_ne!(served(), first);
    assert!(running.certificates.read().unwrap().is_none());
    assert_eq!(running.certificates.files(), Vec::<PathBuf>::new());
}

#[test]
fn clients_are_judged_by_who_signed_for_them() {
    let folder = Folder::new();
    let files = [folder.write("a", &["a.test"], &ecdsa())];
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, ecdsa()).unwrap()
    };
    let (ours, foreign) = (authority("ours"), authority("foreign"));
    std::fs::write(folder.0.path().join("ca.pem"), ours.pem()).unwrap();
    let signed = |by: &CertifiedIssuer<'_, KeyPair>| {
        let key = ecdsa();
        let params = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, by).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Some((vec![certificate.der().clone()], key))
    };
    let unsigned = || {
        let key = ecdsa();
        let params = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Some((vec![certificate.der().clone()], key))
    };
    let check = |required, identity: ClientIdentity, expected: bool| {
        let settings = ClientCertificateSettings {
            ca: PathBuf::from("ca.pem"),
            required,
        };
        let tls = folder
            .tls(&files, MinTls::default(), Some(&settings))
            .unwrap();
        for version in [&TLS12, &TLS13] {
            let identity = (identity.as_ref()).map(|(chain, key)| (chain.clone(), key.clone_key()));
            let met = meet(&tls, &client_config(ANY, &[version], identity), "a.test");
            assert_eq!(met.is_ok(), expected, "{required} {version:?}: {met:?}");
        }
    };
    check(true, signed(&ours), true);
    check(true, signed(&foreign), false);
    check(true, unsigned(), false);
    check(true, None, false);
    check(false, signed(&ours), true);
    check(false, signed(&foreign), false);
    check(false, unsigned(), false);
    check(false, None, true);
}

#[test]
fn sessions_do_not_pass_from_an_open_listener_to_one_that_asks_for_certificates() {
    let folder = Folder::new();
    let files = [folder.write("a", &["a.test"], &ecdsa())];
    let settings = ClientCertificateSettings {
        ca: PathBuf::from("a.pem"),
        required: true,
    };
    let open = folder.tls(&files, MinTls::default(), None).unwrap();
    let guarded = folder
        .tls(&files, MinTls::default(), Some(&settings))
        .unwrap();
    for version in [&TLS12, &TLS13] {
        let client = client_config(ANY, &[version], None);
        meet(&open, &client, "a.test").unwrap();
        assert!(meet(&guarded, &client, "a.test").is_err());
    }
}

#[test]
fn authorities_that_cannot_be_used_are_named() {
    let folder = Folder::new();
    let files = [folder.write("a", &["a.test"], &ecdsa())];
    let check = |ca: &str, part: &str| {
        let settings = ClientCertificateSettings {
            ca: PathBuf::from(ca),
            required: true,
        };
        let error = folder
            .tls(&files, MinTls::default(), Some(&settings))
            .unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    };
    check("missing.pem", "missing.pem: No such file");
    check("a.key", "a.key has no certificate");
}

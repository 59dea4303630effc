//! Section 1.7: what authorities say of our certificates (CORE-88).

use crate::support::directory::TempDir;
use crate::support::http;
use crate::support::responder::{Responder, Says, certificate};
use crate::support::server::Server;
use crate::support::tls::{Authority, Pair};
use crate::support::wait_until;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use std::sync::{Arc, Mutex};

/// Trusts all, and keeps the staple it is shown.
#[derive(Debug, Default)]
struct Keeps(Mutex<Option<Vec<u8>>>);

impl ServerCertVerifier for Keeps {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        staple: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().expect("nobody panicked") = Some(staple.to_vec());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What a client is shown; `None` where there is no handshake.
fn staple(server: &Server) -> Option<Vec<u8>> {
    let keeps = Arc::new(Keeps::default());
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&keeps) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let client = server.open();
    let mut socket = client.socket().try_clone().expect("another handle");
    let name = "localhost".try_into().expect("a name");
    let mut tls = ClientConnection::new(Arc::new(config), name).expect("a client");
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).ok()?;
    }
    let mut kept = keeps.0.lock().expect("nobody panicked");
    kept.take()
}

fn config(authority: &Authority, pair: &Pair, ocsp: &str, store: &TempDir) -> String {
    let (pair, ca, store) = (pair.config(), authority.ca(), store.file("store"));
    format!("{ocsp}\nstore_dir: {store:?}\ntls {{ {pair}, ca_file: {ca:?}, timeout: 10 }}\n")
}

#[test]
fn core_088_cfg_053_when_there_is_a_staple() {
    let authority = Arc::new(Authority::new());
    let responder = Responder::start(Arc::clone(&authority));
    for (ocsp, must_staple, stapled) in [
        ("", true, true),
        ("", false, false),
        ("ocsp: true", true, true),
        ("ocsp: true", false, false),
        ("ocsp: false", true, false),
        ("ocsp { mode: auto }", false, false),
        ("ocsp { mode: always }", false, true),
        ("ocsp { mode: must }", true, true),
        ("ocsp { mode: must }", false, false),
        ("ocsp { mode: never }", true, false),
    ] {
        let pair = certificate(&authority, &responder.url, must_staple);
        let store = TempDir::new();
        let server = Server::with_config(&config(&authority, &pair, ocsp, &store));
        let shown = staple(&server).expect("a handshake");
        assert_eq!(!shown.is_empty(), stapled, "{ocsp:?} {must_staple}");
        let enabled = server.count_in_log("OCSP Stapling enabled for Client connections");
        assert_eq!(enabled, usize::from(stapled), "{ocsp:?} {must_staple}");
        if stapled {
            server.logged("good, next update");
        }
        let disabled = server.count_in_log("has MustStaple but OCSP is disabled");
        assert_eq!(
            disabled > 0,
            must_staple && !stapled,
            "{ocsp:?} {must_staple}"
        );
    }
}

#[test]
fn core_088_bad_answers_keep_it_from_starting() {
    let authority = Arc::new(Authority::new());
    let responder = Responder::start(Arc::clone(&authority));
    let pair = certificate(&authority, &responder.url, true);
    for (says, ocsp, starts) in [
        (Says::Revoked, "ocsp { mode: always }", false),
        (Says::Revoked, "ocsp { mode: must }", false),
        (Says::Revoked, "ocsp { mode: auto }", true),
        (Says::Forged, "ocsp { mode: auto }", false),
        (Says::Stale, "ocsp { mode: auto }", false),
        (Says::Error, "ocsp { mode: auto }", false),
    ] {
        responder.say(says);
        let text = config(&authority, &pair, ocsp, &TempDir::new());
        if starts {
            let server = Server::with_config(&text);
            assert!(staple(&server).is_some_and(|it| !it.is_empty()), "{says:?}");
            continue;
        }
        let run = Server::builder().config(&text).run();
        assert_eq!(run.code, 1, "{says:?}");
        let why = if says == Says::Revoked {
            "found existing OCSP status for certificate at"
        } else {
            "bad OCSP status update for certificate at"
        };
        assert!(run.stderr.contains(why), "{says:?}: {}", run.stderr);
    }
}

#[test]
fn core_088_what_was_said_is_kept_and_other_responders_may_be_named() {
    let authority = Arc::new(Authority::new());
    let responder = Responder::start(Arc::clone(&authority));
    // Nobody answers where the certificate says.
    let pair = certificate(&authority, "http://127.0.0.1:1", true);
    let store = TempDir::new();
    let ocsp = format!("ocsp {{ mode: always, url: \"{}\" }}", responder.url);
    let text = config(&authority, &pair, &ocsp, &store);
    let first = staple(&Server::with_config(&text)).expect("a handshake");
    assert!(!first.is_empty());
    assert_eq!(responder.asked(), 1);
    let kept = std::fs::read_dir(store.file("store/ocsp")).expect("a folder");
    let kept: Vec<_> = kept.flatten().collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(std::fs::read(kept[0].path()).expect("a file"), first);
    // The next start does not ask.
    responder.say(Says::Error);
    let second = staple(&Server::with_config(&text)).expect("a handshake");
    assert_eq!((second, responder.asked()), (first, 1));
    // What is damaged is asked for anew.
    std::fs::write(kept[0].path(), b"damaged").expect("a file");
    responder.say(Says::Good);
    assert!(staple(&Server::with_config(&text)).is_some_and(|it| !it.is_empty()));
    assert_eq!(responder.asked(), 2);
}

#[test]
fn core_088_cfg_053_over_websocket_and_https_and_after_a_reload() {
    let authority = Arc::new(Authority::new());
    let responder = Responder::start(Arc::clone(&authority));
    let pair = certificate(&authority, &responder.url, true);
    let store = TempDir::new();
    let plain = authority.server();
    let text = |pair: &Pair| {
        let both = config(&authority, pair, "ocsp: true", &store);
        let keys = pair.config();
        let ca = authority.ca();
        format!(
            "{both}https: \"127.0.0.1:-1\"\n\
             websocket {{ listen: \"127.0.0.1:-1\", tls {{ {keys}, ca_file: {ca:?} }} }}\n"
        )
    };
    let server = Server::with_config(&text(&plain));
    assert_eq!(staple(&server), Some(Vec::new()));
    server.reload(&text(&pair));
    assert!(staple(&server).is_some_and(|it| !it.is_empty()));
    wait_until("both listeners in the log", || {
        (server.count_in_log("OCSP Stapling enabled for Client connections") == 2).then_some(())
    });
    let dialer = authority.client();
    let address = server.monitor_address();
    let stream = dialer.handshake(&dialer.config(), http::connect(address));
    let stream = stream.expect("a handshake");
    assert_eq!(
        http::request_over(stream, address, "GET", "/healthz").status,
        200
    );
    responder.say(Says::Error);
    std::fs::remove_dir_all(store.file("store/ocsp")).expect("a folder");
    let why = server.refused_reload(&text(&pair));
    assert!(why.contains("bad OCSP status update"), "{why}");
    assert!(staple(&server).is_some_and(|it| !it.is_empty()));
    assert!(CertificateDer::from_pem_file(&pair.cert).is_ok());
}

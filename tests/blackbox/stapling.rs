//! Section 1.7: what authorities say of our certificates (CORE-88).

use crate::support::directory::TempDir;
use crate::support::http;
use crate::support::server::Server;
use crate::support::tls::{Authority, Pair};
use crate::support::wait_until;
use der::asn1::{BitString, GeneralizedTime, OctetString};
use der::{Decode, Encode};
use rcgen::{CustomExtension, SanType};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_ocsp::{
    BasicOcspResponse, CertStatus, OcspGeneralizedTime, OcspRequest, OcspResponse, ResponderId,
    ResponseData, RevokedInfo, SingleResponse, Version,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Good,
    Revoked,
    /// Good, signed by somebody else.
    Forged,
    /// Good, until yesterday.
    Stale,
    /// Nothing but an error.
    Error,
}

/// A responder of an authority, which counts what it is asked.
struct Responder {
    url: String,
    says: Arc<Mutex<(Says, usize)>>,
}

impl Responder {
    fn start(authority: Arc<Authority>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let says = Arc::new(Mutex::new((Says::Good, 0)));
        let hand = Arc::clone(&says);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let says = {
                    let mut says = hand.lock().expect("nobody panicked");
                    says.1 += 1;
                    says.0
                };
                answer(stream, &authority, says);
            }
        });
        Self {
            url: format!("http://{address}"),
            says,
        }
    }

    fn say(&self, what: Says) {
        self.says.lock().expect("nobody panicked").0 = what;
    }

    fn asked(&self) -> usize {
        self.says.lock().expect("nobody panicked").1
    }
}

/// Takes one request by POST.
fn answer(mut stream: TcpStream, authority: &Authority, says: Says) {
    let mut text = Vec::new();
    let mut part = [0; 4096];
    let body = loop {
        let Ok(read @ 1..) = stream.read(&mut part) else {
            return;
        };
        text.extend_from_slice(&part[..read]);
        let Some(end) = text.windows(4).position(|it| it == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&text[..end]).to_lowercase();
        let length = head.split("content-length: ").nth(1);
        let length = length.and_then(|it| it.lines().next()?.parse::<usize>().ok());
        if let Some(body) = text.get(end + 4..end + 4 + length.unwrap_or(0)) {
            break body.to_vec();
        }
    };
    let (status, body) = match OcspRequest::from_der(&body) {
        Ok(request) if says != Says::Error => ("200 OK", response(&request, authority, says)),
        _ => ("500 No", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/ocsp-response\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), &body].concat()); // it may have gone
}

fn response(request: &OcspRequest, authority: &Authority, says: Says) -> Vec<u8> {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time");
    let time = |at| OcspGeneralizedTime(GeneralizedTime::from_unix_duration(at).expect("a time"));
    let from = time(now - 3 * DAY);
    let until = if says == Says::Stale {
        now - DAY
    } else {
        now + DAY
    };
    let data = ResponseData {
        version: Version::V1,
        responder_id: ResponderId::ByKey(OctetString::new(&[0; 20][..]).expect("bytes")),
        produced_at: from,
        responses: vec![SingleResponse {
            cert_id: request.tbs_request.request_list[0].req_cert.clone(),
            cert_status: match says {
                Says::Revoked => CertStatus::revoked(RevokedInfo {
                    revocation_time: from,
                    revocation_reason: None,
                }),
                _ => CertStatus::good(),
            },
            this_update: from,
            next_update: Some(time(until)),
            single_extensions: None,
        }],
        response_extensions: None,
    };
    let bytes = data.to_der().expect("DER");
    let signature = match says {
        Says::Forged => Authority::new().sign(&bytes),
        _ => authority.sign(&bytes),
    };
    let response = BasicOcspResponse {
        tbs_response_data: data,
        signature_algorithm: AlgorithmIdentifierOwned {
            oid: der::asn1::ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"),
            parameters: None,
        },
        signature: BitString::from_bytes(&signature).expect("bits"),
        certs: None,
    };
    let response = OcspResponse::successful(response).expect("DER");
    response.to_der().expect("DER")
}

/// A certificate that names the responder and may want a staple.
fn certificate(authority: &Authority, url: &str, must_staple: bool) -> Pair {
    authority.issue("stapled", |params| {
        let name = "localhost".try_into().expect("a name");
        params.subject_alt_names = vec![SanType::DnsName(name)];
        // AuthorityInfoAccess with one OCSP URL.
        let oid = [0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 0x30, 1];
        let access = wrap(0x30, &[&oid[..], &wrap(0x86, url.as_bytes())].concat());
        let mut extension =
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], wrap(0x30, &access));
        extension.set_criticality(false);
        params.custom_extensions.push(extension);
        if must_staple {
            let features = vec![0x30, 3, 2, 1, 5];
            params
                .custom_extensions
                .push(CustomExtension::from_oid_content(
                    &[1, 3, 6, 1, 5, 5, 7, 1, 24],
                    features,
                ));
        }
    })
}

fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).ok().filter(|it| *it < 128);
    let mut der = vec![tag, length.expect("a short length")];
    der.extend_from_slice(content);
    der
}

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
fn core_088_when_there_is_a_staple() {
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
fn core_088_over_websocket_and_https_and_after_a_reload() {
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

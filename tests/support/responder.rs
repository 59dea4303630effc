//! A responder of an authority: says what was made of its certificates (RFC 6960).

use super::tls::{Authority, Pair};
use data_encoding::BASE64;
use der::asn1::{BitString, GeneralizedTime, OctetString};
use der::{Decode, Encode};
use rcgen::{CertificateParams, CustomExtension, SanType};
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

/// What it says of every certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// Not revoked.
    Good,
    /// Revoked.
    Revoked,
    /// It does not know it.
    Unknown,
    /// Good, signed by somebody else.
    Forged,
    /// Good, until yesterday.
    Stale,
    /// Nothing but an error.
    Error,
}

/// A responder of an authority, which counts what it is asked.
pub struct Responder {
    /// Where it is.
    pub url: String,
    says: Arc<Mutex<(Says, usize)>>,
}

impl Responder {
    /// One that says that all are good.
    pub fn start(authority: Arc<Authority>) -> Self {
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

    /// From now on it says this.
    pub fn say(&self, what: Says) {
        self.says.lock().expect("nobody panicked").0 = what;
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.says.lock().expect("nobody panicked").1
    }
}

/// Takes one request, by POST or GET.
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
        let head = String::from_utf8_lossy(&text[..end]);
        if let Some(question) = head.strip_prefix("GET /") {
            let question = question.split(' ').next().expect("a path");
            let question = question
                .replace("%2B", "+")
                .replace("%2F", "/")
                .replace("%3D", "=");
            break BASE64.decode(question.as_bytes()).unwrap_or_default();
        }
        let head = head.to_lowercase();
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
                Says::Unknown => CertStatus::unknown(),
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

/// Has a certificate name its responder.
pub fn name_responder(params: &mut CertificateParams, url: &str) {
    // AuthorityInfoAccess with one OCSP URL.
    let oid = [0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 0x30, 1];
    let access = wrap(0x30, &[&oid[..], &wrap(0x86, url.as_bytes())].concat());
    let mut extension =
        CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], wrap(0x30, &access));
    extension.set_criticality(false);
    params.custom_extensions.push(extension);
}

/// A server's certificate that names the responder and may want a staple.
pub fn certificate(authority: &Authority, url: &str, must_staple: bool) -> Pair {
    authority.issue("stapled", |params| {
        let name = "localhost".try_into().expect("a name");
        params.subject_alt_names = vec![SanType::DnsName(name)];
        name_responder(params, url);
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

//! Section 1.7: were certificates of peers revoked (CORE-89)? Section 4.6: what the system account
//! hears of it.

use crate::support::client::Client;
use crate::support::responder::{Responder, Says, name_responder};
use crate::support::server::{Server, beyond_stock};
use crate::support::tls::{Authority, Dialer, Pair};
use crate::support::wait_until;
use rcgen::{DnType, ExtendedKeyUsagePurpose};
use rustls::version;
use serde_json::{Value, json};
use std::sync::Arc;

/// An authority whose responder is asked about clients.
struct Site {
    authority: Arc<Authority>,
    responder: Responder,
    client: Pair,
}

impl Site {
    fn new() -> Self {
        let authority = Arc::new(Authority::new());
        let responder = Responder::start(Arc::clone(&authority));
        let client = authority.issue("client", |params| {
            let name = &mut params.distinguished_name;
            name.push(DnType::CommonName, "client one");
            name.push(DnType::OrganizationName, "O");
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            name_responder(params, &responder.url);
        });
        Self {
            authority,
            responder,
            client,
        }
    }

    /// A `tls` block that asks as `peer` says.
    fn tls(&self, peer: &str) -> String {
        let (pair, ca) = (self.authority.server().config(), self.authority.ca());
        format!("tls {{ {pair}, ca_file: {ca:?}, verify: true, timeout: 10, ocsp_peer: {peer} }}\n")
    }

    fn config(&self, peer: &str, rest: &str) -> String {
        format!("{}{rest}\n", self.tls(peer))
    }

    /// One that remembers nothing.
    fn server(&self, peer: &str) -> Server {
        Server::with_monitor(&self.config(peer, "ocsp_cache: false"))
    }

    fn dialer(&self) -> Dialer {
        self.authority.client().showing(&self.client)
    }
}

#[track_caller]
fn connect(server: &Server, dialer: &Dialer) -> Client {
    let mut client = server.open();
    dialer.begin(&mut client);
    client.connect("{}");
    client.quietly("");
    client
}

#[track_caller]
fn is_refused(server: &Server, dialer: &Dialer) {
    let text = "TLS handshake error: client not OCSP valid";
    let before = server.count_in_log(text);
    let mut client = server.open();
    dialer.begin(&mut client);
    // With TLS 1.2 it may be told so while it still negotiates, and is gone when it asks.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        client.send_until_closed("CONNECT {}\r\nPING\r\n");
        assert!(!client.closed().contains(&"PONG".to_owned()), "let in");
    }));
    wait_until("a refusal in the log", || {
        (server.count_in_log(text) > before).then_some(())
    });
}

#[test]
fn core_089_who_was_not_revoked_is_let_in() {
    let site = Site::new();
    for (peer, asked) in [
        ("true", 1),
        ("{ verify: true }", 1),
        (
            "{ verify: true, ca_timeout: 3, allowed_clockskew: \"1m\" }",
            1,
        ),
        ("false", 0),
        ("{ warn_only: true }", 0),
    ] {
        let before = site.responder.asked();
        let server = site.server(peer);
        connect(&server, &site.dialer());
        assert_eq!(site.responder.asked() - before, asked, "{peer}");
        let varz = server.json("/varz");
        let told = varz.get("tls_ocsp_peer_verify").is_some();
        assert_eq!(told, asked > 0, "{peer}");
        assert_eq!(varz.get("ocsp_peer_cache"), None);
    }
}

#[test]
fn core_089_who_was_revoked_is_not_let_in() {
    let site = Site::new();
    site.responder.say(Says::Revoked);
    let server = site.server("true");
    for version in [&version::TLS13, &version::TLS12] {
        is_refused(&server, &site.dialer().only(version));
    }
    server.logged("OCSP verify fail for [CN=client one,O=O] with CA status [revoked]");
    site.responder.say(Says::Good);
    connect(&server, &site.dialer());
}

#[test]
fn core_089_what_is_said_is_judged_as_it_was_asked_for() {
    let site = Site::new();
    for (says, peer, good) in [
        (Says::Unknown, "true", false),
        (
            Says::Unknown,
            "{ verify: true, unknown_is_good: true }",
            true,
        ),
        (
            Says::Revoked,
            "{ verify: true, unknown_is_good: true }",
            false,
        ),
        (Says::Revoked, "{ verify: true, warn_only: true }", true),
        (Says::Forged, "true", false),
        (Says::Forged, "{ verify: true, warn_only: true }", true),
        (
            Says::Forged,
            "{ verify: true, allow_when_ca_unreachable: true }",
            false,
        ),
        (Says::Stale, "true", false),
        (
            Says::Stale,
            "{ verify: true, allowed_clockskew: \"48h\" }",
            true,
        ),
        (Says::Error, "true", false),
        (Says::Error, "{ verify: true, warn_only: true }", true),
        (
            Says::Error,
            "{ verify: true, allow_when_ca_unreachable: true }",
            true,
        ),
    ] {
        site.responder.say(says);
        let server = site.server(peer);
        if good {
            connect(&server, &site.dialer());
        } else {
            is_refused(&server, &site.dialer());
        }
    }
}

#[test]
fn core_089_who_names_no_responder_is_let_in() {
    let site = Site::new();
    site.responder.say(Says::Revoked);
    let server = site.server("true");
    let plain = site.authority.issue("plain", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    connect(&server, &site.authority.client().showing(&plain));
    let named = site.authority.issue("ldap", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        name_responder(params, "ldap://127.0.0.1/o=x");
    });
    connect(&server, &site.authority.client().showing(&named));
    assert_eq!(site.responder.asked(), 0);
}

#[test]
fn core_089_without_certificates_nobody_can_be_asked_about() {
    let site = Site::new();
    let text = site.tls("true").replace("verify: true,", "");
    let run = Server::builder().config(&text).run();
    assert_eq!(run.code, 1);
    let why =
        "OCSP peer verification for client connections requires TLS verify (mTLS) to be enabled";
    assert!(run.stderr.contains(why), "{}", run.stderr);
}

#[test]
fn core_089_cfg_053_mistakes_in_its_blocks_are_named() {
    let site = Site::new();
    for (text, why) in [
        (
            site.tls("{ verify: 1 }"),
            "error parsing tls peer config, unknown field [\"verify\"]",
        ),
        (
            site.tls("{ zzz: 1 }"),
            "error parsing tls peer config, unknown field [\"zzz\"]",
        ),
        (
            site.tls("{ ca_timeout: \"x\" }"),
            "conversion error: time: invalid duration \"x\"",
        ),
        (
            site.tls("{ ca_timeout: true }"),
            "conversion error: unexpected type",
        ),
        ("ocsp_cache: 3".into(), "unsupported type int64"),
        (
            "ocsp_cache: { type: disk }".into(),
            "OCSP peer cache config, unknown type [disk]",
        ),
        (
            "ocsp_cache: { zzz: 1 }".into(),
            "OCSP peer cache config, unknown field [\"zzz\"]",
        ),
        (
            "ocsp_cache: { save_interval: true }".into(),
            "conversion error: unexpected type",
        ),
    ] {
        let run = Server::builder().config(&text).flags("-t").run();
        assert_eq!(run.code, 1, "{text}");
        assert!(run.stderr.contains(why), "{text}: {}", run.stderr);
    }
}

#[test]
fn core_089_answers_are_remembered() {
    let site = Site::new();
    let text = site.config("true", "ocsp_cache { local_store: \"@DIR@/rc\" }");
    let server = Server::with_monitor(&text);
    for _ in 0..3 {
        connect(&server, &site.dialer());
    }
    assert_eq!(site.responder.asked(), 1);
    let cache = json!({
        "cache_type": "local", "cache_hits": 2, "cache_misses": 1, "cached_responses": 1,
        "cached_good_responses": 1,
    });
    assert_eq!(server.json("/varz")["ocsp_peer_cache"], cache);
}

/// What one server has learnt the next one knows, and a revocation stays known when its answer is
/// too old, if that is wanted.
#[test]
fn core_089_cfg_053_answers_are_kept_in_a_file() {
    let site = Site::new();
    let store = crate::support::directory::TempDir::new();
    let text = |rest: &str| {
        let folder = store.file("rc");
        let cache = format!("ocsp_cache {{ type: local, local_store: {folder:?}, {rest} }}");
        site.config("{ verify: true, allow_when_ca_unreachable: true }", &cache)
    };
    site.responder.say(Says::Revoked);
    let mut server = Server::with_monitor(&text("preserve_revoked: true"));
    is_refused(&server, &site.dialer());
    server.signal(rustix::process::Signal::TERM);
    server.exited();
    let file = std::fs::read(store.file("rc/cache.json")).expect("a file");
    let kept: Value = serde_json::from_slice(&file).expect("JSON");
    let (key, item) = kept.as_object().expect("a map").iter().next().expect("one");
    assert_eq!(key.len(), 44, "{key}");
    assert_eq!(item["subject"], "CN=client one,O=O");
    assert_eq!(item["resp_status"], "revoked");
    for field in ["cached_at", "resp_expires", "resp"] {
        assert!(item[field].is_string(), "{item}");
    }
    // Nobody answers any more.
    site.responder.say(Says::Error);
    let server = Server::with_monitor(&text("preserve_revoked: true"));
    is_refused(&server, &site.dialer());
    let figures = &server.json("/varz")["ocsp_peer_cache"];
    assert_eq!(figures["cached_revoked_responses"], 1, "{figures}");
    assert_eq!(figures["cache_hits"], 1, "{figures}");
    std::fs::remove_file(store.file("rc/cache.json")).expect("a file");
    let server = Server::with_monitor(&text(""));
    connect(&server, &site.dialer());
}

const ACCOUNTS: &str = "
    ocsp_cache: false
    accounts { SYS { users: [{user: sys, password: s}] }, A { users: [{user: a, password: a}] } }
    system_account: SYS
    no_auth_user: a
";

/// MON-65, MON-66.
#[test]
fn mon_065_066_operators_hear_of_peers_that_are_refused() {
    let site = Site::new();
    let server = Server::with_monitor(&site.config("true", ACCOUNTS));
    let mut sys = server.open();
    site.dialer().begin(&mut sys);
    sys.connect("{\"user\":\"sys\",\"pass\":\"s\"}");
    sys.ask("SUB $SYS.SERVER.*.OCSP.PEER.> 1\r\n");
    site.responder.say(Says::Revoked);
    is_refused(&server, &site.dialer());
    let id = server.json("/varz")["server_id"].clone();
    let id = id.as_str().expect("a name");
    let described = |it: &Value| {
        assert_eq!(it["subject"], "CN=client one,O=O");
        assert!(it["issuer"].is_string());
        assert_eq!(it["fingerprint"].as_str().map(str::len), Some(44));
        assert!(it["raw"].is_string());
    };
    for (subject, kind, certificates) in [
        (
            "LINK.INVALID",
            "ocsp_peer_link_invalid",
            &["link", "peer"][..],
        ),
        ("CONN.REJECT", "ocsp_peer_reject", &["peer"]),
    ] {
        let message = sys.message();
        let event: Value = serde_json::from_slice(&message.payload).expect("JSON");
        assert_eq!(
            message.subject,
            format!("$SYS.SERVER.{id}.OCSP.PEER.{subject}")
        );
        assert_eq!(event["type"], format!("io.nats.server.advisory.v1.{kind}"));
        assert_eq!(event["server"]["id"], id);
        assert_eq!(event["id"].as_str().map(str::len), Some(22));
        assert!(event["timestamp"].is_string());
        certificates.iter().for_each(|it| described(&event[*it]));
        if subject == "CONN.REJECT" {
            assert_eq!(event["kind"], "Client");
            assert_eq!(event["reason"], "client not OCSP valid");
        } else {
            assert_eq!(event["reason"], "Invalid OCSP response status: revoked");
        }
    }
}

#[test]
fn core_089_a_reload_begins_and_ends_it() {
    let site = Site::new();
    site.responder.say(Says::Revoked);
    let text = |peer: &str| site.config(peer, "ocsp_cache: false");
    let server = Server::with_monitor(&text("false"));
    let mut client = connect(&server, &site.dialer());
    server.reload(&text("true"));
    is_refused(&server, &site.dialer());
    client.quietly(""); // only newcomers are asked about
    server.reload(&text("false"));
    connect(&server, &site.dialer());
}

/// A responder that says nothing holds up nobody else, and no longer than a handshake may take.
#[test]
fn core_089_a_silent_responder_costs_only_its_own_clients() {
    let site = Site::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let stuck = site.authority.issue("stuck", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        name_responder(params, &url);
    });
    let text = site
        .config("{ verify: true, ca_timeout: 60 }", "ocsp_cache: false")
        .replace("timeout: 10", "timeout: 3");
    let server = Server::with_monitor(&text);
    let mut waiting = server.open();
    site.authority.client().showing(&stuck).begin(&mut waiting);
    if beyond_stock() {
        waiting.send("CONNECT {}\r\nPING\r\n");
    }
    connect(&server, &site.dialer());
    if beyond_stock() {
        // Stock waits for the responder.
        server.logged("TLS handshake timeout");
        assert_eq!(waiting.closed(), Vec::<String>::new());
    }
}

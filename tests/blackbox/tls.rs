//! Section 1.7: TLS; section 3.3: users by certificate.

use crate::support::client::Client;
use crate::support::server::{Server, beyond_stock};
use crate::support::tls::{Authority, Dialer};
use crate::support::wait_until;
use rcgen::{CertificateParams, DnType, DnValue, SanType};
use rustls::{HandshakeKind, version};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A server whose `tls` block has these keys besides its certificate.
#[track_caller]
fn server(authority: &Authority, tls: &str, rest: &str) -> Server {
    let pair = authority.server().config();
    // The usual two seconds are short for a handshake on a busy machine.
    let patience = if tls.contains("timeout") {
        ""
    } else {
        "timeout: 20, "
    };
    Server::with_monitor(&format!("tls {{ {pair}, {patience}{tls} }}\n{rest}"))
}

/// A connection that has read INFO in clear and speaks TLS from here on.
#[track_caller]
fn open(server: &Server, dialer: &Dialer) -> Client {
    let mut client = server.open();
    dialer.begin(&mut client);
    client
}

/// The same, after CONNECT.
#[track_caller]
fn connect(server: &Server, dialer: &Dialer) -> Client {
    let mut client = open(server, dialer);
    client.connect("{}");
    client
}

/// Does the server let it in?
fn refused(server: &Server, dialer: &Dialer) -> bool {
    let mut client = server.open();
    let wire = client.socket().try_clone().expect("another handle");
    match dialer.handshake(&dialer.config(), wire) {
        // With TLS 1.3 the client is done before the server has looked at its certificate.
        Ok(_) => {
            dialer.begin(&mut client);
            false
        }
        Err(_) => true,
    }
}

#[track_caller]
fn is_refused(server: &Server, dialer: &Dialer) {
    let before = server.count_in_log("TLS handshake error");
    let _ = refused(server, dialer);
    wait_until("a refusal in the log", || {
        (server.count_in_log("TLS handshake error") > before).then_some(())
    });
}

#[test]
fn core_078_info_in_clear_then_tls() {
    let authority = Authority::new();
    let server = server(&authority, "", "");
    for version in [&version::TLS12, &version::TLS13] {
        let dialer = authority.client().only(version);
        let mut client = open(&server, &dialer);
        assert_eq!(client.info["tls_required"], json!(true));
        assert_eq!(client.info.get("tls_available"), None);
        client.connect("{}");
        client.quietly("SUB a 1\r\n");
        client.send("PUB a 5\r\nhello\r\n");
        assert_eq!(client.message().payload, b"hello");
    }
}

#[test]
fn core_078_large_and_many_messages_pass_both_ways() {
    let authority = Authority::new();
    let server = server(&authority, "", "");
    let dialer = authority.client();
    let mut subscribers: Vec<Client> = (0..4).map(|_| connect(&server, &dialer)).collect();
    let mut publisher = connect(&server, &dialer);
    let body: Vec<u8> = (0..1 << 20).map(|at: u32| (at % 251) as u8).collect();
    for subscriber in &mut subscribers {
        subscriber.quietly("SUB a 1\r\n");
    }
    publisher.send([&b"PUB a 1048576\r\n"[..], &body, b"\r\n"].concat());
    let many = "PUB a 3\r\nxyz\r\n".repeat(5000);
    publisher.quietly(many);
    for subscriber in &mut subscribers {
        assert!(subscriber.message().payload == body);
        for _ in 0..5000 {
            assert_eq!(subscriber.message().payload, b"xyz");
        }
    }
}

#[test]
fn core_078_bytes_that_are_no_tls_close() {
    let authority = Authority::new();
    let server = server(&authority, "", "");
    let mut client = server.open();
    client.send_until_closed("CONNECT {}\r\nPING\r\n");
    assert_eq!(client.closed(), [""; 0]);
}

#[test]
fn core_078_a_silent_client_is_given_up() {
    let authority = Authority::new();
    let server = server(&authority, "timeout: 0.2", "");
    let mut client = server.open();
    assert_eq!(client.drained(), 0);
    // Half a hello is no more than none.
    let mut client = server.open();
    client.send([0x16, 3, 1, 2, 0, 1]);
    assert_eq!(client.drained(), 0);
}

#[test]
fn core_079_versions() {
    let authority = Authority::new();
    let old = authority.client().only(&version::TLS12);
    let server = server(&authority, "min_version: \"1.3\"", "");
    connect(&server, &authority.client());
    is_refused(&server, &old);
}

/// T6: the list holds however it came.
#[test]
fn core_080_t06_ciphers_and_curves_are_those_listed() {
    let authority = Authority::new();
    let ciphers = "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]";
    let server = server(
        &authority,
        &format!("{ciphers}, curve_preferences: [CurveP384]"),
        "",
    );
    let dialer = authority.client().only(&version::TLS12);
    let mut client = server.open();
    let wire = client.socket().try_clone().expect("another handle");
    let stream = dialer.handshake(&dialer.config(), wire).expect("agrees");
    let suite = stream.conn.negotiated_cipher_suite().expect("agreed");
    assert_eq!(
        suite.suite(),
        rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
    );
    let group = stream.conn.negotiated_key_exchange_group().expect("agreed");
    assert_eq!(group.name(), rustls::NamedGroup::secp384r1);
    drop(client.take_unread());
    let row = &server.json("/connz")["connections"][0];
    assert_eq!(
        row["tls_cipher_suite"],
        json!("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")
    );
    // The same after a reload.
    let pair = authority.server().config();
    server.reload(&format!("tls {{ {pair}, {ciphers} }}"));
    let wire = server.open().socket().try_clone().expect("another handle");
    let stream = dialer.handshake(&dialer.config(), wire).expect("agrees");
    let suite = stream.conn.negotiated_cipher_suite().expect("agreed");
    assert_eq!(
        suite.suite(),
        rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
    );
}

#[test]
fn core_080_names_are_checked() {
    for (tls, text) in [
        ("cipher_suites: [NOPE]", "unrecognized cipher NOPE"),
        (
            "curve_preferences: [NOPE]",
            "unrecognized curve preference NOPE",
        ),
        (
            "cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]",
            "insecure cipher suites configured without 'allow_insecure_cipher_suites' option \
             set: TLS_RSA_WITH_RC4_128_SHA",
        ),
        ("min_version: \"1.1\"", "unsupported TLS version"),
        (
            "cert_file: \"/nope\", key_file: \"/nope\"",
            "open /nope: no such file or directory",
        ),
        ("cert_file: x", "missing 'key_file' in TLS configuration"),
        ("key_file: x", "missing 'cert_file' in TLS configuration"),
    ] {
        let run = Server::builder()
            .config(&format!("port: -1\ntls {{ {tls} }}"))
            .run();
        assert_eq!(run.code, 1, "{tls}");
        assert!(run.stderr.contains(text), "{tls}: {}", run.stderr);
    }
}

#[test]
fn core_081_verify_wants_a_certificate_of_the_authority() {
    let (authority, other) = (Authority::new(), Authority::new());
    let ca = authority.ca();
    let server = server(&authority, &format!("verify: true, ca_file: {ca:?}"), "");
    let good = authority.issue("client", |_| {});
    let foreign = other.issue("client", |_| {});
    let client = connect(&server, &authority.client().showing(&good));
    assert_eq!(client.info["tls_verify"], json!(true));
    is_refused(&server, &authority.client());
    is_refused(&server, &authority.client().showing(&foreign));
    let rows = server.json("/connz?auth=true");
    let peer = &rows["connections"][0]["tls_peer_certs"][0];
    let sha = Sha256::digest(good.der());
    assert_eq!(
        peer["cert_sha256"],
        json!(data_encoding::HEXLOWER.encode(&sha))
    );
    assert_eq!(server.json("/varz")["tls_verify"], json!(true));
}

/// CORE-14, CFG-52.
#[test]
fn core_082_both_on_one_port() {
    let authority = Authority::new();
    let server = server(&authority, "", "allow_non_tls: true");
    let mut plain = server.open();
    assert_eq!(plain.info.get("tls_required"), None);
    assert_eq!(plain.info["tls_available"], json!(true));
    plain.connect("{}");
    let mut sealed = connect(&server, &authority.client());
    sealed.quietly("SUB a 1\r\n");
    plain.send("PUB a 1\r\nx\r\n");
    assert_eq!(sealed.message().payload, b"x");
}

#[test]
fn core_083_handshake_first() {
    let authority = Authority::new();
    let server = server(&authority, "handshake_first: true", "");
    let mut client = Client::dial(server.address());
    authority.client().begin(&mut client);
    client.info_line();
    assert_eq!(client.info["tls_required"], json!(true));
    client.connect("{}");
    let rows = server.json("/connz");
    assert_eq!(rows["connections"][0]["tls_first"], json!(true));
    server.logged("will fail to connect");
}

#[test]
fn core_083_first_if_the_client_begins() {
    let authority = Authority::new();
    for first in ["auto", "\"300ms\""] {
        let server = server(&authority, &format!("handshake_first: {first}"), "");
        let (dialer, mut early) = (authority.client(), Client::dial(server.address()));
        // On a busy machine the first one may begin too late.
        wait_until("a handshake that comes first", || {
            early = Client::dial(server.address());
            let wire = early.socket().try_clone().expect("another handle");
            let config = dialer.config();
            let stream = dialer.handshake(&config, wire).ok()?;
            early.through(|_| stream);
            Some(())
        });
        early.info_line();
        early.connect("{}");
        let mut late = connect(&server, &authority.client());
        late.quietly("SUB a 1\r\n");
    }
}

#[test]
fn core_084_only_pinned_certificates() {
    let authority = Authority::new();
    let (good, other) = (authority.issue("a", |_| {}), authority.issue("b", |_| {}));
    let pin = |pair: &crate::support::tls::Pair| {
        let pem = std::fs::read_to_string(&pair.key).expect("a key");
        let key = rcgen::KeyPair::from_pem(&pem).expect("a key");
        use rcgen::PublicKeyData;
        data_encoding::HEXUPPER.encode(&Sha256::digest(key.subject_public_key_info()))
    };
    let ca = authority.ca();
    let pair = authority.server().config();
    let config = |pin: &str| {
        format!("tls {{ {pair}, verify: true, ca_file: {ca:?}, pinned_certs: [{pin:?}] }}")
    };
    let server = Server::with_config(&config(&pin(&good)));
    let mut client = connect(&server, &authority.client().showing(&good));
    is_refused(&server, &authority.client().showing(&other));
    server.logged("certificate not pinned");
    if beyond_stock() {
        // Stock compares with the pins of before, and so keeps those who were let in.
        server.reload(&config(&pin(&other)));
        client.closed();
        connect(&server, &authority.client().showing(&other));
    }
}

#[test]
fn core_085_handshakes_a_second() {
    let authority = Authority::new();
    let server = server(&authority, "connection_rate_limit: 3, timeout: 1", "");
    // All within one second, however slow the machine.
    let mut clients: Vec<Client> = (0..20).map(|_| Client::dial(server.address())).collect();
    for client in &mut clients {
        client.send_until_closed([0x16]);
    }
    let throttled = clients.iter_mut().any(|client| {
        client.closed().last().is_some_and(|it| {
            it == "-ERR 'Connection throttling is active. Please try again later.'"
        })
    });
    assert!(throttled);
}

#[test]
fn core_086_the_certificate_for_the_name() {
    let authority = Authority::new();
    let one = authority.host("one", &["one.test"]);
    let two = authority.host("two", &["*.two.test"]);
    let server = Server::with_config(&format!(
        "tls {{ certs: [ {{ {} }}, {{ {} }} ] }}",
        one.config(),
        two.config()
    ));
    for (name, pair) in [("one.test", &one), ("x.two.test", &two)] {
        let dialer = authority.client().host(name);
        let wire = server.open().socket().try_clone().expect("another handle");
        let stream = dialer.handshake(&dialer.config(), wire).expect("agrees");
        assert_eq!(
            stream.conn.peer_certificates().expect("shown")[0],
            pair.der()
        );
    }
}

#[test]
fn cfg_081_tls_by_flags() {
    let authority = Authority::new();
    let (pair, ca) = (authority.server(), authority.ca());
    let flags = format!(
        "--tlsverify --tlscert {} --tlskey {} --tlscacert {ca}",
        pair.cert, pair.key
    );
    let server = Server::builder().flags(&flags).start();
    is_refused(&server, &authority.client());
    let good = authority.issue("client", |_| {});
    connect(&server, &authority.client().showing(&good));
    assert!(
        server.listeners()["nats"][0]
            .as_str()
            .is_some_and(|it| it.starts_with("tls://"))
    );
}

/// CFG-51.
#[test]
fn cfg_093_new_certificates_without_dropping_connections() {
    let authority = Authority::new();
    let (first, second) = (
        authority.host("one", &["localhost"]),
        authority.host("two", &["localhost"]),
    );
    let config = |pair: &crate::support::tls::Pair| format!("tls {{ {} }}", pair.config());
    let server = Server::with_config(&config(&first));
    let mut before = connect(&server, &authority.client());
    before.quietly("SUB a 1\r\n");
    // The same names with other content, as tools that renew certificates do it.
    std::fs::copy(&second.cert, &first.cert).expect("copied");
    std::fs::copy(&second.key, &first.key).expect("copied");
    server.reload(&config(&first));
    server.logged("Reloaded: tls = enabled");
    let dialer = authority.client();
    let wire = server.open().socket().try_clone().expect("another handle");
    let stream = dialer.handshake(&dialer.config(), wire).expect("agrees");
    assert_eq!(
        stream.conn.peer_certificates().expect("shown")[0],
        second.der()
    );
    connect(&server, &dialer).quietly("PUB a 1\r\nx\r\n");
    assert_eq!(before.message().payload, b"x");
    let wrong = server.refused_reload("tls { cert_file: \"/nope\", key_file: \"/nope\" }");
    assert!(wrong.contains("/nope"), "{wrong}");
    before.quietly("");
}

/// T16: a session is not resumed where other peers are trusted, nor after a reload.
#[test]
fn t16_sessions_stay_with_their_listener() {
    let (authority, other) = (Authority::new(), Authority::new());
    let pair = authority.server().config();
    let config = |ca: &str, ws_ca: &str| {
        format!(
            "tls {{ {pair}, verify: true, ca_file: {ca:?} }}
             websocket {{ listen: \"127.0.0.1:-1\", tls {{ {pair}, verify: true, ca_file: {ws_ca:?} }} }}"
        )
    };
    let server = Server::with_config(&config(&authority.ca(), &other.ca()));
    let client = authority.issue("client", |_| {});
    for version in [&version::TLS12, &version::TLS13] {
        let dialer = authority.client().showing(&client).only(version);
        let remembered = dialer.config();
        let kind = |at: std::net::SocketAddr, wants_info: bool| {
            let mut socket = Client::dial(at);
            if wants_info {
                socket.info_line();
            }
            let wire = socket.socket().try_clone().expect("another handle");
            let mut stream = dialer.handshake(&remembered, wire).ok()?;
            // With TLS 1.3 tickets come after the handshake, and so do refusals.
            let connect = b"CONNECT {\"verbose\":false}\r\nPING\r\n";
            std::io::Write::write_all(&mut stream, connect).ok()?;
            let mut answer = [0; 6];
            std::io::Read::read_exact(&mut stream, &mut answer).ok()?;
            stream.conn.handshake_kind()
        };
        let first = kind(server.address(), true);
        assert!(first.is_some_and(|it| it != HandshakeKind::Resumed));
        let again = kind(server.address(), true);
        assert_eq!(again, Some(HandshakeKind::Resumed), "{version:?}");
        let elsewhere = kind(server.websocket_address(), false);
        assert_ne!(elsewhere, Some(HandshakeKind::Resumed));
    }
    let dialer = authority.client().showing(&client);
    connect(&server, &dialer);
    let ca = other.ca();
    server.reload(&config(&ca, &ca));
    is_refused(&server, &dialer);
}

#[test]
fn mon_008_and_020_tls_is_shown() {
    let authority = Authority::new();
    let server = server(&authority, "timeout: 1.5", "");
    let client = connect(&server, &authority.client().only(&version::TLS13));
    let varz = server.json("/varz");
    assert_eq!(varz["tls_required"], json!(true));
    assert_eq!(varz["tls_timeout"], json!(1.5));
    assert!(
        varz["tls_cert_not_after"]
            .as_str()
            .is_some_and(|it| it.ends_with('Z'))
    );
    let row = &server.json("/connz")["connections"][0];
    assert_eq!(row["tls_version"], json!("1.3"));
    let suite = row["tls_cipher_suite"].as_str().expect("named");
    assert!(suite.starts_with("TLS_"), "{suite}");
    assert_eq!(row.get("tls_peer_certs"), None);
    drop(client);
}

/// Users by certificate: what it says, and the user it stands for.
#[test]
fn auth_024_users_by_certificate() {
    let authority = Authority::new();
    let users = "authorization { users: [ {user: \"a@mail.test\"}, {user: \"host.test\"},
        {user: \"spiffe://x/y\"}, {user: \"CN=dn,OU=u1+OU=u2,O=org\"}, {user: \"CN=turned,O=org\"},
        {user: \"CN=plain\"}, {user: \"locked\", password: pw},
        {user: \"ws.test\", allowed_connection_types: [WEBSOCKET]} ] }";
    let ca = authority.ca();
    let server = server(
        &authority,
        &format!("verify_and_map: true, ca_file: {ca:?}"),
        users,
    );
    let name = |params: &mut CertificateParams, parts: &[(DnType, &str)]| {
        for (kind, value) in parts {
            let value = DnValue::Utf8String((*value).to_owned());
            params.distinguished_name.push(kind.clone(), value);
        }
    };
    type Shape<'a> = Box<dyn Fn(&mut CertificateParams) + 'a>;
    let san = |sans: Vec<SanType>| -> Shape<'_> {
        Box::new(move |params| params.subject_alt_names.clone_from(&sans))
    };
    let mail = || SanType::Rfc822Name("a@mail.test".try_into().expect("text"));
    let dns = |text: &str| SanType::DnsName(text.try_into().expect("text"));
    let uri = || SanType::URI("spiffe://x/y".try_into().expect("text"));
    let subject = |parts: Vec<(DnType, &'static str)>| -> Shape<'_> {
        Box::new(move |params| name(params, &parts))
    };
    let cases: Vec<(&str, Shape<'_>, Option<&str>)> = vec![
        ("mail", san(vec![mail()]), Some("a@mail.test")),
        ("dns", san(vec![dns("host.test")]), Some("host.test")),
        ("uri", san(vec![uri()]), Some("spiffe://x/y")),
        (
            "first mail, then dns, then uri",
            san(vec![uri(), dns("host.test"), mail()]),
            Some("a@mail.test"),
        ),
        (
            "other order",
            subject(vec![
                (DnType::CommonName, "turned"),
                (DnType::OrganizationName, "org"),
            ]),
            Some("CN=turned,O=org"),
        ),
        (
            "own order",
            subject(vec![
                (DnType::OrganizationName, "org"),
                (DnType::CommonName, "turned"),
            ]),
            Some("CN=turned,O=org"),
        ),
        (
            "subject alone",
            subject(vec![(DnType::CommonName, "plain")]),
            Some("CN=plain"),
        ),
        (
            "t28: more parts than the user has",
            subject(vec![
                (DnType::OrganizationName, "org"),
                (DnType::OrganizationalUnitName, "more"),
                (DnType::CommonName, "turned"),
            ]),
            None,
        ),
        ("a user with a password", san(vec![dns("locked")]), None),
        ("a user of another way", san(vec![dns("ws.test")]), None),
        ("nobody", san(vec![dns("nobody.test")]), None),
    ];
    for (what, shape, user) in cases {
        let pair = authority.issue("client", |params| shape(params));
        let mut client = open(&server, &authority.client().showing(&pair));
        match user {
            None => {
                client.send("CONNECT {\"user\":\"CN=plain\",\"verbose\":false}\r\nPING\r\n");
                assert_eq!(
                    client.closed(),
                    ["-ERR 'Authorization Violation'"],
                    "{what}"
                );
            }
            Some(user) => {
                client.connect("{\"user\":\"somebody\"}");
                client.send("SUB r 1\r\nPUB $SYS.REQ.USER.INFO r 0\r\n\r\n");
                let info: Value = serde_json::from_slice(&client.message().payload).expect("JSON");
                assert_eq!(info["data"]["user"], json!(user), "{what}");
            }
        }
    }
}

#[test]
fn auth_025_who_is_mapped_elsewhere_has_no_empty_password_here() {
    let authority = Authority::new();
    let (pair, ca) = (authority.server().config(), authority.ca());
    let server = Server::with_config(&format!(
        "websocket {{ listen: \"127.0.0.1:-1\",
            tls {{ {pair}, verify_and_map: true, ca_file: {ca:?} }} }}
         authorization {{ users: [ {{user: mapped}}, {{user: other, password: pw}} ] }}"
    ));
    let mut client = server.open();
    client.send("CONNECT {\"user\":\"mapped\",\"verbose\":false}\r\nPING\r\n");
    assert_eq!(client.closed(), ["-ERR 'Authorization Violation'"]);
    server.client_with("{\"user\":\"other\",\"pass\":\"pw\"}");
}

/// Peers that leave at every step, politely or not: nothing of it reaches others.
#[test]
fn core_078_peers_that_leave_at_any_step() {
    let authority = Authority::new();
    let pair = authority.server().config();
    let mut server = Server::with_config(&format!(
        "tls {{ {pair}, timeout: 20 }}
         websocket {{ listen: \"127.0.0.1:-1\", tls {{ {pair}, timeout: 20 }} }}"
    ));
    let dialer = authority.client();
    let config = dialer.config();
    let mut stays = connect(&server, &dialer);
    for round in 0..300 {
        let web = round % 2 == 0;
        let mut client = if web {
            Client::dial(server.websocket_address())
        } else {
            server.open()
        };
        let socket = client.socket().try_clone().expect("another handle");
        if round % 3 == 0 {
            // No end but a reset.
            rustix::net::sockopt::set_socket_linger(&socket, Some(std::time::Duration::ZERO))
                .expect("an option");
        }
        match round % 7 {
            0 => drop(client),
            1 => client.send_until_closed([0x16, 3, 1]),
            2 => client.send_until_closed("GET / HTTP/1.1\r\n"),
            step => {
                let wire = socket.try_clone().expect("another handle");
                let Ok(mut stream) = dialer.handshake(&config, wire) else {
                    panic!("a handshake fails");
                };
                let _ = match step {
                    3 => Ok(()),
                    4 => {
                        stream.conn.send_close_notify();
                        stream.conn.complete_io(&mut stream.sock).map(drop)
                    }
                    5 => std::io::Write::write_all(&mut stream, b"GET / HT"),
                    _ => std::io::Write::write_all(&mut stream, b"nonsense\r\n\r\n"),
                };
            }
        }
    }
    assert!(server.is_running());
    stays.quietly("SUB a 1\r\n");
    connect(&server, &dialer).quietly("PUB a 1\r\nx\r\n");
    assert_eq!(stays.message().payload, b"x");
}

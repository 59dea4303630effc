//! Section 5.1: WebSocket.

use crate::support::client::Client;
use crate::support::server::{Server, beyond_stock};
use crate::support::tls::Authority;
use crate::support::wait_until;
use crate::support::websocket::{ACCEPT, KEY, Said, frame, request, send_frames, upgrade};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

#[track_caller]
fn server(websocket: &str, rest: &str) -> Server {
    Server::with_monitor(&format!(
        "websocket {{ listen: \"127.0.0.1:-1\", no_tls: true, {websocket} }}\n{rest}"
    ))
}

/// A connection after its upgrade and first INFO.
#[track_caller]
fn open(server: &Server, headers: &str) -> (Client, Arc<Mutex<Said>>) {
    let mut client = Client::dial(server.websocket_address());
    let (_, said) = upgrade(&mut client, "/", headers);
    client.info_line();
    (client, said)
}

#[track_caller]
fn connect(server: &Server, headers: &str) -> (Client, Arc<Mutex<Said>>) {
    let (mut client, said) = open(server, headers);
    client.connect("{}");
    (client, said)
}

fn close_of(said: &Mutex<Said>) -> Option<(u16, String)> {
    said.lock().expect("nobody panicked").close.clone()
}

/// Everything the server answers to a request.
#[track_caller]
fn answer(server: &Server, request: &str) -> String {
    let mut client = Client::dial(server.websocket_address());
    client.send(request);
    let mut head = String::new();
    loop {
        let line = client.raw_line();
        head.push_str(&line);
        head.push('\n');
        if line.is_empty() {
            return head;
        }
    }
}

#[test]
fn ws_002_without_tls_only_on_purpose() {
    let run = Server::builder().config("websocket { port: -1 }").run();
    assert_eq!(run.code, 1);
    assert!(
        run.stderr.contains("websocket requires TLS configuration"),
        "{}",
        run.stderr
    );
    let server = server("", "");
    server.logged("Listening for websocket clients on ws://127.0.0.1:");
    server.logged("Websocket not configured with TLS. DO NOT USE IN PRODUCTION!");
}

#[test]
fn ws_003_handshake() {
    let server = server("headers: {X-Own: value}", "");
    for path in ["/", "/any/path?x=y"] {
        let mut client = Client::dial(server.websocket_address());
        let (head, _) = upgrade(&mut client, path, "Sec-WebSocket-Protocol: nats\r\n");
        assert!(
            head.contains(&format!("Sec-WebSocket-Accept: {ACCEPT}")),
            "{head}"
        );
        assert!(head.contains("X-Own: value"), "{head}");
        assert!(!head.to_lowercase().contains("protocol: nats"), "{head}");
        client.info_line();
        client.connect("{}");
        client.quietly("SUB a 1\r\n");
        client.send("PUB a 2\r\nhi\r\n");
        assert_eq!(client.message().payload, b"hi");
    }
    // Plain clients and these are of one world.
    let (mut client, _) = connect(&server, "");
    client.quietly("SUB b 1\r\n");
    server.client().quietly("PUB b 1\r\nx\r\n");
    assert_eq!(client.message().payload, b"x");
    let rows = server.json("/connz?sort=cid");
    let kinds = rows["connections"].as_array().expect("rows");
    assert!(kinds.iter().any(|row| row["type"] == json!("websocket")));
    assert_eq!(server.json("/varz")["websocket"]["no_tls"], json!(true));
}

#[test]
fn ws_003_over_tls() {
    let authority = Authority::new();
    let pair = authority.server().config();
    let server = Server::with_config(&format!(
        "websocket {{ listen: \"127.0.0.1:-1\", tls {{ {pair} }} }}"
    ));
    let mut client = Client::dial(server.websocket_address());
    authority.client().begin(&mut client);
    upgrade(&mut client, "/", "");
    client.info_line();
    assert_eq!(client.info["tls_required"], json!(true));
    client.connect("{}");
    client.quietly("SUB a 1\r\n");
    let body = vec![b'y'; 300_000];
    client.send([&b"PUB a 300000\r\n"[..], &body, b"\r\n"].concat());
    assert!(client.message().payload == body);
}

#[test]
fn ws_004_refusals() {
    let server = server("", "");
    let good = request("/", "");
    let without = |line: &str| {
        let kept = good.split("\r\n").filter(|it| !it.starts_with(line));
        kept.collect::<Vec<_>>().join("\r\n")
    };
    let long_key = good.replace(KEY, "YWJj");
    for (request, status, log) in [
        (
            good.replace("GET", "POST"),
            "405",
            "request method must be GET",
        ),
        (
            without("Upgrade"),
            "400",
            "invalid value for header 'Upgrade'",
        ),
        (
            without("Connection"),
            "400",
            "invalid value for header 'Connection'",
        ),
        (without("Sec-WebSocket-Key"), "400", "key missing"),
        (long_key, "400", "invalid websocket key"),
        (
            good.replace("Version: 13", "Version: 12"),
            "400",
            "invalid version",
        ),
        (without("Host"), "400", ""),
    ] {
        let head = answer(&server, &request);
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {head}"
        );
        server.logged(log);
    }
}

#[test]
fn ws_005_origins() {
    let server = server(
        "allowed_origins: [\"http://ok.test\", \"https://ok.test:8443\"]",
        "",
    );
    for (origin, fine) in [
        ("http://ok.test", true),
        ("http://ok.test:80", true),
        ("https://ok.test:8443", true),
        ("https://ok.test", false),
        ("http://ok.test.evil", false),
        ("null", false),
    ] {
        let head = answer(&server, &request("/", &format!("Origin: {origin}\r\n")));
        let status = if fine { "101" } else { "403" };
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{origin}: {head}"
        );
    }
    assert!(answer(&server, &request("/", "")).starts_with("HTTP/1.1 101 "));
    server.logged("origin not allowed: not in the allowed list");
    for (origins, text) in [
        ("[\"x\"]", "unable to parse allowed origin"),
        ("[\"ftp://x\"]", "http or https scheme"),
    ] {
        let run = Server::builder()
            .config(&format!(
                "port: -1, websocket {{ port: -1, no_tls: true, allowed_origins: {origins} }}"
            ))
            .run();
        assert!(run.code == 1 && run.stderr.contains(text), "{}", run.stderr);
    }
}

#[test]
fn ws_006_frames_are_a_stream() {
    let server = server("", "");
    let (mut client, said) = connect(&server, "");
    client.quietly("SUB a 1\r\n");
    // One operation over a text frame, its continuations, and a ping between them.
    let mut frames = frame(0x01, b"PU");
    frames.extend(frame(0x00, b"B a 5\r"));
    frames.extend(frame(0x89, b"are you there"));
    frames.extend(frame(0x00, b""));
    frames.extend(frame(0x80, b"\nhello\r\nPI"));
    frames.extend(frame(0x82, b"NG\r\n"));
    for cut in [1, 7, 1000] {
        for piece in frames.chunks(cut) {
            send_frames(&mut client, piece);
        }
        assert_eq!(client.message().payload, b"hello");
        client.expect(&["PONG"]);
    }
    let said = said.lock().expect("nobody panicked").clone();
    assert_eq!(said.pongs, vec![b"are you there".to_vec(); 3]);
    assert!(
        said.frames.iter().all(|(first, _)| *first == 0x82),
        "whole and binary"
    );
}

#[test]
fn ws_006_a_close_is_answered() {
    let server = server("", "");
    let (mut client, said) = connect(&server, "");
    send_frames(&mut client, &frame(0x88, b"\x03\xe8bye"));
    client.closed();
    assert_eq!(close_of(&said), Some((1000, "bye".into())));
}

#[test]
fn ws_007_t18_frames_that_make_no_sense() {
    let mut server = server("", "");
    let mut wrong: Vec<Vec<u8>> = vec![
        b"\x82\x06PING\r\n".to_vec(),
        frame(0xa2, b"x"),
        frame(0xc2, b"x"),
        frame(0x83, b"x"),
        frame(0x80, b"x"),
        frame(0x09, b""),
        [frame(0x02, b"a"), frame(0x82, b"b")].concat(),
        [&[0x89, 0xfe, 0, 126][..], &[0; 130]].concat(),
        [&[0x82, 0xff, 0x80][..], &[0; 20]].concat(),
        frame(0x88, b"\x03"),
        frame(0x88, b"\x03\xed"),
    ];
    // Every first byte with every kind of length.
    for first in 0..=255 {
        for second in [0x80, 0xfd, 0xfe, 0xff] {
            wrong.push([&[first, second][..], &[0xff; 16]].concat());
        }
    }
    for frames in &wrong {
        let mut client = Client::dial(server.websocket_address());
        upgrade(&mut client, "/", "");
        send_frames(&mut client, frames);
    }
    assert!(server.is_running());
    let (mut client, said) = open(&server, "");
    send_frames(&mut client, &wrong[0]);
    client.closed();
    if let Some((status, _)) = close_of(&said) {
        assert_eq!(status, 1002);
    }
    connect(&server, "").0.quietly("");
}

#[test]
fn ws_007_no_masking_by_agreement() {
    let server = server("", "");
    let mut client = Client::dial(server.websocket_address());
    let (head, _) = upgrade(&mut client, "/", "Nats-No-Masking: true\r\n");
    assert!(head.contains("Nats-No-Masking: true"), "{head}");
    client.info_line();
    send_frames(&mut client, b"\x82\x06PING\r\n");
    client.expect(&["PONG"]);
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 1000);
    let mut deflate = flate2::Compress::new(flate2::Compression::best(), false);
    deflate
        .compress_vec(bytes, &mut out, flate2::FlushCompress::Sync)
        .expect("compresses");
    out.truncate(out.len() - 4);
    out
}

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

#[test]
fn ws_008_compression_both_ways() {
    let server = server("compression: true", "");
    let mut client = Client::dial(server.websocket_address());
    let (head, said) = upgrade(&mut client, "/", OFFER);
    assert!(
        head.contains("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        "{head}"
    );
    client.info_line();
    client.connect("{}");
    let first = said.lock().expect("nobody panicked").frames[0].0;
    assert_eq!(first, 0xc2, "INFO is compressed (WS-14)");
    client.quietly("SUB a 1\r\n");
    let body = "text ".repeat(2000);
    for _ in 0..3 {
        let packed = deflated(format!("PUB a 10000\r\n{body}\r\n").as_bytes());
        let (front, back) = packed.split_at(packed.len() / 2);
        send_frames(&mut client, &frame(0x42, front));
        send_frames(&mut client, &frame(0x80, back));
        assert_eq!(client.message().payload, body.as_bytes());
    }
    let said = said.lock().expect("nobody panicked").clone();
    assert!(
        said.frames
            .iter()
            .any(|&(first, len)| first == 0xc2 && len < 500)
    );
    assert!(
        said.frames
            .iter()
            .any(|&(first, len)| first == 0x82 && len <= 64),
        "short ones are not"
    );
    // Not asked for, not done.
    let (client, said) = open(&server, "");
    assert_eq!(said.lock().expect("nobody panicked").frames[0].0, 0x82);
    drop(client);
}

/// T17: what a message inflates to is bounded, before and after the login.
#[test]
fn t17_bombs() {
    let mut server = server("compression: true", "authorization: {user: u, password: p}");
    let bomb = deflated(&vec![b' '; 64 << 20]);
    assert!(bomb.len() > 60_000);
    let before = server.resident_size();
    for _ in 0..4 {
        let (mut client, _) = open(&server, OFFER);
        client.send_until_closed(""); // an empty frame is nothing
        send_frames(&mut client, &frame(0xc2, &bomb));
        client.closed();
        let (mut client, said) = open(&server, OFFER);
        client.connect("{\"user\":\"u\",\"pass\":\"p\"}");
        send_frames(&mut client, &frame(0xc2, &bomb));
        client.closed();
        drop(said);
    }
    assert!(server.is_running());
    assert!(server.resident_size() < before + (48 << 20));
}

/// T26: what a peer can have stored before it has said who it is.
#[test]
fn t26_little_is_stored_of_strangers() {
    if !beyond_stock() {
        return; // stock reads a megabyte of headers
    }
    let server = server("compression: true", "authorization: {user: u, password: p}");
    let mut client = Client::dial(server.websocket_address());
    client.send_until_closed(format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(40_000)));
    assert!(client.drained() < 1000);
    let (mut client, _) = open(&server, OFFER);
    // A compressed message that never ends.
    for _ in 0..100 {
        let first = 0x42;
        client.send_until_closed("");
        send_frames_until_closed(&mut client, &frame(first, &[0x55; 1000]));
        for _ in 0..200 {
            send_frames_until_closed(&mut client, &frame(0x00, &[0x55; 1000]));
        }
    }
    client.closed();
}

fn send_frames_until_closed(client: &mut Client, frames: &[u8]) {
    client.send_until_closed([b"\0raw\0", frames].concat());
}

#[test]
fn ws_009_browsers_get_small_frames() {
    let server = server("compression: true", "");
    let browser = "User-Agent: Mozilla/5.0 (X11) Chrome/120 Safari/537.36\r\n";
    for headers in [browser.to_owned(), format!("{browser}{OFFER}")] {
        let (mut client, said) = connect(&server, &headers);
        client.quietly("SUB a 1\r\n");
        let mut noise = 7_u32;
        let body: String = (0..50_000)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                char::from(b'!' + (noise >> 24) as u8 % 90)
            })
            .collect();
        client.send(format!("PUB a 50000\r\n{body}\r\n"));
        let mut most = 0;
        if headers == browser {
            assert_eq!(client.message().payload, body.as_bytes());
        } else {
            wait_until("the frames", || {
                let said = said.lock().expect("nobody panicked");
                let all: usize = said.frames.iter().map(|it| it.1).sum();
                (all > 100).then_some(())
            });
        }
        for (_, len) in &said.lock().expect("nobody panicked").frames {
            most = most.max(*len);
        }
        assert!(most <= 4096, "{most}");
    }
}

#[test]
fn ws_010_cookies_fill_in() {
    let server = server(
        "user_cookie: U, pass_cookie: P",
        "authorization: {users: [{user: a, password: pw}, {user: b, password: pw}]}",
    );
    let (mut client, _) = open(&server, "Cookie: x=y; U=a; P=pw\r\n");
    client.connect("{}");
    // What a CONNECT says goes before.
    let (mut client, _) = open(&server, "Cookie: U=a; P=nonsense\r\n");
    client.connect("{\"user\":\"b\",\"pass\":\"pw\"}");
    let (mut client, said) = open(&server, "");
    client.send("CONNECT {}\r\nPING\r\n");
    assert_eq!(client.closed(), ["-ERR 'Authorization Violation'"]);
    assert_eq!(
        close_of(&said),
        Some((1008, "Authentication Failure".into()))
    );
}

/// AUTH-19, for WebSockets.
#[test]
fn ws_011_own_credentials() {
    let server = server(
        "authorization: {token: own}",
        "authorization: {user: u, password: p}",
    );
    let (mut client, _) = open(&server, "");
    client.connect("{\"auth_token\":\"own\"}");
    server.client_with("{\"user\":\"u\",\"pass\":\"p\"}");
    let (mut client, _) = open(&server, "");
    client.send("CONNECT {\"user\":\"u\",\"pass\":\"p\"}\r\nPING\r\n");
    assert_eq!(client.closed(), ["-ERR 'Authorization Violation'"]);
}

/// T31, T39: who stands for those without credentials is bound to its ways of connecting.
#[test]
fn t39_implied_users_keep_their_restrictions() {
    let users = "authorization { users: [
        {user: ws, password: pw, allowed_connection_types: [WEBSOCKET]},
        {user: std, password: pw, allowed_connection_types: [STANDARD]} ] }";
    for (implied, websocket, plain) in [("ws", true, false), ("std", false, true)] {
        let server = server("", &format!("{users}\nno_auth_user: {implied}"));
        for first in ["CONNECT {\"verbose\":false}\r\nPING\r\n", "PING\r\n"] {
            let (mut client, _) = open(&server, "");
            client.send(first);
            let line = client.line();
            assert_eq!(line == "PONG", websocket, "{implied} {first}: {line}");
            let mut client = server.open();
            client.send(first);
            let line = client.line();
            assert_eq!(line == "PONG", plain, "{implied} {first}: {line}");
        }
    }
}

#[test]
fn ws_012_forwarded_addresses_in_the_log() {
    let server = Server::builder()
        .config("websocket { listen: \"127.0.0.1:-1\", no_tls: true }\ndebug: true")
        .start();
    let (client, _) = open(&server, "X-Forwarded-For: 203.0.113.5\r\n");
    let line = server.logged("203.0.113.5/127.0.0.1:");
    assert!(line.contains(" - wid:"), "{line}");
    drop(client);
    drop(open(&server, "X-Forwarded-For: nonsense\r\n"));
    assert_eq!(server.count_in_log("nonsense"), 0);
}

#[test]
fn ws_013_close_codes() {
    let server = server("", "max_payload: 100, ping_interval: \"2s\", ping_max: 1");
    let (mut client, said) = connect(&server, "");
    client.send("PUB a 1000\r\n");
    assert_eq!(client.closed(), ["-ERR 'Maximum Payload Violation'"]);
    assert_eq!(close_of(&said).map(|it| it.0), Some(1009));
    let (mut client, said) = connect(&server, "");
    client.closed_without_answering();
    assert_eq!(close_of(&said).map(|it| it.0), Some(1001));
}

#[test]
fn ws_015_own_ping_interval_and_headers() {
    let server = server("ping_interval: \"1s\"", "");
    let (mut client, _) = connect(&server, "");
    assert_eq!(client.raw_line(), "PING");
    for header in [
        "Host",
        "content-length",
        "Sec-WebSocket-X",
        "Nats-No-Masking",
    ] {
        let run = Server::builder()
            .config(&format!(
                "port: -1, websocket {{ port: -1, no_tls: true, headers: {{ {header}: x }} }}"
            ))
            .run();
        assert!(
            run.code == 1 && run.stderr.contains("websocket: invalid header"),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn ws_016_handshake_timeout() {
    let server = server("handshake_timeout: \"3s\"", "");
    let (mut done, _) = connect(&server, "");
    // Whoever came later is given up, so it does not concern who is through.
    let mut client = Client::dial(server.websocket_address());
    client.send("GET / HTTP/1.1\r\n");
    client.drained();
    done.quietly("SUB a 1\r\n");
}

/// T42: the doors of what is switched off.
#[test]
fn t42_paths_of_features_that_are_off() {
    let mut server = server("", "");
    let head = answer(&server, &request("/mqtt", ""));
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    server.logged("mqtt websocket endpoint not enabled");
    let mut client = Client::dial(server.websocket_address());
    client.send(request("/leafnode", ""));
    client.drained();
    server.logged("Not configured to accept leaf node connections");
    assert!(server.is_running());
    let rows: Value = server.json("/connz");
    assert_eq!(rows["num_connections"], json!(0));
}

/// CFG-63.
#[test]
fn ws_001_every_key_in_each_of_its_forms() {
    for keys in [
        "port: -1, host: 127.0.0.1",
        "port: -1, net: 127.0.0.1",
        "listen: \"127.0.0.1:-1\"",
        "listen: \"127.0.0.1:-1\", advertise: \"front.example:443\"",
        "listen: \"127.0.0.1:-1\", same_origin: true",
        "listen: \"127.0.0.1:-1\", allowed_origins: [\"http://a.example\"]",
        "listen: \"127.0.0.1:-1\", allowed_origin: \"http://a.example\"",
        "listen: \"127.0.0.1:-1\", allow_origins: [\"http://a.example\"]",
        "listen: \"127.0.0.1:-1\", allow_origin: \"http://a.example\"",
        "listen: \"127.0.0.1:-1\", origins: [\"http://a.example\"]",
        "listen: \"127.0.0.1:-1\", origin: \"http://a.example\"",
        "listen: \"127.0.0.1:-1\", handshake_timeout: \"3s\"",
        "listen: \"127.0.0.1:-1\", compression: true",
        "listen: \"127.0.0.1:-1\", compress: true",
        "listen: \"127.0.0.1:-1\", headers: {X-A: b}",
        "listen: \"127.0.0.1:-1\", ping_interval: \"10s\"",
        "listen: \"127.0.0.1:-1\", user_cookie: u, pass_cookie: p, token_cookie: t",
    ] {
        let server = Server::with_config(&format!("websocket {{ {keys}, no_tls: true }}"));
        connect(&server, "").0.quietly("SUB a 1\r\n");
    }
    for (block, good) in [
        (
            "authorization: {user: u, pass: p}",
            "{\"user\":\"u\",\"pass\":\"p\"}",
        ),
        (
            "authorization: {username: u, password: p}",
            "{\"user\":\"u\",\"pass\":\"p\"}",
        ),
        (
            "authentication: {token: t, timeout: 3}",
            "{\"auth_token\":\"t\"}",
        ),
    ] {
        let server = server(block, "");
        open(&server, "").0.connect(good);
        let (mut client, _) = open(&server, "");
        client.send("CONNECT {}\r\nPING\r\n");
        assert_eq!(
            client.closed(),
            ["-ERR 'Authorization Violation'"],
            "{block}"
        );
    }
    // No port, no listener.
    let server = Server::with_config("websocket { no_tls: true }");
    assert!(
        server
            .listeners()
            .get("websocket")
            .is_none_or(serde_json::Value::is_null)
    );
}

#[test]
fn core_012_ws_014_info_is_that_of_this_listener() {
    let server = server("", "");
    let address = server.websocket_address();
    let mut client = Client::dial(address);
    upgrade(&mut client, "/", "");
    let info = client.info_line();
    assert_eq!(info["port"], address.port());
    assert_eq!(info["host"], "127.0.0.1");
    let plain = server.open().info;
    assert_ne!(plain["port"], address.port());
    for info in [&info, &plain] {
        for absent in ["ws_connect_urls", "tls_required", "tls_available"] {
            assert!(info[absent].is_null(), "{absent}");
        }
    }
}

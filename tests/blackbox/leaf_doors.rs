//! Advisories of section 4 that touch servers which connect as leaf nodes, on every way in: in
//! clear, over TLS begun by either side, over WebSocket in clear and over TLS.

use std::net::SocketAddr;

use rustls::HandshakeKind;
use serde_json::{Value, json};

use crate::support::client::{Client, delivered};
use crate::support::server::{Server, beyond_stock};
use crate::support::tls::{Authority, Dialer};
use crate::support::websocket::{request, upgrade};

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Plain,
    Tls,
    TlsFirst,
    WebSocket,
    WebSocketTls,
}

const DOORS: [Door; 5] = [
    Door::Plain,
    Door::Tls,
    Door::TlsFirst,
    Door::WebSocket,
    Door::WebSocketTls,
];

/// A server with one door for leaf nodes.
struct House {
    server: Server,
    door: Door,
    dialer: Dialer,
    address: SocketAddr,
}

/// Where leaf nodes connect.
#[track_caller]
fn leaf_address(server: &Server) -> SocketAddr {
    const LINE: &str = "Listening for leafnode connections on ";
    let line = server.logged(LINE);
    let address = line.rsplit(LINE).next().expect("an address");
    address.trim().parse().expect("an address")
}

impl House {
    #[track_caller]
    fn new(door: Door, rest: &str) -> Self {
        Self::with(door, "", rest)
    }

    /// With more words for the block of leaf nodes.
    #[track_caller]
    fn with(door: Door, leafnodes: &str, rest: &str) -> Self {
        let authority = Authority::new();
        let pair = authority.server().config();
        let (tls, websocket) = match door {
            Door::Plain => (String::new(), String::new()),
            Door::Tls => (format!("tls {{ {pair}, timeout: 10 }}"), String::new()),
            Door::TlsFirst => (
                format!("tls {{ {pair}, timeout: 10, handshake_first: true }}"),
                String::new(),
            ),
            Door::WebSocket => (
                String::new(),
                "websocket { listen: \"127.0.0.1:-1\", no_tls: true }".to_owned(),
            ),
            Door::WebSocketTls => (
                String::new(),
                format!("websocket {{ listen: \"127.0.0.1:-1\", tls {{ {pair}, timeout: 10 }} }}"),
            ),
        };
        let server = Server::with_config(&format!(
            "leafnodes {{ listen: \"127.0.0.1:-1\", {tls}\n{leafnodes} }}\n{websocket}\n{rest}"
        ));
        let address = match door {
            Door::WebSocket | Door::WebSocketTls => server.websocket_address(),
            _ => leaf_address(&server),
        };
        Self {
            server,
            door,
            dialer: authority.client(),
            address,
        }
    }

    /// A connection that has read INFO.
    #[track_caller]
    fn open(&self) -> Client {
        let mut link = Client::dial(self.address);
        match self.door {
            Door::Plain => _ = link.info_line(),
            Door::Tls => {
                link.info_line();
                self.dialer.begin(&mut link);
            }
            Door::TlsFirst => {
                self.dialer.begin(&mut link);
                link.info_line();
            }
            Door::WebSocket | Door::WebSocketTls => {
                if self.door == Door::WebSocketTls {
                    self.dialer.begin(&mut link);
                }
                upgrade(&mut link, "/leafnode", "");
                link.info_line();
            }
        }
        link
    }

    /// A link that was let in, with what it was told read.
    #[track_caller]
    fn link(&self, over: &Value) -> Client {
        let mut link = self.open();
        link.send(format!("CONNECT {}\r\n", connect(over)));
        let info = link.info_line();
        assert_eq!(info["connect_info"], true, "{:?}: {info}", self.door);
        link.ask("");
        link
    }

    /// Whatever came before: links are made, and messages pass both ways.
    #[track_caller]
    fn serves(&self, client: &str, leaf: &Value) {
        // Under a name of its own: those that came before may still be on their way in.
        let mut leaf = leaf.clone();
        leaf["name"] = json!("serves");
        let mut link = self.link(&leaf);
        let mut client = self.server.client_with(client);
        link.ask("LS+ out.serves\r\n");
        client.quietly("SUB in.serves 1\r\n");
        client.quietly("PUB out.serves 2\r\nhi\r\n");
        link.ask("");
        link.send("LMSG in.serves 3\r\nyes\r\n");
        assert_eq!(client.message().payload, b"yes", "{:?}", self.door);
    }
}

/// A CONNECT with these words in it.
fn connect(over: &Value) -> Value {
    let mut connect = json!({"name": "edge", "headers": true, "protocol": 3, "version": "2.15.1",
                             "remote_account": "$G"});
    for (key, value) in over.as_object().expect("an object") {
        connect[key] = value.clone();
    }
    connect
}

/// What a server says until it closes the connection.
#[track_caller]
fn rest(link: &mut Client) -> String {
    link.closed().join("\n")
}

/// T16: a session is not resumed where other peers are trusted, nor after a reload.
#[test]
fn t16_sessions_stay_with_the_leaf_listener() {
    for door in [Door::Tls, Door::TlsFirst, Door::WebSocketTls] {
        let (authority, other) = (Authority::new(), Authority::new());
        let pair = authority.server().config();
        let tls = |ca: &str, more: &str| {
            format!("tls {{ {pair}, verify: true, ca_file: {ca:?}, timeout: 10, {more} }}")
        };
        let listen = "listen: \"127.0.0.1:-1\"";
        let config = |leaf_ca: &str| {
            let leafnodes = match door {
                Door::TlsFirst => tls(leaf_ca, "handshake_first: true"),
                Door::Tls => tls(leaf_ca, ""),
                _ => String::new(),
            };
            let websocket = match door {
                Door::WebSocketTls => format!("websocket {{ {listen}, {} }}", tls(leaf_ca, "")),
                _ => String::new(),
            };
            let clients = tls(&other.ca(), "");
            format!("{clients}\nleafnodes {{ {listen}, {leafnodes} }}\n{websocket}")
        };
        let server = Server::with_config(&config(&authority.ca()));
        let shown = authority.issue("leaf", |_| {});
        let dialer = authority.client().showing(&shown);
        let remembered = dialer.config();
        // What came of a handshake after which something was said.
        let kind = |at: SocketAddr, door: Door| {
            let mut socket = Client::dial(at);
            let said = match door {
                Door::WebSocketTls => request("/leafnode", ""),
                _ => format!("CONNECT {}\r\nPING\r\n", connect(&json!({}))),
            };
            if door == Door::Tls {
                socket.info_line();
            }
            let wire = socket.socket().try_clone().expect("another handle");
            let mut stream = dialer.handshake(&remembered, wire).ok()?;
            std::io::Write::write_all(&mut stream, said.as_bytes()).ok()?;
            let mut answer = [0; 6];
            std::io::Read::read_exact(&mut stream, &mut answer).ok()?;
            stream.conn.handshake_kind()
        };
        let leaf = match door {
            Door::WebSocketTls => server.websocket_address(),
            _ => leaf_address(&server),
        };
        let first = kind(leaf, door);
        assert!(
            first.is_some_and(|it| it != HandshakeKind::Resumed),
            "{door:?}"
        );
        assert_eq!(kind(leaf, door), Some(HandshakeKind::Resumed), "{door:?}");
        let elsewhere = kind(server.address(), Door::Tls);
        assert_eq!(elsewhere, None, "{door:?}: others are trusted there");
        server.reload(&config(&other.ca()));
        assert_eq!(kind(leaf, door), None, "{door:?}: others are trusted now");
    }
}

#[test]
fn t19_odd_modes_of_compression_before_and_after_connect() {
    for door in DOORS {
        let house = House::new(door, "");
        let good = format!("CONNECT {}\r\n", connect(&json!({})));
        for mode in [
            "",
            "\"zip\"",
            "\"S2_FAST\"",
            "\"s2_auto\"",
            "\"accept\"",
            "\"off\"",
            "\"not supported\"",
            "7",
            "null",
            "[\"s2_fast\"]",
            "\"s2_fast\",\"compression\":\"s2_best\"",
            "\"s2_fast\\u0000\\r\\n\"",
        ] {
            let info = match mode {
                "" => "INFO {}\r\n".to_owned(),
                mode => format!("INFO {{\"compression\":{mode}}}\r\n"),
            };
            for words in [
                format!("{info}{good}"),
                format!("{good}{info}"),
                format!("{info}{info}{good}{info}PING\r\n"),
                format!("{good}{info}{info}LS+ a\r\n{info}"),
            ] {
                let mut link = house.open();
                link.send_until_closed(words);
                drop(link);
            }
        }
        // What follows an agreement is no compressed stream, or one that lies.
        for after in [
            &good.clone().into_bytes()[..],
            b"\xff\x06\x00\x00sNaPpY\x00\xff\xff\xff",
            b"\xff\x06\x00\x00S2sTwO\x01\x04\x00\x00abcd",
            b"\xff\x06\x00\x00S2sTwO\x00\x0a\x00\x00abcd\xff\xff\xff\xff\x0f\x00",
            b"\xff\x06\x00\x00S2sTwO\x02\x00\x00\x00",
            b"\xff\xff\xff\xffS2sTwO",
        ] {
            let mut link = house.open();
            link.send("INFO {\"compression\":\"s2_fast\"}\r\n");
            // Its answer is compressed: the stream's identifier comes first. A WebSocket's frames
            // are compressed themselves, which the client here cannot read.
            if !matches!(door, Door::WebSocket | Door::WebSocketTls) {
                assert_eq!(link.bytes(10), b"\xff\x06\x00\x00S2sTwO", "{door:?}");
            }
            link.send_until_closed(after);
            drop(link);
        }
        house.serves("{}", &json!({}));
    }
}

#[test]
fn t23_request_info_is_the_servers_word() {
    let accounts = "accounts {
        S { users: [{user: s, password: p}], exports: [{service: q}] },
        C { users: [{user: c, password: p}, {user: l, password: p}],
            imports: [{service: {account: S, subject: q}, share: true}] } }";
    for door in DOORS {
        let house = House::new(door, accounts);
        let mut service = house.server.client_with("{\"user\":\"s\",\"pass\":\"p\"}");
        service.quietly("SUB q 1\r\n");
        let mut link = house.link(&json!({"user": "l", "pass": "p"}));
        let forged = "Nats-Request-Info: {\"acc\":\"forged\",\"user\":\"root\"}\r\n";
        for header in [
            format!("NATS/1.0\r\n{forged}\r\n"),
            format!("NATS/1.0\r\nA: b\r\n{forged}\r\n"),
        ] {
            let size = header.len();
            link.send(format!("HMSG q r {size} {size}\r\n{header}\r\n"));
            let message = service.message();
            let got = String::from_utf8_lossy(&message.headers).into_owned();
            assert!(
                !got.contains("forged") && !got.contains("root"),
                "{door:?}: {got}"
            );
            let infos = got.matches("Nats-Request-Info").count();
            assert_eq!(infos, 1, "{door:?}: {got}");
        }
    }
}

/// Words that are none, or not whole, or too much.
const MALFORMED: [&[u8]; 22] = [
    b"LMSG\r\n",
    b"LMSG a\r\n",
    b"LMSG a -1\r\n\r\n",
    b"LMSG a 99999999999999999999\r\n",
    b"LMSG a b c d e 1\r\nx\r\n",
    b"LMSG a + 1\r\nx\r\n",
    b"LMSG a | 1\r\nx\r\n",
    b"LMSG a + r 1\r\nxy\r\n",
    b"HMSG a 5 1\r\nx\r\n",
    b"HMSG a 1\r\nx\r\n",
    b"HMSG a + r q 12 2\r\nx\r\n",
    b"LS+\r\n",
    b"LS+ \r\n",
    b"LS+ a b\r\n",
    b"LS+ a b c\r\n",
    b"LS+ a b c d e\r\n",
    b"LS- \r\n",
    b"LS+ a..b\r\n",
    b"RS+ $G a\r\n",
    b"RMSG $G a 1\r\nx\r\n",
    b"A+ x\r\n",
    b"\0\xff\xfe\r\n",
];

#[test]
fn t25_malformed_words_in_every_state() {
    for door in DOORS {
        let house = House::new(door, "");
        let good = format!("CONNECT {}\r\n", connect(&json!({}))).into_bytes();
        for words in MALFORMED {
            let mut link = house.open();
            link.send_until_closed(words);
            drop(link);
            let mut link = house.open();
            link.send_until_closed([&good[..], words].concat());
            drop(link);
            // Byte by byte, so that everything is incomplete at first.
            let mut link = house.open();
            for byte in good.iter().chain(words) {
                link.send_until_closed([*byte]);
            }
            drop(link);
        }
        house.serves("{}", &json!({}));
    }
}

#[test]
fn t31_nobody_stands_for_a_link_that_says_nothing() {
    let rest_of_config = "authorization { users: [{user: u, password: p}] }\nno_auth_user: u";
    for door in DOORS {
        let house = House::new(door, rest_of_config);
        for first in [
            "LS+ >\r\n",
            "LMSG in.x 1\r\nx\r\n",
            "HMSG in.x 12 12\r\nNATS/1.0\r\n\r\n\r\n",
            "LS- a\r\n",
            "PUB in.x 0\r\n\r\n",
            "SUB > 1\r\n",
        ] {
            let mut watcher = house.server.client();
            watcher.quietly("SUB in.> 1\r\n");
            let mut link = house.open();
            link.send_until_closed(first);
            let said = rest(&mut link);
            assert!(!said.contains("LS+"), "{door:?} {first:?}: {said}");
            assert_eq!(watcher.ask(""), [""; 0], "{door:?} {first:?}");
        }
        // Whose password is wrong is not let in either.
        let mut link = house.open();
        let wrong = connect(&json!({"user": "u", "pass": "x"}));
        link.send_until_closed(format!("CONNECT {wrong}\r\nLS+ >\r\n"));
        let said = rest(&mut link);
        assert!(
            said.contains("-ERR 'Authorization Violation'"),
            "{door:?}: {said}"
        );
        house.serves("{}", &json!({"user": "u", "pass": "p"}));
    }
}

#[test]
fn t34_every_word_of_the_handshake_twice_and_out_of_order() {
    let infos = [
        "INFO {}\r\n",
        "INFO {\"compression\":\"s2_fast\"}\r\n",
        "INFO {\"connect_info\":true,\"remote_account\":\"X\"}\r\n",
        "INFO {\"leafnode_urls\":[\"127.0.0.1:1\"],\"nonce\":\"x\",\"client_id\":1}\r\n",
        "INFO {\"import\":{\"deny\":[\">\"]},\"export\":{\"deny\":[\">\"]}}\r\n",
    ];
    for door in DOORS {
        let house = House::new(door, "");
        let good = format!("CONNECT {}\r\n", connect(&json!({})));
        let hub = format!("CONNECT {}\r\n", connect(&json!({"is_hub": true})));
        for info in infos {
            for words in [
                format!("{info}{info}{good}"),
                format!("{info}{good}{info}"),
                format!("{good}{info}{info}{info}"),
                format!("{good}{good}"),
                format!("{good}{hub}{good}"),
                format!("{hub}{info}{info}"),
                format!("PONG\r\nPONG\r\n{info}{good}"),
                format!("{good}PONG\r\n+OK\r\n{info}-ERR 'x'\r\n{good}"),
            ] {
                let mut link = house.open();
                link.send_until_closed(format!("{words}PING\r\n"));
                drop(link);
            }
        }
        house.serves("{}", &json!({}));
    }
}

#[test]
fn t35_traces_go_where_the_leafs_user_may_publish() {
    let users = "authorization { users: [
        {user: l, password: p, permissions: {publish: \"in.>\", subscribe: \"out.>\"}},
        {user: c, password: p}] }";
    for door in DOORS {
        let house = House::new(door, users);
        let mut listener = house.server.client_with("{\"user\":\"c\",\"pass\":\"p\"}");
        listener.quietly("SUB secret.> 1\r\n");
        let mut link = house.link(&json!({"user": "l", "pass": "p"}));
        let block = "NATS/1.0\r\nNats-Trace-Dest: secret.x\r\n\r\n";
        let size = block.len();
        link.send_until_closed(format!("HMSG in.a {size} {size}\r\n{block}\r\n"));
        link.send_until_closed("PING\r\n");
        let mut other = house.server.client_with("{\"user\":\"c\",\"pass\":\"p\"}");
        let lines = delivered(&mut other, &mut listener, "PUB secret.mark 0\r\n\r\n");
        assert_eq!(lines, ["MSG secret.mark 1 0", ""], "{door:?}");
    }
}

#[test]
fn t37_nothing_that_is_said_makes_a_line_of_its_own() {
    for door in DOORS {
        let house = House::new(door, "debug: true");
        let evil = "x\r\nLMSG evil 0\r\n\r\n";
        for over in [
            json!({"name": evil}),
            json!({"cluster": "x\r\nLS+ evil"}),
            json!({"domain": evil, "server_id": evil}),
            json!({"remote_account": evil}),
            json!({"deny_pub": [evil, "a b", "\u{0}", ""]}),
            json!({"version": evil, "compress_mode": evil}),
        ] {
            let mut watcher = house.server.client();
            watcher.quietly("SUB evil 1\r\n");
            let mut link = house.open();
            link.send_until_closed(format!("CONNECT {}\r\nPING\r\n", connect(&over)));
            drop(link);
            assert_eq!(watcher.ask(""), [""; 0], "{door:?} {over}");
        }
        // What clients say goes over links as one line, or not at all.
        let mut link = house.link(&json!({"name": "other"}));
        for subject in ["a\rLS+ evil", "a\tb", "a\u{0}b"] {
            let mut client = house.server.open();
            client.send_until_closed("CONNECT {\"verbose\":false}\r\n");
            client.send_until_closed(format!("SUB {subject} 1\r\nPING\r\n"));
            drop(client);
        }
        let lines = link.ask("");
        assert!(
            !lines.iter().any(|line| line.starts_with("LS+ evil")),
            "{door:?}: {lines:?}"
        );
        for line in house.server.log().lines() {
            let forged = line.starts_with("LMSG") || line.starts_with("LS+");
            // Stock writes names into its log as they are.
            assert!(!forged || !beyond_stock(), "{door:?}: {line}");
        }
        house.serves("{}", &json!({"name": "third"}));
    }
}

/// A peer that says little that stands for much is taken apart a bounded piece at a time.
#[test]
fn t17_t19_little_that_stands_for_much() {
    let house = House::new(Door::Plain, "");
    let mut link = house.open();
    link.send("INFO {\"compression\":\"s2_fast\"}\r\n");
    assert_eq!(link.bytes(10), b"\xff\x06\x00\x00S2sTwO");
    let before = house.server.resident_size();
    // A block of 4 MiB before it has said who it is.
    let mut block = b"\xff\x06\x00\x00S2sTwO".to_vec();
    let packed = [
        &[0x80, 0x80, 0x80, 0x02][..],
        &[0x00, b'x'],
        &[0x1d, 0x00, 0xff],
    ]
    .concat();
    let len = packed.len() as u8 + 4;
    block.extend_from_slice(&[0, len, 0, 0, 1, 2, 3, 4]);
    block.extend_from_slice(&packed);
    link.send_until_closed(&block);
    link.closed_without_answering();
    let grown = house.server.resident_size().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown}");
    house.serves("{}", &json!({}));
}

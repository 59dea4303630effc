//! Advisories of section 4 that touch whoever comes in, on every listener: in clear, over TLS begun
//! by either side, over WebSocket in clear and over TLS. And many that come back at once.

use crate::support::client::{Client, delivered};
use crate::support::server::{Server, beyond_stock};
use crate::support::tls::{Authority, Dialer};
use crate::support::websocket::upgrade;
use std::thread;

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

/// A server with one door.
struct House {
    server: Server,
    door: Door,
    dialer: Dialer,
}

impl House {
    #[track_caller]
    fn new(door: Door, rest: &str) -> Self {
        let authority = Authority::new();
        let pair = authority.server().config();
        let listener = match door {
            Door::Plain => String::new(),
            Door::Tls => format!("tls {{ {pair}, timeout: 10 }}"),
            Door::TlsFirst => format!("tls {{ {pair}, timeout: 10, handshake_first: true }}"),
            Door::WebSocket => "websocket { listen: \"127.0.0.1:-1\", no_tls: true }".to_owned(),
            Door::WebSocketTls => {
                format!("websocket {{ listen: \"127.0.0.1:-1\", tls {{ {pair}, timeout: 10 }} }}")
            }
        };
        Self {
            server: Server::with_monitor(&format!("{listener}\n{rest}")),
            door,
            dialer: authority.client(),
        }
    }

    /// A connection that has read INFO.
    #[track_caller]
    fn open(&self) -> Client {
        match self.door {
            Door::Plain => self.server.open(),
            Door::Tls => {
                let mut client = self.server.open();
                self.dialer.begin(&mut client);
                client
            }
            Door::TlsFirst => {
                let mut client = Client::dial(self.server.address());
                self.dialer.begin(&mut client);
                client.info_line();
                client
            }
            Door::WebSocket | Door::WebSocketTls => {
                let mut client = Client::dial(self.server.websocket_address());
                if self.door == Door::WebSocketTls {
                    self.dialer.begin(&mut client);
                }
                upgrade(&mut client, "/", "");
                client.info_line();
                client
            }
        }
    }

    #[track_caller]
    fn client(&self, options: &str) -> Client {
        let mut client = self.open();
        client.connect(options);
        client
    }
}

/// The rest of a connection that may be reset under the last words.
fn rest(client: &mut Client) -> String {
    client.closed().join("\n")
}

#[test]
fn t01_what_a_connect_says_besides_is_not_kept() {
    for door in DOORS {
        let house = House::new(door, "debug: true\ntrace: true");
        let _client = house.client(
            "{\"tls_key\":\"planted-a\",\"jwt_seed\":\"planted-b\",\"pass\":\"planted-c\",\
             \"nested\":{\"x\":[\"planted-d\"]}}",
        );
        for path in [
            "/connz?auth=1&subs=detail",
            "/connz?state=all",
            "/varz",
            "/stacksz",
        ] {
            let body = house.server.get(path).body;
            assert!(!body.contains("planted-"), "{door:?} {path}");
        }
    }
}

#[test]
fn t07_nobody_names_his_account() {
    let accounts = "accounts { A { users: [{user: a, password: p}] }, \
                    B { users: [{user: b, password: p}] } }\nno_auth_user: a";
    for door in DOORS {
        let house = House::new(door, accounts);
        for account in ["B", "$SYS", "$G", "new"] {
            let mut client = house.open();
            client.send(format!(
                "CONNECT {{\"verbose\":false,\"account\":\"{account}\",\"new_account\":true}}\r\nPING\r\n"
            ));
            assert!(rest(&mut client).contains("-ERR"), "{door:?} {account}");
        }
    }
}

#[test]
fn t10_t32_t33_t41_denied_messages_are_never_delivered() {
    let users = "authorization { users: [
        {user: admin, password: p},
        {user: u, password: p, permissions: {subscribe: {
            allow: [\"foo.>\", \"_MARK\"], deny: [\"foo.bar\", \"foo.no q\"]}}} ] }";
    for door in DOORS {
        let house = House::new(door, users);
        let mut admin = house.client("{\"user\":\"admin\",\"pass\":\"p\"}");
        for (filter, queue) in [("foo.*", ""), ("foo.>", ""), ("foo.*", " q")] {
            let mut user = house.client("{\"user\":\"u\",\"pass\":\"p\"}");
            user.quietly(format!("SUB {filter}{queue} 1\r\n"));
            // Again and again: verdicts are remembered.
            for round in 0..3 {
                let text = "PUB foo.bar 0\r\n\r\nPUB foo.ok 0\r\n\r\nPUB foo.bar 0\r\n\r\n\
                            PUB foo.ok 0\r\n\r\nPUB foo.no 0\r\n\r\n";
                let got = delivered(&mut admin, &mut user, text);
                let got = got.join("\n");
                assert!(
                    !got.contains("foo.bar"),
                    "{door:?} {filter}{queue} {round}: {got}"
                );
                assert_eq!(got.matches("foo.ok").count(), 2, "{door:?} {filter}{queue}");
                let named = got.matches("foo.no").count();
                assert_eq!(
                    named,
                    usize::from(queue.is_empty()),
                    "{door:?} {filter}{queue}"
                );
            }
        }
    }
}

#[test]
fn t14_t31_t39_the_first_word_is_connect_where_a_login_is_asked_for() {
    for door in DOORS {
        let house = House::new(door, "authorization { user: u, password: p }");
        for first in [
            "PING\r\n",
            "SUB > 1\r\n",
            "PUB a 0\r\n\r\n",
            "INFO {}\r\nSUB > 1\r\n",
            "CONNECT {}\r\nSUB > 1\r\n",
            "CONNECT {\"user\":\"u\"}\r\n",
            "CONNECT {\"user\":\"u\",\"pass\":\"P\"}\r\n",
            "CONNECT {\"auth_token\":\"p\"}\r\n",
        ] {
            let mut client = house.open();
            client.send_until_closed(first);
            let said = rest(&mut client);
            assert!(said.contains("-ERR '"), "{door:?} {first:?}: {said}");
            assert!(
                !said.contains("PONG") && !said.contains("+OK"),
                "{door:?} {first:?}"
            );
        }
        let mut good = house.client("{\"user\":\"u\",\"pass\":\"p\"}");
        good.quietly("SUB a 1\r\n");
    }
}

#[test]
fn t24_request_info_is_the_servers_word() {
    let accounts = "accounts {
        S { users: [{user: s, password: p}], exports: [{service: q}] },
        C { users: [{user: c, password: p}],
            imports: [{service: {account: S, subject: q}, share: true}] } }";
    for door in DOORS {
        let house = House::new(door, accounts);
        let mut service = house.client("{\"user\":\"s\",\"pass\":\"p\"}");
        service.quietly("SUB q 1\r\n");
        let mut client = house.client("{\"user\":\"c\",\"pass\":\"p\"}");
        client.quietly("SUB r 1\r\n");
        let forged = "Nats-Request-Info: {\"acc\":\"forged\"}\r\n";
        for header in [
            format!("NATS/1.0\r\n{forged}\r\n"),
            format!("NATS/1.0\r\n{forged}{forged}\r\n"),
            format!("NATS/1.0\r\nA: b\r\n{forged}C: d\r\n{forged}\r\n"),
        ] {
            let size = header.len();
            client.send(format!("HPUB q r {size} {size}\r\n{header}\r\n"));
            let message = service.message();
            let got = String::from_utf8_lossy(&message.headers).into_owned();
            assert!(!got.contains("forged"), "{door:?}: {got}");
            assert_eq!(
                got.matches("Nats-Request-Info").count(),
                1,
                "{door:?}: {got}"
            );
        }
    }
}

#[test]
fn t26_strangers_are_stored_little_of() {
    for door in DOORS {
        let house = House::new(door, "authorization { user: u, password: p, timeout: 20 }");
        let before = house.server.resident_size();
        let mut strangers = Vec::new();
        for _ in 0..20 {
            let mut client = house.open();
            // A CONNECT that never ends.
            client.send_until_closed("CONNECT {");
            for _ in 0..64 {
                client.send_until_closed([b' '; 16 * 1024]);
            }
            strangers.push(client);
        }
        house.client("{\"user\":\"u\",\"pass\":\"p\"}");
        if beyond_stock() {
            let grown = house.server.resident_size().saturating_sub(before);
            assert!(grown < 32 << 20, "{door:?}: {grown}");
        }
    }
}

#[test]
fn t34_every_word_of_the_handshake_twice_and_out_of_order() {
    for door in DOORS {
        let house = House::new(door, "");
        for words in [
            "CONNECT {}\r\nCONNECT {}\r\n",
            "CONNECT {\"user\":\"x\"}\r\nCONNECT {\"user\":\"y\"}\r\nCONNECT {}\r\n",
            "PONG\r\nPONG\r\nCONNECT {}\r\n",
            "INFO {}\r\nINFO {}\r\nCONNECT {}\r\nINFO {}\r\n",
            "PING\r\nCONNECT {\"verbose\":true}\r\nCONNECT {\"verbose\":false}\r\n",
            "CONNECT {\"protocol\":1}\r\nCONNECT {\"protocol\":0}\r\nSUB a 1\r\nSUB a 1\r\n",
        ] {
            let mut client = house.open();
            client.send_until_closed(format!("{words}PING\r\n"));
            drop(client);
        }
        // Whatever became of those, it serves on.
        house.client("{}").quietly("SUB a 1\r\n");
    }
}

#[test]
fn t37_what_clients_say_makes_no_line_of_its_own() {
    for door in DOORS {
        let house = House::new(door, "debug: true");
        let client = house.client(
            "{\"name\":\"a\\r\\nMSG x 1 0\\r\\n\",\"lang\":\"b\\u0000\\n\",\"version\":\"c\\t\\r\"}",
        );
        let connz = house.server.json("/connz");
        assert_eq!(
            connz["connections"][0]["name"], "a\r\nMSG x 1 0\r\n",
            "{door:?}"
        );
        drop(client);
        let mut watcher = house.client("{}");
        watcher.quietly("SUB > 1\r\n");
        let mut other = house.open();
        // None of it is a subject.
        for subject in ["a\rb", "a\tb", "a..b", ".a", "a."] {
            other.send_until_closed(format!("SUB {subject} 1\r\n"));
        }
        drop(other);
        watcher.quietly("");
        for line in house.server.log().lines() {
            assert!(!line.starts_with("MSG"), "{door:?}: {line}");
        }
    }
}

#[test]
fn t43_pages_hold_the_clients_of_every_door() {
    for door in DOORS {
        let house = House::new(door, "");
        let _clients: Vec<Client> = (0..3).map(|_| house.client("{}")).collect();
        let all = house.server.json("/connz");
        assert_eq!(all["num_connections"], 3, "{door:?}");
        let most = i64::MAX;
        for (offset, limit) in [(0, most), (most, 1), (most, most), (-1, -1), (1, most)] {
            let page = house
                .server
                .get(&format!("/connz?offset={offset}&limit={limit}"));
            assert!(page.status < 500, "{door:?} {offset} {limit}");
        }
    }
}

/// A storm of reconnects without a clock: all come back, and nobody misses a message.
#[test]
fn core_078_all_come_back_and_nothing_is_lost() {
    const CLIENTS: usize = 60;
    const THREADS: usize = 6;
    for door in DOORS {
        let house = House::new(door, "");
        let mut watcher = house.client("{}");
        watcher.quietly("SUB all 1\r\n");
        let mut publisher = house.client("{}");
        let bring = || -> Vec<Client> {
            thread::scope(|scope| {
                let some = || (0..CLIENTS / THREADS).map(|_| house.client("{}")).collect();
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(some)).collect();
                let joined = threads.into_iter().map(|it| it.join().expect("they come"));
                joined.flat_map(|some: Vec<Client>| some).collect()
            })
        };
        let mut here = bring();
        for round in 0..3 {
            drop(std::mem::take(&mut here));
            thread::scope(|scope| {
                let coming = scope.spawn(bring);
                for number in 0..200 {
                    let text = format!("{round}.{number}");
                    publisher.send(format!("PUB all {}\r\n{text}\r\n", text.len()));
                    assert_eq!(watcher.message().payload, text.as_bytes(), "{door:?}");
                }
                here = coming.join().expect("they come");
            });
            assert_eq!(here.len(), CLIENTS, "{door:?}");
            for client in &mut here {
                client.quietly("SUB all 1\r\n");
            }
            publisher.quietly("PUB all 2\r\nok\r\n");
            assert_eq!(watcher.message().payload, b"ok", "{door:?}");
            for client in &mut here {
                assert_eq!(client.message().payload, b"ok", "{door:?}");
            }
        }
    }
}

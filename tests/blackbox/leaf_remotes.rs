//! The life of links that the server under test makes: this test is the hub (topology rows 17 to
//! 22 and 45).

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
use serde_json::json;

use crate::support::client::Client;
use crate::support::hub::{Hub, PATIENT};
use crate::support::server::{Server, beyond_stock};

/// Longer than a usual reconnection takes by far.
const LONG: Duration = Duration::from_millis(1500);

#[test]
fn topo_018_019_connect_after_info_and_interest_after_the_second() {
    let hub = Hub::new();
    let server = Server::with_config(&hub.remote(""));
    let mut client = server.client();
    client.quietly("SUB before 1\r\n");
    let mut greeted = hub.greet(&Hub::info());
    assert_eq!(greeted.connect["protocol"], 3);
    assert_eq!(greeted.connect["headers"], true);
    assert_eq!(greeted.connect["remote_account"], "$G");
    assert!(greeted.connect["name"].is_string() && greeted.connect["server_id"].is_string());
    assert_eq!(greeted.link.ask(""), [""; 0], "nothing before it is let in");
    let mut link = greeted.let_in();
    let told = link.ask("");
    assert!(told.iter().any(|line| line == "LS+ before"), "{told:?}");
}

#[test]
fn topo_018_an_info_that_promises_no_second_one_is_enough() {
    let hub = Hub::new();
    let server = Server::with_config(&hub.remote(""));
    let mut client = server.client();
    client.quietly("SUB a 1\r\n");
    let mut info = Hub::info();
    info["info_on_connect"] = json!(false);
    let mut link = hub.greet(&info).link;
    let told = link.ask("");
    assert!(told.iter().any(|line| line == "LS+ a"), "{told:?}");
}

#[test]
fn topo_021_links_are_made_again_for_ever_with_all_interest() {
    let hub = Hub::new();
    let server = Server::with_config(&hub.remote(""));
    let mut client = server.client();
    client.quietly("SUB a 1\r\n");
    for _ in 0..12 {
        let told = hub.link().ask("");
        assert!(told.iter().any(|line| line == "LS+ a"), "{told:?}");
    }
    // Neither does who hangs up at once, or says nothing of use.
    for _ in 0..3 {
        drop(hub.accept());
    }
    let mut odd = hub.accept();
    odd.send("INFO nonsense\r\n");
    hub.link().ask("");
    assert_eq!(client.ask(""), [""; 0]);
}

#[test]
fn topo_018_a_hub_that_says_nothing_is_left() {
    let hub = Hub::new();
    let _server = Server::with_config(&hub.remote("first_info_timeout: \"200ms\""));
    hub.accept().closed();
    // It tries again, each time as short.
    hub.accept().closed();
    // As long as it is told to, which is longer than usual here.
    let patient = Hub::new();
    let _other = Server::with_config(&patient.remote(""));
    let mut late = patient.accept();
    patient.expect_nobody(LONG);
    late.send(format!("INFO {}\r\n", Hub::info()));
    assert!(late.line().starts_with("CONNECT "));
}

#[test]
fn topo_011_a_hub_that_does_not_answer_connect_is_left() {
    let hub = Hub::new();
    let _server = Server::with_config(&hub.remote("first_info_timeout: \"1s\""));
    let lines = hub.greet(&Hub::info()).link.closed();
    let told = "-ERR 'Stale Leaf Node Connection - Closing'";
    assert_eq!(lines, [told]);
    hub.link().ask("");
}

#[test]
fn topo_008_core_050_a_clients_port_is_the_wrong_one() {
    let hub = Hub::new();
    let server = Server::with_config(&hub.remote(""));
    let mut client_port = hub.accept();
    client_port.send("INFO {\"server_id\":\"N\",\"client_id\":4,\"max_payload\":100}\r\n");
    client_port.closed();
    server.logged("attempted to connect to wrong port");
    hub.link().ask("");
}

/// What a hub says before it closes, and whether the leaf stays away for long.
#[test]
fn topo_021_errors_after_which_a_leaf_stays_away() {
    for (text, away) in [
        (
            "Loop detected for leafnode account=\"$G\". Delaying attempt to reconnect for 30s",
            true,
        ),
        ("remote leafnode has same cluster name", true),
        (
            "connection rejected since minimum version required is \"9.0.0\"",
            true,
        ),
        ("Authorization Violation", false),
        ("Duplicate Remote LeafNode Connection", false),
    ] {
        let hub = Hub::new();
        let _server = Server::with_config(&hub.remote(""));
        let mut link = hub.link();
        link.ask("");
        link.send(format!("-ERR '{text}'\r\n"));
        drop(link);
        match away {
            true => hub.expect_nobody(LONG),
            false => _ = hub.link().ask(""),
        }
    }
}

#[test]
fn topo_017_places_that_the_hub_names() {
    let (first, second) = (Hub::new(), Hub::new());
    let _server = Server::with_config(&first.remote(""));
    let mut info = Hub::info();
    info["leafnode_urls"] = json!([second.address().to_string(), "0.0.0.0:1"]);
    let mut link = first.greet(&info).let_in();
    link.ask("");
    drop(link);
    // The new place takes its turn, and the configured one stays.
    second.link().ask("");
    let mut link = first.link();
    // Later ones, too, replace what was named before.
    let third = Hub::new();
    info["leafnode_urls"] = json!([third.address().to_string()]);
    info["client_id"] = json!(9);
    link.send(format!("INFO {info}\r\n"));
    link.ask("");
    drop(link);
    drop(second);
    third.link().ask("");
}

#[test]
fn topo_049_places_that_are_to_be_ignored() {
    let (first, second) = (Hub::new(), Hub::new());
    let _server = Server::with_config(&first.remote("ignore_discovered_servers: true"));
    let mut info = Hub::info();
    info["leafnode_urls"] = json!([second.address().to_string()]);
    for _ in 0..2 {
        first.greet(&info).let_in().ask("");
    }
    second.expect_nobody(Duration::from_millis(50));
}

#[test]
fn topo_021_places_take_turns_in_their_order_where_that_is_wanted() {
    let hubs = [Hub::new(), Hub::new(), Hub::new()];
    let urls: Vec<_> = hubs
        .iter()
        .map(|hub| format!("\"nats://u{}:p@{}\"", hub.address().port(), hub.address()))
        .collect();
    let _server = Server::with_config(&format!(
        "leafnodes {{ reconnect: \"50ms\", remotes [
            {{ urls: [{}], no_randomize: true, {PATIENT} }} ] }}",
        urls.join(", ")
    ));
    for hub in hubs.iter().chain(&hubs) {
        let greeted = hub.greet(&Hub::info());
        let user = format!("u{}", hub.address().port());
        assert_eq!(greeted.connect["user"], user);
        drop(greeted);
    }
}

#[test]
fn topo_021_a_hub_that_is_away_is_found_when_it_comes() {
    // The port is this case's, and nobody listens there yet.
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let hub = TcpListener::from(socket);
    let address = hub.local_addr().expect("an address");
    let server = Server::with_config(&format!(
        "leafnodes {{ reconnect: \"100ms\", remotes [
            {{ url: \"nats-leaf://{address}\", {PATIENT} }} ] }}"
    ));
    let text =
        format!("Error trying to connect as leafnode to remote server \"{address}\" (attempt 1)");
    server.logged(&text);
    listen(&hub, 16).expect("to listen");
    let (stream, _) = hub.accept().expect("a leaf");
    let mut link = Client::over(stream);
    link.send(format!("INFO {}\r\n", Hub::info()));
    assert!(link.line().starts_with("CONNECT "));
}

#[test]
fn topo_021_names_are_looked_up() {
    let hub = Hub::new();
    let config = hub.remote("").replace("127.0.0.1", "localhost");
    let _server = Server::with_config(&config);
    for _ in 0..3 {
        hub.link().ask("");
    }
}

#[test]
fn topo_005_half_open_links_are_found_by_pings() {
    let hub = Hub::new();
    let config = format!("ping_interval: \"100ms\"\nping_max: 2\n{}", hub.remote(""));
    let server = Server::with_config(&config);
    let mut link = hub.link();
    link.closed_without_answering();
    hub.greet(&Hub::info());
    server.logged("Stale Connection");
}

#[test]
fn topo_045_a_hub_that_asks_for_tls_gets_it() {
    let hub = Hub::new();
    let _server = Server::with_config(&hub.remote("tls { insecure: true }"));
    let mut link = hub.accept();
    let mut info = Hub::info();
    info["tls_required"] = json!(true);
    link.send(format!("INFO {info}\r\n"));
    assert_eq!(link.bytes(2), [0x16, 3], "a TLS handshake");
    // One that did not say so gets it too: it was asked for here.
    let mut link = hub.accept();
    link.send(format!("INFO {}\r\n", Hub::info()));
    assert_eq!(link.bytes(2), [0x16, 3], "a TLS handshake");
}

#[test]
fn topo_045_tls_comes_first_where_that_is_wanted() {
    let hub = Hub::new();
    let block = "tls { insecure: true, handshake_first: true }";
    let _server = Server::with_config(&hub.remote(block));
    assert_eq!(hub.accept().bytes(2), [0x16, 3], "a TLS handshake");
}

#[test]
fn topo_045_a_hub_may_want_tls_without_being_asked() {
    let hub = Hub::new();
    let _server = Server::with_config(&hub.remote(""));
    let mut info = Hub::info();
    info["tls_required"] = json!(true);
    let mut link = hub.accept();
    link.send(format!("INFO {info}\r\n"));
    if beyond_stock() {
        // We had not looked for authorities: it takes another connection.
        link.closed();
        link = hub.accept();
        link.send(format!("INFO {info}\r\n"));
    }
    assert_eq!(link.bytes(2), [0x16, 3], "a TLS handshake");
}

#[test]
fn topo_046_websocket_request() {
    let hub = Hub::new();
    let more = "ws_compression: true, ws_no_masking: true";
    let config = hub.remote(more).replace("nats-leaf://", "ws://");
    let config = config.replace(
        &hub.address().to_string(),
        &format!("{}/a/b", hub.address()),
    );
    let _server = Server::with_config(&config);
    let mut link = hub.accept();
    let mut head = Vec::new();
    loop {
        match link.line() {
            line if line.is_empty() => break,
            line => head.push(line),
        }
    }
    assert_eq!(head[0], "GET /a/b/leafnode HTTP/1.1");
    let has = |text: &str| head.iter().any(|line| line.eq_ignore_ascii_case(text));
    assert!(has(&format!("Host: {}", hub.address())), "{head:?}");
    assert!(
        has("Upgrade: websocket") && has("Connection: Upgrade"),
        "{head:?}"
    );
    assert!(
        has("Sec-WebSocket-Version: 13") && has("Nats-No-Masking: true"),
        "{head:?}"
    );
    let extensions = "Sec-WebSocket-Extensions: permessage-deflate; \
                      server_no_context_takeover; client_no_context_takeover";
    assert!(has(extensions), "{head:?}");
    // Whoever does not agree is left.
    link.send("HTTP/1.1 200 OK\r\n\r\n");
    link.closed();
    hub.accept();
}

#[test]
fn topo_042_044_a_hub_that_offers_compression_is_answered_with_the_mode() {
    let hub = Hub::new();
    // No round trip takes that long.
    let fast = "compression { mode: s2_auto, rtt_thresholds: [\"100s\"] }";
    let _server = Server::with_config(&hub.remote(fast));
    let mut info = Hub::info();
    info["go"] = json!("go1.25.1");
    info["compression"] = json!("s2_fast");
    let mut link = hub.accept();
    link.send_until_closed(format!("INFO {info}\r\n"));
    let chosen = link.info_line();
    // What comes later depends on round trips, so it is said even if nothing is compressed now.
    assert_eq!(chosen["compression"], "s2_auto");
    assert!(chosen["nonce"].is_null(), "{chosen}");
    drop(link);
    // Our own kind is spared the chunks while nothing is gained by them.
    if beyond_stock() {
        info["go"] = json!("rust1.95");
        let greeted = hub.greet(&info);
        assert_eq!(greeted.connect["compress_mode"], "off");
    }
}

/// A hub that does not even answer: each remote may say how long to try, or all of them.
#[test]
fn topo_022_time_to_connect() {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let hub = TcpListener::from(socket);
    listen(&hub, 0).expect("to listen");
    let address = hub.local_addr().expect("an address");
    // Nobody takes these: what comes behind them is not answered.
    let patience = Duration::from_millis(500);
    let connect = || TcpStream::connect_timeout(&address, patience).ok();
    let _waiting: Vec<_> = std::iter::from_fn(connect).take(64).collect();
    for (all, one) in [("100ms", ""), ("1h", "dial_timeout: \"100ms\",")] {
        let server = Server::with_config(&format!(
            "leafnodes {{ dial_timeout: {all:?}, reconnect: \"100ms\", remotes [
                {{ url: \"nats-leaf://{address}\", {one} }} ] }}"
        ));
        server.logged(&format!(
            "Error trying to connect as leafnode to remote server \"{address}\" (attempt 1)"
        ));
    }
}

//! Section 1.8: PROXY headers, and proxies that vouch for their clients.

use crate::support::client::Client;
use crate::support::server::Server;
use crate::support::tls::Authority;
use nkeys::KeyPair;
use serde_json::{Value, json};

fn v2(family: u8, addresses: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    header.push(family);
    header.extend((addresses.len() as u16).to_be_bytes());
    header.extend_from_slice(addresses);
    header
}

/// The addresses `/connz` shows after a client began with `header`.
#[track_caller]
fn seen(server: &Server, header: &[u8]) -> (Value, Value, Value) {
    let mut client = server.open();
    assert_eq!(client.info.get("client_ip"), None, "CORE-13");
    client.send(header);
    client.connect("{}");
    let info = client.info["client_ip"].clone();
    let rows = server.json("/connz");
    // The one before may not be gone yet.
    let row = rows["connections"].as_array().and_then(|all| all.last());
    let row = row.expect("a connection");
    (row["ip"].clone(), row["port"].clone(), info)
}

#[test]
fn core_091_cfg_074_headers_name_the_client() {
    let server = Server::with_monitor("proxy_protocol: true");
    let of = |ip: &str, port: u16| (json!(ip), json!(port), json!(ip));
    let line = b"PROXY TCP4 203.0.113.7 127.0.0.1 5555 4222\r\n";
    assert_eq!(seen(&server, line), of("203.0.113.7", 5555));
    let line = b"PROXY TCP6 2001:db8::7 ::1 5556 4222\r\n";
    assert_eq!(seen(&server, line), of("2001:db8::7", 5556));
    let v4 = [203, 0, 113, 8, 127, 0, 0, 1, 0x16, 0x2e, 0x10, 0x7e];
    assert_eq!(seen(&server, &v2(0x11, &v4)), of("203.0.113.8", 5678));
    for own in [&b"PROXY UNKNOWN\r\n"[..], b"", &v2(1, &[])] {
        let (ip, ..) = seen(&server, own);
        assert_eq!(ip, json!("127.0.0.1"));
    }
}

#[test]
fn core_091_wrong_headers_close() {
    let server = Server::with_config("proxy_protocol: true");
    for wrong in [
        &b"PROXY TCP4 203.0.113.7 127.0.0.1 5555\r\n"[..],
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY UDP4 203.0.113.7 127.0.0.1 5555 4222\r\n",
        &[b"PROXY ".to_vec(), vec![b'x'; 200]].concat(),
        &v2(0x12, &[0; 12]),
        &v2(0x11, &[0; 5]),
        b"\r\n\r\n\0\r\nQUIX\n\x21\x11\0\x0c",
    ] {
        let mut client = server.open();
        client.send_until_closed(wrong);
        client.drained();
    }
    server.logged("Error reading PROXY protocol header from");
}

#[test]
fn core_091_a_header_stands_before_tls() {
    let authority = Authority::new();
    let pair = authority.server().config();
    let server = Server::with_monitor(&format!("proxy_protocol: true, tls {{ {pair} }}"));
    let mut client = server.open();
    client.send("PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n");
    authority.client().begin(&mut client);
    client.connect("{}");
    let rows = server.json("/connz");
    assert_eq!(rows["connections"][0]["ip"], json!("203.0.113.9"));
}

fn closed_for(server: &Server, reason: &str) -> bool {
    let rows = server.json("/connz?state=closed");
    let rows = rows["connections"].as_array().expect("rows");
    rows.iter().any(|row| row["reason"] == json!(reason))
}

fn sign(client: &Client, proxy: &KeyPair) -> String {
    let nonce = client.info["nonce"].as_str().expect("a nonce");
    let signature = proxy.sign(nonce.as_bytes()).expect("has its seed");
    data_encoding::BASE64URL_NOPAD.encode(&signature)
}

#[test]
fn core_092_cfg_074_only_known_proxies_vouch() {
    let (known, other) = (KeyPair::new_user(), KeyPair::new_user());
    let config = |keys: &str| {
        format!(
            "proxies {{ trusted: [ {keys} ] }}
        authorization {{ user: u, password: p }}"
        )
    };
    let key = format!("{{key: {}}}", known.public_key());
    let server = Server::with_monitor(&config(&key));
    let mut client = server.open();
    let sig = sign(&client, &known);
    client.connect(&format!(
        "{{\"user\":\"u\",\"pass\":\"p\",\"proxy_sig\":{sig:?}}}"
    ));
    let rows = server.json("/connz");
    assert_eq!(
        rows["connections"][0]["proxy"]["key"],
        json!(known.public_key())
    );
    for wrong in [sig.clone(), sign(&server.open(), &other), "x".into()] {
        let mut stranger = server.open();
        stranger.send(format!(
            "CONNECT {{\"user\":\"u\",\"pass\":\"p\",\"proxy_sig\":{wrong:?}}}\r\nPING\r\n"
        ));
        assert_eq!(stranger.closed(), ["-ERR 'Authorization Violation'"]);
    }
    assert!(closed_for(&server, "Proxy Not Trusted"));
    // Withdrawing the trust ends what rested on it.
    let key = format!("{{key: {}}}", other.public_key());
    server.reload(&config(&key));
    client.closed();
}

#[test]
fn core_093_some_users_must_come_through_one() {
    let proxy = KeyPair::new_user();
    let server = Server::with_monitor(&format!(
        "proxies {{ trusted: [ {{key: {}}} ] }}
         authorization {{ users: [ {{user: u, password: p, proxy_required: true}}, {{user: v, password: p}} ] }}",
        proxy.public_key()
    ));
    server.client_with("{\"user\":\"v\",\"pass\":\"p\"}");
    let mut direct = server.open();
    direct.send("CONNECT {\"user\":\"u\",\"pass\":\"p\"}\r\nPING\r\n");
    assert_eq!(direct.closed(), ["-ERR 'Authorization Violation'"]);
    assert!(closed_for(&server, "Proxy Required"));
    let mut client = server.open();
    let sig = sign(&client, &proxy);
    client.connect(&format!(
        "{{\"user\":\"u\",\"pass\":\"p\",\"proxy_sig\":{sig:?}}}"
    ));
}

//! Hubs that say anything at any time to a server that connects to them (advisories T19, T25, T34): it
//! neither falls nor gives up.

use serde_json::{Value, json};

use crate::support::hub::Hub;
use crate::support::server::Server;

/// A first INFO with these words in it.
fn info(over: &Value) -> String {
    let mut info = Hub::info();
    for (key, value) in over.as_object().expect("an object") {
        info[key] = value.clone();
    }
    format!("INFO {info}\r\n")
}

/// Each of these words comes first, and each comes behind CONNECT. In the end there is a link all the
/// same, and messages pass it.
#[track_caller]
fn survives(more: &str, all: &[Vec<u8>]) {
    let hub = Hub::new();
    let remote = hub.remote(more).replace("\"100ms\"", "\"20ms\"");
    let server = Server::with_config(&remote);
    for words in all {
        let mut link = hub.accept();
        link.send_until_closed(words);
        // Its answer is not looked at: it may be gone before, or with it.
        link.send_until_closed("PING\r\n");
        drop(link);
        let mut link = hub.greet(&Hub::info()).link;
        link.send_until_closed(words);
        link.send_until_closed("PING\r\n");
        drop(link);
        let mut link = hub.greet(&Hub::info()).let_in();
        link.send_until_closed(words);
        link.send_until_closed("PING\r\n");
        drop(link);
    }
    let mut client = server.client();
    client.quietly("SUB wanted 1\r\n");
    let mut link = hub.link();
    let told = link.ask("");
    assert!(told.iter().any(|line| line == "LS+ wanted"), "{told:?}");
    link.send("LMSG wanted 2\r\nhi\r\n");
    client.expect(&["MSG wanted 1 2", "hi"]);
}

#[test]
fn t34_every_word_of_the_handshake_twice_and_out_of_order() {
    let first = info(&json!({}));
    let second = info(&json!({"connect_info": true, "remote_account": "X"}));
    let connect = "CONNECT {\"name\":\"hub\",\"is_hub\":true,\"protocol\":3}\r\n";
    let texts = [
        format!("{first}{first}"),
        format!("{first}{first}{first}{second}"),
        format!("{second}{first}"),
        format!("{second}{second}{second}"),
        format!("{first}{second}{first}{second}"),
        format!("{connect}{first}"),
        format!("{first}{connect}{second}{connect}"),
        format!("PONG\r\n+OK\r\n{first}PONG\r\n"),
        format!("LS+ early\r\n{first}{second}"),
        format!("{first}LS+ early\r\nLMSG wanted 1\r\nx\r\n{second}"),
        format!("{second}LS- never\r\n-ERR 'x'\r\n{second}"),
        info(&json!({"client_id": 0})),
        info(&json!({"nonce": ""})),
        info(&json!({"headers": false, "proto": 0, "info_on_connect": false})),
        info(&json!({"import": {"deny": [">"]}, "export": {"deny": [">"]}})),
        info(&json!({"import": {"allow": ["a b", ""]}, "export": {"allow": ["\r\n"]}})),
    ];
    survives("", &texts.map(String::into_bytes));
}

#[test]
fn t19_odd_modes_of_compression() {
    let mut all = Vec::new();
    for mode in [
        json!("zip"),
        json!("S2_FAST"),
        json!("s2_fast"),
        json!("s2_auto"),
        json!("accept"),
        json!("not supported"),
        json!(7),
        json!(["s2_fast"]),
        json!({"mode": "s2_fast"}),
        json!("s2_fast\u{0}\r\n"),
    ] {
        let said = info(&json!({"compression": mode})).into_bytes();
        let lies = b"\xff\x06\x00\x00S2sTwO\x01\x04\x00\x00abcd";
        all.push([&said[..], &said].concat());
        all.push([&said[..], lies].concat());
    }
    survives("compression: s2_fast", &all);
}

#[test]
fn t25_malformed_words_in_every_state() {
    let words: [&[u8]; 18] = [
        b"INFO\r\n",
        b"INFO \r\n",
        b"INFO {\r\n",
        b"INFO []\r\n",
        b"INFO {\"leafnode_urls\":[\"\",\"x\",\"[::1\",\":\",\"\\u0000\"],\"client_id\":1}\r\n",
        b"INFO {\"max_payload\":-1,\"client_id\":1,\"leafnode_urls\":[]}\r\n",
        b"LMSG\r\n",
        b"LMSG a -1\r\n\r\n",
        b"LMSG a 99999999999999999999\r\n",
        b"LMSG a + r 1\r\nxy\r\n",
        b"HMSG a 5 1\r\nx\r\n",
        b"HMSG a + r q 12 2\r\nx\r\n",
        b"LS+\r\n",
        b"LS+ a b c d e\r\n",
        b"LS- \r\n",
        b"RS+ $G a\r\n",
        b"\0\xff\xfe\r\n",
        b"-ERR\r\n-ERR '\r\n",
    ];
    survives("", &words.map(<[u8]>::to_vec));
}

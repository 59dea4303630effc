//! Traces of messages that pass leaf links (TOPO-38, CORE-98, CORE-104).

use serde_json::{Value, json};

use super::leafnodes::{linked, named};
use crate::support::client::Client;
use crate::support::server::Server;
use crate::support::wait_until;

const PLAIN: &str = "leafnodes { listen: \"127.0.0.1:-1\" }";

/// Everything an event says of one way out or in.
fn ways<'a>(event: &'a Value, kind: &str) -> Vec<&'a Value> {
    let events = event["events"].as_array().expect("a list");
    events.iter().filter(|it| it["type"] == kind).collect()
}

fn traced(client: &mut Client, subject: &str, headers: &str) {
    let block = format!("NATS/1.0\r\n{headers}\r\n");
    let size = block.len();
    client.send(format!(
        "HPUB {subject} {size} {}\r\n{block}hi\r\n",
        size + 2
    ));
}

#[track_caller]
fn event(listener: &mut Client) -> Value {
    serde_json::from_slice(&listener.message().payload).expect("JSON")
}

#[test]
fn topo_038_what_leaves_by_a_link_has_a_hop_and_is_sent_even_if_it_is_only_traced() {
    let server = Server::with_config(PLAIN);
    let (mut first, _) = linked(&server, named("first"));
    let (mut second, _) = linked(&server, named("second"));
    first.ask("LS+ x.>\r\n");
    second.ask("LS+ x.>\r\n");
    let mut listener = server.client();
    listener.quietly("SUB traces 1\r\n");
    for (headers, taken) in [
        ("Nats-Trace-Dest: traces\r\n", true),
        (
            "Nats-Trace-Dest: traces\r\nNats-Trace-Only: true\r\n",
            false,
        ),
    ] {
        let mut client = server.client();
        client.quietly("SUB x.y 1\r\n");
        traced(&mut client, "x.y", headers);
        let event = event(&mut listener);
        assert_eq!(event["hops"], 2, "{event}");
        let out = ways(&event, "eg");
        let links: Vec<_> = out.iter().filter(|it| it["kind"] == 4).collect();
        assert_eq!(links.len(), 2, "{event}");
        for (name, link) in [("first", &mut first), ("second", &mut second)] {
            let way = links.iter().find(|it| it["name"] == name).expect("a way");
            assert!(way["cid"].is_u64() && way["error"].is_null(), "{way}");
            while !link.line().starts_with("HMSG x.y ") {}
            let hop = way["hop"].as_str().expect("text");
            let mut said = Vec::new();
            loop {
                match link.line() {
                    line if line.is_empty() => break,
                    line => said.push(line),
                }
            }
            assert!(said.contains(&format!("Nats-Trace-Hop: {hop}")), "{said:?}");
        }
        assert_ne!(links[0]["hop"], links[1]["hop"]);
        assert!(out.iter().any(|it| it["kind"] == 0), "{event}");
        let mut heard = client.ask("");
        heard.retain(|line| line.starts_with("HMSG"));
        // Its own shard delivers before its PONG.
        assert_eq!(heard.len(), usize::from(taken), "{heard:?}");
    }
}

#[test]
fn topo_038_what_comes_by_a_link_is_traced_on_with_the_hop_in_front() {
    let server = Server::with_config(PLAIN);
    let (mut edge, _) = linked(&server, named("edge"));
    let (mut other, _) = linked(&server, named("other"));
    other.ask("LS+ x\r\n");
    let mut listener = server.client();
    listener.quietly("SUB traces 1\r\n");
    let mut client = server.client_with("{\"name\":\"taker\"}");
    client.quietly("SUB x 1\r\nSUB q g 2\r\n");
    let block = "NATS/1.0\r\nNats-Trace-Dest: traces\r\nNats-Trace-Hop: 3\r\n\r\n";
    let size = block.len();
    edge.send(format!("HMSG x {size} {}\r\n{block}hi\r\n", size + 2));
    let told = event(&mut listener);
    let came = &ways(&told, "in")[0];
    assert_eq!((&came["kind"], &came["name"]), (&json!(4), &json!("edge")));
    assert_eq!(told["request"]["header"]["Nats-Trace-Hop"], json!(["3"]));
    let out = ways(&told, "eg");
    let link = out.iter().find(|it| it["kind"] == 4).expect("a link");
    assert_eq!(
        (&link["name"], &link["hop"]),
        (&json!("other"), &json!("3.1"))
    );
    assert_eq!(told["hops"], 1);
    assert!(out.iter().any(|it| it["name"] == "taker"), "{told}");
    // To groups only where they are named.
    edge.send(format!("HMSG q {size} {}\r\n{block}hi\r\n", size + 2));
    let told = event(&mut listener);
    assert_eq!(ways(&told, "eg").len(), 0, "{told}");
    edge.send(format!("HMSG q | g {size} {}\r\n{block}hi\r\n", size + 2));
    let told = event(&mut listener);
    assert_eq!(ways(&told, "eg")[0]["queue"], "g", "{told}");
}

#[test]
fn topo_038_a_server_that_cannot_trace_does_not_get_what_is_only_traced() {
    let server = Server::with_config(PLAIN);
    let mut old = named("old");
    old["protocol"] = json!(1);
    let (mut link, _) = linked(&server, old);
    link.ask("LS+ x\r\n");
    let mut listener = server.client();
    listener.quietly("SUB traces 1\r\n");
    let mut client = server.client();
    traced(
        &mut client,
        "x",
        "Nats-Trace-Dest: traces\r\nNats-Trace-Only: 1\r\n",
    );
    let told = event(&mut listener);
    let why = "Not delivered because remote does not support message tracing";
    assert_eq!(ways(&told, "eg")[0]["error"], why);
    traced(&mut client, "x", "Nats-Trace-Dest: traces\r\n");
    let told = event(&mut listener);
    let why = ways(&told, "eg")[0]["error"]
        .as_str()
        .expect("text")
        .to_owned();
    assert!(why.starts_with("Message delivered but remote"), "{why}");
    // The second alone has come.
    let line = link.line();
    assert!(line.starts_with("LS+ traces"), "{line}");
    let line = link.line();
    assert!(line.starts_with("HMSG x "), "{line}");
}

/// Two whole servers: the traces of both, joined by the hop.
#[test]
fn topo_038_both_servers_tell_their_part() {
    let hub = Server::with_config(PLAIN);
    let line = hub.logged("Listening for leafnode connections on ");
    let address = line.rsplit(' ').next().expect("an address");
    let edge = Server::with_config(&format!(
        "leafnodes {{ remotes [ {{ url: \"nats-leaf://{address}\" }} ] }}"
    ));
    let mut taker = hub.client();
    taker.quietly("SUB x 1\r\n");
    let mut listener = edge.client();
    listener.quietly("SUB traces.> 1\r\n");
    let mut client = edge.client();
    let mut attempt = 0;
    // Until interest has crossed both ways.
    let (ours, theirs) = wait_until("both events", || {
        attempt += 1;
        let to = format!("traces.{attempt}");
        traced(&mut client, "x", &format!("Nats-Trace-Dest: {to}\r\n"));
        let first = event(&mut listener);
        if first["hops"].is_null() {
            return None;
        }
        let second = event(&mut listener);
        let is_ours = ways(&first, "in")[0]["kind"] == 0;
        Some(if is_ours {
            (first, second)
        } else {
            (second, first)
        })
    });
    let link = ways(&ours, "eg")[0];
    let header = &theirs["request"]["header"];
    assert_eq!(header["Nats-Trace-Hop"], json!([link["hop"]]));
    assert_eq!(ways(&theirs, "in")[0]["kind"], 4);
    assert_eq!(ways(&theirs, "eg")[0]["kind"], 0);
    assert_ne!(ours["server"]["id"], theirs["server"]["id"]);
}

/// Stock writes an empty reply subject in what the server itself says.
#[test]
fn topo_038_mon_040_the_servers_own_words_have_an_empty_reply_subject() {
    let server = Server::with_config("");
    let mut listener = server.client();
    listener.quietly("SUB traces 1\r\n");
    let mut client = server.client();
    traced(&mut client, "x", "Nats-Trace-Dest: traces\r\n");
    let line = listener.line();
    assert!(line.starts_with("MSG traces 1  "), "{line}");
}

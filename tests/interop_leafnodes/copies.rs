//! Streams that are copied between hub and edge, whichever of the two is ours (JS-141..154, TOPO-51,
//! TOPO-117): set up as a user would with the `nats` command.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::matrix::{LISTEN, every_pair, run_one};
use super::support::cable::Cable;
use super::support::jetstream::{JetStream, texts};
use super::support::server::Server;
use super::{leaf_address, linked, ours, stock};

every_pair!(
    js_143_key_values_with_their_history_at_the_edge,
    js_152_a_source_across_a_link_that_is_cut,
    js_144_two_edges_into_one_stream,
);

/// The stock server may take a minute to look for its origin again.
const LONG: Duration = Duration::from_secs(180);

fn with_domain(domain: &str, rest: &str) -> String {
    format!(
        "server_name: {domain}\njetstream {{ store_dir: \"@DIR@/js\", domain: {domain} }}\n{rest}"
    )
}

fn server(program: &str, config: &str) -> JetStream {
    let server = Server::builder().program(program).config(config).start();
    JetStream::of(server, "{}")
}

/// An edge of this domain, whose hub is there, and nowhere else whatever the hub says.
fn edge(program: &str, domain: &str, hub: &str) -> JetStream {
    let remote = format!(
        "leafnodes {{ reconnect: \"100ms\", remotes [
            {{ url: \"nats-leaf://l:p@{hub}\", ignore_discovered_servers: true }} ] }}"
    );
    server(program, &with_domain(domain, &remote))
}

/// Waits until a stream has had so many messages.
#[track_caller]
fn until_last(js: &mut JetStream, stream: &str, last: u64) {
    let deadline = Instant::now() + LONG;
    loop {
        let info = js.done(&format!("STREAM.INFO.{stream}"), "");
        if info["state"]["last_seq"].as_u64() >= Some(last) {
            assert_eq!(info["state"]["last_seq"], last, "{stream}: {info}");
            return;
        }
        assert!(Instant::now() < deadline, "{stream}: {info}");
        sleep(Duration::from_millis(20));
    }
}

/// Subjects and bodies of all messages, in their order.
#[track_caller]
fn all(js: &mut JetStream, stream: &str, count: usize) -> Vec<(String, String)> {
    let name = format!("reads{count}");
    js.consumer(stream, &name, json!({"ack_policy": "none"}));
    let messages = js.pull(stream, &name, json!({"batch": count}), count);
    let text = |it: &str| it.to_owned();
    messages
        .iter()
        .map(|it| (text(&it.subject), text(it.text())))
        .collect()
}

fn source(name: &str, domain: &str) -> Value {
    json!({"name": name, "external": {"api": format!("$JS.{domain}.API"), "deliver": ""}})
}

fn js_143_key_values_with_their_history_at_the_edge(at_hub: &str, at_edge: &str) {
    let mut hub = server(at_hub, &with_domain("hub", LISTEN));
    let mut edge = edge(at_edge, "edge", &leaf_address(&hub.server));
    linked(&mut hub.server.client(), &mut edge.server.client());
    let bucket = json!({"max_msgs_per_subject": 3, "discard": "new", "allow_rollup_hdrs": true,
                        "deny_delete": true, "allow_direct": true, "max_msgs": -1});
    hub.stream("KV_b", &["$KV.b.>"], bucket.clone());
    for at in 1..=5 {
        hub.publish("$KV.b.k", &format!("v{at}"));
    }
    let mut copy = bucket;
    copy["name"] = json!("KV_b");
    copy["mirror"] = source("KV_b", "hub");
    copy["mirror_direct"] = json!(true);
    edge.done("STREAM.CREATE.KV_b", copy);
    until_last(&mut edge, "KV_b", 5);
    // What is written while the mirror is there: values, a deletion, a purge of another key.
    hub.publish("$KV.b.other", "gone");
    hub.store("$KV.b.k", "KV-Operation: DEL", "");
    hub.store("$KV.b.other", "KV-Operation: PURGE\r\nNats-Rollup: sub", "");
    // From the edge, too, a bucket is written where it lives.
    let ack = edge.store("$JS.hub.API.$KV.b.k", "", "edge");
    assert_eq!((&ack["seq"], &ack["domain"]), (&json!(9), &json!("hub")));
    until_last(&mut edge, "KV_b", 9);
    // The history is the hub's: sequences, values, operations.
    let filter = json!({"ack_policy": "none", "filter_subject": "$KV.b.k"});
    let history = |js: &mut JetStream| {
        js.consumer("KV_b", "history", filter.clone());
        let messages = js.pull("KV_b", "history", json!({"batch": 3}), 3);
        let entry = |it: &super::support::client::Message| {
            let operation = it.header("KV-Operation").to_owned();
            (it.place().stream, it.text().to_owned(), operation)
        };
        messages.iter().map(entry).collect::<Vec<_>>()
    };
    let expected = [(5, "v5", ""), (7, "", "DEL"), (9, "edge", "")];
    let expected = expected.map(|(seq, value, done)| (seq, value.to_owned(), done.to_owned()));
    assert_eq!(history(&mut hub), expected);
    assert_eq!(history(&mut edge), expected);
    // The last value is read where the reader is.
    let last = edge.request("$JS.API.DIRECT.GET.KV_b.$KV.b.k", "", "");
    assert_eq!((last.text(), last.header("Nats-Sequence")), ("edge", "9"));
    let other = edge.request("$JS.API.DIRECT.GET.KV_b.$KV.b.other", "", "");
    assert_eq!(other.header("KV-Operation"), "PURGE");
    assert_eq!(other.header("Nats-Sequence"), "8");
}

fn js_152_a_source_across_a_link_that_is_cut(at_hub: &str, at_edge: &str) {
    let mut hub = server(at_hub, &with_domain("hub", LISTEN));
    let address = leaf_address(&hub.server).parse().expect("an address");
    let cable = Cable::to(address);
    let mut edge = edge(at_edge, "edge", &cable.address().to_string());
    linked(&mut hub.server.client(), &mut edge.server.client());
    edge.stream("READINGS", &["readings.>"], json!({}));
    edge.stream("JOBS", &["jobs.>"], json!({"retention": "workqueue"}));
    hub.done(
        "STREAM.CREATE.ALL",
        json!({"name": "ALL", "sources": [source("READINGS", "edge")]}),
    );
    hub.done(
        "STREAM.CREATE.DONE",
        json!({"name": "DONE", "sources": [source("JOBS", "edge")]}),
    );
    let mut sent = 0;
    let mut send = |edge: &mut JetStream| {
        for _ in 0..25 {
            sent += 1;
            edge.publish("readings.x", &sent.to_string());
            edge.publish("jobs.x", &sent.to_string());
        }
    };
    send(&mut edge);
    until_last(&mut hub, "ALL", 25);
    until_last(&mut hub, "DONE", 25);
    // Stored at the edge, and forwarded when the link is there again.
    cable.cut();
    send(&mut edge);
    let info = hub.done("STREAM.INFO.ALL", "");
    assert_eq!(info["state"]["last_seq"], 25);
    cable.mend();
    send(&mut edge);
    for (stream, subject) in [("ALL", "readings.x"), ("DONE", "jobs.x")] {
        until_last(&mut hub, stream, 75);
        let expected: Vec<_> = (1..=75)
            .map(|number| (subject.to_owned(), number.to_string()))
            .collect();
        assert_eq!(all(&mut hub, stream, 75), expected);
    }
}

fn js_144_two_edges_into_one_stream(at_hub: &str, at_edge: &str) {
    let mut hub = server(at_hub, &with_domain("hub", LISTEN));
    let address = leaf_address(&hub.server);
    let mut edges = ["east", "west"].map(|domain| (domain, edge(at_edge, domain, &address)));
    for (domain, edge) in &mut edges {
        linked(&mut hub.server.client(), &mut edge.server.client());
        // The same name in each place.
        edge.stream("READINGS", &[&format!("{domain}.>")], json!({}));
    }
    let sources = ["east", "west"].map(|domain| source("READINGS", domain));
    hub.done(
        "STREAM.CREATE.GLOBAL",
        json!({"name": "GLOBAL", "subjects": ["own.>"], "sources": sources}),
    );
    for number in 1..=20 {
        for (domain, edge) in &mut edges {
            edge.publish(&format!("{domain}.x"), &number.to_string());
        }
        hub.publish("own.x", &number.to_string());
    }
    until_last(&mut hub, "GLOBAL", 60);
    let all = all(&mut hub, "GLOBAL", 60);
    for place in ["east", "west", "own"] {
        let subject = format!("{place}.x");
        let of_it = all.iter().filter(|it| it.0 == subject);
        let bodies: Vec<_> = of_it.map(|it| it.1.clone()).collect();
        let expected: Vec<_> = (1..=20).map(|number| number.to_string()).collect();
        assert_eq!(bodies, expected, "{place}");
    }
    // What was told apart by its domain says where it came from.
    for (domain, _) in &edges {
        let filter = json!({"ack_policy": "none", "filter_subject": format!("{domain}.x")});
        hub.consumer("GLOBAL", domain, filter);
        let first = hub.pull("GLOBAL", domain, json!({"batch": 1}), 1);
        assert_eq!(texts(&first), ["1"]);
        let source = first[0].header("Nats-Stream-Source");
        assert!(source.starts_with("READINGS:"), "{source}");
        assert!(source.contains(&format!(" 1 > > {domain}.x")), "{source}");
    }
}

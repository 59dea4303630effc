//! What `/metrics` says of links to other servers, and of streams that are copied over them (TOPO-57,
//! JS-154). Stock has no such page.

use serde_json::{Value, json};

use crate::leaf_chaos::{Over, PATIENT, Rig};
use crate::leaf_copies;
use crate::support::jetstream::JetStream;
use crate::support::server::{Server, beyond_stock};
use crate::support::wait_until;

/// The values of a metric whose labels have all of these, in their order.
fn values(server: &Server, name: &str, labels: &[&str]) -> Vec<f64> {
    let metrics = server.get("/metrics").body;
    let begin = format!("{name}{{");
    let lines = metrics.lines().filter(|it| it.starts_with(&begin));
    let lines = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
    lines
        .map(|line| line.rsplit(' ').next().expect("a value"))
        .map(|value| value.parse().expect("a number"))
        .collect()
}

fn value(server: &Server, name: &str, labels: &[&str]) -> Option<f64> {
    values(server, name, labels).first().copied()
}

/// Waits until a metric is there and says so.
#[track_caller]
fn until(server: &Server, name: &str, labels: &[&str], holds: impl Fn(f64) -> bool) {
    wait_until(name, || value(server, name, labels).filter(|it| holds(*it)));
}

#[track_caller]
fn create(server: &Server, config: &Value) {
    let mut client = server.client();
    let (name, body) = (config["name"].as_str().expect("a name"), config.to_string());
    let inbox = format!("made.{}", server.address().port());
    client.quietly(format!("SUB {inbox} 1\r\n"));
    let length = body.len();
    client.send(format!(
        "PUB $JS.API.STREAM.CREATE.{name} {inbox} {length}\r\n{body}\r\n"
    ));
    let answer: Value = serde_json::from_slice(&client.message().payload).expect("JSON");
    assert_eq!(answer.get("error"), None, "{answer}");
}

#[track_caller]
fn publish(server: &Server, subject: &str, count: usize) {
    let mut client = server.client();
    client.quietly(format!("PUB {subject} 1\r\nx\r\n").repeat(count));
}

#[test]
fn topo_057_of_each_link() {
    if !beyond_stock() {
        return;
    }
    let named = |name: &str| format!("server_name: {name}\nhttp: \"127.0.0.1:-1\"");
    let rig = Rig::new(PATIENT, Over::Tcp, &named("hub"), &named("edge"));
    let mut listener = rig.leaf.client();
    listener.quietly("SUB x 1\r\n");
    let mut speaker = rig.hub.client();
    wait_until("the link", || {
        speaker.quietly("PUB x 3\r\nabc\r\n");
        (!listener.ask("").is_empty()).then_some(())
    });
    let at_hub = &["name=\"edge\"", "is_spoke=\"false\"", "account=\"$G\""];
    let at_edge = &["name=\"hub\"", "is_spoke=\"true\"", "account=\"$G\""];
    let metric = |name: &str| format!("gnatsd_leafz_conn_{name}");
    for (server, labels, over) in [(&rig.hub, at_hub, "out"), (&rig.leaf, at_edge, "in")] {
        for (name, least) in [
            ("rtt".to_owned(), 0.0),
            ("pending_bytes".to_owned(), 0.0),
            ("subscriptions_total".to_owned(), 1.0),
            (format!("{over}_msgs"), 1.0),
            (format!("{over}_bytes"), 3.0),
        ] {
            until(server, &metric(&name), labels, |it| it >= least);
        }
    }
    // Only who makes a link knows how often it did.
    assert_eq!(value(&rig.hub, &metric("reconnects"), at_hub), None);
    assert_eq!(value(&rig.leaf, &metric("reconnects"), at_edge), Some(0.0));
    rig.cable.cut();
    wait_until("the link to end", || {
        let links = [(&rig.hub, at_hub), (&rig.leaf, at_edge)];
        let gone = links.map(|(server, labels)| value(server, &metric("rtt"), labels));
        (gone == [None, None]).then_some(())
    });
    rig.cable.mend();
    until(&rig.leaf, &metric("reconnects"), at_edge, |it| it >= 1.0);
}

/// What an edge has not sent yet is seen at the hub once the link is there again.
#[test]
fn js_154_of_each_mirror_and_source() {
    if !beyond_stock() {
        return;
    }
    let rig = leaf_copies::rig(PATIENT, Over::Tcp, "http: \"127.0.0.1:-1\"");
    let from_edge = json!({"api": "$JS.edge.API"});
    create(&rig.leaf, &json!({"name": "R", "subjects": ["r.>"]}));
    create(&rig.leaf, &json!({"name": "Q", "subjects": ["q.>"]}));
    create(
        &rig.hub,
        &json!({"name": "M", "mirror": {"name": "R", "external": from_edge}}),
    );
    create(
        &rig.hub,
        &json!({"name": "S", "sources": [
            {"name": "R", "external": from_edge, "filter_subject": "r.a"},
            {"name": "R", "external": from_edge,
             "subject_transforms": [{"src": "r.b", "dest": "b"}]},
            {"name": "Q", "external": from_edge},
            {"name": "NONE", "external": {"api": "nowhere.API", "deliver": "nowhere.d"}},
        ]}),
    );
    publish(&rig.leaf, "r.a", 10);
    publish(&rig.leaf, "q.a", 10);
    let mirror = &["stream_name=\"M\"", "mirror_name=\"R\"", "$JS.edge.API"];
    let of = |rest: &'static str| ["stream_name=\"S\"", "source_name=\"R\"", rest];
    let (first, second) = (of("source_filter=\"r.a\""), of("source_filter=\"r.b b\""));
    let other = ["source_name=\"Q\"", "source_filter=\"\""];
    let never = [
        "source_name=\"NONE\"",
        "source_api=\"nowhere.API\"",
        "source_deliver=\"nowhere.d\"",
    ];
    let (lag, active) = (
        "jetstream_stream_source_lag",
        "jetstream_stream_source_active_duration_ns",
    );
    let total = "jetstream_stream_total_messages";
    until(&rig.hub, total, &["stream_name=\"M\""], |it| it == 10.0);
    until(&rig.hub, total, &["stream_name=\"S\""], |it| it == 20.0);
    until(&rig.hub, "jetstream_stream_mirror_lag", mirror, |it| {
        it == 0.0
    });
    for labels in [&first[..], &second, &other] {
        until(&rig.hub, lag, labels, |it| it == 0.0);
        until(&rig.hub, active, labels, |it| it >= 0.0);
    }
    assert_eq!(value(&rig.hub, active, &never), Some(-1.0));
    assert_eq!(values(&rig.hub, lag, &["stream_name=\"S\""]).len(), 4);
    let left_out = "jetstream_server_left_out_origins";
    assert_eq!(values(&rig.hub, left_out, &[]), [0.0]);
    // While it is cut, nobody knows what there is, but for how long is known.
    rig.cable.cut();
    until(&rig.hub, active, &other, |it| it > 1.5e9);
    rig.cable.mend();
    until(&rig.hub, active, &other, |it| it < 1.5e9);
    // A stream that is full lags behind.
    create(
        &rig.hub,
        &json!({"name": "FULL", "max_msgs": 4, "discard": "new",
                "sources": [{"name": "R", "external": from_edge}]}),
    );
    let full = ["stream_name=\"FULL\"", "source_name=\"R\""];
    until(&rig.hub, total, &full[..1], |it| it == 4.0);
    until(&rig.hub, lag, &full, |it| it > 0.0);
}

/// As with streams and consumers, whoever makes them makes no metrics without end.
#[test]
fn js_154_a_bounded_number_of_them() {
    if !beyond_stock() {
        return;
    }
    let config = "http: \"127.0.0.1:-1\"\njetstream { store_dir: \"@DIR@/store\" }";
    let mut js = JetStream::with_config(config, "{}");
    for stream in 0..5 {
        let sources: Vec<_> = (0..500)
            .map(|number| json!({"name": format!("N{number}"), "external": {"api": "nowhere.API"}}))
            .collect();
        let name = format!("S{stream}");
        js.done(
            &format!("STREAM.CREATE.{name}"),
            json!({"name": name, "sources": sources}),
        );
    }
    let shown = values(&js.server, "jetstream_stream_source_lag", &[]).len();
    assert_eq!(shown, 2000);
    let left_out = "jetstream_server_left_out_origins";
    assert_eq!(values(&js.server, left_out, &[]), [500.0]);
}

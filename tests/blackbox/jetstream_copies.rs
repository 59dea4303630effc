//! Mirrors and sources (section 11): with streams of one server, and with this test as the origin's
//! server.

use serde_json::{Value, json};

use crate::leafnodes;
use crate::support::client::{Client, Message};
use crate::support::jetstream::JetStream;
use crate::support::server::Server;
use crate::support::wait_until;

/// A stream that copies.
#[track_caller]
fn copy(js: &mut JetStream, name: &str, fields: Value) -> Value {
    let mut config = fields;
    config["name"] = json!(name);
    js.done(&format!("STREAM.CREATE.{name}"), config)
}

/// Waits until a stream's info says so.
#[track_caller]
fn until(js: &mut JetStream, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
    wait_until(name, || {
        let info = js.done(&format!("STREAM.INFO.{name}"), "");
        holds(&info).then_some(info)
    })
}

#[track_caller]
fn until_last(js: &mut JetStream, name: &str, last: u64) -> Value {
    until(js, name, |it| it["state"]["last_seq"] == last)
}

/// A stored message by its sequence: subject, headers, body, time.
#[track_caller]
fn stored(js: &mut JetStream, name: &str, seq: u64) -> (String, String, String, String) {
    let answer = js.done(&format!("STREAM.MSG.GET.{name}"), json!({"seq": seq}));
    let message = &answer["message"];
    let text = |field: &str| message[field].as_str().unwrap_or_default().to_owned();
    (
        text("subject"),
        decoded(&text("hdrs")),
        decoded(&text("data")),
        text("time"),
    )
}

fn decoded(base64: &str) -> String {
    let bytes = data_encoding::BASE64.decode(base64.as_bytes());
    String::from_utf8(bytes.expect("base64")).expect("text")
}

/// JS-17, JS-261: what a copy reads with belongs to the account's usage, and is no stream's consumer.
#[test]
fn js_149_consumers_of_copies_are_not_shown() {
    let server = Server::with_monitor(r#"jetstream { store_dir: "@DIR@/store" }"#);
    let mut js = JetStream::of(server, "{}");
    js.stream("R", &["r.>"], json!({}));
    js.consumer("R", "own", json!({}));
    copy(&mut js, "M", json!({"mirror": {"name": "R"}}));
    copy(&mut js, "S", json!({"sources": [{"name": "R"}]}));
    wait_until("three consumers in all", || {
        (js.done("INFO", "")["consumers"] == 3).then_some(())
    });
    let count = |info: &Value| info["state"]["consumer_count"].clone();
    assert_eq!(count(&js.done("STREAM.INFO.R", "")), 1);
    let listed = js.done("STREAM.LIST", r#"{"subject": "r.x"}"#);
    assert_eq!(count(&listed["streams"][0]), 1);
    assert_eq!(js.done("CONSUMER.LIST.R", "")["total"], 1);
    assert_eq!(js.server.get("/jsz").json()["consumers"], 1);
}

#[test]
fn js_143_145_a_mirror_keeps_sequences_and_times() {
    let mut js = JetStream::start();
    js.stream("R", &["r.>"], json!({}));
    for at in 1..=5 {
        js.publish(&format!("r.{at}"), &format!("m{at}"));
    }
    js.done("STREAM.MSG.DELETE.R", json!({"seq": 2, "no_erase": true}));
    js.store(
        "r.6",
        "Nats-Expected-Stream: R\r\nNats-Expected-Last-Sequence: 5\r\nA: 1",
        "m6",
    );
    copy(&mut js, "M", json!({"mirror": {"name": "R"}}));
    let info = until_last(&mut js, "M", 6);
    assert_eq!(
        (&info["state"]["messages"], &info["state"]["num_deleted"]),
        (&json!(5), &json!(1))
    );
    for seq in [1, 3, 4, 5] {
        assert_eq!(stored(&mut js, "M", seq), stored(&mut js, "R", seq));
    }
    assert_eq!(stored(&mut js, "M", 6).1, "NATS/1.0\r\nA: 1\r\n\r\n");
    let error = js.refused("STREAM.MSG.GET.M", json!({"seq": 2}));
    assert_eq!(error.1, 10037);
    // What comes later comes, too.
    js.publish("r.7", "m7");
    until_last(&mut js, "M", 7);
    assert_eq!(stored(&mut js, "M", 7), stored(&mut js, "R", 7));
}

#[test]
fn js_143_a_filtered_mirror_passes_over_the_others() {
    let mut js = JetStream::start();
    js.stream("R", &["r.>"], json!({}));
    for at in ["a", "b", "a", "b", "a", "b"] {
        js.publish(&format!("r.{at}"), at);
    }
    copy(
        &mut js,
        "M",
        json!({"mirror": {"name": "R", "filter_subject": "r.a"}}),
    );
    let info = until_last(&mut js, "M", 5);
    assert_eq!(info["state"]["messages"], 3);
    assert_eq!(info["mirror"]["filter_subject"], "r.a");
}

#[test]
fn js_142_a_mirror_begins_where_it_is_told() {
    let mut js = JetStream::start();
    js.stream("R", &["r.>"], json!({}));
    for at in 1..=5 {
        js.publish("r.x", &at.to_string());
    }
    copy(
        &mut js,
        "M",
        json!({"mirror": {"name": "R", "opt_start_seq": 4}}),
    );
    let info = until_last(&mut js, "M", 5);
    assert_eq!(
        (&info["state"]["messages"], &info["state"]["first_seq"]),
        (&json!(2), &json!(4))
    );
    let time = stored(&mut js, "R", 3).3;
    copy(
        &mut js,
        "S",
        json!({"sources": [{"name": "R", "opt_start_time": time}]}),
    );
    until_last(&mut js, "S", 3);
    assert_eq!(stored(&mut js, "S", 1).2, "3");
}

#[test]
fn js_144_145_sources_say_where_messages_came_from() {
    let mut js = JetStream::start();
    js.stream("R", &["r.>"], json!({}));
    js.stream("Q", &["q.>"], json!({}));
    copy(
        &mut js,
        "S",
        json!({"subjects": ["s.>"], "sources": [
            {"name": "R", "filter_subject": "r.a"},
            {"name": "Q", "subject_transforms": [
                {"src": "q.*.x", "dest": "one.{{wildcard(1)}}"},
                {"src": "q.*.y", "dest": ""},
            ]},
        ]}),
    );
    js.publish("r.a", "1");
    until_last(&mut js, "S", 1);
    js.store("q.7.x", "A: 1\r\nNats-Expected-Stream: Q", "2");
    until_last(&mut js, "S", 2);
    js.publish("q.8.y", "3");
    until_last(&mut js, "S", 3);
    js.publish("r.b", "not taken");
    js.publish("s.own", "4");
    let source = |headers: &str| {
        let line = headers
            .lines()
            .find_map(|it| it.strip_prefix("Nats-Stream-Source: "));
        line.expect("a source").to_owned()
    };
    let without_identity = |text: String| {
        let (front, identity) = text.rsplit_once(' ').expect("fields");
        assert_eq!(identity.len(), 8, "{text}");
        front.to_owned()
    };
    let (subject, headers, body, _) = stored(&mut js, "S", 1);
    assert_eq!((subject.as_str(), body.as_str()), ("r.a", "1"));
    assert_eq!(without_identity(source(&headers)), "R 1 r.a > r.a");
    let (subject, headers, body, _) = stored(&mut js, "S", 2);
    assert_eq!((subject.as_str(), body.as_str()), ("one.7", "2"));
    assert!(
        headers.starts_with("NATS/1.0\r\nA: 1\r\nNats-Stream-Source: "),
        "{headers}"
    );
    assert_eq!(
        without_identity(source(&headers)),
        "Q 1 q.*.x\u{c}q.*.y one.{{wildcard(1)}}\u{c}> q.7.x"
    );
    assert_eq!(stored(&mut js, "S", 3).0, "q.8.y");
    assert_eq!(stored(&mut js, "S", 4).2, "4");
    // Copied again, only the last origin is told of.
    copy(
        &mut js,
        "T",
        json!({"sources": [{"name": "S", "filter_subject": "r.a"}]}),
    );
    until_last(&mut js, "T", 1);
    let (_, headers, _, _) = stored(&mut js, "T", 1);
    assert_eq!(headers.matches("Nats-Stream-Source").count(), 1);
    assert_eq!(without_identity(source(&headers)), "S 1 r.a > r.a");
    // Who publishes may not say so (JS-99).
    let refused = js.store("s.x", "Nats-Stream-Source: R 1 > > r.a", "");
    assert_eq!(refused["error"]["err_code"], 10227);
}

#[test]
fn js_154_info_tells_of_origins() {
    let mut js = JetStream::start();
    js.stream("R", &["r.>"], json!({}));
    copy(&mut js, "M", json!({"mirror": {"name": "R"}}));
    copy(
        &mut js,
        "S",
        json!({"sources": [
            {"name": "R", "subject_transforms": [{"src": "r.*", "dest": "s.{{wildcard(1)}}"}]},
            {"name": "NONE", "external": {"api": "nowhere.API", "deliver": "nowhere.d"}},
        ]}),
    );
    js.publish("r.1", "1");
    until_last(&mut js, "S", 1);
    let info = until_last(&mut js, "M", 1);
    let mirror = &info["mirror"];
    assert_eq!((&mirror["name"], &mirror["lag"]), (&json!("R"), &json!(0)));
    assert_eq!(mirror.get("seq"), None, "a source has it");
    assert!(
        mirror["active"].as_i64().is_some_and(|it| it >= 0),
        "{mirror}"
    );
    let info = js.done("STREAM.INFO.S", "");
    let sources = info["sources"].as_array().expect("sources");
    let of = |name: &str| {
        sources
            .iter()
            .find(|it| it["name"] == name)
            .expect("a source")
    };
    assert_eq!(
        of("R")["subject_transforms"],
        json!([{"src": "r.*", "dest": "s.{{wildcard(1)}}"}])
    );
    assert_eq!(of("NONE")["active"], -1);
    assert_eq!(
        of("NONE")["external"],
        json!({"api": "nowhere.API", "deliver": "nowhere.d"})
    );
}

#[test]
fn js_157_a_mirror_becomes_a_stream_of_its_own() {
    let mut js = JetStream::start();
    js.stream("R", &["r.>"], json!({}));
    js.publish("r.1", "1");
    copy(&mut js, "M", json!({"mirror": {"name": "R"}}));
    until_last(&mut js, "M", 1);
    js.done("STREAM.UPDATE.M", json!({"name": "M", "subjects": ["m.>"]}));
    js.publish("r.2", "2");
    assert_eq!(js.publish("m.1", "own"), 2);
    let info = js.done("STREAM.INFO.M", "");
    assert_eq!(
        (info.get("mirror"), &info["state"]["messages"]),
        (None, &json!(2))
    );
}

#[test]
fn js_143_copies_go_on_after_a_restart() {
    let mut js = JetStream::start();
    js.stream("R", &["r.>"], json!({}));
    copy(&mut js, "M", json!({"mirror": {"name": "R"}}));
    copy(&mut js, "S", json!({"sources": [{"name": "R"}]}));
    for at in 1..=20 {
        js.publish("r.x", &at.to_string());
    }
    until_last(&mut js, "M", 20);
    until_last(&mut js, "S", 20);
    // What was copied and has left is not copied again.
    js.done("STREAM.PURGE.S", json!({"keep": 5}));
    let mut js = js.restart();
    js.publish("r.x", "21");
    until_last(&mut js, "M", 21);
    let info = until_last(&mut js, "S", 21);
    assert_eq!(info["state"]["messages"], 6);
    for seq in [20, 21] {
        assert_eq!(stored(&mut js, "S", seq).2, seq.to_string());
    }
}

#[test]
fn js_149_150_as_origin() {
    let mut js = JetStream::start();
    js.stream("R", &["r.>"], json!({}));
    js.stream("W", &["w.>"], json!({"retention": "workqueue"}));
    let wish = |stream: &str, deliver: &str| {
        json!({"stream_name": stream, "config": {
            "name": "JS_SRC_x", "deliver_subject": deliver, "ack_policy": "none",
            "ack_wait": 79_200_000_000_000_u64, "max_deliver": 1, "deliver_policy": "all",
            "replay_policy": "instant", "flow_control": true, "idle_heartbeat": 1_000_000_000,
            "direct": true, "sourcing": true, "inactive_threshold": 10_000_000_000_u64,
            "num_replicas": 0}})
    };
    let ask = |js: &mut JetStream, stream: &str, headers: &str| -> (Message, Value) {
        let subject = format!("$JS.API.CONSUMER.CREATE.{stream}");
        let answer = js.request(&subject, headers, wish(stream, "gone.to").to_string());
        let body = serde_json::from_slice(&answer.payload).expect("JSON");
        (answer, body)
    };
    // A name of its own, hidden, told which stream it is.
    let (answer, body) = ask(&mut js, "R", "Nats-Required-Api-Level: 5");
    let identity = answer.header("Nats-Stream-Identity").to_owned();
    assert_eq!(identity.len(), 8);
    let name = body["name"].as_str().expect("a name").to_owned();
    assert!(name.starts_with("JS_SRC_x-") && name.len() == 17, "{name}");
    assert_eq!(
        (&body["config"]["direct"], &body["config"]["sourcing"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(js.done("CONSUMER.NAMES.R", "")["consumers"], json!([]));
    assert_eq!(js.done("CONSUMER.LIST.R", "")["total"], 0);
    let (answer, _) = ask(&mut js, "R", &format!("Nats-Stream-Identity: {identity}"));
    assert_eq!(answer.header("Nats-Stream-Identity"), identity);
    let (_, body) = ask(&mut js, "R", "Nats-Stream-Identity: another1");
    assert_eq!(
        (&body["error"]["code"], &body["error"]["err_code"]),
        (&json!(400), &json!(10225))
    );
    // Where messages leave when they are acknowledged, it lives on.
    let (answer, body) = ask(&mut js, "W", "");
    assert_eq!(answer.header("Nats-Stream-Identity").len(), 8);
    let config = &body["config"];
    assert_eq!(body["name"], "JS_SRC_x");
    assert_eq!(config["durable_name"], "JS_SRC_x");
    assert_eq!(config["ack_policy"], "flow_control");
    assert_eq!(
        (config.get("direct"), &config["sourcing"]),
        (None, &json!(true))
    );
    assert_eq!(
        js.done("CONSUMER.NAMES.W", "")["consumers"],
        json!(["JS_SRC_x"])
    );
}

#[test]
fn js_149_a_work_queue_lets_go_of_what_is_safe_elsewhere() {
    let mut js = JetStream::start();
    js.stream("W", &["w.>"], json!({"retention": "workqueue"}));
    for at in 1..=50 {
        js.publish("w.x", &at.to_string());
    }
    copy(&mut js, "S", json!({"sources": [{"name": "W"}]}));
    until_last(&mut js, "S", 50);
    until(&mut js, "W", |it| it["state"]["messages"] == 0);
    js.publish("w.x", "51");
    until_last(&mut js, "S", 51);
    until(&mut js, "W", |it| it["state"]["messages"] == 0);
    for seq in [1, 50, 51] {
        assert_eq!(stored(&mut js, "S", seq).2, seq.to_string());
    }
}

/// The origin's server: this test, a leaf node with the prefixes `o.API` and `o.d`.
struct Origin {
    link: Client,
}

/// What arrives at the leaf node.
struct Arrived {
    subject: String,
    reply: String,
    headers: Vec<String>,
    body: Value,
}

impl Arrived {
    fn header(&self, name: &str) -> &str {
        let mut all = self.headers.iter().filter_map(|it| it.split_once(": "));
        all.find(|it| it.0 == name).map_or("", |it| it.1)
    }
}

impl Origin {
    fn start() -> (JetStream, Self) {
        let config = "jetstream { store_dir: @DIR@/store }\nleafnodes { listen: \"127.0.0.1:-1\" }";
        let js = JetStream::with_config(config, "{}");
        let (mut link, _) = leafnodes::linked(&js.server, leafnodes::named("origin"));
        link.ask("LS+ o.API.>\r\nLS+ o.FC.>\r\n");
        (js, Self { link })
    }

    /// The next message; what the server wants is passed over.
    #[track_caller]
    fn arrived(&mut self) -> Arrived {
        loop {
            let line = self.link.line();
            let words: Vec<&str> = line.split(' ').collect();
            let (headed, reply) = match words[..] {
                ["LMSG", _, reply, _] => (false, reply),
                ["HMSG", _, reply, _, _] => (true, reply),
                ["LMSG", _, _] => (false, ""),
                ["HMSG", _, _, _] => (true, ""),
                _ => continue,
            };
            let mut headers = Vec::new();
            while headed && headers.last().is_none_or(|it: &String| !it.is_empty()) {
                headers.push(self.link.line());
            }
            return Arrived {
                subject: words[1].to_owned(),
                reply: reply.to_owned(),
                headers,
                body: serde_json::from_str(&self.link.line()).unwrap_or_default(),
            };
        }
    }

    /// The next request that is none to delete a consumer.
    #[track_caller]
    fn asked(&mut self) -> Arrived {
        loop {
            let asked = self.arrived();
            if !asked.subject.starts_with("o.API.CONSUMER.DELETE.") {
                return asked;
            }
        }
    }

    fn send(&mut self, to: &str, reply: &str, headers: &str, body: &str) {
        let (length, total) = (headers.len(), headers.len() + body.len());
        let reply = if reply.is_empty() {
            String::new()
        } else {
            format!("{reply} ")
        };
        self.link.send(match length {
            0 => format!("LMSG {to} {reply}{total}\r\n{body}\r\n"),
            _ => format!("HMSG {to} {reply}{length} {total}\r\n{headers}{body}\r\n"),
        });
    }

    fn answer(&mut self, to: &Arrived, body: &Value) {
        let headers = "NATS/1.0\r\nNats-Stream-Identity: identity\r\n\r\n";
        self.send(&to.reply, "", headers, &body.to_string());
    }

    fn refuse(&mut self, to: &Arrived, code: u64, number: u64) {
        let body = json!({"type": "io.nats.jetstream.api.v1.consumer_create_response",
            "error": {"code": code, "err_code": number, "description": "no"}});
        self.send(&to.reply, "", "", &body.to_string());
    }

    /// Makes the consumer that is asked for; gives where it delivers to, once that is listened to.
    #[track_caller]
    fn create(&mut self, to: &Arrived, config: &Value, name: &str, delivered: u64) -> String {
        let answer = json!({
            "type": "io.nats.jetstream.api.v1.consumer_create_response",
            "stream_name": "R", "name": name, "config": config,
            "delivered": {"consumer_seq": 0, "stream_seq": delivered},
        });
        self.answer(to, &answer);
        let subject = config["deliver_subject"].as_str().expect("a subject");
        let wanted = format!("LS+ {subject}");
        while self.link.line() != wanted {}
        subject.to_owned()
    }

    /// Delivers a message: sequence there, number of the delivery.
    fn deliver(&mut self, to: &str, consumer: &str, seq: u64, number: u64, payload: &str) {
        let reply = format!("$JS.ACK.R.{consumer}.1.{seq}.{number}.1700000000000000000.0");
        self.send(to, &reply, "", payload);
    }

    fn control(&mut self, to: &str, reply: &str, head: &str) {
        self.send(to, reply, &format!("NATS/1.0 100 {head}\r\n\r\n"), "");
    }
}

const EXTERNAL: &str = r#"{"api": "o.API", "deliver": "o.d"}"#;

#[track_caller]
fn source_of(js: &mut JetStream, fields: Value) {
    let mut source = fields;
    source["name"] = json!("R");
    source["external"] = serde_json::from_str(EXTERNAL).expect("JSON");
    copy(js, "S", json!({"sources": [source]}));
}

#[test]
fn js_146_148_the_request_to_an_origin() {
    let (mut js, mut origin) = Origin::start();
    source_of(
        &mut js,
        json!({"filter_subject": "r.a", "opt_start_seq": 7}),
    );
    let asked = origin.asked();
    assert_eq!(asked.header("Nats-Required-Api-Level"), "5");
    assert!(asked.reply.starts_with("$JSC.R."), "{}", asked.reply);
    let config = &asked.body["config"];
    let name = config["name"].as_str().expect("a name");
    assert!(name.starts_with("JS_SRC_") && name.len() == 15, "{name}");
    assert_eq!(asked.subject, format!("o.API.CONSUMER.CREATE.R.{name}.r.a"));
    assert_eq!(asked.body["stream_name"], "R");
    for (field, value) in [
        ("deliver_policy", json!("by_start_sequence")),
        ("opt_start_seq", json!(7)),
        ("ack_policy", json!("none")),
        ("ack_wait", json!(79_200_000_000_000_u64)),
        ("max_deliver", json!(1)),
        ("idle_heartbeat", json!(1_000_000_000)),
        ("flow_control", json!(true)),
        ("direct", json!(true)),
        ("sourcing", json!(true)),
        ("inactive_threshold", json!(10_000_000_000_u64)),
        ("filter_subject", json!("r.a")),
        (
            "metadata",
            json!({"_nats.src.stream": "S", "_nats.src.acc": "$G"}),
        ),
    ] {
        assert_eq!(config[field], value, "{field}");
    }
    let deliver = config["deliver_subject"].as_str().expect("a subject");
    assert!(deliver.starts_with("o.d.S."), "{deliver}");
}

#[test]
fn js_147_older_origins_are_asked_for_less() {
    let (mut js, mut origin) = Origin::start();
    source_of(&mut js, json!({}));
    let asked = origin.asked();
    origin.refuse(&asked, 412, 10185);
    let asked = origin.asked();
    assert_eq!(asked.header("Nats-Required-Api-Level"), "4");
    assert_eq!(asked.body["config"]["sourcing"], true);
    let stable = asked.body["config"]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    origin.refuse(&asked, 400, 10025);
    let asked = origin.asked();
    assert!(asked.headers.is_empty());
    let config = &asked.body["config"];
    assert_eq!(config.get("sourcing"), None);
    let name = config["name"].as_str().expect("a name").to_owned();
    assert!(
        name.starts_with(&format!("{stable}_")) && name.len() == stable.len() + 9,
        "{name}"
    );
    let to = origin.create(&asked, &asked.body["config"], &name, 0);
    origin.deliver(&to, &name, 1, 1, "one");
    until_last(&mut js, "S", 1);
}

#[test]
fn js_151_152_gaps_are_read_again() {
    let (mut js, mut origin) = Origin::start();
    source_of(&mut js, json!({}));
    let asked = origin.asked();
    let to = origin.create(&asked, &asked.body["config"], "C1", 0);
    origin.deliver(&to, "C1", 3, 1, "three");
    origin.deliver(&to, "OTHER", 4, 2, "not ours");
    let info = until_last(&mut js, "S", 1);
    assert_eq!(info["sources"][0]["lag"], 0);
    // How far we are is told once what came is safe.
    origin.control(&to, "o.FC.1", "FlowControl Request");
    let answer = origin.arrived();
    assert_eq!(answer.subject, "o.FC.1");
    assert_eq!(
        (
            answer.header("Nats-Last-Consumer"),
            answer.header("Nats-Last-Stream")
        ),
        ("1", "3")
    );
    // One that waits for an answer that was lost gets one.
    origin.control(&to, "", "Idle Heartbeat\r\nNats-Last-Consumer: 1\r\nNats-Last-Stream: 3\r\nNats-Consumer-Stalled: o.FC.2");
    assert_eq!(origin.arrived().subject, "o.FC.2");
    // A number is missing: it begins behind the last that came.
    origin.deliver(&to, "C1", 6, 3, "six");
    let asked = origin.asked();
    assert_eq!(asked.header("Nats-Stream-Identity"), "identity");
    assert_eq!(asked.body["config"]["opt_start_seq"], 4);
    let to = origin.create(&asked, &asked.body["config"], "C2", 3);
    origin.deliver(&to, "C2", 5, 1, "five");
    until_last(&mut js, "S", 2);
    // A heartbeat knows of one that did not come.
    origin.control(
        &to,
        "",
        "Idle Heartbeat\r\nNats-Last-Consumer: 2\r\nNats-Last-Stream: 6",
    );
    let asked = origin.asked();
    assert_eq!(asked.body["config"]["opt_start_seq"], 6);
    let to = origin.create(&asked, &asked.body["config"], "C3", 5);
    origin.deliver(&to, "C3", 6, 1, "six");
    until_last(&mut js, "S", 3);
    let bodies: Vec<String> = (1..=3).map(|seq| stored(&mut js, "S", seq).2).collect();
    assert_eq!(bodies, ["three", "five", "six"]);
}

#[test]
fn js_150_an_origin_made_anew_is_read_from_its_beginning() {
    let (mut js, mut origin) = Origin::start();
    source_of(&mut js, json!({}));
    let asked = origin.asked();
    let to = origin.create(&asked, &asked.body["config"], "C1", 0);
    origin.deliver(&to, "C1", 9, 1, "nine");
    until_last(&mut js, "S", 1);
    origin.deliver(&to, "C1", 12, 4, "a gap");
    let asked = origin.asked();
    assert_eq!(asked.body["config"]["opt_start_seq"], 10);
    origin.refuse(&asked, 400, 10225);
    let asked = origin.asked();
    assert_eq!(asked.header("Nats-Stream-Identity"), "");
    assert_eq!(asked.body["config"]["deliver_policy"], "all");
    let to = origin.create(&asked, &asked.body["config"], "C2", 0);
    origin.deliver(&to, "C2", 1, 1, "one");
    until_last(&mut js, "S", 2);
    assert_eq!(stored(&mut js, "S", 2).2, "one");
}

#[test]
fn js_153_a_consumer_made_before_is_reset() {
    let (mut js, mut origin) = Origin::start();
    copy(
        &mut js,
        "S",
        json!({"sources": [{"name": "R", "external": {"api": "o.API", "deliver": ""},
            "consumer": {"name": "MADE", "deliver_subject": "o.d.made"}}]}),
    );
    let asked = origin.asked();
    let subject = asked.subject.as_str();
    assert_eq!(
        (subject, &asked.body),
        ("o.API.CONSUMER.RESET.R.MADE", &Value::Null)
    );
    let config = json!({"deliver_subject": "o.d.made", "ack_policy": "flow_control"});
    origin.create(&asked, &config, "MADE", 4);
    origin.deliver("o.d.made", "MADE", 5, 1, "five");
    until_last(&mut js, "S", 1);
    assert_eq!(stored(&mut js, "S", 1).2, "five");
}

#[test]
fn js_156_a_message_of_two_sources_is_stored_once() {
    let mut js = JetStream::start();
    for name in ["A", "B"] {
        js.stream(name, &[&format!("{}.>", name.to_lowercase())], json!({}));
    }
    copy(
        &mut js,
        "S",
        json!({"sources": [{"name": "A"}, {"name": "B"}], "duplicate_window": 60_000_000_000_u64}),
    );
    js.store("a.1", "Nats-Msg-Id: same", "first");
    until_last(&mut js, "S", 1);
    js.store("b.1", "Nats-Msg-Id: same", "second");
    js.publish("b.2", "third");
    until_last(&mut js, "S", 2);
    assert_eq!(stored(&mut js, "S", 2).2, "third");
}

#[test]
fn js_156_a_full_stream_takes_the_rest_later() {
    let mut js = JetStream::start();
    js.stream("R", &["r.>"], json!({}));
    for at in 1..=5 {
        js.publish("r.x", &at.to_string());
    }
    copy(
        &mut js,
        "S",
        json!({"sources": [{"name": "R"}], "max_msgs": 3, "discard": "new"}),
    );
    until_last(&mut js, "S", 3);
    js.done("STREAM.PURGE.S", "");
    until_last(&mut js, "S", 5);
    let bodies: Vec<String> = (4..=5).map(|seq| stored(&mut js, "S", seq).2).collect();
    assert_eq!(bodies, ["4", "5"]);
}

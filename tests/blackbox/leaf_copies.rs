//! Streams that are copied over a link which breaks, between servers that are killed: an edge's
//! stream and its work queue sourced into the hub, a stream of the hub mirrored to the edge. In the
//! end each message is there once, in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::leaf_chaos::{Over, PATIENT, Pace, Rig, Witness};
use crate::support::client::Client;
use crate::support::server::Server;
use crate::support::wait_until;

/// A hub and an edge with streams of their own domains, and more words of configuration for both.
pub fn rig(pace: Pace, over: Over, more: &str) -> Rig {
    let of = |domain: &str| {
        format!("jetstream {{ domain: {domain}, store_dir: \"@DIR@/store\" }}\n{more}")
    };
    Rig::new(pace, over, &of("hub"), &of("edge"))
}

/// Somebody who asks a server's API.
struct Api {
    client: Client,
    /// Where it awaits answers: the other server's are not for it.
    inbox: String,
}

impl Api {
    fn of(server: &Server) -> Self {
        let mut client = server.client_with(r#"{"headers": true}"#);
        let inbox = format!("answers.{}", server.address().port());
        client.quietly(format!("SUB {inbox} 1\r\n"));
        Self { client, inbox }
    }

    #[track_caller]
    fn ask(&mut self, endpoint: &str, body: &Value) -> Value {
        let body = body.to_string();
        let length = body.len();
        let inbox = &self.inbox;
        self.client.send(format!(
            "PUB $JS.API.{endpoint} {inbox} {length}\r\n{body}\r\n"
        ));
        let answer = self.client.message();
        let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
        assert_eq!(answer.get("error"), None, "{endpoint}");
        answer
    }

    #[track_caller]
    fn create(&mut self, config: &Value) {
        let name = config["name"].as_str().expect("a name");
        self.ask(&format!("STREAM.CREATE.{name}"), config);
    }

    /// Messages a stream has had.
    #[track_caller]
    fn last(&mut self, stream: &str) -> u64 {
        let info = self.ask(&format!("STREAM.INFO.{stream}"), &json!({}));
        info["state"]["last_seq"].as_u64().expect("a number")
    }

    /// Bodies of a stream's messages on subjects that begin so, in order.
    #[track_caller]
    fn bodies(&mut self, stream: &str, front: &str) -> Vec<u64> {
        let mut all = Vec::new();
        for seq in 1..=self.last(stream) {
            let answer = self.ask(&format!("STREAM.MSG.GET.{stream}"), &json!({"seq": seq}));
            let message = &answer["message"];
            let subject = message["subject"].as_str();
            let subject = subject.unwrap_or_else(|| panic!("{stream} {seq}: {answer}"));
            if subject.starts_with(front) {
                let body = message["data"].as_str().expect("a body");
                let body = data_encoding::BASE64
                    .decode(body.as_bytes())
                    .expect("base64");
                all.push(
                    String::from_utf8(body)
                        .expect("text")
                        .parse()
                        .expect("a number"),
                );
            }
        }
        all
    }
}

/// Publishes 1, 2, 3... one after the other, each until it is acknowledged.
struct Publisher {
    over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Publisher {
    fn start(address: SocketAddr, subject: &'static str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut client = Client::open(address);
            client.connect("{}");
            client.quietly(format!("SUB acks.{subject} 1\r\n"));
            let mut sent = 0;
            while !ended.load(Ordering::Relaxed) {
                sent += 1;
                let body = sent.to_string();
                client.send(format!(
                    "PUB {subject} acks.{subject} {}\r\n{body}\r\n",
                    body.len()
                ));
                let ack = client.message();
                let ack = String::from_utf8_lossy(&ack.payload);
                assert!(ack.starts_with("{\"stream\":"), "{ack}");
                thread::sleep(Duration::from_millis(2));
            }
            sent
        });
        Self { over, thread }
    }

    fn end(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the publisher runs to its end")
    }
}

fn streams(rig: &Rig) {
    let (mut hub, mut edge) = (Api::of(&rig.hub), Api::of(&rig.leaf));
    edge.create(&json!({"name": "READINGS", "subjects": ["readings.>"]}));
    edge.create(&json!({"name": "JOBS", "subjects": ["jobs.>"], "retention": "workqueue"}));
    hub.create(&json!({"name": "SETTINGS", "subjects": ["settings.>"]}));
    let from_edge = json!({"api": "$JS.edge.API"});
    hub.create(&json!({"name": "ALL", "sources": [
        {"name": "READINGS", "external": from_edge}, {"name": "JOBS", "external": from_edge},
    ]}));
    let from_hub = json!({"api": "$JS.hub.API"});
    edge.create(&json!({"name": "COPY", "mirror": {"name": "SETTINGS", "external": from_hub}}));
}

/// Checks that all of these are everywhere: readings, jobs, settings.
#[track_caller]
fn check(rig: &Rig, [readings, jobs, settings]: [u64; 3]) {
    // Each look is a connection of its own: these servers ping often, and give up soon.
    let (hub, edge) = (|| Api::of(&rig.hub), || Api::of(&rig.leaf));
    wait_until("all of the edge at the hub", || {
        (hub().last("ALL") >= readings + jobs).then_some(())
    });
    wait_until("all of the hub at the edge", || {
        (edge().last("COPY") >= settings).then_some(())
    });
    let counted = |last: u64| (1..=last).collect::<Vec<_>>();
    assert_eq!(hub().bodies("ALL", "readings"), counted(readings));
    assert_eq!(hub().bodies("ALL", "jobs"), counted(jobs));
    assert_eq!(edge().bodies("COPY", "settings"), counted(settings));
    // What is safe at the hub need not be kept.
    wait_until("an empty work queue", || {
        let info = edge().ask("STREAM.INFO.JOBS", &json!({}));
        (info["state"]["messages"] == 0).then_some(())
    });
}

/// Streams on both sides that are published to all the time, and their copies on the other.
pub struct Copies {
    publishers: [Publisher; 3],
}

impl Copies {
    /// Makes them.
    pub fn new(rig: &Rig) -> Self {
        streams(rig);
        let (hub, edge) = (rig.hub.address(), rig.leaf.address());
        Self {
            publishers: [
                Publisher::start(edge, "readings.x"),
                Publisher::start(edge, "jobs.x"),
                Publisher::start(hub, "settings.x"),
            ],
        }
    }

    /// Looks at all that came.
    pub fn end(self, rig: &Rig) {
        check(rig, self.publishers.map(Publisher::end));
    }
}

impl Witness for Copies {
    fn before_break(&mut self, _: &Rig) {}

    fn after_return(&mut self, rig: &Rig, stay: &mut dyn FnMut()) {
        goes_on(rig, stay);
    }
}

/// Waits until both copies grow.
#[track_caller]
fn goes_on(rig: &Rig, stay: &mut dyn FnMut()) {
    let began = Instant::now();
    for (server, stream) in [(&rig.hub, "ALL"), (&rig.leaf, "COPY")] {
        let mut api = Api::of(server);
        let before = api.last(stream);
        wait_until("a copy that grows", || {
            stay();
            (api.last(stream) > before).then_some(())
        });
    }
    println!("copies go on after {:?}", began.elapsed());
}

/// Publishes messages to a stream, many at a time, until all are acknowledged.
#[track_caller]
fn publish(server: &Server, subject: &str, from: u64, count: u64) {
    let mut client = server.client();
    client.quietly(format!("SUB acks.{subject} 1\r\n"));
    let mut text = String::new();
    for number in from..from + count {
        let body = number.to_string();
        text += &format!("PUB {subject} acks.{subject} {}\r\n{body}\r\n", body.len());
    }
    client.send(text);
    for _ in 0..count {
        let ack = client.message();
        let ack = String::from_utf8_lossy(&ack.payload);
        assert!(ack.starts_with("{\"stream\":"), "{ack}");
    }
}

/// Kills the hub so many times: copies go on soon after it is there again, both ways.
pub fn restarts(number: u64, pace: Pace) {
    const COUNT: u64 = 100;
    let mut rig = rig(pace, Over::Tcp, "");
    streams(&rig);
    for round in 0..=number {
        let from = round * COUNT + 1;
        let began = Instant::now();
        publish(&rig.leaf, "readings.x", from, COUNT);
        publish(&rig.hub, "settings.x", from, COUNT);
        for (server, stream) in [(&rig.hub, "ALL"), (&rig.leaf, "COPY")] {
            let last = round * COUNT + COUNT;
            wait_until("all of it", || {
                (Api::of(server).last(stream) >= last).then_some(())
            });
        }
        let took = began.elapsed();
        println!("restart {round}: copied after {took:?}");
        assert!(round == 0 || took <= rig.pace.return_max, "{took:?}");
        if round < number {
            rig = rig.crash(true);
        }
    }
    let last = (number + 1) * COUNT;
    check(&rig, [last, 0, last]);
}

#[test]
fn js_152_copies_go_on_soon_after_the_hubs_restart() {
    restarts(2, PATIENT);
}

#[test]
fn js_152_copies_go_on_when_a_server_was_killed() {
    let mut rig = rig(PATIENT, Over::Tcp, "");
    streams(&rig);
    let mut last = [0; 3];
    for round in 0..4 {
        publish(&rig.leaf, "readings.x", last[0] + 1, 500);
        publish(&rig.leaf, "jobs.x", last[1] + 1, 500);
        publish(&rig.hub, "settings.x", last[2] + 1, 500);
        last = last.map(|it| it + 500);
        // How much of it has been copied is left to chance.
        rig = rig.crash(round % 2 == 0);
    }
    check(&rig, last);
}

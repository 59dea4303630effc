//! Section 21 of JetStream: domains, and JetStream behind leaf nodes.

use crate::support::jetstream::JetStream;
use crate::support::server::Server;
use crate::support::wait_until;
use serde_json::{Value, json};
use std::net::SocketAddr;

const A: &str = r#"{"user": "a", "pass": "a"}"#;

/// A hub and a leaf node linked to it in an account `A`, and clients of both. What is said of
/// JetStream: `own` of the servers, `account` of `A`.
struct Linked {
    hub: JetStream,
    leaf: JetStream,
}

fn accounts(own: &str, account: &str) -> String {
    format!(
        "{own}\naccounts {{ A: {{ users: [{{user: a, password: a}}] {account} }}\n\
         B: {{ users: [{{user: b, password: b}}], jetstream: enabled }} }}\n"
    )
}

fn leaf_address(server: &Server) -> SocketAddr {
    const LINE: &str = "Listening for leafnode connections on ";
    let line = server.logged(LINE);
    let address = line.rsplit(LINE).next().expect("an address");
    address.trim().parse().expect("an address")
}

impl Linked {
    #[track_caller]
    fn start(hub: (&str, &str), leaf: (&str, &str)) -> Self {
        let text = accounts(hub.0, hub.1) + "leafnodes { listen: \"127.0.0.1:-1\" }\n";
        let hub = JetStream::with_config(&text, A);
        let remote = leaf_address(&hub.server);
        let text = accounts(leaf.0, leaf.1)
            + &format!(
                "leafnodes {{ remotes: [{{ url: \"nats-leaf://a:a@{remote}\", account: A }}] }}\n"
            );
        let leaf = JetStream::with_config(&text, A);
        let mut this = Self { hub, leaf };
        this.wait();
        this
    }

    /// Waits until what is published here is heard there, and the other way round. Twice: what is
    /// wanted once the link is there crosses behind what was wanted before.
    fn wait(&mut self) {
        for subject in ["there", "there.again"] {
            for (from, to) in [(&self.hub, &self.leaf), (&self.leaf, &self.hub)] {
                let mut listener = to.server.client_with(A);
                listener.quietly(format!("SUB {subject} 1\r\n"));
                let mut speaker = from.server.client_with(A);
                wait_until("the link", || {
                    speaker.quietly(format!("PUB {subject} 0\r\n\r\n"));
                    (!listener.ask("").is_empty()).then_some(())
                });
            }
        }
    }
}

/// What the answer to an account info says of its domain; nothing if nobody answers.
fn domain(jetstream: &mut JetStream, prefix: &str) -> Option<String> {
    let answer = jetstream.request(&format!("{prefix}.INFO"), "", "");
    if answer.status() == Some("503") {
        return None;
    }
    let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
    assert_eq!(answer.get("error"), None, "{answer}");
    Some(answer["domain"].as_str().unwrap_or_default().to_owned())
}

const HUB: &str = "jetstream { store_dir: \"@DIR@/store\", domain: hub }";
const SPOKE: &str = "jetstream { store_dir: \"@DIR@/store\", domain: spoke }";
const ENABLED: &str = ", jetstream: enabled";

/// JS-257, JS-258: each server answers for itself, and under its domain for the other one.
#[test]
fn js_258_domains_are_apart_and_reach_each_other() {
    let mut linked = Linked::start((HUB, ENABLED), (SPOKE, ENABLED));
    for (prefix, at_hub, at_leaf) in [
        ("$JS.API", Some("hub"), Some("spoke")),
        ("$JS.hub.API", Some("hub"), Some("hub")),
        ("$JS.spoke.API", Some("spoke"), Some("spoke")),
        ("$JS.other.API", None, None),
    ] {
        let got = domain(&mut linked.hub, prefix);
        assert_eq!(got.as_deref(), at_hub, "{prefix} at the hub");
        let got = domain(&mut linked.leaf, prefix);
        assert_eq!(got.as_deref(), at_leaf, "{prefix} at the leaf");
    }

    // A stream there is made, filled and read from here.
    let config = json!({"name": "S", "subjects": ["s"]}).to_string();
    let answer = linked
        .leaf
        .request("$JS.hub.API.STREAM.CREATE.S", "", config);
    let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
    assert_eq!(answer["did_create"], true, "{answer}");
    let ack = linked.leaf.store("s", "", "hello");
    assert_eq!(
        (&ack["seq"], &ack["domain"]),
        (&json!(1), &json!("hub")),
        "{ack}"
    );
    let config =
        json!({"stream_name": "S", "config": {"durable_name": "c", "ack_policy": "explicit"}});
    let subject = "$JS.hub.API.CONSUMER.DURABLE.CREATE.S.c";
    let answer = linked.leaf.request(subject, "", config.to_string());
    let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
    assert_eq!(answer["num_pending"], 1, "{answer}");
    let got = linked
        .leaf
        .request_next("$JS.hub.API.CONSUMER.MSG.NEXT.S.c", "1", 1);
    assert_eq!(got[0].text(), "hello");
    linked.leaf.ack(&got[0], "");
    let info = linked.hub.consumer_info("S", "c");
    assert_eq!(info["ack_floor"]["stream_seq"], 1);
    assert_eq!(linked.leaf.done("STREAM.NAMES", "")["streams"], Value::Null);
    let direct = linked
        .leaf
        .request("$JS.hub.API.STREAM.MSG.GET.S", "", r#"{"seq":1}"#);
    assert!(direct.text().contains("aGVsbG8="), "{}", direct.text());
}

/// JS-260: a server without JetStream has that of the domain behind its link, by name or, as before
/// there were domains, as its own.
#[test]
fn js_260_a_leaf_without_jetstream_uses_its_hubs() {
    let mut linked = Linked::start((HUB, ENABLED), ("", ""));
    let got = domain(&mut linked.leaf, "$JS.hub.API");
    assert_eq!(got.as_deref(), Some("hub"));
    assert_eq!(domain(&mut linked.leaf, "$JS.API"), None);

    let own = "jetstream { store_dir: \"@DIR@/store\" }\ndefault_js_domain: { A: \"\" }";
    let mut linked = Linked::start((own, ENABLED), ("default_js_domain: { A: \"\" }", ""));
    assert_eq!(domain(&mut linked.leaf, "$JS.API").as_deref(), Some(""));
    linked.leaf.stream("S", &["s"], json!({}));
    assert_eq!(linked.leaf.publish("s", "hello"), 1);
    linked
        .leaf
        .consumer("S", "c", json!({"ack_policy": "explicit"}));
    let got = linked.leaf.pull("S", "c", "", 1);
    assert_eq!(got[0].text(), "hello");
    linked.leaf.ack(&got[0], "");
    let info = linked.hub.consumer_info("S", "c");
    assert_eq!(info["ack_floor"]["stream_seq"], 1);
}

/// JS-6: an account without JetStream is silent where somebody else may answer.
#[test]
fn js_006_accounts_without_jetstream_leave_the_answer_to_others() {
    let mut linked = Linked::start((HUB, ENABLED), (SPOKE, ""));
    assert_eq!(
        domain(&mut linked.leaf, "$JS.hub.API").as_deref(),
        Some("hub")
    );
    linked.leaf.silent_for("$JS.API.INFO", "$JS.hub.API.INFO");
}

/// JS-259: accounts without JetStream use that of a domain as if it were their own.
#[test]
fn js_259_cfg_069_accounts_have_a_default_domain() {
    let own = "default_js_domain: { A: hub }";
    for leaf in [own.to_owned(), format!("{own}\n{SPOKE}")] {
        let mut linked = Linked::start((HUB, ENABLED), (&leaf, ""));
        assert_eq!(
            domain(&mut linked.leaf, "$JS.API").as_deref(),
            Some("hub"),
            "{leaf}"
        );
        linked.leaf.stream("S", &["s"], json!({}));
        assert_eq!(linked.leaf.publish("s", "hello"), 1);
        linked
            .leaf
            .consumer("S", "c", json!({"ack_policy": "explicit"}));
        let got = linked.leaf.pull("S", "c", "", 1);
        assert_eq!(got[0].text(), "hello");
        linked.leaf.ack(&got[0], "");
        let direct = linked.leaf.ask("STREAM.MSG.GET.S", json!({"seq": 1}));
        assert_eq!(direct["message"]["data"], "aGVsbG8=");
    }
}

/// JS-257: what the prefix of a domain stands for, and what it does not.
#[test]
fn js_257_a_domain_is_a_prefix() {
    let mut jetstream = JetStream::with_config(HUB, "{}");
    assert_eq!(
        domain(&mut jetstream, "$JS.hub.API").as_deref(),
        Some("hub")
    );
    jetstream.stream("KV_b", &["$KV.b.>"], json!({"allow_direct": true}));
    let ack = jetstream.store("$JS.hub.API.$KV.b.k", "", "1");
    assert_eq!((&ack["seq"], &ack["domain"]), (&json!(1), &json!("hub")));
    let got = jetstream.request("$JS.hub.API.DIRECT.GET.KV_b.$KV.b.k", "", "");
    assert_eq!((got.text(), got.header("Nats-Subject")), ("1", "$KV.b.k"));
    for subject in ["$JS.hub.API.NONE", "$JS.hub.API.$O.b", "$JS.none.API.INFO"] {
        let got = jetstream.request(subject, "", "");
        assert_eq!(got.status(), Some("503"), "{subject}");
    }
}

//! What hub and leaf do for each other, whichever of the two is ours (TOPO-26..56).

use std::collections::HashSet;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::client::Client;
use super::support::server::Server;
use super::support::wait_until;
use super::{leaf_address, linked, ours, pair_with, reaches, stock};

/// Runs a case for every pairing; both stock, too, so that it says what stock does.
macro_rules! every_pair {
    ($($case:ident),+ $(,)?) => {$(
        mod $case {
            use super::{ours, stock};

            #[test]
            fn our_hub_our_leaf() {
                super::run_one(super::$case, &ours(), &ours());
            }

            #[test]
            fn our_hub_stock_leaf() {
                super::run_one(super::$case, &ours(), &stock());
            }

            #[test]
            fn stock_hub_our_leaf() {
                super::run_one(super::$case, &stock(), &ours());
            }

            #[test]
            fn stock_hub_stock_leaf() {
                super::run_one(super::$case, &stock(), &stock());
            }
        }
    )+};
}
pub(super) use every_pair;

every_pair!(
    topo_051_054_056_domains,
    topo_038_everybody_answers,
    topo_028_members_nearby_come_first,
    topo_027_headers,
    topo_020_035_permissions,
    topo_031_two_edges,
    topo_035_revocation,
    topo_057_leafz,
    topo_107_questions_to_all,
);

pub(super) fn run_one(case: fn(&str, &str), hub: &str, leaf: &str) {
    case(hub, leaf);
}

const REMOTE: &str =
    "leafnodes { reconnect: \"100ms\", remotes [ { url: \"nats-leaf://l:p@@HUB@\" } ] }";
/// A hub.
pub(super) const LISTEN: &str = "leafnodes { listen: \"127.0.0.1:-1\" }";

/// Asks, and gives the answer's payload as JSON; `None` if nobody is there, or says nothing.
fn ask(client: &mut Client, subject: &str, body: &str) -> Option<Value> {
    client.quietly("SUB _INBOX.ask.* ask\r\n");
    client.send(format!(
        "PUB {subject} _INBOX.ask.1 {}\r\n{body}\r\n",
        body.len()
    ));
    let message = client.message();
    client.quietly("UNSUB ask\r\n");
    serde_json::from_slice(&message.payload).ok()
}

/// Asks until the answer is of this type: interest takes a moment to cross.
#[track_caller]
fn answered(client: &mut Client, subject: &str, body: &str, kind: &str) -> Value {
    wait_until("an answer", || {
        let answer = ask(client, subject, body)?;
        let fits = answer["type"].as_str().is_some_and(|it| it.ends_with(kind));
        (fits && answer["error"].is_null()).then_some(answer)
    })
}

fn topo_051_054_056_domains(hub: &str, leaf: &str) {
    let with = |domain: &str, rest: &str| {
        format!("jetstream {{ store_dir: \"@DIR@/js\", domain: {domain} }}\n{rest}")
    };
    let (hub, leaf) = pair_with(hub, leaf, &with("hub", LISTEN), &with("edge", REMOTE));
    for (here, own, other) in [(&hub, "hub", "edge"), (&leaf, "edge", "hub")] {
        let mut client = here.client();
        for (api, domain) in [
            ("$JS.API".to_owned(), own),
            (format!("$JS.{own}.API"), own),
            (format!("$JS.{other}.API"), other),
        ] {
            let info = answered(
                &mut client,
                &format!("{api}.INFO"),
                "",
                "account_info_response",
            );
            assert_eq!(info["domain"], domain, "{api} at {own}");
        }
        // A stream over there: made, filled, read and asked from here.
        let name = format!("FROM_{own}");
        let api = format!("$JS.{other}.API");
        let config = json!({"name": name, "subjects": [format!("{own}.>")], "allow_direct": true,
                            "storage": "memory"});
        let made = ask(
            &mut client,
            &format!("{api}.STREAM.CREATE.{name}"),
            &config.to_string(),
        );
        assert!(made.is_some_and(|it| it["error"].is_null()), "at {own}");
        let info = wait_until("a message over there", || {
            client.quietly(format!("PUB {own}.x 2\r\nhi\r\n"));
            let info = ask(&mut client, &format!("{api}.STREAM.INFO.{name}"), "")?;
            (info["state"]["messages"].as_u64()? > 0).then_some(info)
        });
        assert_eq!(info["config"]["name"], name);
        client.quietly("SUB _INBOX.got got\r\n");
        let direct = format!("{api}.DIRECT.GET.{name}.{own}.x");
        client.send(format!("PUB {direct} _INBOX.got 0\r\n\r\n"));
        assert_eq!(client.message().payload, b"hi", "direct get at {own}");
        // Without a domain it is not there.
        let own_info = ask(&mut client, &format!("$JS.API.STREAM.INFO.{name}"), "");
        assert_eq!(
            own_info.map(|it| it["error"]["err_code"].clone()),
            Some(json!(10059))
        );
    }
}

fn topo_038_everybody_answers(hub: &str, leaf: &str) {
    let (hub, leaf) = pair_with(hub, leaf, LISTEN, REMOTE);
    let (mut far, mut near) = (hub.client(), leaf.client());
    linked(&mut far, &mut near);
    far.quietly("SUB all 1\r\n");
    near.quietly("SUB all 1\r\n");
    let mut attempts = 0;
    for here in [&hub, &leaf] {
        let mut asks = here.client();
        asks.quietly("SUB _INBOX.many.* 7\r\n");
        // A question or an answer may come after the attempt it belongs to was given up: each
        // attempt has a number, and answers to another one count for nothing.
        wait_until("both to answer", || {
            attempts += 1;
            let ours = attempts.to_string();
            asks.ask(format!("PUB all _INBOX.many.{ours} 1\r\n?\r\n"));
            let mut found = HashSet::new();
            for _ in 0..20 {
                for (who, name) in [(&mut far, "hub"), (&mut near, "leaf")] {
                    for line in who.ask("") {
                        if let Some((_, reply)) = line.split_once("_INBOX.many.") {
                            let asked = reply.split(' ').next()?;
                            let answer = format!("{name}.{asked}");
                            let size = answer.len();
                            who.ask(format!("PUB _INBOX.many.{asked} {size}\r\n{answer}\r\n"));
                        }
                    }
                }
                found.extend(asks.ask("").into_iter().filter(|it| !it.contains("MSG ")));
                let both = ["hub", "leaf"].map(|name| format!("{name}.{ours}"));
                if both.iter().all(|it| found.contains(it)) {
                    return Some(());
                }
                sleep(Duration::from_millis(10));
            }
            None
        });
    }
}

/// Members where a message is published come first; those across the link take what is left.
fn topo_028_members_nearby_come_first(hub: &str, leaf: &str) {
    let (hub, leaf) = pair_with(hub, leaf, LISTEN, REMOTE);
    linked(&mut hub.client(), &mut leaf.client());
    for (here, there) in [(&hub, &leaf), (&leaf, &hub)] {
        let (mut near, mut far, mut says) = (here.client(), there.client(), here.client());
        near.quietly("SUB job workers 1\r\n");
        far.quietly("SUB job workers 1\r\nSUB job others 2\r\n");
        reaches(&mut says, &mut far, "sync.job");
        // Each group gets each message once.
        for number in 1..=20 {
            says.quietly(format!("PUB job 2\r\n{number:02}\r\n"));
            near.expect(&["MSG job 1 2", &format!("{number:02}")]);
            far.expect(&["MSG job 2 2", &format!("{number:02}")]);
        }
        near.quietly("UNSUB 1\r\n");
        for number in 1..=20 {
            says.quietly(format!("PUB job 2\r\n{number:02}\r\n"));
            let mut lines = [far.line(), far.line(), far.line(), far.line()];
            lines.sort();
            let number = format!("{number:02}");
            let expected = [number.as_str(), &number, "MSG job 1 2", "MSG job 2 2"];
            assert_eq!(lines, expected);
        }
        // A member that just hangs up is one until its server finds out.
        far.quietly("UNSUB 1\r\nUNSUB 2\r\n");
    }
}

/// Headers cross as they were sent, byte by byte, with replies and groups or without.
fn topo_027_headers(hub: &str, leaf: &str) {
    let (hub, leaf) = pair_with(hub, leaf, LISTEN, REMOTE);
    linked(&mut hub.client(), &mut leaf.client());
    let long = format!("NATS/1.0\r\nLong: {}\r\n\r\n", "x".repeat(8000));
    for (here, there) in [(&hub, &leaf), (&leaf, &hub)] {
        let (mut near, mut far) = (here.client(), there.client());
        far.quietly("SUB plain 1\r\nSUB group g 2\r\n");
        reaches(&mut near, &mut far, "sync.headers");
        for block in [
            "NATS/1.0\r\n\r\n",
            "NATS/1.0\r\nA: 1\r\n\r\n",
            "NATS/1.0\r\nA: 1\r\na: 2\r\nA: 3\r\n\r\n",
            "NATS/1.0\r\nNo-Blank:x\r\nEmpty:\r\nMuch:   space  \r\n\r\n",
            "NATS/1.0 503\r\n\r\n",
            "NATS/1.0 100 FlowControl Request\r\nNats-Last-Consumer: 1\r\n\r\n",
            "NATS/1.0\r\nText: \u{e4}\u{20ac}\u{1f600}\r\n\r\n",
            &long,
        ] {
            for (subject, sid) in [("plain", "1"), ("group", "2")] {
                for (reply, payload) in [("", ""), ("", "body"), ("re.ply ", ""), ("re.ply ", "b")]
                {
                    let (head, total) = (block.len(), block.len() + payload.len());
                    let sizes = format!("{head} {total}");
                    near.send(format!(
                        "HPUB {subject} {reply}{sizes}\r\n{block}{payload}\r\n"
                    ));
                    let message = far.message();
                    assert_eq!((&*message.subject, &*message.sid), (subject, sid));
                    assert_eq!(message.reply, reply.trim_end());
                    assert_eq!(message.headers, block.as_bytes(), "{sizes}");
                    assert_eq!(message.payload, payload.as_bytes(), "{sizes}");
                }
            }
        }
        far.quietly("UNSUB 2\r\n");
    }
}

fn topo_020_035_permissions(hub: &str, leaf: &str) {
    let config = "accounts { A { users [ { user: a, password: a }, { user: l, password: p,
          permissions { publish { allow: [\"up.>\", \"sync.>\"], deny: \"up.no\" },
                        subscribe: [\"down.>\", \"sync.>\"] } } ] },
          B { users [ { user: b, password: b } ] } }
        leafnodes { listen: \"127.0.0.1:-1\" }";
    let (hub, leaf) = pair_with(hub, leaf, config, REMOTE);
    let mut inside = hub.client_with(r#"{"user":"a","pass":"a"}"#);
    let mut outside = hub.client_with(r#"{"user":"b","pass":"b"}"#);
    let mut edge = leaf.client();
    linked(&mut inside, &mut edge);
    outside.quietly("SUB > 1\r\n");
    edge.quietly("SUB down.> 1\r\nSUB secret 2\r\n");
    let mut says = hub.client_with(r#"{"user":"a","pass":"a"}"#);
    reaches(&mut says, &mut leaf.client(), "sync.down");
    says.quietly("PUB secret 1\r\nx\r\nPUB down.a 1\r\ny\r\n");
    edge.expect(&["MSG down.a 1 1", "y"]);
    inside.quietly("SUB up.> 1\r\nSUB other 1\r\n");
    reaches(&mut edge, &mut says, "sync.up");
    edge.quietly("PUB up.no 1\r\n1\r\nPUB other 1\r\n2\r\nPUB up.a 1\r\n3\r\n");
    inside.expect(&["MSG up.a 1 1", "3"]);
    assert_eq!(inside.ask(""), [""; 0]);
    assert_eq!(outside.ask(""), [""; 0], "another account hears nothing");
}

fn topo_031_two_edges(hub: &str, leaf: &str) {
    let (hub, first) = pair_with(hub, leaf, LISTEN, REMOTE);
    let second = Server::builder().program(leaf);
    let second = second
        .config(&REMOTE.replace("@HUB@", &leaf_address(&hub)))
        .start();
    let (mut one, mut two) = (first.client(), second.client());
    reaches(&mut one, &mut two, "sync.one");
    reaches(&mut two, &mut one, "sync.two");
    // A service at one edge, asked from the other.
    let (mut one, mut two) = (first.client(), second.client());
    one.quietly("SUB svc workers 1\r\n");
    two.quietly("SUB _INBOX.two 2\r\n");
    wait_until("the service", || {
        two.ask("PUB svc _INBOX.two 1\r\n?\r\n"); // nobody is there yet, perhaps
        sleep(Duration::from_millis(20));
        let asked = one.ask("").iter().any(|it| it == "MSG svc 1 _INBOX.two 1");
        asked.then_some(())
    });
    one.ask("PUB _INBOX.two 1\r\n!\r\n"); // questions of earlier attempts may come, too
    wait_until("the answer", || {
        two.ask("").iter().any(|it| it == "!").then_some(())
    });
}

/// Of a user of the configuration: stock lets the link live on.
fn topo_035_revocation(hub: &str, leaf: &str) {
    if hub == stock() {
        return;
    }
    let with = |users: &str| {
        format!(
            "http: \"127.0.0.1:-1\"\nleafnodes {{ listen: \"127.0.0.1:-1\" }}\n\
             authorization {{ users [ {{ user: c, password: c }} {users} ] }}"
        )
    };
    let all = with(", { user: l, password: p }");
    let (hub, leaf) = pair_with(hub, leaf, &all, REMOTE);
    let mut inside = hub.client_with(r#"{"user":"c","pass":"c"}"#);
    let mut edge = leaf.client();
    linked(&mut inside, &mut edge);
    edge.quietly("SUB gone 1\r\n");
    reaches(&mut inside, &mut edge, "sync.before");
    hub.reload(&with(""));
    wait_until("the link to end", || {
        (hub.json("/leafz")["leafnodes"] == 0).then_some(())
    });
    inside.quietly("PUB gone 0\r\n\r\n");
    hub.reload(&all);
    reaches(&mut inside, &mut edge, "sync.after");
    edge.quietly("UNSUB 1\r\n");
}

fn topo_057_leafz(hub: &str, leaf: &str) {
    let monitored = |text: &str| format!("http: \"127.0.0.1:-1\"\n{text}");
    let named = |name: &str, text: &str| format!("server_name: {name}\n{}", monitored(text));
    let (hub, leaf) = pair_with(hub, leaf, &named("h", LISTEN), &named("e", REMOTE));
    let (mut near, mut far, mut wants) = (hub.client(), leaf.client(), leaf.client());
    wants.quietly("SUB wanted 1\r\n");
    linked(&mut near, &mut far);
    for (server, other, spoke) in [(&hub, "e", false), (&leaf, "h", true)] {
        let leafz = server.json("/leafz?subs=1");
        assert_eq!(leafz["leafnodes"], 1);
        assert_eq!(server.json("/varz")["leafnodes"], 1);
        let link = &leafz["leafs"][0];
        assert_eq!(link["name"], other);
        assert_eq!(link["is_spoke"], spoke);
        assert_eq!(link["account"], "$G");
        let subjects = link["subscriptions_list"]
            .as_array()
            .expect("subscriptions");
        assert_eq!(link["subscriptions"], subjects.len());
        let at_hub = !spoke;
        assert_eq!(subjects.contains(&json!("wanted")), at_hub);
        let empty = server.json("/leafz?acc=other");
        assert_eq!(
            (&empty["leafnodes"], &empty["leafs"]),
            (&json!(0), &json!([]))
        );
    }
    assert!(hub.json("/leafz")["leafs"][0]["out_msgs"].as_u64() > Some(0));
    assert!(leaf.json("/leafz")["leafs"][0]["in_msgs"].as_u64() > Some(0));
}

fn topo_107_questions_to_all(hub: &str, leaf: &str) {
    let named = |name: &str, text: &str| format!("server_name: {name}\n{text}");
    let (hub, leaf) = pair_with(hub, leaf, &named("h", LISTEN), &named("e", REMOTE));
    linked(&mut hub.client(), &mut leaf.client());
    for server in [&hub, &leaf] {
        let mut asks = server.client();
        asks.quietly("SUB _INBOX.all.* 1\r\n");
        let mut lines = String::new();
        wait_until("an answer of each", || {
            asks.send("PUB $SYS.REQ.ACCOUNT.PING.CONNZ _INBOX.all.1 0\r\n\r\n");
            sleep(Duration::from_millis(100));
            lines += &asks.ask("").join("\n");
            let names = ["\"name\":\"h\"", "\"name\":\"e\""];
            names.iter().all(|it| lines.contains(it)).then_some(())
        });
    }
}

//! Section 3.4: accounts in the file, each a subject space of its own.

use crate::support::client::Client;
use crate::support::server::Server;
use serde_json::Value;

const TWO: &str = r#"
accounts {
  A { users: [ { user: a, password: p }, { user: a2, password: p } ] }
  B { users: [ { user: b, password: p } ], limits { max_conn: 2, max_subs: 2, max_payload: 16 } }
  EMPTY {}
}
authorization { users: [ { user: g, password: p } ] }
"#;

#[track_caller]
fn user(server: &Server, name: &str) -> Client {
    server.client_with(&format!("{{\"user\":\"{name}\",\"pass\":\"p\"}}"))
}

#[test]
fn auth_027_subjects_of_accounts_are_separate_on_every_connection() {
    let server = Server::with_monitor(TWO);
    let mut all: Vec<Client> = ["a", "a2", "b", "g", "a", "a2", "b", "g"]
        .iter()
        .map(|name| user(&server, name))
        .collect();
    for client in &mut all {
        client.quietly("SUB > 1\r\n");
    }
    for (at, account) in [(0, "A"), (3, "G"), (2, "B"), (5, "A"), (6, "B"), (7, "G")] {
        all[at].send(format!("PUB x 1\r\n{account}\r\n"));
    }
    for (client, account) in all.iter_mut().zip("AABGAABG".chars()) {
        for _ in 0..2 {
            let message = client.message();
            assert_eq!(message.payload, account.to_string().as_bytes());
        }
        client.quietly("");
    }
}

#[test]
fn auth_028_info_connz_and_users_name_the_account() {
    let server = Server::with_monitor(TWO);
    let (a, g) = (user(&server, "a"), user(&server, "g"));
    assert_eq!(a.info["remote_account"], "A");
    assert_eq!(g.info["remote_account"], "$G");
    let connz = server.json("/connz?auth=1");
    let seen: Vec<(&Value, &Value)> = connz["connections"]
        .as_array()
        .expect("list")
        .iter()
        .map(|it| (&it["account"], &it["name_tag"]))
        .collect();
    assert_eq!(
        seen,
        [(&"A".into(), &"A".into()), (&Value::Null, &"$G".into())]
    );
    for (account, count) in [("A", 1), ("B", 0), ("$G", 1), ("nobody", 0)] {
        let connz = server.json(&format!("/connz?acc={account}"));
        assert_eq!(connz["num_connections"], count, "{account}");
        assert_eq!(connz["total"], count, "{account}");
    }
    let accounts = server.json("/accountz");
    let mut names: Vec<&str> = accounts["accounts"]
        .as_array()
        .expect("list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["$G", "$SYS", "A", "B", "EMPTY"]);
    let detail = server.json("/accountz?acc=A");
    assert_eq!(detail["account_detail"]["client_connections"], 1);
}

#[test]
fn mon_029_mon_032_figures_are_those_of_the_account() {
    let server = Server::with_monitor(TWO);
    let (mut a, mut b) = (user(&server, "a"), user(&server, "b"));
    a.quietly("SUB only.a 1\r\nSUB only.* 2\r\n");
    b.quietly("SUB only.b 1\r\n");
    a.send("PUB only.a 3\r\nabc\r\n");
    a.message();
    a.message();
    let subs = server.json("/subsz?subs=1&acc=A");
    let mut subjects: Vec<&str> = subs["subscriptions_list"]
        .as_array()
        .expect("list")
        .iter()
        .filter_map(|it| it["subject"].as_str())
        .filter(|it| it.starts_with("only"))
        .collect();
    subjects.sort_unstable();
    assert_eq!(subjects, ["only.*", "only.a"]);
    assert_eq!(subs["subscriptions_list"][0]["account"], "A");
    let stats = server.json("/accstatz");
    let of = |name: &str| {
        let all = stats["account_statz"].as_array().expect("list");
        all.iter().find(|it| it["acc"] == name).cloned()
    };
    let a = of("A").expect("A has connections");
    assert_eq!((&a["conns"], &a["total_conns"]), (&1.into(), &1.into()));
    assert_eq!(
        (&a["received"]["msgs"], &a["received"]["bytes"]),
        (&1.into(), &3.into())
    );
    assert_eq!(
        (&a["sent"]["msgs"], &a["sent"]["bytes"]),
        (&2.into(), &6.into())
    );
    assert_eq!(of("B").expect("B")["sent"]["msgs"], 0);
    assert_eq!(of("EMPTY"), None);
}

/// Both pages count what clients have subscribed to, and what the server has for each account: four
/// services about itself, and those it imports.
#[test]
fn mon_031_mon_032_subscriptions_of_accounts() {
    let server = Server::with_monitor(
        r#"accounts {
            A { users: [{user: a, password: p}], exports: [{service: q}, {stream: "s.>"}] }
            B {
                users: [{user: b, password: p}]
                imports: [{service: {account: A, subject: q}}, {stream: {account: A, subject: "s.>"}}]
            }
            C { users: [{user: c, password: p}] }
        }"#,
    );
    let mut clients = ["a", "b"].map(|name| user(&server, name));
    for client in &mut clients {
        client.quietly("SUB x 1\r\nSUB y group 2\r\n");
    }
    let all = server.json("/accstatz?unused=1");
    let all = all["account_statz"].as_array().expect("a list");
    for (name, count) in [("A", 6), ("B", 7), ("C", 4), ("$G", 4)] {
        let detail = server.json(&format!("/accountz?acc={name}"));
        assert_eq!(detail["account_detail"]["subscriptions"], count, "{name}");
        let found = all.iter().find(|it| it["acc"] == name);
        assert_eq!(found.expect("a row")["num_subscriptions"], count, "{name}");
    }
}

/// CORE-16.
#[test]
fn auth_029_limits_of_an_account() {
    let server = Server::with_monitor(TWO);
    let mut first = user(&server, "b");
    assert_eq!(first.info["max_payload"], 16);
    assert_eq!(user(&server, "a").info["max_payload"], 1_048_576);
    first.quietly("SUB x 1\r\nSUB y 2\r\n");
    first.send("SUB z 3\r\nPING\r\n");
    first.expect(&["-ERR 'maximum subscriptions exceeded'", "PONG"]);
    let second = user(&server, "b");
    let mut third = server.open();
    third.send("CONNECT {\"user\":\"b\",\"pass\":\"p\"}\r\nPING\r\n");
    assert_eq!(
        third.closed(),
        ["-ERR 'maximum account active connections exceeded'"]
    );
    drop(second);
    crate::support::wait_until("a place", || {
        let mut fourth = server.open();
        fourth.send("CONNECT {\"verbose\":false,\"user\":\"b\",\"pass\":\"p\"}\r\nPING\r\n");
        (fourth.line() == "PONG").then_some(())
    });
    first.send("PUB x 17\r\n");
    assert_eq!(first.closed(), ["-ERR 'Maximum Payload Violation'"]);
    let reason = |server: &Server| {
        let connz = server.json("/connz?state=closed");
        let rows = connz["connections"].as_array().cloned().unwrap_or_default();
        rows.iter()
            .any(|it| it["reason"] == "Maximum Account Connections Exceeded")
            .then_some(())
    };
    crate::support::wait_until("the reason", || reason(&server));
}

#[test]
fn auth_027_default_permissions_of_an_account() {
    let server = Server::with_config(
        r#"accounts { A {
          default_permissions { publish: ok, subscribe: ok }
          users: [ { user: a, password: p },
                   { user: own, password: p, permissions: { publish: ">" } } ] } }"#,
    );
    let mut a = user(&server, "a");
    a.send("PUB no 0\r\n\r\nSUB no 1\r\nPING\r\n");
    a.expect(&[
        "-ERR 'Permissions Violation for Publish to \"no\"'",
        "-ERR 'Permissions Violation for Subscription to \"no\"'",
        "PONG",
    ]);
    user(&server, "own").quietly("PUB no 0\r\n\r\nSUB no 1\r\n");
}

#[test]
fn auth_005_no_auth_user_may_be_one_of_an_account() {
    let server = Server::with_config(
        "accounts { A { users: [ { user: a, password: p } ] } }\nno_auth_user: a",
    );
    let mut nobody = server.client();
    assert_eq!(nobody.info["remote_account"], "A");
    nobody.quietly("SUB x 1\r\n");
    user(&server, "a").quietly("PUB x 1\r\n1\r\n");
    assert_eq!(nobody.message().subject, "x");
}

/// A system account alone leaves everybody else in `$G`, without a login.
#[test]
fn auth_028_a_system_account_alone_asks_nobody_else_who_he_is() {
    for config in [
        "accounts { $SYS { users: [ { user: s, password: p } ] } }",
        "accounts { ADMIN { users: [ { user: s, password: p } ] } }\nsystem_account: ADMIN",
    ] {
        let server = Server::with_config(config);
        let open = server.open();
        assert_eq!(open.info["auth_required"], true, "{config}");
        let client = server.client();
        assert_eq!(client.info["remote_account"], "$G");
        let system = user(&server, "s");
        assert_ne!(system.info["remote_account"], "$G");
        let mut wrong = server.open();
        wrong.send("CONNECT {\"user\":\"s\",\"pass\":\"x\"}\r\nPING\r\n");
        assert_eq!(wrong.closed(), ["-ERR 'Authorization Violation'"]);
    }
}

#[test]
fn auth_027_a_list_of_names_makes_accounts_without_users() {
    let server = Server::with_config("accounts [ A, B ]\nhttp: 127.0.0.1:-1");
    assert_eq!(server.client().info["remote_account"], "$G");
    let known = server.json("/accountz?acc=B");
    assert_eq!(known["account_detail"]["account_name"], "B");
}

/// `$SYS.REQ.USER.INFO` (MON-56).
#[test]
fn mon_056_user_info_names_the_account() {
    let server = Server::with_monitor(TWO);
    let mut a = user(&server, "a");
    a.quietly("SUB r 1\r\n");
    a.send("PUB $SYS.REQ.USER.INFO r 0\r\n\r\n");
    let info: Value = serde_json::from_slice(&a.message().payload).expect("JSON");
    assert_eq!(
        (&info["data"]["user"], &info["data"]["account"]),
        (&"a".into(), &"A".into())
    );
}

/// A request that waits for its answer is one of `responses` until it has it.
#[test]
fn mon_031_accountz_shows_who_waits_for_answers() {
    let server = Server::with_monitor(
        "accounts {
            A { users: [{user: a, password: p}], exports: [{service: q}] }
            B { users: [{user: b, password: p}], imports: [
                {service: {account: A, subject: q}, to: local, share: true}
            ] }
        }",
    );
    let (mut a, mut b) = (user(&server, "a"), user(&server, "b"));
    a.quietly("SUB q 1\r\n");
    b.quietly("SUB inbox 1\r\n");
    let detail = || server.json("/accountz?acc=A")["account_detail"].clone();
    assert_eq!(detail().get("responses"), None);
    b.send("PUB local inbox 2\r\nhi\r\n");
    let reply = a.message().reply;
    let responses = detail()["responses"].clone();
    let open = responses.as_object().expect("a map");
    assert_eq!(open.keys().collect::<Vec<_>>(), [&reply]);
    let wanted = serde_json::json!({
        "subject": "inbox", "account": "B", "to": reply, "local_subject": reply,
        "type": 2, "invalid": false, "share": true, "tracking": false,
    });
    assert_eq!(open[&reply], wanted);
    a.send(format!("PUB {reply} 2\r\nyo\r\n"));
    assert_eq!(b.message().payload, b"yo");
    assert_eq!(detail().get("responses"), None);
}

#[test]
fn mon_031_accountz_says_when_an_account_was_changed() {
    let server = Server::with_monitor(TWO);
    let time = |name: &str| {
        let detail = server.json(&format!("/accountz?acc={name}"));
        let time = detail["account_detail"]["update_time"].as_str();
        time.expect("a time").to_owned()
    };
    let before = time("A");
    assert_eq!(time("A"), before);
    server.reload(&format!("{TWO}\nmax_payload: 1000\n"));
    assert!(time("A") > before);
}

#[test]
fn mon_030_accountz_lists_accounts_or_describes_one() {
    let server = Server::with_monitor(TWO);
    let all = server.json("/accountz");
    assert_eq!(all["system_account"], "$SYS");
    let mut names: Vec<&str> = all["accounts"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["$G", "$SYS", "A", "B", "EMPTY"]);
    assert!(all["server_id"].is_string() && all["now"].is_string());
    assert_eq!(all.get("account_detail"), None);
    let one = server.json("/accountz?acc=B");
    assert_eq!(one["account_detail"]["account_name"], "B");
    assert_eq!(one.get("accounts"), None);
    let none = server.get("/accountz?acc=X");
    assert_eq!(none.status, 400);
    assert!(
        none.body.contains("ccount X does not exist"),
        "{}",
        none.body
    );
}

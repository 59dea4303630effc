//! Rows of sections 3.4 to 3.6 that are lists of forms: what the file may say, and what is refused.

use crate::support::client::Client;
use crate::support::server::{Server, beyond_stock};
use serde_json::{Value, json};

fn user(server: &Server, name: &str) -> Client {
    server.client_with(&format!("{{\"user\":\"{name}\",\"pass\":\"p\"}}"))
}

/// Accounts `A` and `B` with a user each, and this in them.
fn two(a: &str, b: &str) -> String {
    format!(
        "accounts {{
            A {{ users: [{{user: a, password: p}}], {a} }}
            B {{ users: [{{user: b, password: p}}], {b} }}
        }}"
    )
}

/// A configuration that does not hold, and a part of what is said of it.
#[track_caller]
fn wrong(config: &str, text: &str) {
    let finished = Server::builder().config(config).run();
    assert_eq!(finished.code, 1, "{config}");
    let said = finished.stderr;
    assert!(said.contains(text), "{text}: {said}");
}

/// An export is for all, or for those it names.
#[test]
fn auth_030_exports_are_public_or_for_those_named() {
    let import = "imports: [{stream: {account: A, subject: \"s.>\"}}, \
                  {service: {account: A, subject: q}}]";
    for (named, may) in [
        ("", true),
        (", accounts: [B]", true),
        (", accounts: [C, B]", true),
        (", accounts: [C]", false),
    ] {
        let exports = format!("exports: [{{stream: \"s.>\"{named}}}, {{service: q{named}}}]");
        let config = two(&exports, import).replace("accounts {\n", "accounts {\n C {}\n");
        if !may {
            wrong(&config, "not authorized");
            continue;
        }
        let server = Server::with_config(&config);
        let (mut a, mut b) = (user(&server, "a"), user(&server, "b"));
        b.quietly("SUB s.> 1\r\nSUB r 2\r\n");
        a.quietly("SUB q 1\r\n");
        a.send("PUB s.x 0\r\n\r\n");
        assert_eq!(b.message().subject, "s.x", "{named}");
        b.send("PUB q r 0\r\n\r\n");
        let question = a.message();
        assert_eq!(question.subject, "q");
        a.send(format!("PUB {} 0\r\n\r\n", question.reply));
        assert_eq!(b.message().subject, "r");
    }
}

/// Forms of service exports that hold, each with everything it may have beside it.
#[test]
fn auth_030_forms_of_service_exports() {
    for form in [
        "service: q",
        "service: q, response: single",
        "service: q, response: singleton",
        "service: q, response: stream",
        "service: q, response: chunked",
        "service: q, response_type: stream, threshold: \"1s\"",
        "service: q, threshold: \"250ms\"",
        "service: q, allow_trace: true",
        "service: q, latency: lat",
        "service: q, latency: {subject: lat}",
        "service: q, latency: {subject: lat, sampling: 100}",
        "service: q, latency: {subject: lat, sampling: \"1%\"}",
        "service: q, latency: {subject: lat, sampling: headers}",
    ] {
        let import = "imports: [{service: {account: A, subject: q}}]";
        let server = Server::with_config(&two(&format!("exports: [{{{form}}}]"), import));
        let (mut a, mut b) = (user(&server, "a"), user(&server, "b"));
        a.quietly("SUB q 1\r\n");
        b.send("PUB q r 0\r\n\r\n");
        assert_eq!(a.message().subject, "q", "{form}");
    }
}

#[test]
fn auth_060_latency_that_cannot_be_measured() {
    let latency = |value: &str| format!("exports: [{{service: q, latency: {value}}}]");
    for (exports, text) in [
        (latency("{subject: l, sampling: 0}"), "sampling"),
        (latency("{subject: l, sampling: 101}"), "sampling"),
        (latency("{subject: l, sampling: \"x%\"}"), "ampl"),
        (latency("\"a b\""), ""),
        (
            "exports: [{service: q, response: stream, latency: l}]".into(),
            "",
        ),
    ] {
        wrong(&two(&exports, ""), text);
    }
}

/// The importer's name is a token of what it imports.
#[test]
fn auth_035_the_token_that_names_the_importer() {
    for (export, good, bad) in [
        (
            "stream: \"s.*.x\", account_token_position: 2",
            "s.B.x",
            "s.C.x",
        ),
        ("service: \"q.*\", account_token_position: 2", "q.B", "q.A"),
        ("service: \"q.*\", account_token_position: 2", "q.B", "q.*"),
    ] {
        let kind = export.split(':').next().expect("a kind");
        let exports = format!("exports: [{{{export}}}]");
        let import = |subject: &str| {
            format!("imports: [{{{kind}: {{account: A, subject: \"{subject}\"}}}}]")
        };
        let _holds = Server::with_config(&two(&exports, &import(good)));
        wrong(&two(&exports, &import(bad)), "not authorized");
    }
    for position in ["0", "1", "3"] {
        let exports =
            format!("exports: [{{service: \"q.*\", account_token_position: {position}}}]");
        if position != "0" {
            wrong(&two(&exports, ""), "invalid subject");
        }
    }
}

#[test]
fn auth_048_functions_that_do_not_hold() {
    for (from, to, text) in [
        ("a.*", "b.{{nothing(1)}}", "unknown function"),
        ("a.*", "b.{{wildcard(2)}}", "wildcard index out of range"),
        ("a.*", "b.$2", "wildcard index out of range"),
        (
            "a.*",
            "b.{{wildcard()}}",
            "not enough arguments passed to the function",
        ),
        ("a.*", "b.{{partition()}}", "function argument is invalid"),
        (
            "a.*",
            "b.{{split(1)}}",
            "not enough arguments passed to the function",
        ),
        (
            "a.*",
            "b.{{wildcard(1,2)}}",
            "too many arguments passed to the function",
        ),
        (
            "a.*",
            "b.{{splitfromleft(1,2,3)}}",
            "too many arguments passed to the function",
        ),
        ("a.*", "b.{{wildcard(x)}}", "function argument is invalid"),
        (
            "a.*",
            "b.{{partition(x,1)}}",
            "function argument is invalid",
        ),
        ("a.*", "b.>", ""),
    ] {
        wrong(&format!("mappings {{ \"{from}\": \"{to}\" }}"), text);
    }
    for (to, text) in [
        (
            "l.{{partition(3,1)}}",
            "the only mapping function allowed for import transforms is {{Wildcard()}}",
        ),
        ("l.x", "not using all of the token wildcard(s)"),
    ] {
        let imports =
            format!("imports: [{{service: {{account: A, subject: \"q.*\"}}, to: \"{to}\"}}]");
        wrong(&two("exports: [{service: \"q.*\"}]", &imports), text);
    }
}

#[test]
fn auth_022_without_a_system_account_nothing_of_it() {
    let server = Server::with_config(&format!("no_system_account: true\n{}", two("", "")));
    let mut a = user(&server, "a");
    a.quietly("SUB $SYS.> 1\r\nSUB r 2\r\n");
    // Nobody hears of those who come and go.
    drop(user(&server, "b"));
    a.quietly("");
    // Stock says so only where it happens to read the other key first.
    if beyond_stock() {
        wrong(
            &format!(
                "no_system_account: true\n{}",
                two("exports: [{service: q, latency: lat}]", "")
            ),
            "system account not setup",
        );
    }
}

/// Time windows are for tokens; a user of the file has none.
#[test]
fn auth_009_users_of_the_file_have_no_hours() {
    wrong(
        "authorization { users: [{user: a, password: p, times: [{start: \"08:00:00\", end: \"09:00:00\"}]}] }",
        "times",
    );
}

#[test]
fn auth_040_where_traces_of_others_go() {
    for (value, holds) in [
        ("\"t.d\"", true),
        ("{dest: \"t.d\"}", true),
        ("{dest: \"t.d\", sampling: 50}", true),
        ("{dest: \"t.d\", sampling: \"50%\"}", true),
        ("\"t.>\"", false),
        ("\"t d\"", false),
        ("{dest: \"t.d\", sampling: 101}", false),
        ("{dest: \"t.d\", sampling: \"x%\"}", false),
    ] {
        for key in ["msg_trace", "trace_dest"] {
            let config = two(&format!("{key}: {value}"), "");
            match holds {
                true => drop(Server::with_config(&config)),
                false => wrong(&config, ""),
            }
        }
    }
}

/// The one who asked is described only where the import shares it; the one who answers always.
#[test]
fn auth_063_the_requester_is_described_where_shared() {
    for share in [true, false] {
        let imports = format!("imports: [{{service: {{account: A, subject: q}}, share: {share}}}]");
        let server = Server::with_config(&two("exports: [{service: q, latency: lat}]", &imports));
        let (mut a, mut b) = (user(&server, "a"), user(&server, "b"));
        a.quietly("SUB q 1\r\nSUB lat 2\r\n");
        b.quietly("SUB r 1\r\n");
        b.send("PUB q r 0\r\n\r\n");
        let reply = a.message().reply;
        a.send(format!("PUB {reply} 0\r\n\r\n"));
        let found = std::iter::repeat_with(|| a.message()).find(|it| it.sid == "2");
        let told: Value = serde_json::from_slice(&found.expect("one").payload).expect("JSON");
        assert_eq!(told["responder"]["user"], "a", "{told}");
        assert_eq!(told["responder"]["acc"], "A", "{told}");
        assert_eq!(told["requestor"]["acc"], "B", "{told}");
        let shown = told["requestor"].get("user");
        assert_eq!(shown, share.then_some(&json!("b")), "{told}");
    }
}

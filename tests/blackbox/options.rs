//! Sections 2.2 and 2.3: what each option does, and the starts that fail.

use crate::support::server::{Finished, Server};
use serde_json::json;

#[track_caller]
fn fails(config: &str, texts: &[&str]) -> Finished {
    let run = Server::builder()
        .config(config)
        .flags("-a 127.0.0.1 -p -1")
        .run();
    assert_eq!(run.code, 1, "{config}\n{}", run.stderr);
    for text in texts {
        assert!(
            run.stderr.contains(text),
            "{config}\nwithout {text}: {}",
            run.stderr
        );
    }
    run
}

#[test]
fn cfg_018_listen_takes_host_and_port() {
    for config in [
        "listen: \"127.0.0.1:-1\"",
        "listen: 127.0.0.1:-1",
        "host: 127.0.0.1\nport: -1",
        "net: 127.0.0.1\nport: -1",
        "host: \"localhost\"\nlisten: -1",
        "port: -1",
    ] {
        let server = Server::builder().own_listener().config(config).start();
        let port = server.address().port();
        server.logged("Listening for client connections on ");
        assert_ne!(port, 4222, "{config}");
        let mut client = server.open();
        assert_eq!(client.info["port"], port);
        client.connect("{}");
    }
}

#[test]
fn cfg_018_a_bad_listen_is_an_error() {
    fails("listen: \"127.0.0.1:4.5\"", &["server.conf:1:", "port"]);
    fails("listen: \"nowhere\"", &["server.conf:1:"]);
}

#[test]
fn cfg_020_the_host_defaults_to_all_interfaces() {
    let server = Server::builder().own_listener().flags("-p -1").start();
    let line = server.logged("Listening for client connections on ");
    assert!(line.contains(" 0.0.0.0:"), "{line}");
    assert_eq!(server.open().info["host"], "0.0.0.0");
}

#[test]
fn cfg_021_a_server_name_has_no_blanks() {
    fails(
        "server_name: \"a b\"",
        &["server name cannot contain spaces"],
    );
    let server = Server::with_config("server_name: unit-7");
    assert_eq!(server.open().info["server_name"], "unit-7");
}

#[test]
fn cfg_023_monitoring_listens_where_told() {
    for config in [
        "http: \"127.0.0.1:-1\"",
        "http: -1",
        "http_port: -1",
        "monitor_port: -1",
        "http: localhost:-1",
    ] {
        let server = Server::with_config(config);
        server.logged("Starting http monitor on ");
        assert_eq!(server.get("/healthz").status, 200, "{config}");
    }
    let server = Server::with_config("http_port: 0");
    assert!(server.listeners()["monitoring"].is_null());
}

#[test]
fn cfg_024_http_and_https_exclude_each_other() {
    fails(
        "http_port: -1\nhttps_port: -1",
        &["can't specify both HTTP"],
    );
}

/// CFG-66, CFG-67: tags in lower case, metadata.
#[test]
fn cfg_026_to_045_the_options_show_in_varz() {
    let server = Server::with_monitor(
        "server_name: one\ndebug: false\ntrace: false\nlogtime: true\nmax_connections: 321\n\
         max_payload: 64KB\nmax_pending: 2MB\nmax_control_line: 2KB\nmax_subscriptions: 77\n\
         ping_interval: \"33s\"\nping_max: 5\nwrite_deadline: \"3s\"\nwrite_timeout: close\n\
         max_traced_msg_len: 10\nmax_closed_clients: 5\nlame_duck_duration: \"40s\"\n\
         lame_duck_grace_period: \"3s\"\nserver_tags: [\"Region:EU\", az-1]\n\
         server_metadata { rack: \"7\" }\nauthorization { timeout: 4 }\n",
    );
    let varz = server.json("/varz");
    for (field, value) in [
        ("server_name", json!("one")),
        ("max_connections", json!(321)),
        ("max_payload", json!(65536)),
        ("max_pending", json!(2_097_152)),
        ("max_control_line", json!(2048)),
        ("max_subscriptions", json!(77)),
        ("ping_interval", json!(33_000_000_000_u64)),
        ("ping_max", json!(5)),
        ("write_deadline", json!(3_000_000_000_u64)),
        ("write_timeout", json!("close")),
        ("tags", json!(["region:eu", "az-1"])),
        ("metadata", json!({"rack": "7"})),
    ] {
        assert_eq!(varz[field], value, "{field}");
    }
    assert_eq!(varz["auth_timeout"].as_f64(), Some(4.0));
}

#[test]
fn cfg_034_038_the_aliases_mean_the_same() {
    let varz = Server::with_monitor("max_conn: 9\nmax_subs: 8\n").json("/varz");
    assert_eq!(varz["max_connections"], 9);
    assert_eq!(varz["max_subscriptions"], 8);
}

#[test]
fn cfg_039_a_token_limit_must_be_positive() {
    fails(
        "max_subscription_tokens: 0",
        &["server.conf:1:", "max_subscription_tokens"],
    );
    fails("max_sub_tokens: -1", &["server.conf:1:", "max_sub_tokens"]);
}

#[test]
fn cfg_042_write_timeout_has_three_values() {
    fails("write_timeout: maybe", &["server.conf:1:", "write_timeout"]);
    for value in ["default", "close", "retry"] {
        Server::with_config(&format!("write_timeout: {value}"));
    }
}

#[test]
fn cfg_045_lame_duck_durations_are_text_and_long_enough() {
    fails(
        "lame_duck_duration: \"10s\"",
        &["lame_duck_duration", "minimum is 30 seconds"],
    );
    fails("lame_duck_duration: 40", &["server.conf:1:"]);
    fails("lame_duck_grace_period: 1", &["server.conf:1:"]);
}

#[test]
fn cfg_054_a_large_max_payload_is_warned_of() {
    let server = Server::with_config("max_payload: 9MB");
    let line = server.logged("Maximum payloads over 8.00 MB are generally discouraged");
    assert!(line.contains("[WRN]"), "{line}");
}

#[test]
fn cfg_075_a_start_with_a_contradiction_fails() {
    for (config, texts) in [
        (
            "max_payload: 100MB",
            &["max_payload (104857600) cannot be higher than max_pending (67108864)"][..],
        ),
        (
            "lame_duck_grace_period: \"3m\"",
            &["lame duck grace period"],
        ),
        (
            "no_auth_user: x",
            &["no_auth_user: \"x\" present, but users/nkeys are not defined"],
        ),
        (
            "no_auth_user: x\nauthorization { users: [{user: a, password: b}] }",
            &[
                "no_auth_user: \"x\" not present as user or nkey in authorization block or account configuration",
            ],
        ),
        (
            "authorization { token: t, user: u, password: p }",
            &["Cannot have a user/pass and token"],
        ),
        (
            "authorization { token: t, users: [{user: a, password: b}] }",
            &["Can not have a token and a users array"],
        ),
        (
            "authorization { user: u, password: p, users: [{user: a, password: b}] }",
            &["Can not have a single user/pass and a users array"],
        ),
        (
            "authorization { users: [{user: a, password: b, permissions: {publish: \"a..b\"}}] }",
            &["subject \"a..b\" is not a valid subject"],
        ),
    ] {
        let run = fails(config, texts);
        assert!(run.stderr.contains("nats-server: "), "{}", run.stderr);
    }
}

#[test]
fn cfg_076_plain_passwords_are_warned_of() {
    let text = "Plaintext passwords detected, use nkeys or bcrypt";
    let server = Server::with_config("authorization { user: u, password: p }");
    assert!(server.logged(text).contains("[WRN]"));
    let hash = "$2a$04$P/.bd.7unw9Ew7yWJqXsl.f4oNRLQGvadEL2YnqQXbbb.IVQajRdK";
    let server = Server::with_config(&format!("authorization {{ user: u, password: {hash} }}"));
    server.logged("Server is ready");
    assert_eq!(server.count_in_log(text), 0);
}

#[test]
fn proc_011_configurations_as_found_in_the_wild() {
    let server = Server::with_monitor(
        "# a deployment's file\nport: 4222, http: -1\npid_file: \"@DIR@/nats.pid\"\n\
         max_payload = 64KiB\nmax_pending 32MB ; ping_interval: 20\n\
         lame_duck_duration: 60s; lame_duck_grace_period: \"5s\"\n\
         READ = { subscribe: \"_INBOX.>\", publish: { deny: [\"x\", 'y'] } }\n\
         authorization {\n  ADMIN = { publish = \">\", subscribe = \">\" }\n  default_permissions: $READ\n  users = [\n\
             { username: admin, pass: secret, permissions: $ADMIN }\n\
             {user: reader, password: r\n permission: { pub: foo, sub: [foo, \"bar q\"], allow_responses: true } }\n\
             {user: plain, password: p}, {user: resp, password: q, permissions: {allow_responses: {max: 3, expires: \"1m\"}}}\n  ]\n}\n",
    );
    let varz = server.json("/varz");
    assert_eq!(varz["max_payload"], 65536);
    assert_eq!(varz["max_pending"], 33_554_432);
    assert_eq!(varz["ping_interval"], 20_000_000_000_u64);
    let mut admin = server.client_with("{\"user\":\"admin\",\"pass\":\"secret\"}");
    admin.quietly("SUB foo 1\r\n");
    let mut reader = server.client_with("{\"user\":\"reader\",\"pass\":\"r\"}");
    reader.quietly("PUB foo 1\r\nx\r\nSUB bar q 1\r\n");
    admin.expect(&["MSG foo 1 1", "x"]);
}

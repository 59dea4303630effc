//! Section 2.6: what a reload changes, refuses and tells.

use crate::support::client::Client;
use crate::support::server::{Server, beyond_stock};
use crate::support::wait_until;
use rustix::process::Signal;

const USERS: &str = "authorization { users: [{user: u, password: p}, {user: v, password: p}] }\n";
const U: &str = "{\"user\":\"u\",\"pass\":\"p\"}";
const V: &str = "{\"user\":\"v\",\"pass\":\"p\"}";

#[test]
fn cfg_091_a_reload_says_what_it_applied() {
    let server = Server::with_monitor("debug: false\nmax_payload: 1000\n");
    server.reload("debug: true\nmax_payload: 2000\n");
    server.logged("Reloaded server configuration (sha256:");
    server.logged("Reloaded: debug = true");
    server.logged("Reloaded: max_payload = 2000");
    assert_eq!(server.json("/varz")["max_payload"], 2000);
    server.logged("Trapped \"hangup\" signal");
}

#[test]
fn cfg_091_one_change_that_cannot_be_made_fails_them_all() {
    let server = Server::with_monitor("max_payload: 1000\nserver_name: a\n");
    server.rewrite_config("max_payload: 2000\nserver_name: b\n");
    server.signal(Signal::HUP);
    let line = server.logged("Failed to reload server configuration: ");
    assert!(
        line.contains("config reload not supported for ServerName"),
        "{line}"
    );
    assert_eq!(server.json("/varz")["max_payload"], 1000);
    assert_eq!(server.open().info["server_name"], "a");
}

#[test]
fn cfg_091_a_broken_file_changes_nothing() {
    let server = Server::with_monitor("max_payload: 1000\n");
    for broken in [
        "max_payload: [\n",
        "max_payload: 2000\nfoo: 1\n",
        "max_payload: $NOWHERE\n",
    ] {
        let before = server.count_in_log("Failed to reload server configuration: ");
        server.rewrite_config(broken);
        server.signal(Signal::HUP);
        wait_until("the refusal", || {
            (server.count_in_log("Failed to reload server configuration: ") > before).then_some(())
        });
        assert_eq!(server.json("/varz")["max_payload"], 1000);
    }
    server.client().quietly("");
}

#[test]
fn cfg_092_without_a_file_there_is_nothing_to_reload() {
    let server = Server::start();
    server.signal(Signal::HUP);
    server.logged("can only reload config when a file is provided using -c or --config");
    server.client().quietly("");
}

#[test]
fn cfg_083_flags_win_after_a_reload_too() {
    let server = Server::builder()
        .config("debug: true\nmax_payload: 1000\n")
        .flags("-D=false -m -1")
        .start();
    server.reload("debug: true\nmax_payload: 2000\n");
    server.client().quietly("");
    assert_eq!(server.json("/varz")["max_payload"], 2000);
    assert_eq!(server.count_in_log("[DBG]"), 0);
}

#[test]
fn cfg_093_limits_and_timers_reload() {
    let server = Server::with_monitor("port: -1\n");
    server.reload(
        "port: -1\nmax_control_line: 512\nping_interval: \"50s\"\nping_max: 7\nwrite_deadline: \"4s\"\n\
         max_connections: 99\nserver_tags: [x]\nclient_advertise: \"h:1\"\n",
    );
    let varz = server.json("/varz");
    assert_eq!(varz["max_control_line"], 512);
    assert_eq!(varz["ping_interval"], 50_000_000_000_u64);
    assert_eq!(varz["ping_max"], 7);
    assert_eq!(varz["write_deadline"], 4_000_000_000_u64);
    assert_eq!(varz["max_connections"], 99);
    assert_eq!(varz["tags"], serde_json::json!(["x"]));
    assert_ne!(varz["config_load_time"], varz["start"]);
    let mut client = server.client();
    client.send_until_closed(format!("SUB {} 1\r\n", "x".repeat(600)));
    assert_eq!(client.closed(), ["-ERR 'maximum control line exceeded'"]);
}

#[test]
fn cfg_093_trace_starts_and_stops() {
    let server = Server::with_config("trace: false\n");
    server.client().quietly("SUB before 1\r\n");
    server.reload("trace: true\n");
    server.client().quietly("SUB during 1\r\n");
    server.logged("<<- [SUB during 1]");
    server.reload("trace: false\n");
    server.client().quietly("SUB after 1\r\n");
    assert_eq!(
        server.count_in_log("[SUB before") + server.count_in_log("[SUB after"),
        0
    );
}

#[test]
fn cfg_094_a_removed_user_is_put_out_and_others_stay() {
    let server = Server::with_config(USERS);
    let mut leaving: Vec<_> = (0..8).map(|_| server.client_with(U)).collect();
    let mut staying: Vec<_> = (0..8).map(|_| server.client_with(V)).collect();
    staying
        .iter_mut()
        .for_each(|client| client.quietly("SUB a 1\r\n"));
    server.reload("authorization { users: [{user: v, password: p}] }\n");
    for client in &mut leaving {
        // Stock closes these unspoken; saying why does no harm.
        let lines = client.closed();
        assert!(
            lines.is_empty() || lines == ["-ERR 'Authorization Violation'"],
            "{lines:?}"
        );
    }
    staying[0].send("PUB a 1\r\nx\r\n");
    for client in &mut staying {
        client.expect(&["MSG a 1 1", "x"]);
    }
}

#[test]
fn cfg_094_a_changed_password_puts_out() {
    let server = Server::with_config(USERS);
    let mut changed = server.client_with(U);
    let mut same = server.client_with(V);
    server.reload("authorization { users: [{user: u, password: new}, {user: v, password: p}] }\n");
    assert_eq!(changed.closed(), ["-ERR 'Authorization Violation'"]);
    same.quietly("");
    server
        .client_with("{\"user\":\"u\",\"pass\":\"new\"}")
        .quietly("");
    let mut old = server.open();
    old.send("CONNECT {\"verbose\":false,\"user\":\"u\",\"pass\":\"p\"}\r\n");
    assert_eq!(old.closed(), ["-ERR 'Authorization Violation'"]);
}

#[test]
fn cfg_094_changed_permissions_apply_to_live_connections() {
    let config = |publish: &str| {
        format!(
            "authorization {{ users: [{{user: u, password: p, permissions: {{publish: {publish}}}}}] }}\n"
        )
    };
    let server = Server::with_config(&config("a"));
    let mut client = server.client_with(U);
    client.quietly("SUB > 1\r\n");
    let refused = |subject| format!("-ERR 'Permissions Violation for Publish to \"{subject}\"'");
    assert_eq!(
        client.ask("PUB a 0\r\n\r\nPUB b 0\r\n\r\n"),
        ["MSG a 1 0", "", &refused("b")]
    );
    server.reload(&config("b"));
    wait_until("the new permissions", || {
        (client.ask("PUB b 0\r\n\r\n") == ["MSG b 1 0", ""]).then_some(())
    });
    assert_eq!(client.ask("PUB a 0\r\n\r\n"), [refused("a")]);
}

#[test]
fn cfg_094_a_changed_token_puts_out() {
    let server = Server::with_config("authorization { token: one }\n");
    let mut client = server.client_with("{\"auth_token\":\"one\"}");
    server.reload("authorization { token: two }\n");
    assert_eq!(client.closed(), ["-ERR 'Authorization Violation'"]);
    server.client_with("{\"auth_token\":\"two\"}").quietly("");
}

#[test]
fn cfg_095_fewer_connections_close_the_surplus() {
    let server = Server::with_monitor("max_connections: 10\n");
    let mut clients = server.clients();
    server.reload("max_connections: 3\n");
    wait_until("the surplus to leave", || {
        (server.json("/connz")["num_connections"] == 3).then_some(())
    });
    let mut closed = 0;
    for client in &mut clients {
        client.send_until_closed("PING\r\n");
        match client.raw_line().as_str() {
            "PONG" => {}
            "-ERR 'maximum connections exceeded'" => closed += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!(closed, 5);
}

#[test]
fn cfg_095_a_new_max_payload_holds_for_live_connections() {
    let server = Server::with_config("max_payload: 1000\n");
    let mut clients = server.clients();
    server.reload("max_payload: 2000\n");
    assert_eq!(server.open().info["max_payload"], 2000);
    for client in &mut clients {
        let lines = client.ask(format!("PUB a 1500\r\n{}\r\n", "x".repeat(1500)));
        // Stock does not tell them; an INFO with the new figure does no harm.
        assert!(
            lines.iter().all(|line| line.starts_with("INFO ")),
            "{lines:?}"
        );
        client.send("PUB a 2001\r\n");
        assert_eq!(client.closed(), ["-ERR 'Maximum Payload Violation'"]);
    }
}

/// CFG-46, CFG-47, CFG-66, CFG-67, CFG-72, CFG-73: these may change.
#[test]
fn cfg_091_each_option_has_its_line() {
    for (config, line) in [
        ("debug: true", "debug = true"),
        ("trace: true", "trace = true"),
        ("trace_verbose: true", "trace_verbose = true"),
        ("trace_headers: true", "trace_headers = true"),
        ("logtime_utc: true", "logtime_utc = true"),
        ("max_connections: 7", "max_connections = 7"),
        ("max_connections: 0", "max_connections = -1"),
        ("max_control_line: 512", "max_control_line = 512"),
        ("max_payload: 2KB", "max_payload = 2048"),
        ("ping_interval: \"90s\"", "ping_interval = 1m30s"),
        ("ping_max: 5", "ping_max = 5"),
        ("write_deadline: \"1500ms\"", "write_deadline = 1.5s"),
        ("max_traced_msg_len: 9", "max_traced_msg_len = 9"),
        ("connect_error_reports: 5", "connect_error_reports = 5"),
        ("reconnect_error_reports: 5", "reconnect_error_reports = 5"),
        ("server_tags: [a]", "tags"),
        ("server_metadata: {a: b}", "metadata"),
        (
            "no_fast_producer_stall: true",
            "fast producers will not be stalled",
        ),
        (
            "authorization: {timeout: 3.5}",
            "authorization timeout = 3.5",
        ),
        ("authorization: {token: t}", "authorization token"),
        (
            "authorization: {user: u, password: p}",
            "authorization username",
        ),
        (
            "authorization: {user: u, password: p}",
            "authorization password",
        ),
        (USERS, "authorization users"),
        (NKEY, "authorization nkey users"),
        ("", "accounts"),
        ("pid_file: \"@DIR@/pid\"", "pid_file = "),
    ] {
        let server = Server::with_config("");
        server.reload(&format!("{config}\n"));
        let found = server
            .log()
            .lines()
            .any(|it| it.contains(&format!("Reloaded: {line}")));
        assert!(found, "{config}");
    }
}

const NKEY: &str =
    "authorization: {users: [{nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4}]}";

/// CFG-25, CFG-49, CFG-68, CFG-70, CFG-71: these may not.
#[test]
fn cfg_091_changes_that_need_a_restart_are_refused_by_name() {
    let server = Server::with_config("");
    for (config, field, old, new) in [
        ("server_name: x", "ServerName", "", "x"),
        ("http_base_path: \"/x\"", "HTTPBasePath", "", "/x"),
        ("max_pending: 2MB", "MaxPending", "67108864", "2097152"),
        ("max_subscriptions: 5", "MaxSubs", "0", "5"),
        ("max_subscription_tokens: 5", "MaxSubTokens", "0", "5"),
        ("write_timeout: retry", "WriteTimeout", "", "retry"),
        ("max_closed_clients: 5", "MaxClosedClients", "10000", "5"),
        (
            "lame_duck_duration: \"60s\"",
            "LameDuckDuration",
            "2m0s",
            "1m0s",
        ),
        (
            "lame_duck_grace_period: \"5s\"",
            "LameDuckGracePeriod",
            "10s",
            "5s",
        ),
        (
            "no_system_account: true",
            "NoSystemAccount",
            "false",
            "true",
        ),
        (
            "disable_sublist_cache: true",
            "NoSublistCache",
            "false",
            "true",
        ),
        (
            "no_header_support: true",
            "NoHeaderSupport",
            "false",
            "true",
        ),
        ("proxy_protocol: true", "ProxyProtocol", "false", "true"),
        (
            "default_js_domain: {\"$G\": hub}",
            "JsAccDefaultDomain",
            "map[]",
            "map[$G:hub]",
        ),
        ("log_size_limit: 1000", "LogSizeLimit", "0", "1000"),
        ("logfile_max_num: 3", "LogMaxFiles", "0", "3"),
        (
            "feature_flags: {js_ack_fc_v2: true}",
            "FeatureFlags",
            "map[]",
            "map[js_ack_fc_v2:true]",
        ),
    ] {
        let reason = server.refused_reload(&format!("max_payload: 1000\n{config}\n"));
        let expected = format!("config reload not supported for {field}: old={old}, new={new}");
        assert_eq!(reason, expected, "{config}");
    }
    assert_eq!(server.open().info["max_payload"], 1_048_576);
}

#[test]
fn cfg_091_a_file_that_contradicts_itself_is_refused() {
    let server = Server::with_config("");
    for (config, reason) in [
        (
            "max_payload: 100MB\n",
            "max_payload (104857600) cannot be higher than max_pending (67108864)",
        ),
        (
            "lame_duck_grace_period: \"3m\"\n",
            "lame duck grace period (3m0s) should be strictly lower than lame duck duration (2m0s)",
        ),
        (
            "client_advertise: \"h:x\"\n",
            "invalid ClientAdvertise value of h:x, err=",
        ),
    ] {
        let refused = server.refused_reload(config);
        assert!(refused.starts_with(reason), "{refused}");
    }
    server.client().quietly("");
}

#[test]
fn cfg_019_any_port_stays_the_one_it_is() {
    let server = Server::builder()
        .own_listener()
        .config("host: 127.0.0.1\nport: -1\n")
        .start();
    let port = server.address().port();
    server.reload("host: 127.0.0.1\nport: -1\n");
    server.reload(&format!("host: 127.0.0.1\nport: {port}\n"));
    server.reload("host: 127.0.0.1\nport: -1\n");
    server.client().quietly("");
    let reason = server.refused_reload("host: 127.0.0.1\nport: 1\n");
    assert_eq!(
        reason,
        format!("config reload not supported for Port: old={port}, new=1")
    );
}

#[test]
fn cfg_048_no_auth_user_changes_only_by_going_with_its_user() {
    let user = |name: &str| format!("{{user: {name}, password: p}}");
    let config =
        |no_auth: &str, users: &str| format!("{no_auth}authorization {{ users: [{users}] }}\n");
    let both = format!("{}, {}", user("u"), user("v"));
    let server = Server::with_config(&config("no_auth_user: u\n", &both));
    let mut client = server.client();
    for (no_auth, new) in [("", ""), ("no_auth_user: v\n", "v")] {
        let reason = server.refused_reload(&config(no_auth, &both));
        assert_eq!(
            reason,
            format!("config reload not supported for NoAuthUser: old=u, new={new}")
        );
    }
    client.quietly("");
    server.reload(&config("no_auth_user: u\n", &user("u")));
    client.quietly("");
    server.reload(&config("", &user("v")));
    assert_eq!(client.closed(), Vec::<String>::new());
    let mut nobody = server.open();
    nobody.send("PING\r\n");
    assert_eq!(nobody.closed(), ["-ERR 'Authorization Violation'"]);
}

#[test]
fn cfg_094_who_comes_without_credentials_is_judged_too() {
    let server = Server::with_config("");
    let mut client = server.client();
    let mut silent = server.open();
    server.reload(USERS);
    assert_eq!(client.closed(), ["-ERR 'Authorization Violation'"]);
    assert_eq!(silent.closed(), ["-ERR 'Authorization Violation'"]);
    assert_eq!(server.open().info["auth_required"], true);
    server.client_with(U).quietly("");
}

#[test]
fn cfg_094_a_server_that_opens_lets_in_who_waited() {
    let server = Server::with_config("authorization { token: t, timeout: 1 }\n");
    let mut silent = server.open();
    let mut known = server.client_with("{\"auth_token\":\"t\"}");
    // Stock judges those without credentials by the new rules, which ask for none.
    server.reload("");
    silent.connect("{}");
    silent.quietly("");
    known.quietly("");
    assert_eq!(server.open().info["auth_required"], serde_json::Value::Null);
}

#[test]
fn cfg_094_bcrypt_passwords_are_judged_anew() {
    // Of `s3cret`, and the same under another name of the method.
    const HASH: &str = "$2a$04$P/.bd.7unw9Ew7yWJqXsluq.xINPxlVXBIzO8DC8KDb3ymQzt65ZC";
    let other = HASH.replace("$2a$", "$2b$");
    let config = |u: &str, v: &str| {
        format!(
            "authorization {{ users: [{{user: u, password: \"{u}\"}}, \
             {{user: v, password: \"{v}\"}}] }}\n"
        )
    };
    let server = Server::with_config(&config("s3cret", HASH));
    let who = |name| format!("{{\"user\":\"{name}\",\"pass\":\"s3cret\"}}");
    let mut clients: Vec<_> = ["u", "v", "u", "v"]
        .map(|name| server.client_with(&who(name)))
        .into();
    let all_stay = |clients: &mut Vec<Client>| clients.iter_mut().for_each(|it| it.quietly(""));
    server.reload(&config(HASH, HASH));
    all_stay(&mut clients);
    server.reload(&config(&other, &other));
    server.reload(&config(HASH, &other));
    all_stay(&mut clients);
    let wrong = HASH.replace("ymQzt65ZC", "ymQzt65ZD");
    server.reload(&config(&wrong, &other));
    for client in clients.iter_mut().step_by(2) {
        assert_eq!(client.closed(), ["-ERR 'Authorization Violation'"]);
    }
    for client in clients.iter_mut().skip(1).step_by(2) {
        client.quietly("");
    }
}

#[test]
fn cfg_094_permissions_that_shrink_filter_what_is_delivered() {
    let config = |deny: &str| {
        format!(
            "authorization {{ users: [{{user: u, password: p, permissions: {{subscribe: \
             {{allow: \"a.>\", deny: [{deny}]}}}}}}, {{user: v, password: p}}] }}\n"
        )
    };
    let server = Server::with_config(&config("\"x\""));
    let mut client = server.client_with(U);
    client.quietly("SUB a.* 1\r\n");
    let mut other = server.client_with(V);
    server.reload(&config("\"a.b\""));
    other.quietly("PUB a.b 1\r\nx\r\nPUB a.c 1\r\ny\r\n");
    client.expect(&["MSG a.c 1 1", "y"]);
    server.reload(&config("\"x\""));
    other.quietly("PUB a.b 1\r\nz\r\n");
    client.expect(&["MSG a.b 1 1", "z"]);
}

#[test]
fn cfg_094_an_allowed_kind_of_connection_may_be_taken_away() {
    let config = |kinds: &str| {
        format!(
            "authorization {{ users: [{{user: u, password: p, \
             allowed_connection_types: [{kinds}]}}] }}\n"
        )
    };
    let server = Server::with_config(&config("STANDARD"));
    let mut client = server.client_with(U);
    server.reload(&config("STANDARD, WEBSOCKET"));
    client.quietly("");
    server.reload(&config("WEBSOCKET"));
    assert_eq!(client.closed(), ["-ERR 'Authorization Violation'"]);
}

#[test]
fn cfg_095_no_connections_at_all_close_every_one() {
    let server = Server::with_monitor("max_connections: 10\n");
    let mut clients = server.clients();
    server.reload("max_connections: 0\n");
    server.logged("Closed 8 connections to fall within max_connections");
    for client in &mut clients {
        assert_eq!(client.closed(), ["-ERR 'maximum connections exceeded'"]);
    }
    assert_eq!(
        server.open().closed(),
        ["-ERR 'maximum connections exceeded'"]
    );
    server.reload("max_connections: 2\n");
    let mut first = server.client();
    let _second = server.client();
    assert_eq!(
        server.open().closed(),
        ["-ERR 'maximum connections exceeded'"]
    );
    first.quietly("");
}

#[test]
fn cfg_022_the_advertised_address_changes_for_new_connections() {
    let server = Server::with_config("");
    let mut before = server.client();
    server.reload("client_advertise: \"example.test:4333\"\n");
    server.logged("Reload: client_advertise = example.test:4333");
    before.quietly("");
    let info = server.open().info;
    assert_eq!(
        (&info["host"], &info["port"]),
        (&"example.test".into(), &4333.into())
    );
    server.reload("client_advertise: \"example.test\"\n");
    let info = server.open().info;
    assert_eq!(info["port"], server.address().port());
    server.reload("");
    assert_eq!(server.open().info["host"], "127.0.0.1");
}

#[test]
fn cfg_029_the_log_moves() {
    let server = Server::with_config("log_file: \"@DIR@/one.log\"\n");
    server.rewrite_config("log_file: \"@DIR@/two.log\"\n");
    server.signal(Signal::HUP);
    let read = |name: &str| std::fs::read_to_string(server.dir().file(name)).unwrap_or_default();
    wait_until("the new log", || {
        read("two.log")
            .contains("Reloaded server configuration")
            .then_some(())
    });
    assert!(read("one.log").contains("Reloaded: log_file = "));
    assert!(!read("one.log").contains("Reloaded server configuration"));
}

#[test]
fn cfg_032_the_pid_file_is_written_anew() {
    let server = Server::with_config("pid_file: \"@DIR@/one.pid\"\n");
    server.reload("pid_file: \"@DIR@/two.pid\"\n");
    let pid = std::fs::read_to_string(server.dir().file("two.pid")).expect("pid file");
    assert_eq!(pid, server.pid().to_string());
    // One that cannot be written is no reason to stop.
    server.reload("pid_file: \"/nonexistent/pid\"\n");
    server.logged("Failed to write pidfile: open /nonexistent/pid: ");
}

#[test]
fn cfg_096_load_time_and_digest_move_only_with_success() {
    let server = Server::with_monitor("max_payload: 1000\n");
    let before = server.json("/varz");
    assert_eq!(before["config_load_time"], before["start"]);
    server.refused_reload("max_payload: [\n");
    server.refused_reload("max_pending: 5MB\n");
    let refused = server.json("/varz");
    for key in ["config_load_time", "config_digest"] {
        assert_eq!(refused[key], before[key], "{key}");
    }
    server.reload("max_payload: 1001\n");
    let after = server.json("/varz");
    for key in ["config_load_time", "config_digest"] {
        assert_ne!(after[key], before[key], "{key}");
    }
    assert_eq!(after["start"], before["start"]);
}

#[test]
fn cfg_093_messages_flow_while_it_reloads() {
    let server = Server::with_config(USERS);
    let mut clients: Vec<_> = (0..8).map(|_| server.client_with(U)).collect();
    clients
        .iter_mut()
        .for_each(|client| client.quietly("SUB a 1\r\n"));
    let mut publisher = server.client_with(V);
    for round in 0..5 {
        publisher.send("PUB a 1\r\nx\r\n".repeat(1000));
        server.reload(&format!("{USERS}max_payload: {}\n", 10_000 + round));
    }
    for client in &mut clients {
        for _ in 0..5000 {
            client.expect(&["MSG a 1 1", "x"]);
        }
        client.quietly("");
    }
}

#[test]
fn cfg_094_who_has_not_said_who_it_is_yet_is_put_out() {
    let server = Server::with_config(USERS);
    let mut silent = server.open();
    server.reload(USERS);
    assert_eq!(silent.closed(), ["-ERR 'Authorization Violation'"]);
    let open = "no_auth_user: u\n".to_owned() + USERS;
    let server = Server::with_config(&open);
    let mut silent = server.open();
    server.reload(&open);
    silent.connect("{}");
    silent.quietly("");
}

/// Stock keeps its tables of users where a reload leaves none: those who are connected stay, until
/// there are users again. On purpose not as in stock: there whoever has the name and password of a
/// user that was removed is let in, too, and the single user is not.
#[test]
fn cfg_094_users_stay_connected_where_a_token_or_one_user_takes_their_place() {
    for (now, newcomer) in [
        ("token: t", "{\"auth_token\":\"t\"}"),
        ("user: w, password: q", "{\"user\":\"w\",\"pass\":\"q\"}"),
    ] {
        let server = Server::with_config(&format!("no_auth_user: v\n{USERS}"));
        let mut clients = [server.client_with(U), server.client()];
        let now = format!("authorization {{ {now} }}\n");
        for _ in 0..2 {
            server.reload(&now);
            for client in &mut clients {
                client.quietly("");
            }
        }
        if beyond_stock() {
            let mut again = server.open();
            again.send(format!("CONNECT {V}\r\n"));
            assert_eq!(again.closed(), ["-ERR 'Authorization Violation'"]);
            let mut newcomer = server.client_with(newcomer);
            server.reload(&now);
            newcomer.quietly("");
        }
        let [mut gone, mut stays] = clients;
        server.reload("authorization { users: [{user: v, password: p}] }\n");
        stays.quietly("");
        assert_eq!(gone.closed().last().map(String::as_str), None);
        server.reload(&now);
        server.reload("debug: false\n");
        assert_eq!(stays.closed().last().map(String::as_str), None);
    }
}

#[test]
fn cfg_094_who_came_without_credentials_has_those_of_the_user_it_became() {
    let server = Server::with_config(&format!("no_auth_user: u\n{USERS}"));
    let mut client = server.client();
    server.reload(&format!("debug: false\nno_auth_user: u\n{USERS}"));
    client.quietly("");
    server.reload("no_auth_user: u\nauthorization { users: [{user: u, password: x}] }\n");
    assert_eq!(client.closed(), ["-ERR 'Authorization Violation'"]);
}

//! Section 2.6: what a reload changes, refuses and tells.

use crate::support::server::Server;
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

//! Sections 4.1, 4.2 and 4.4: the monitoring endpoints.

use crate::support::client::Client;
use crate::support::http;
use crate::support::server::{Server, beyond_stock};
use crate::support::wait_until;
use rustix::process::Signal;
use serde_json::json;

#[test]
fn mon_001_answers_are_json_open_to_all_origins() {
    let server = Server::with_monitor("");
    for path in ["/varz", "/connz", "/subsz", "/subscriptionsz", "/healthz"] {
        let response = server.get(path);
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(
            response.header("Content-Type"),
            Some("application/json"),
            "{path}"
        );
        assert_eq!(
            response.header("Access-Control-Allow-Origin"),
            Some("*"),
            "{path}"
        );
        response.json();
        let indented = response.body.starts_with("{\n  \"");
        assert_eq!(indented, path != "/healthz", "{path}");
    }
}

#[test]
fn mon_001_any_method_will_do() {
    let server = Server::with_monitor("");
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        assert_eq!(
            http::request(server.monitor_address(), method, "/varz").status,
            200,
            "{method}"
        );
    }
    let head = http::request(server.monitor_address(), "HEAD", "/healthz");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn mon_002_the_index_links_the_endpoints_and_the_rest_is_not_found() {
    let server = Server::with_monitor("");
    let index = server.get("/");
    assert_eq!(index.status, 200);
    assert!(
        index
            .header("Content-Type")
            .expect("type")
            .starts_with("text/html")
    );
    for link in ["varz", "connz", "subsz", "healthz"] {
        assert!(index.body.contains(link), "{link}");
    }
    for path in ["/expvarz", "/debug/pprof", "/varzz", "/varz/x", "/x"] {
        let response = server.get(path);
        assert_eq!(response.status, 404, "{path}");
        assert_eq!(response.body.trim_end(), "404 page not found", "{path}");
    }
}

#[test]
fn mon_003_a_base_path_prefixes_every_path() {
    let server = Server::with_monitor("http_base_path: mon");
    for (path, status) in [
        ("/mon/varz", 200),
        ("/mon/healthz", 200),
        ("/mon", 200),
        ("/varz", 404),
        ("/", 404),
    ] {
        assert_eq!(server.get(path).status, status, "{path}");
    }
    assert_eq!(server.json("/mon/varz")["http_base_path"], "mon");
}

#[test]
fn mon_004_a_callback_is_ignored() {
    let server = Server::with_monitor("");
    let response = server.get("/varz?callback=cb");
    assert_eq!(response.header("Content-Type"), Some("application/json"));
    response.json();
}

#[test]
fn mon_005_bad_query_values_are_refused() {
    let server = Server::with_monitor("");
    for (path, text) in [
        ("/connz?auth=x", "Error decoding boolean for 'auth'"),
        ("/connz?auth=tRue", "Error decoding boolean for 'auth'"),
        (
            "/connz?limit=x",
            "Error decoding int for 'limit': strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        ("/connz?offset=1.5", "Error decoding int for 'offset'"),
        ("/connz?cid=-1", "Error decoding uint64 for 'cid'"),
        ("/connz?state=zz", "Error decoding state for zz"),
        ("/connz?sort=zz", "invalid sorting option: zz"),
        (
            "/connz?sort=stop",
            "sort by stop only valid on closed connections",
        ),
        (
            "/connz?sort=reason",
            "sort by reason only valid on closed connections",
        ),
        ("/connz?subs=x", "Error decoding boolean for 'subs'"),
        ("/subsz?subs=x", "Error decoding boolean for 'subs'"),
        ("/subsz?limit=x", "Error decoding int for 'limit'"),
        (
            "/subsz?subs=1&test=a.*",
            "invalid test subject, must be valid publish subject: a.*",
        ),
    ] {
        let response = server.get(path);
        assert_eq!(response.status, 400, "{path}: {}", response.body);
        assert!(response.body.contains(text), "{path}: {}", response.body);
    }
    for value in [
        "1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False",
    ] {
        assert_eq!(
            server.get(&format!("/connz?auth={value}")).status,
            200,
            "{value}"
        );
    }
}

/// `varz` field names with their JSON kinds, all of which always appear.
const VARZ: [(&str, &str); 52] = [
    ("server_id", "text"),
    ("server_name", "text"),
    ("version", "text"),
    ("proto", "number"),
    ("go", "text"),
    ("host", "text"),
    ("port", "number"),
    ("max_connections", "number"),
    ("ping_interval", "number"),
    ("ping_max", "number"),
    ("http_host", "text"),
    ("http_port", "number"),
    ("http_base_path", "text"),
    ("https_port", "number"),
    ("auth_timeout", "number"),
    ("max_control_line", "number"),
    ("max_payload", "number"),
    ("max_pending", "number"),
    ("cluster", "object"),
    ("gateway", "object"),
    ("leaf", "object"),
    ("mqtt", "object"),
    ("websocket", "object"),
    ("jetstream", "object"),
    ("tls_timeout", "number"),
    ("write_deadline", "number"),
    ("start", "text"),
    ("now", "text"),
    ("uptime", "text"),
    ("mem", "number"),
    ("cores", "number"),
    ("gomaxprocs", "number"),
    ("cpu", "number"),
    ("connections", "number"),
    ("total_connections", "number"),
    ("routes", "number"),
    ("remotes", "number"),
    ("leafnodes", "number"),
    ("in_msgs", "number"),
    ("in_bytes", "number"),
    ("out_msgs", "number"),
    ("out_bytes", "number"),
    ("slow_consumers", "number"),
    ("stale_connections", "number"),
    ("stalled_clients", "number"),
    ("subscriptions", "number"),
    ("http_req_stats", "object"),
    ("config_load_time", "text"),
    ("config_digest", "text"),
    ("system_account", "text"),
    ("slow_consumer_stats", "object"),
    ("stale_connection_stats", "object"),
];

#[test]
fn mon_008_varz_has_every_field_with_its_kind() {
    let server = Server::with_monitor("");
    let varz = server.json("/varz");
    for (field, kind) in VARZ {
        let value = &varz[field];
        let right = match kind {
            "text" => value.is_string(),
            "number" => value.is_number(),
            _ => value.is_object(),
        };
        assert!(right, "{field}: {value}");
    }
    for absent in [
        "auth_required",
        "tls_required",
        "connect_urls",
        "max_subscriptions",
        "tags",
        "write_timeout",
    ] {
        assert!(varz[absent].is_null(), "{absent}");
    }
    for stats in ["slow_consumer_stats", "stale_connection_stats"] {
        assert_eq!(
            varz[stats],
            json!({"clients": 0, "routes": 0, "gateways": 0, "leafs": 0})
        );
    }
}

#[test]
fn mon_007_times_and_durations() {
    let server = Server::with_monitor("");
    let varz = server.json("/varz");
    for field in ["start", "now", "config_load_time"] {
        let text = varz[field].as_str().expect("time");
        assert!(
            text.len() > 20 && text.as_bytes()[10] == b'T' && text.ends_with('Z'),
            "{field}: {text}"
        );
    }
    let uptime = varz["uptime"].as_str().expect("uptime");
    assert!(
        uptime.ends_with('s') && uptime[..uptime.len() - 1].parse::<u32>().is_ok(),
        "{uptime}"
    );
}

#[test]
fn mon_008_varz_counts_messages_and_connections() {
    let server = Server::with_monitor("authorization { token: t }");
    let mut clients: Vec<Client> = (0..8)
        .map(|_| server.client_with("{\"auth_token\":\"t\"}"))
        .collect();
    clients
        .iter_mut()
        .for_each(|client| client.quietly("SUB a 1\r\n"));
    clients[0].send("PUB a 5\r\nhello\r\nPUB a 5\r\nhello\r\nPUB b 3\r\nxyz\r\n");
    for client in &mut clients {
        client.expect(&["MSG a 1 5", "hello", "MSG a 1 5", "hello"]);
    }
    clients[0].quietly("");
    drop(clients.pop());
    let varz = wait_until("the counts", || {
        let varz = server.json("/varz");
        (varz["connections"] == 7 && varz["out_msgs"] == 16).then_some(varz)
    });
    for (field, value) in [
        ("total_connections", 8),
        ("in_msgs", 3),
        ("in_bytes", 13),
        ("out_msgs", 16),
        ("out_bytes", 80),
        ("in_client_msgs", 3),
        ("in_client_bytes", 13),
        ("out_client_msgs", 16),
        ("out_client_bytes", 80),
    ] {
        assert_eq!(varz[field], value, "{field}");
    }
    assert_eq!(varz["auth_required"], true);
    assert!(varz["mem"].as_u64().expect("mem") > 1_000_000);
    assert!(varz["http_req_stats"]["/varz"].as_u64().expect("count") >= 1);
}

#[test]
fn mon_029_subsz_counts_and_lists() {
    let server = Server::with_monitor("");
    let before = server.json("/subsz")["num_subscriptions"]
        .as_u64()
        .expect("count");
    let mut clients = server.clients();
    for client in &mut clients {
        client.quietly("SUB mine.* 1\r\nSUB other q 2\r\n");
    }
    let subsz = server.json("/subsz");
    assert_eq!(subsz["num_subscriptions"], before + 16);
    for field in [
        "num_cache",
        "num_inserts",
        "num_removes",
        "num_matches",
        "cache_hit_rate",
        "max_fanout",
        "avg_fanout",
    ] {
        assert!(subsz[field].is_number(), "{field}");
    }
    for (field, value) in [("total", 0), ("offset", 0), ("limit", 1024)] {
        assert_eq!(subsz[field], value, "{field}");
    }
    assert!(subsz["subscriptions_list"].is_null());
    let listed = server.json("/subsz?subs=1&acc=$G");
    let list = listed["subscriptions_list"].as_array().expect("list");
    assert_eq!(
        list.iter()
            .filter(|detail| detail["subject"] == "mine.*")
            .count(),
        8
    );
    let tested = server.json("/subsz?subs=1&acc=$G&test=mine.x");
    let list = tested["subscriptions_list"].as_array().expect("list");
    assert!(
        list.len() == 8 && list.iter().all(|detail| detail["subject"] == "mine.*"),
        "{tested}"
    );
    assert_eq!(tested["total"], 8);
    let page = server.json("/subsz?subs=1&acc=$G&test=other&limit=3&offset=6");
    assert_eq!(
        page["subscriptions_list"].as_array().expect("list").len(),
        2
    );
    assert!(
        page["subscriptions_list"][0]["qgroup"] == "q"
            && page["subscriptions_list"][0]["sid"] == "2"
    );
    clients
        .iter_mut()
        .for_each(|client| client.quietly("UNSUB 1\r\nUNSUB 2\r\n"));
    assert_eq!(server.json("/subscriptionsz")["num_subscriptions"], before);
}

#[test]
fn mon_033_034_healthz_without_jetstream_is_always_ok() {
    let server = Server::with_monitor("");
    for query in [
        "",
        "?js-enabled=1",
        "?js-enabled-only=true",
        "?js-server-only=true",
        "?js-meta-only=true",
        "?account=X&stream=S",
    ] {
        let response = server.get(&format!("/healthz{query}"));
        assert_eq!(response.status, 200, "{query}: {}", response.body);
        assert_eq!(response.json()["status"], "ok", "{query}");
    }
    assert_eq!(server.get("/healthz").body, "{\"status\":\"ok\"}");
    assert_eq!(server.get("/healthz?details=1").json()["status"], "ok");
    assert_eq!(server.get("/healthz?js-enabled-only=x").status, 400);
}

#[test]
fn mon_033_a_lame_duck_is_not_healthy() {
    let server = Server::with_monitor("lame_duck_grace_period: \"20s\"");
    let mut client = server.client();
    server.signal(Signal::USR2);
    assert_eq!(client.info_line()["ldm"], true);
    let response = wait_until("the listener to close", || {
        let response = server.get("/healthz");
        (response.status != 200).then_some(response)
    });
    assert_eq!(response.status, 500);
    let error = "failed to be ready for connections after 1ms: server";
    assert_eq!(
        response.json(),
        json!({ "status": "error", "error": error })
    );
}

#[test]
fn t43_pages_at_the_ends_of_the_numbers() {
    let server = Server::with_monitor("");
    let _clients = server.clients();
    wait_until("the clients", || {
        (server.json("/connz")["num_connections"] == 8).then_some(())
    });
    for limit in [
        "0",
        "-1",
        "1",
        "9223372036854775807",
        "-9223372036854775808",
    ] {
        for offset in [
            "0",
            "-1",
            "7",
            "8",
            "9223372036854775807",
            "-9223372036854775808",
        ] {
            for path in ["/connz?", "/connz?state=all&", "/subsz?subs=1&"] {
                let response = server.get(&format!("{path}limit={limit}&offset={offset}"));
                assert!(
                    [200, 400].contains(&response.status),
                    "{limit} {offset}: {}",
                    response.status
                );
            }
        }
    }
    for path in [
        "/connz?cid=18446744073709551615",
        "/connz?cid=18446744073709551616",
        "/connz?limit=9223372036854775808",
    ] {
        server.get(path);
    }
    server.client().quietly("");
}

#[test]
fn metrics_speak_prometheus() {
    if !beyond_stock() {
        return;
    }
    let server = Server::with_monitor("");
    let mut client = server.client();
    client.quietly("PUB a 1\r\nx\r\n");
    let response = server.get("/metrics");
    assert_eq!(response.status, 200);
    assert!(
        response
            .header("Content-Type")
            .expect("type")
            .starts_with("text/plain")
    );
    for name in [
        "gnatsd_varz_connections",
        "gnatsd_varz_in_msgs",
        "gnatsd_varz_mem",
    ] {
        assert!(response.body.contains(name), "{name}");
    }
}

/// The fields of an object, in no order.
fn keys(value: &serde_json::Value) -> Vec<&str> {
    let object = value.as_object().expect("an object");
    let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn mon_026_027_028_links_that_are_not_there_are_empty() {
    let server = Server::with_monitor("");
    for query in ["", "?subs=1", "?subs=detail"] {
        let routez = server.json(&format!("/routez{query}"));
        assert_eq!(
            keys(&routez),
            ["now", "num_routes", "routes", "server_id", "server_name"]
        );
        assert_eq!(
            (&routez["num_routes"], &routez["routes"]),
            (&json!(0), &json!([]))
        );
    }
    for query in ["", "?accs=1&subs=1", "?gw_name=x&acc_name=y"] {
        let gatewayz = server.json(&format!("/gatewayz{query}"));
        assert_eq!(
            keys(&gatewayz),
            ["inbound_gateways", "now", "outbound_gateways", "server_id"]
        );
        assert_eq!(gatewayz["outbound_gateways"], json!({}));
    }
    for query in ["", "?subs=1&acc=$G"] {
        let leafz = server.json(&format!("/leafz{query}"));
        assert_eq!(keys(&leafz), ["leafnodes", "leafs", "now", "server_id"]);
        assert_eq!(
            (&leafz["leafnodes"], &leafz["leafs"]),
            (&json!(0), &json!([]))
        );
    }
    for path in [
        "/routez?subs=x",
        "/gatewayz?accs=x",
        "/leafz?subs=x",
        "/accstatz?unused=x",
    ] {
        let response = server.get(path);
        assert_eq!(response.status, 400, "{path}");
        assert!(
            response.body.contains("Error decoding boolean for"),
            "{path}"
        );
    }
}

/// JS-264: a server alone has no Raft groups.
#[test]
fn mon_037_038_039_the_inside_of_the_process() {
    let server = Server::with_monitor("");
    let raftz = server.get("/raftz");
    assert_eq!(
        (raftz.status, raftz.body.as_str()),
        (404, "No Raft nodes registered")
    );
    assert_eq!(server.json("/ipqueuesz"), json!({}));
    let stacksz = server.get("/stacksz");
    assert_eq!(stacksz.status, 200);
    assert!(!stacksz.body.is_empty());
    let vars = server.json("/debug/vars");
    assert_eq!(keys(&vars), ["cmdline", "memstats"]);
    assert!(vars["memstats"]["HeapAlloc"].is_u64() && vars["memstats"]["PauseNs"].is_array());
}

#[test]
fn t29_debug_vars_holds_no_command_line() {
    if !beyond_stock() {
        return;
    }
    let builder = Server::builder().config("http: 127.0.0.1:-1");
    let server = builder
        .flags("--user planted --pass s3cr3t-planted")
        .start();
    assert_eq!(server.json("/debug/vars")["cmdline"], json!([]));
}

#[test]
fn connz_pending_bytes_are_in_the_metrics() {
    if !beyond_stock() {
        return;
    }
    let server = Server::with_monitor("");
    let _client = server.client();
    let metrics = server.get("/metrics").body;
    let line = metrics
        .lines()
        .find(|it| it.starts_with("gnatsd_connz_pending_bytes{"));
    assert!(line.is_some_and(|it| it.ends_with(" 0.0")), "{line:?}");
}

/// Blocks of what is not used are empty, those of the others as stock's.
#[test]
fn mon_009_to_015_varz_has_a_block_for_each_kind_of_link() {
    let links = "websocket { listen: \"127.0.0.1:-1\", no_tls: true }\n\
                 leafnodes { listen: \"127.0.0.1:-1\" }\n";
    let varz = Server::with_monitor(links).json("/varz");
    for unused in ["cluster", "gateway", "mqtt", "jetstream"] {
        assert_eq!(varz[unused], json!({}), "{unused}");
    }
    for (block, fields) in [
        ("websocket", &["host", "no_tls", "port"][..]),
        ("leaf", &["auth_timeout", "host", "port", "tls_timeout"]),
        (
            "disk_io_wait_stats",
            &["max_wait_time", "wait_time", "waiters", "waits"],
        ),
    ] {
        assert_eq!(keys(&varz[block]), fields, "{block}");
    }
    assert_eq!(varz["websocket"]["no_tls"], true);
    assert_eq!(varz["leaf"]["host"], "127.0.0.1");
    assert!(varz["proxies"].is_null() && varz["ocsp_peer_cache"].is_null());
}

//! Section 2.2: keys that hold a block. What stands in them, in each of its forms, and the mistakes
//! that are named; what the blocks do is tested where their features are.

use crate::config::{invalid, valid};
use crate::support::server::{Server, beyond_stock};
use serde_json::json;

const NKEY: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";

/// Each of these in `frame`, where `@` stands for it, is refused with its text.
#[track_caller]
fn mistakes(frame: &str, all: &[(&str, &str)]) {
    for (text, why) in all {
        invalid(&frame.replace('@', text), &[why]);
    }
}

#[test]
fn cfg_050_mappings_of_the_global_account_reload() {
    for key in ["mappings", "maps"] {
        let server = Server::with_config(&format!("{key} {{ a: b }}"));
        let mut client = server.client();
        client.quietly("SUB > 1\r\n");
        let mut arrives_on = |subject: &str| {
            client.send("PUB a 0\r\n\r\n");
            assert_eq!(client.message().subject, subject, "{key}");
        };
        arrives_on("b");
        server.reload(&format!(
            "{key} {{ a: [ {{destination: c, weight: 100%}} ] }}"
        ));
        arrives_on("c");
        server.reload(&format!("{key} {{ x: y }}"));
        arrives_on("a");
    }
    mistakes(
        "mappings @",
        &[
            ("3", "interface conversion: interface {} is int64"),
            ("{a: 3}", "Expected an entry for the mapping destination"),
            ("{\"a..b\": c}", "Subject \"a..b\" is not a valid subject"),
            (
                "{a: [{dest: b, foo: 1}]}",
                "Unknown field \"foo\" for mapping destination",
            ),
            (
                "{a: {dest: b}}",
                "Missing weight for mapping destination \"b\"",
            ),
            (
                "{\"a.*\": \"b.$2\"}",
                "Error adding mapping for \"a.*\" to \"b.$2\"",
            ),
            (
                "{a: [{dest: b, weight: 60%}, {dest: c, weight: 60%}]}",
                "total weight needs to be <= 100",
            ),
        ],
    );
}

#[test]
fn cfg_053_ocsp_is_a_switch_or_a_block() {
    for text in [
        "ocsp: true",
        "ocsp: false",
        "ocsp { mode: always, url: \"http://x\" }",
        "ocsp { mode: must }",
        "ocsp { mode: auto }",
        "ocsp { mode: never }",
        "ocsp_cache: true",
        "ocsp_cache: false",
        "ocsp_cache { type: none }",
        "ocsp_cache { type: local, local_store: \"/a\", preserve_revoked: true, save_interval: \"5m\" }",
    ] {
        valid(text);
    }
    mistakes(
        "ocsp@",
        &[
            (": 3", "error parsing ocsp config: unsupported type int64"),
            (
                " { mode: bad }",
                "error parsing ocsp config: unsupported ocsp mode",
            ),
            (
                " { foo: 1 }",
                "error parsing ocsp config: unsupported field",
            ),
            ("_cache: 3", "unsupported type int64"),
        ],
    );
}

#[test]
fn cfg_056_mistakes_in_what_a_resolver_is_told() {
    mistakes(
        "@",
        &[
            (
                "resolver_tls: 3",
                "interface conversion: interface {} is int64, not map[string]interface {}",
            ),
            (
                "resolver_tls {foo: 1}",
                "error parsing tls config, unknown field \"foo\"",
            ),
            (
                "resolver_preload: 3",
                "preload should be a map of account_public_key:account_jwt",
            ),
            (
                "resolver_preload { A: 3 }",
                "preload map value should be a string JWT",
            ),
            ("resolver_preload { A: b }", "invalid account JWT"),
            (
                "resolver_pinned_accounts: 3",
                "error parsing resolver_pinned_accounts: unsupported type int64",
            ),
        ],
    );
}

/// A server by itself says which cluster it would be in.
#[test]
fn cfg_059_the_block_of_a_cluster() {
    let server = Server::with_config("cluster { name: C, listen: \"127.0.0.1:-1\" }");
    assert_eq!(server.client().info["cluster"], "C");
    for text in [
        "name: a, listen: \"127.0.0.1:-1\", routes: [\"nats-route://127.0.0.1:1\"]
         authorization {user: a, password: b, timeout: 2}, tls {}
         permissions {import: a, export: [b]}",
        "host: a, port: 3, cluster_advertise: \"x:1\"",
        "net: a, advertise: \"x:1\", no_advertise: true",
        "connect_retries: 2, connect_backoff: true, pool_size: 4, accounts: [A]",
        "compression: accept, ping_interval: \"20s\", ping_max: 2",
        "compression {mode: s2_auto, rtt_thresholds: [\"1ms\"]}",
        "write_deadline: \"2s\", write_timeout: retry",
    ] {
        valid(&format!("cluster {{ {text} }}"));
    }
    invalid("cluster: 3", &["Expected map to define cluster, got int64"]);
    mistakes(
        "cluster { @ }",
        &[
            ("foo: 1", "unknown field \"foo\""),
            ("port: x", "is string, not int64"),
            ("name: \"a b\"", "cluster name cannot contain spaces"),
            ("routes: a", "is string, not []interface {}"),
            (
                "authorization {token: x}",
                "Cluster authorization does not support tokens",
            ),
            (
                "authorization {users: [{user: a, password: b}]}",
                "Cluster authorization does not allow multiple users",
            ),
            (
                "permissions {foo: 1}",
                "Unknown field \"foo\" parsing permissions",
            ),
            (
                "permissions {publish: a, allow_responses: true}",
                "Cluster permissions do not support dynamic responses",
            ),
            (
                "accounts: 3",
                "error parsing accounts: unsupported type int64",
            ),
            (
                "compression: 3",
                "field \"compression\" should be a boolean or a structure, got int64",
            ),
            ("compression {foo: 1}", "unknown field \"foo\""),
            (
                "ping_interval: \"60s\"",
                "Cluster 'ping_interval' will reset to 30s which is the max for routes",
            ),
            (
                "write_timeout: x",
                "write_timeout must be 'default', 'close' or 'retry'",
            ),
            ("connect_backoff: 1", "is int64, not bool"),
            (
                "tls {foo: 1}",
                "error parsing tls config, unknown field \"foo\"",
            ),
        ],
    );
}

#[test]
fn cfg_060_the_block_of_a_gateway() {
    for text in [
        "name: a, listen: \"127.0.0.1:-1\", authorization {user: a, password: b}, tls {}
         gateways: [ {name: b, url: \"nats://127.0.0.1:1\"}
                     {name: c, urls: [\"nats://127.0.0.1:1\"], tls {}} ]",
        "host: a, port: 3, advertise: \"a:1\", reject_unknown: true",
        "net: a, connect_retries: 2, connect_backoff: true, reject_unknown_cluster: true",
        "write_deadline: \"1s\", write_timeout: close",
    ] {
        valid(&format!("gateway {{ {text} }}"));
    }
    invalid("gateway: 3", &["Expected gateway to be a map, got int64"]);
    mistakes(
        "gateway { @ }",
        &[
            ("foo: 1", "unknown field \"foo\""),
            ("port: x", "is string, not int64"),
            ("name: \"a b\"", "gateway name cannot contain spaces"),
            (
                "authorization {token: x}",
                "Gateway authorization does not support tokens",
            ),
            (
                "authorization {users: [{user: a, password: b}]}",
                "Gateway authorization does not allow multiple users",
            ),
            (
                "gateways: 3",
                "Expected gateways field to be an array, got int64",
            ),
            ("gateways: [{foo: 1}]", "unknown field \"foo\""),
            ("reject_unknown: 3", "is int64, not bool"),
        ],
    );
}

#[test]
fn cfg_061_the_block_of_leaf_nodes() {
    for text in [
        "leafnodes { listen: \"127.0.0.1:-1\", authorization {timeout: 3} }",
        "leafnodes { host: 127.0.0.1, port: -1, authorization {timeout: 3} }",
        "leaf { net: 127.0.0.1, port: -1, authorization {timeout: \"3s\"} }",
    ] {
        let leaf = &Server::with_monitor(text).json("/varz")["leaf"];
        assert_eq!(leaf["host"], "127.0.0.1", "{text}");
        assert_eq!(leaf["auth_timeout"].as_f64(), Some(3.0), "{text}");
        assert!(leaf["port"].is_u64(), "{leaf}");
    }
    for text in [
        "authorization {user: a, password: b, account: A, timeout: 2}, no_advertise: true",
        &format!("authorization {{nkey: {NKEY}, proxy_required: true}}, advertise: \"a:1\""),
        "authorization {users: [{user: a, password: b, account: A, proxy_required: true}]}",
        "leafnode_advertise: \"a:1\", reconnect: \"2s\", min_version: \"2.8.0\", tls {}",
        "reconnect_delay: \"2s\", compression: s2_fast, isolate_leafnode_interest: true",
        "reconnect_interval: \"2s\", compression: off, isolate: true",
        "write_deadline: \"1s\", write_timeout: close, dial_timeout: \"2s\"",
    ] {
        valid(&format!("leafnodes {{ {text} }}"));
    }
    invalid(
        "leafnodes: 3",
        &["Expected map to define a leafnode, got int64"],
    );
    mistakes(
        "leafnodes { @ }",
        &[
            ("foo: 1", "unknown field \"foo\""),
            ("port: x", "is string, not int64"),
            ("authorization {foo: 1}", "unknown field \"foo\""),
            (
                "authorization {nkey: x}",
                "Not a valid public nkey for leafnode authorization",
            ),
            (
                "authorization {user: a, password: b, users: [{user: c, password: d}]}",
                "can not have a single user/pass and a users array",
            ),
            (
                &format!("authorization {{nkey: {NKEY}, users: [{{user: c, password: d}}]}}"),
                "can not have a single nkey and a users array",
            ),
            (
                "authorization {users: [{user: c, password: d}, {user: c, password: e}]}",
                "duplicate user \"c\" detected in leafnode authorization",
            ),
            (
                "remotes: 3",
                "Expected remotes field to be an array, got int64",
            ),
            ("min_version: \"x\"", "invalid leafnode's minimum version"),
            (
                "min_version: \"2.7.9\"",
                "the minimum version should be at least 2.8.0",
            ),
            (
                "compression: 3",
                "field \"compression\" should be a boolean or a structure, got int64",
            ),
            (
                "write_timeout: x",
                "write_timeout must be 'default', 'close' or 'retry'",
            ),
            ("dial_timeout: x", "error parsing dial_timeout"),
            ("reconnect: x", "error parsing reconnect"),
            (
                "reconnect: 2",
                "reconnect should be converted to a duration",
            ),
            ("no_advertise: 3", "is int64, not bool"),
            ("isolate: 3", "is int64, not bool"),
        ],
    );
}

#[test]
fn cfg_062_the_block_of_a_remote() {
    let frame = "leafnodes { remotes [ { url: \"nats-leaf://127.0.0.1:1\", @ } ] }";
    for text in [
        "account: A, credentials: \"/a\", tls {}, hub: true, deny_imports: a, deny_exports: [b]",
        "local: A, creds: \"/a\", deny_import: a, deny_export: b",
        &format!("nkey: {SEED}, no_randomize: true, compression: off"),
        &format!("seed: {SEED}, dont_randomize: true, compression: s2_best"),
        "ws_compression: true, ws_no_masking: true, first_info_timeout: \"2s\"",
        "dial_timeout: \"1s\", disabled: true, ignore_discovered_servers: true",
        "isolate_leafnode_interest: true, request_isolation: true",
        "jetstream_cluster_migrate: true",
        "jetstream_cluster_migrate {leader_migrate_delay: \"1s\"}",
        "proxy {url: \"http://127.0.0.1:1\", username: a, password: b, timeout: \"1s\"}",
        "urls: [\"nats-leaf://a:1\", \"nats-leaf://b:1\"]",
    ] {
        valid(&frame.replace('@', text));
    }
    mistakes(
        frame,
        &[
            ("foo: 1", "unknown field \"foo\""),
            ("hub: 3", "is int64, not bool"),
            ("disabled: 3", "is int64, not bool"),
            ("ws_compression: 3", "is int64, not bool"),
            ("account: 3", "is int64, not string"),
            (
                "url: 3",
                "Expected remote leafnode url to be an array or string, got 3",
            ),
            ("nkey: x", "Remote leafnode nkey is not a valid seed"),
            (
                &format!("nkey: {SEED}, creds: \"/a\""),
                "Remote leafnode can not have both creds and nkey defined",
            ),
            (
                "deny_imports: 3",
                "Expected subject permissions to be a subject, or array of subjects, got int64",
            ),
            ("first_info_timeout: x", "error parsing first_info_timeout"),
            ("proxy: 3", "Expected proxy to be a map, got int64"),
            ("proxy {foo: 1}", "unknown field \"foo\""),
            (
                "proxy {url: \"ftp://127.0.0.1:1\"}",
                "proxy URL scheme must be http or https, got: ftp",
            ),
            (
                "proxy {url: \"http://127.0.0.1:1\", username: a}",
                "proxy username and password must both be specified or both be empty",
            ),
        ],
    );
}

#[test]
fn cfg_064_the_block_of_mqtt() {
    for text in [
        "listen: \"127.0.0.1:-1\", tls {}, no_auth_user: a, js_domain: d",
        "host: a, port: 3, authorization {user: a, password: b, timeout: 1}",
        "net: a, authorization {token: a}",
        "ack_wait: \"1s\", ackwait: \"1s\", max_ack_pending: 10, stream_replicas: 1",
        "consumer_memory_storage: true, consumer_inactive_threshold: \"1h\"",
    ] {
        valid(&format!("mqtt {{ {text} }}"));
    }
    invalid("mqtt: 3", &["Expected mqtt to be a map, got int64"]);
    mistakes(
        "mqtt { @ }",
        &[
            ("foo: 1", "unknown field \"foo\""),
            ("port: x", "is string, not int64"),
            ("ack_wait: x", "error parsing ack_wait"),
            (
                "max_ack_pending: 70000",
                "invalid value 70000, should in [0..65535] range",
            ),
            (
                "consumer_replicas: 1",
                "consumer replicas setting ignored in this server version",
            ),
        ],
    );
}

#[test]
fn cfg_065_jetstream_is_a_switch_or_a_block() {
    for (text, on) in [
        ("jetstream: true\nstore_dir: \"@DIR@/s\"", true),
        ("jetstream: enabled\nstoredir: \"@DIR@/s\"", true),
        ("jetstream { store_dir: \"@DIR@/s\" }", true),
        ("jetstream { enabled: true, storedir: \"@DIR@/s\" }", true),
        ("jetstream {\n}\nstore_dir: \"@DIR@/s\"", true),
        ("jetstream: false\nstore_dir: \"@DIR@/s\"", false),
        ("jetstream: disabled", false),
        (
            "jetstream { enabled: false, store_dir: \"@DIR@/s\" }",
            false,
        ),
        ("store_dir: \"@DIR@/s\"", false),
    ] {
        let server = Server::with_monitor(text);
        let expected = if on { json!(true) } else { json!(null) };
        assert_eq!(server.client().info["jetstream"], expected, "{text}");
        let config = &server.json("/jsz")["config"];
        let folder = server.dir().file("s/jetstream");
        let told = config["store_dir"].as_str();
        assert_eq!(told.is_some_and(|it| it == folder), on, "{text}: {config}");
    }
    for text in [
        "store_dir: \"/a\"\njetstream { store_dir: \"/b\" }",
        "jetstream { storedir: \"/b\" }\nstore_dir: \"/a\"",
        "store_dir: \"/a\"\nstoredir: \"/b\"",
    ] {
        invalid(text, &["Duplicate 'store_dir' configuration"]);
    }
    mistakes(
        "jetstream @",
        &[
            (
                "maybe",
                "Expected 'enabled' or 'disabled' for string value, got 'maybe'",
            ),
            (
                ": 3",
                "Expected map, bool or string to define JetStream, got int64",
            ),
            ("{ foo: 1 }", "unknown field \"foo\""),
            ("{ limits {foo: 1} }", "unknown field \"foo\""),
            ("{ cipher: rot13 }", "Unknown cipher type: \"rot13\""),
            ("{ enabled: 3 }", "is int64, not bool"),
            ("{ max_mem: x }", "max_mem_store strconv.ParseInt"),
        ],
    );
}

#[test]
fn cfg_069_default_domains_are_warned_of() {
    let server = Server::with_config("default_js_domain: { \"$G\": hub }");
    let line = server.logged("The option `default_js_domain` is a temporary");
    assert!(line.contains("[WRN]"), "{line}");
    // What was kept for later has a line of its own.
    assert!(!beyond_stock() || server.count_in_log("not active yet") == 0);
    mistakes(
        "default_js_domain: @",
        &[
            (
                "3",
                "error default_js_domain config: unsupported type int64",
            ),
            ("{ a: 3 }", "is int64, not string"),
        ],
    );
}

#[test]
fn cfg_074_mistakes_about_proxies() {
    valid(&format!("proxies {{ trusted: [ {{key: {NKEY}}} ] }}"));
    mistakes(
        "proxies @",
        &[
            (": 3", "expected proxies to be a map/struct, got int64"),
            ("{ foo: 1 }", "unknown field \"foo\""),
            (
                "{ trusted: 3 }",
                "expected proxies' trusted field to be an array, got int64",
            ),
            ("{ trusted: [ {key: x} ] }", "invalid proxy key \"x\""),
            ("{ trusted: [ {foo: x} ] }", "unknown field \"foo\""),
        ],
    );
    invalid("proxy_protocol: 3", &["is int64, not bool"]);
}

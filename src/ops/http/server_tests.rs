//! The server over a real socket, with made-up figures, against answers of stock.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::Monitor;
use super::answers::Answers;
use super::facts::{CurrentFacts, ServerFacts};
use crate::accounts::registry::Accounts;
use crate::ids::{ConnectionId, ShardId};
use crate::options::Options;
use crate::protocol::info::ServerInfo;
use crate::routing::interest::RoutingStats;
use crate::routing::subject::patterns_overlap;
use crate::shard::report::{
    AccountFigures, AccountReport, ConnectionReport, Counters, Figures, Query, ShardReport,
    SubscriptionReport, TransportReport, Volume,
};
use crate::time::WallTime;

/// Two shards: even connections on one, odd ones on the other.
struct Fake {
    connections: Vec<ConnectionReport>,
}

impl Figures for Fake {
    fn ask(&self, query: Query) -> Vec<ShardReport> {
        (0..2).map(|shard| self.shard(shard, &query)).collect()
    }
}

impl Fake {
    fn shard(&self, shard: u64, query: &Query) -> ShardReport {
        let own = || self.connections.iter().filter(|it| it.cid.0 % 2 == shard);
        let is_open = |it: &&ConnectionReport| it.closed.is_none();
        let mut report = ShardReport {
            counters: Counters {
                in_msgs: 3,
                connections: own().filter(is_open).count() as u64,
                total_connections: own().count() as u64,
                subscriptions: own().filter(is_open).map(|it| it.subscriptions).sum(),
                matches: 15,
                cache_hits: 7,
                ..Counters::default()
            },
            closed: own().filter(|it| it.closed.is_some()).count() as u64,
            ..ShardReport::default()
        };
        match query {
            Query::Counters | Query::Responses(_) | Query::Links(_) | Query::JetStream(_) => {}
            Query::Connections(wanted) => {
                let is = |wanted: &Option<Box<str>>, text: &str| {
                    wanted.as_deref().is_none_or(|wanted| wanted == text)
                };
                let open = own().filter(is_open);
                let open = open.filter(|it| is(&wanted.account, &it.account));
                report.open = open.clone().count() as u64;
                report.pending_bytes = open.clone().map(|it| it.pending_bytes).sum();
                let now = WallTime(u64::MAX);
                let mut open: Vec<_> = match wanted.cid {
                    Some(cid) => own().filter(|it| is_open(it) && it.cid == cid).collect(),
                    None => open
                        .filter(|it| is(&wanted.user, &it.authorized_user))
                        .filter(|it| {
                            wanted.filter_subject.as_deref().is_none_or(|pattern| {
                                it.subscriptions_list.iter().any(|it| {
                                    patterns_overlap(it.subject.as_bytes(), pattern.as_bytes())
                                })
                            })
                        })
                        .collect(),
                };
                open.sort_by_key(|it| wanted.order.key(&it.rank(), now));
                open.truncate(if wanted.open { wanted.most } else { 0 });
                report.connections = open.into_iter().cloned().collect();
                if wanted.closed {
                    let closed = own().filter(|it| it.closed.is_some());
                    report.connections.extend(closed.cloned());
                }
                for row in &mut report.connections {
                    if !wanted.subscriptions {
                        row.subscriptions_list.clear();
                    }
                }
            }
            Query::Accounts => {
                let counters = &report.counters;
                report.accounts.push(AccountReport {
                    account: "$G".into(),
                    figures: AccountFigures {
                        connections: counters.connections,
                        subscriptions: counters.subscriptions,
                        received: Volume {
                            msgs: counters.in_msgs,
                            bytes: counters.in_bytes,
                        },
                        sent: counters.sent(),
                        slow_consumers: counters.slow_consumers,
                        ..AccountFigures::default()
                    },
                    routing: RoutingStats {
                        inserts: counters.inserts,
                        removes: counters.removes,
                        matches: counters.matches,
                        cache_hits: counters.cache_hits,
                        cache_entries: counters.cache_entries,
                        max_fanout: counters.max_fanout,
                        total_fanout: counters.total_fanout,
                    },
                });
            }
            Query::Subscriptions => {
                report.subscriptions = own()
                    .filter(is_open)
                    .flat_map(|it| it.subscriptions_list.clone())
                    .collect();
            }
        }
        report
    }
}

/// A connection with two subscriptions, whose figures grow with its number.
fn connection(cid: u64, user: &str, lang: &str) -> ConnectionReport {
    let subscription = |subject: &str, queue: Option<&str>, sid: &str| SubscriptionReport {
        account: "$G".into(),
        subject: subject.into(),
        queue: queue.map(Into::into),
        sid: sid.into(),
        msgs: cid,
        max: 0,
        cid: ConnectionId(cid),
    };
    ConnectionReport {
        cid: ConnectionId(cid),
        shard: ShardId((cid % 2) as u8),
        address: ([127, 0, 0, 1], 40_000).into(),
        start: WallTime(cid * 1_000_000_000),
        last_activity: WallTime(cid * 1_000_000_000 + 500),
        closed: None,
        rtt: Some(Duration::from_nanos(404_123)),
        pending_bytes: cid,
        in_msgs: cid,
        out_msgs: cid,
        in_bytes: cid,
        out_bytes: cid,
        name_tag: "$G".into(),
        issued: None,
        rate_limited: 0,
        stalls: 0,
        subscriptions: 2,
        name: "n".into(),
        lang: lang.into(),
        version: "1".into(),
        transport: TransportReport::default(),
        authorized_user: user.into(),
        account: "$G".into(),
        subscriptions_list: vec![
            subscription("foo.bar", None, "1"),
            subscription("q.*", Some("g"), "2"),
        ],
    }
}

fn closed(cid: u64, stop_second: u64, reason: &'static str) -> ConnectionReport {
    ConnectionReport {
        closed: Some((WallTime(stop_second * 1_000_000_000), reason)),
        ..connection(cid, "a", "")
    }
}

struct Site {
    address: SocketAddr,
    ready: Arc<AtomicBool>,
    _monitor: Monitor,
}

impl Site {
    fn start(options: Options, connections: Vec<ConnectionReport>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let facts = ServerFacts {
            unrecovered: Arc::default(),
            info: Arc::new(ServerInfo {
                server_id: "NID".into(),
                server_name: "wd".into(),
                git_commit: "abc".into(),
                auth_required: true,
                ..ServerInfo::default()
            }),
            ramjet_version: "0.0.0",
            accounts: Arc::new(Accounts::new(&options).expect("accounts")),
            options: Arc::new(options),
            trusted: Arc::default(),
            token_times: Arc::default(),
            transports: Arc::default(),
            peer_cache: Arc::default(),
            leaf_port: 0,
            http_port: address.port(),
            shards: 2,
            feature_flags: BTreeMap::from([("js_ack_fc_v2".to_owned(), false)]),
            start: WallTime(1_500_000_000),
            config_load: WallTime(1_500_000_000),
        };
        let facts = Arc::new(CurrentFacts::new(facts));
        let ready = Arc::new(AtomicBool::new(true));
        let figures = Arc::new(Fake { connections });
        let answers = Answers::new(facts, figures, Arc::clone(&ready));
        let monitor = Monitor::start(listener, Arc::new(answers));
        Self {
            address,
            ready,
            _monitor: monitor.expect("monitoring starts"),
        }
    }

    /// Clients 5 and 6, and 7 which has gone: what stock was asked about for the fixtures.
    fn plain() -> Self {
        let options = Options {
            tags: vec!["t:1".into()],
            metadata: BTreeMap::from([("zone".into(), "z1".into())]),
            config_digest: "sha256:0".into(),
            ..Options::default()
        };
        let connections = vec![
            connection(5, "a", "wd"),
            connection(6, "b", ""),
            closed(7, 9, "Client Closed"),
        ];
        Self::start(options, connections)
    }

    /// Status, header and body of an answer.
    #[track_caller]
    fn ask(&self, path: &str) -> (u16, String, String) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        self.send(request.as_bytes())
    }

    #[track_caller]
    fn send(&self, request: &[u8]) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).expect("connects");
        let patience = Some(Duration::from_secs(10));
        stream.set_read_timeout(patience).expect("a time-out");
        // The server may answer and close before it has read all of a request too large.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a header");
        let status = head.get(9..12).and_then(|code| code.parse().ok());
        (status.expect("a status"), head.to_lowercase(), body.into())
    }

    #[track_caller]
    fn json(&self, path: &str) -> Value {
        let (_, _, body) = self.ask(path);
        serde_json::from_str(&body).expect(&body)
    }

    #[track_caller]
    fn cids(&self, query: &str) -> Vec<u64> {
        let connz = self.json(&format!("/connz{query}"));
        let rows = connz["connections"].as_array().expect("connections");
        rows.iter().filter_map(|row| row["cid"].as_u64()).collect()
    }
}

/// Names in their order and kinds of values, of an array those of its first element.
fn shape(value: &Value, path: &str, into: &mut Vec<String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    into.push(format!("{path}: {kind}"));
    match value {
        Value::Array(values) => {
            if let Some(first) = values.first() {
                shape(first, &format!("{path}[]"), into);
            }
        }
        // Their fields are data.
        Value::Object(_) if path.ends_with("_stats") && path.contains("http") => {}
        Value::Object(_) if path.ends_with("feature_flags") => {}
        Value::Object(fields) => {
            for (name, value) in fields {
                shape(value, &format!("{path}.{name}"), into);
            }
        }
        _ => {}
    }
}

#[test]
fn answers_have_stocks_fields_in_stocks_order() {
    let site = Site::plain();
    for (path, golden) in [
        (
            "/varz",
            include_str!("../../../tests/fixtures/monitor/varz.json"),
        ),
        (
            "/connz",
            include_str!("../../../tests/fixtures/monitor/connz.json"),
        ),
        (
            "/connz?auth=1&subs=1",
            include_str!("../../../tests/fixtures/monitor/connz_auth_subs.json"),
        ),
        (
            "/connz?auth=1&subs=detail",
            include_str!("../../../tests/fixtures/monitor/connz_auth_detail.json"),
        ),
        (
            "/connz?state=closed",
            include_str!("../../../tests/fixtures/monitor/connz_closed.json"),
        ),
        (
            "/connz?state=closed&auth=1&subs=detail",
            include_str!("../../../tests/fixtures/monitor/connz_closed_detail.json"),
        ),
        (
            "/connz?acc=NOPE",
            include_str!("../../../tests/fixtures/monitor/connz_no_account.json"),
        ),
        (
            "/subsz",
            include_str!("../../../tests/fixtures/monitor/subsz.json"),
        ),
        (
            "/subsz?subs=1&acc=$G",
            include_str!("../../../tests/fixtures/monitor/subsz_subs.json"),
        ),
        (
            "/accountz",
            include_str!("../../../tests/fixtures/monitor/accountz.json"),
        ),
        (
            "/accountz?acc=$G",
            include_str!("../../../tests/fixtures/monitor/accountz_global.json"),
        ),
        (
            "/accstatz?unused=1",
            include_str!("../../../tests/fixtures/monitor/accstatz.json"),
        ),
        (
            "/jsz",
            include_str!("../../../tests/fixtures/monitor/jsz.json"),
        ),
    ] {
        let golden: Value = serde_json::from_str(golden).expect("golden JSON");
        let (mut expected, mut got) = (Vec::new(), Vec::new());
        shape(&golden, "", &mut expected);
        shape(&site.json(path), "", &mut got);
        assert_eq!(got, expected, "{path}");
    }
}

#[test]
fn answers_of_few_bytes_are_stocks_to_the_byte() {
    let site = Site::plain();
    for (path, status, golden) in [
        (
            "/healthz",
            200,
            include_str!("../../../tests/fixtures/monitor/healthz.json"),
        ),
        (
            "/healthz?stream=x&details=1",
            400,
            include_str!("../../../tests/fixtures/monitor/healthz_details.json"),
        ),
        (
            "/ipqueuesz",
            200,
            include_str!("../../../tests/fixtures/monitor/ipqueuesz.json"),
        ),
    ] {
        let (got, head, body) = site.ask(path);
        assert_eq!((got, body.as_str()), (status, golden), "{path}");
        assert!(head.contains("content-type: application/json"), "{head}");
        assert!(head.contains("access-control-allow-origin: *"), "{head}");
    }
}

#[test]
fn mon_002_003_paths_lie_below_the_base_path() {
    let mut options = Options::default();
    options.monitor.http_base_path = "mon/".into();
    let site = Site::start(options, Vec::new());
    for (path, status) in [
        ("/mon", 200),
        ("/mon?x=1", 200),
        ("/mon/varz", 200),
        ("/mon/", 404),
        ("/monvarz", 404),
        ("/mon/varz/", 404),
        ("/varz", 404),
        ("/", 404),
    ] {
        assert_eq!(site.ask(path).0, status, "{path}");
    }
    let (_, head, body) = site.ask("/expvarz");
    assert_eq!(body, "404 page not found\n");
    assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    assert_eq!(site.json("/mon/varz")["http_base_path"], "mon/");
}

#[test]
fn mon_016_requests_are_counted_by_path() {
    let site = Site::plain();
    for path in [
        "/",
        "/connz",
        "/connz?limit=x",
        "/subsz",
        "/subscriptionsz",
        "/raftz",
        "/nowhere",
    ] {
        site.ask(path);
    }
    let expected = serde_json::json!({ "/": 1, "/connz": 2, "/subsz": 2, "/varz": 1 });
    assert_eq!(site.json("/varz")["http_req_stats"], expected);
}

#[test]
fn mon_018_rows_are_sorted_as_asked() {
    let connections = vec![
        ConnectionReport {
            subscriptions: 9,
            rtt: None,
            ..connection(3, "c", "")
        },
        connection(1, "a", ""),
        connection(2, "b", ""),
        closed(4, 20, "Slow Consumer (Write Deadline)"),
        closed(5, 10, "Stale Connection"),
    ];
    let site = Site::start(Options::default(), connections);
    for (sort, expected) in [
        ("cid", [1, 2, 3]),
        ("start", [1, 2, 3]),
        ("subs", [3, 1, 2]),
        ("pending", [3, 2, 1]),
        ("msgs_to", [3, 2, 1]),
        ("msgs_from", [3, 2, 1]),
        ("bytes_to", [3, 2, 1]),
        ("bytes_from", [3, 2, 1]),
        ("last", [3, 2, 1]),
        ("idle", [1, 2, 3]),
        ("uptime", [3, 2, 1]),
        ("rtt", [1, 2, 3]),
    ] {
        assert_eq!(site.cids(&format!("?sort={sort}")), expected, "{sort}");
    }
    for (sort, expected) in [("stop", [4, 5]), ("reason", [4, 5])] {
        let query = format!("?state=closed&sort={sort}");
        assert_eq!(site.cids(&query), expected, "{sort}");
    }
    assert_eq!(site.json("/connz?cid=3")["connections"][0]["rtt"], "0s");
}

#[test]
fn mon_020_the_shard_is_shown_only_to_who_asks() {
    let site = Site::start(Options::default(), vec![connection(3, "c", "")]);
    let first = |query: &str| site.json(query)["connections"][0]["shard"].clone();
    assert_eq!(first("/connz"), serde_json::Value::Null);
    assert_eq!(first("/connz?shard=0"), serde_json::Value::Null);
    assert_eq!(first("/connz?shard=1"), 1);
}

#[test]
fn mon_019_totals_count_before_filters_and_pages() {
    let site = Site::plain();
    // num_connections, total, offset, limit
    for (query, expected) in [
        ("", [2, 2, 0, 1024]),
        ("?state=ANY", [3, 3, 0, 1024]),
        ("?state=all&limit=2&offset=2", [1, 3, 2, 2]),
        ("?user=b", [1, 2, 0, 1024]),
        ("?cid=5", [1, 2, 0, 1]),
        ("?cid=5&offset=1", [0, 2, 1, 1]),
        ("?cid=5&user=nobody", [1, 2, 0, 1]),
        ("?cid=7", [0, 2, 0, 1]),
        ("?cid=7&state=closed", [1, 1, 0, 1]),
        ("?cid=7&state=all", [1, 3, 0, 1]),
        ("?cid=99999", [0, 2, 0, 1]),
        ("?acc=$G", [2, 2, 0, 1024]),
        ("?acc=$SYS", [0, 0, 0, 1024]),
        ("?acc=$SYS&cid=5", [1, 0, 0, 1]),
        ("?acc=NOPE", [0, 0, 0, 1024]),
        ("?mqtt_client=x", [0, 2, 0, 1024]),
        ("?acc=$G&filter_subject=foo.*", [2, 2, 0, 1024]),
        ("?acc=$G&filter_subject=zz", [0, 2, 0, 1024]),
        ("?limit=0&offset=-7", [2, 2, 0, 1024]),
    ] {
        let connz = site.json(&format!("/connz{query}"));
        let got = ["num_connections", "total", "offset", "limit"].map(|name| connz[name].as_i64());
        assert_eq!(got, expected.map(Some), "{query}");
    }
}

#[test]
fn mon_024_of_all_shards_together_the_last_closed_are_kept() {
    let mut options = Options::default();
    options.client.max_closed_clients = 2;
    let gone = (1..=4).map(|cid| closed(cid, 10 - cid, "Client Closed"));
    let site = Site::start(options, gone.collect());
    assert_eq!(site.cids("?state=closed"), [1, 2]);
    assert_eq!(site.json("/connz?state=closed")["total"], 2);
    assert_eq!(site.json("/connz?state=closed&cid=1")["total"], 2);
}

#[test]
fn mon_033_034_healthz_says_what_is_wrong() {
    let site = Site::plain();
    let no_account =
        r#"{"status":"error","error":"\"account\" must not be empty when checking stream health"}"#;
    let no_stream = r#"{"status":"error","error":"\"stream\" must not be empty when checking consumer health"}"#;
    for (query, status, text) in [
        ("", 200, r#"{"status":"ok"}"#),
        ("?details=1", 200, r#"{"status":"ok"}"#),
        ("?js-enabled-only=1", 200, r#"{"status":"ok"}"#),
        ("?account=a&stream=s&consumer=c", 200, r#"{"status":"ok"}"#),
        ("?stream=s", 400, no_account),
        ("?stream=s&consumer=c", 400, no_account),
        ("?consumer=c", 400, no_stream),
        ("?account=a&consumer=c", 400, no_stream),
        (
            "?js-meta-only=2",
            400,
            "Error decoding boolean for 'js-meta-only': strconv.ParseBool: parsing \"2\": invalid syntax",
        ),
    ] {
        let (got, _, body) = site.ask(&format!("/healthz{query}"));
        assert_eq!((got, body.as_str()), (status, text), "{query}");
    }
    site.ready.store(false, Ordering::Release);
    for (query, text) in [
        (
            "",
            r#"{"status":"error","error":"failed to be ready for connections after 1ms: server"}"#,
        ),
        (
            "?details=1",
            r#"{"status":"error","errors":[{"type":"CONNECTION","error":"failed to be ready for connections after 1ms: server"}]}"#,
        ),
    ] {
        let (got, _, body) = site.ask(&format!("/healthz{query}"));
        assert_eq!((got, body.as_str()), (500, text), "{query}");
    }
    let (_, _, metrics) = site.ask("/metrics");
    assert!(metrics.contains("gnatsd_healthz_status{server_id=\"NID\"} 1.0"));
}

#[test]
fn t43_no_page_is_fatal() {
    let site = Site::plain();
    let numbers = [
        "0",
        "1",
        "-1",
        "2147483647",
        "-2147483648",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "99999999999999999999999",
    ];
    for path in [
        "/connz?state=all&subs=1",
        "/connz?cid=5",
        "/subsz?subs=1",
        "/jsz?acc=x",
    ] {
        for (offset, limit) in numbers.iter().flat_map(|&a| numbers.map(|b| (a, b))) {
            let (status, _, body) = site.ask(&format!("{path}&offset={offset}&limit={limit}"));
            let fits = [offset, limit]
                .iter()
                .all(|text| text.parse::<i64>().is_ok());
            assert_eq!(
                status,
                if fits { 200 } else { 400 },
                "{path} {offset} {limit} {body}"
            );
        }
    }
    for cid in numbers {
        let status = if cid.parse::<u64>().is_ok() { 200 } else { 400 };
        assert_eq!(site.ask(&format!("/connz?cid={cid}")).0, status, "{cid}");
    }
}

#[test]
fn mon_001_a_header_has_its_bounds() {
    let site = Site::plain();
    let request = |bytes: usize| {
        let fill = "x".repeat(bytes);
        format!("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nA: {fill}\r\n\r\n")
    };
    assert_eq!(site.send(request(512 * 1024).as_bytes()).0, 200);
    // Refused or cut off; the next one is served.
    let mut stream = TcpStream::connect(site.address).expect("connects");
    let _ = stream.write_all(request(4 * 1024 * 1024).as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(site.ask("/healthz").0, 200);
}

#[test]
fn cli_027_metrics_have_every_number_of_varz() {
    let site = Site::plain();
    let varz = site.json("/varz");
    let (status, head, body) = site.ask("/metrics");
    assert_eq!(status, 200);
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    let fields = varz.as_object().expect("an object");
    for (name, _) in fields.iter().filter(|(_, value)| value.is_number()) {
        let sample = format!("\ngnatsd_varz_{name}{{server_id=\"NID\"}} ");
        assert!(body.contains(&sample), "{name}");
    }
    for sample in [
        "gnatsd_connz_num_connections{server_id=\"NID\"} 2.0",
        "gnatsd_subsz_num_subscriptions{server_id=\"NID\"} 4.0",
        "gnatsd_healthz_status{server_id=\"NID\"} 0.0",
        "gnatsd_varz_ramjet_version{server_id=\"NID\",value=\"0.0.0\"} 1.0",
        "gnatsd_varz_start{server_id=\"NID\"} 1500.0",
        "gnatsd_varz_slow_consumer_stats_clients{server_id=\"NID\"} 0.0",
        "gnatsd_accstatz_subscriptions{server_id=\"NID\",account=\"$G\",account_id=\"$G\",account_name=\"$G\"} 8.0",
    ] {
        assert!(body.lines().any(|line| line == sample), "{sample}\n{body}");
    }
}

#[test]
fn a_monitor_ends_while_its_clients_stay() {
    let site = Site::plain();
    let mut idle = TcpStream::connect(site.address).expect("connects");
    let patience = Some(Duration::from_secs(10));
    idle.set_read_timeout(patience).expect("a time-out");
    idle.write_all(b"GET / HT").expect("half a request");
    drop(site);
    // Closed or reset, but not left open.
    assert!(!matches!(idle.read(&mut [0; 16]), Ok(1..)));
}

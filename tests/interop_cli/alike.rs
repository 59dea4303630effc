//! What the tool says of JetStream with our server, and with the stock one: the same, but for times,
//! rates and random names.

use super::support::server::{Builder, Server};
use super::{A, SYS, Site};

/// A user of an account with limits.
const B: &str = "b:b";
/// A user of an account without JetStream.
const C: &str = "c:c";

const CONFIG: &str = r#"
    server_name: probe
    jetstream { store_dir: "@DIR@/store", max_file: 4GB, max_mem: 64MB }
    accounts {
        SYS { users: [{user: sys, password: s}] }
        A { jetstream: enabled, users: [{user: a, password: a}] }
        B {
            jetstream: {
                max_mem: 10MB, max_file: 100MB, max_streams: 3, max_consumers: 2
                max_ack_pending: 50, store_max_stream_bytes: 50MB, max_bytes_required: true
            }
            users: [{user: b, password: b}]
        }
        C { users: [{user: c, password: c}] }
    }
    system_account: SYS
"#;

/// Both servers.
fn sites() -> [Site; 2] {
    let start = |builder: Builder| Site::of(builder.config(CONFIG).start());
    let stock = super::jetstream::stock_program();
    [
        start(Server::builder()),
        start(Server::builder().program(&stock)),
    ]
}

/// Runs commands one after the other with both servers, and compares what is said and whether they
/// succeed. `!` before one: only the latter. `@` is the server's folder.
fn compare(lines: &[(&str, &str)]) {
    let sites = sites();
    for &(user, line) in lines {
        let (line, is_compared) = match line.strip_prefix('!') {
            Some(line) => (line, false),
            None => (line, true),
        };
        let [ours, stocks] = sites.each_ref().map(|site| {
            let folder = site.server.dir().path().display().to_string();
            let output = site.command(user, &line.replace('@', &folder)).output();
            let output = output.expect("the tool runs");
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text).replace(&folder, "@");
            let said = if is_compared { masked(&text) } else { vec![] };
            (said, output.status.code())
        });
        assert_eq!(ours, stocks, "{line}");
    }
}

/// Lines without frames and without what varies, in an order of their own: the stock server lists
/// what there is in any.
fn masked(text: &str) -> Vec<String> {
    let is_frame = |it: char| ('\u{2500}'..='\u{257f}').contains(&it);
    let lines = text.lines().map(|line| {
        let words = line.split(|it: char| it.is_whitespace() || is_frame(it));
        let words = words.filter(|it| !it.is_empty()).map(mask);
        words.collect::<Vec<_>>().join(" ")
    });
    let mut lines: Vec<_> = lines.filter(|it| !it.is_empty()).collect();
    lines.sort();
    lines
}

/// Times, durations and random names are `#`.
fn mask(word: &str) -> &str {
    let plain = word.rsplit('=').next().unwrap_or(word);
    let plain = plain.trim_matches(['"', ',', '(', ')', '[', ']']);
    let has_digit = plain.contains(|it: char| it.is_ascii_digit());
    let is_name = plain.len() >= 22 && plain.bytes().all(|it| it.is_ascii_alphanumeric());
    let is_time = plain.contains(':') || plain.split('-').count() == 3;
    let is_duration = plain.ends_with('s') && plain.starts_with(|it: char| it.is_ascii_digit());
    let is_name = is_name || plain.starts_with("_INBOX.");
    match has_digit && (is_time || is_duration) || is_name {
        true => "#",
        false => word,
    }
}

/// A stream with messages and some that depend on it.
const FILLED: [(&str, &str); 3] = [
    (A, "stream add S --subjects=s.> --defaults"),
    (A, "!pub s.a --count=30 --quiet -H Key:v hello{{Count}}"),
    (A, "!pub s.b --jetstream one"),
];

#[test]
#[ignore = "needs Go, its module proxy and the stock server"]
fn cli_029_streams_are_alike() {
    let more = [
        "stream add S --subjects=s.> --defaults",
        "stream add S --subjects=t.> --defaults",
        "stream add X --subjects=s.a --defaults",
        "stream add R --subjects=r --replicas=3 --defaults",
        "stream add P --subjects=p --cluster=x --defaults",
        "stream add BAD --subjects=bad..x --defaults",
        "stream add BAD --subjects=$JS.API.x --defaults",
        "stream add ALL --subjects=all.> --allow-schedules --allow-msg-ttl --allow-rollup \
         --allow-batch --allow-fast --subject-del-markers-ttl=1m --first-sequence=100 \
         --persist-mode=async --limit-consumer-inactive=1m --metadata=k:v --defaults",
        "stream add MX --subjects=mx --max-msg-size=10 --max-msgs=5 --discard=new \
         --max-bytes=1000 --max-age=1m --max-consumers=1 --no-ack --defaults",
        "stream add CTR --subjects=ctr.> --allow-counter --allow-direct --defaults",
        "counter increment ctr.a 5",
        "counter decrement ctr.a 2",
        "counter view ctr.a",
        "counter get ctr.none",
        "stream info S",
        "stream info S --json",
        "stream state S",
        "stream subjects S",
        "stream ls --all",
        "stream report",
        "stream find --subject=s.a --names",
        "stream find --api-level=1",
        "stream get S 5",
        "stream get S 500",
        "stream get S --last-for=s.b",
        "stream view S 3 --id=20 --raw",
        "stream edit S --max-msgs=25 --force",
        "stream edit S --max-msgs=25 --force",
        "stream edit S --retention=workqueue --force",
        "stream edit S --replicas=3 --force",
        "stream edit S --max-age=1h --dupe-window=2h --force",
        "stream edit S --allow-msg-ttl --subject-del-markers-ttl=5m --allow-rollup --force",
        "stream edit S --allow-schedules --allow-batch --allow-fast --force",
        "stream edit S --allow-counter --force",
        "stream edit S --compression=s2 --force",
        "stream edit S --republish-source=s.> --republish-destination=s.x.> --force",
        "stream edit S --republish-source=s.> --republish-destination=r.> --force",
        "stream edit S --no-republish --force",
        "stream edit S --transform-source=s.* --transform-destination=s.x.{{wildcard(1)}} --force",
        "stream edit S --no-transform --force",
        "stream edit S --mirror=x --force",
        "stream rmm S 25 --force",
        "stream rmm S 25 --force",
        "stream rmm S 1 --force",
        "stream rmm S 9999 --force",
        "stream gaps S --force --no-progress",
        "stream purge S --seq=20 --force",
        "stream purge S --seq=20 --keep=1 --force",
        "stream purge S --subject=s.a --keep=3 --force",
        "stream copy S T --subjects=t.>",
        "stream seal T --force",
        "pub t.x --jetstream hi",
        "stream purge T --force",
        "stream edit T --max-msgs=5 --force",
        "stream cluster step-down S",
        "stream cluster balance",
        "stream cluster cancel-move S",
        "stream cluster evacuate S x",
        "stream rm T --force",
        "stream rm T --force",
    ];
    let more = more.map(|line| (A, line));
    compare(&[&FILLED[..], &more].concat());
}

#[test]
#[ignore = "needs Go, its module proxy and the stock server"]
fn cli_030_consumers_are_alike() {
    let more = [
        "consumer add S p --pull --defaults",
        "consumer add S p --pull --ack=all --defaults",
        "consumer next S p --count=2 --ack",
        "consumer next S p --no-ack",
        "consumer info S p",
        "consumer state S p",
        "consumer ls S",
        "consumer ls NONE",
        "consumer report S",
        "consumer find S --pull",
        "consumer find S --pending=100 --ack-pending=10",
        "consumer pause S p 1h --force",
        "consumer resume S p --force",
        "consumer resume S p --force",
        "consumer edit S p --max-pending=5 --force",
        "consumer edit S p --max-deliver=5 --backoff=linear --backoff-steps=3 --backoff-min=1s \
         --backoff-max=5s --force",
        "consumer edit S p --filter=s.a --filter=s.b --force",
        "consumer edit S p --filter=s.a --filter=s.> --force",
        "consumer edit S p --target=x --force",
        "consumer edit S p --replicas=3 --force",
        "consumer copy S p q --ack=none",
        "consumer reset S p --force",
        "consumer reset S p --sequence=20 --force",
        "consumer info S p",
        "consumer reset S p --sequence=2000 --force",
        "consumer reset S none --force",
        "consumer add S pin --pull --pinned-groups=g --pinned-ttl=2m --defaults",
        "consumer next S pin",
        "consumer unpin S pin g --force",
        "consumer unpin S pin other --force",
        "consumer unpin S p g --force",
        "consumer find S --pinned",
        "consumer add S over --pull --overflow-groups=g --defaults",
        "consumer add S first --pull --prioritized-groups=g --defaults",
        "consumer add S push --target=to.me --ack=none --defaults",
        "consumer add S group --target=to.you --deliver-group=g --ack=explicit --heartbeat=5s \
         --flow-control --deliver=last --defaults",
        "consumer add S r --replicas=3 --pull --defaults",
        "consumer add S later --pull --pause=1h --defaults",
        "consumer add S by --pull --deliver=10 --filter=s.a --memory --defaults",
        "consumer add S nothing --pull --filter=x.y --defaults",
        "consumer add S o.ther --pull --defaults",
        "consumer add NONE x --pull --defaults",
        "consumer cluster step-down S p",
        "consumer cluster balance S",
        "consumer cluster evacuate S p x",
        "consumer report S",
        "consumer rm S q --force",
        "consumer rm S q --force",
    ];
    let more = more.map(|line| (A, line));
    compare(&[&FILLED[..], &more].concat());
}

#[test]
#[ignore = "needs Go, its module proxy and the stock server"]
fn cli_031_buckets_and_objects_are_alike() {
    let lines = [
        "kv add K --history=5",
        "kv add K --history=6",
        "kv add L --ttl=1h --marker-ttl=10m --max-value-size=100 --max-bucket-size=10000 \
         --storage=memory --metadata=a:b --republish-source=$KV.L.> --republish-destination=r.>",
        "kv add C --compress --history=64",
        "kv add H --history=65",
        "kv add R --replicas=3",
        "kv put K a 1",
        "kv put K a 2",
        "kv put K c.d.e y",
        "kv put K .x y",
        "kv put NONE x y",
        "kv create K a 3",
        "kv create K ttl 3 --ttl=1h",
        "kv create L ttl 3 --ttl=1h",
        "kv update K a 4 1",
        "kv update K a 4 2",
        "kv get K a --raw",
        "kv get K a --revision=1",
        "kv get K a --revision=100",
        "kv get K none",
        "kv history K a",
        "kv revert K a 1 --force",
        "kv ls",
        "kv ls K --verbose --display-value",
        "kv ls K c.>",
        "kv del K a --force",
        "kv history K a",
        "kv purge K a --force",
        "kv compact K --force",
        "kv edit K --history=10 --description=y",
        "kv edit K --marker-ttl=1h",
        "kv edit K --replicas=3",
        "kv put L long 01234567890123456789012345678901234567890123456789\
         012345678901234567890123456789012345678901234567890123456789",
        "kv status K",
        "kv info L",
        "stream info KV_L --json",
        "server check kv --bucket=K",
        "server check kv --bucket=K --key=none",
        "server check kv --bucket=NONE",
        "kv rm C --force",
        "kv rm C --force",
        "object add O",
        "object add P --ttl=1h --max-bucket-size=1000000 --storage=memory --compress",
        "object add Q --replicas=3",
        "object put O @/nats.conf --name=o -H=a:b --no-progress",
        "object put O @/nats.conf --name=o --no-progress --force",
        "object put NONE @/nats.conf --no-progress",
        "object ls",
        "object info O none",
        "object get O o -O @/got --no-progress",
        "object get O none -O @/got --no-progress --force",
        "object edit O --ttl=1h --description=x",
        "object rm O o --force",
        "object rm O o --force",
        "object seal O --force",
        "object put O @/nats.conf --name=p --no-progress",
        "object rm O --force",
        "object rm O --force",
    ];
    compare(&lines.map(|line| (A, line)));
}

#[test]
#[ignore = "needs Go, its module proxy and the stock server"]
fn cli_032_checks_reports_and_limits_are_alike() {
    let more = [
        (A, "stream add M --mirror=S --defaults"),
        (A, "consumer add S p --pull --defaults"),
        (A, "!consumer next S p --count=31 --ack"),
        (A, "server check stream --stream=S"),
        (
            A,
            "server check stream --stream=S --msgs-warn=100 --msgs-critical=1",
        ),
        (
            A,
            "server check stream --stream=S --subjects-warn=1 --subjects-critical=2",
        ),
        (A, "server check stream --stream=S --peer-expect=1"),
        (A, "server check stream --stream=NONE"),
        (A, "server check consumer --stream=S --consumer=p"),
        (
            A,
            "server check consumer --stream=S --consumer=p --unprocessed-critical=1",
        ),
        (A, "server check consumer --stream=S --consumer=none"),
        (
            A,
            "server check message --stream=S --subject=s.a --content=nope",
        ),
        (A, "server check message --stream=S --subject=s.none"),
        (A, "server check jetstream"),
        (
            A,
            "server check jetstream --streams-warn=1 --streams-critical=2",
        ),
        (
            SYS,
            "server check meta --expect=1 --lag-critical=1 --seen-critical=1s",
        ),
        (A, "account tls"),
        (C, "account info --json"),
        (C, "stream ls"),
        (C, "stream add X --subjects=x --defaults"),
        (B, "stream add B1 --subjects=b1 --defaults"),
        (B, "stream add B1 --subjects=b1 --max-bytes=60MB --defaults"),
        (B, "stream add B1 --subjects=b1 --max-bytes=40MB --defaults"),
        (B, "stream add B2 --subjects=b2 --max-bytes=40MB --defaults"),
        (B, "stream add B3 --subjects=b3 --max-bytes=40MB --defaults"),
        (B, "stream edit B1 --max-bytes=-1 --force"),
        (B, "consumer add B1 c1 --pull --defaults"),
        (B, "consumer add B1 c1 --pull --max-pending=100 --defaults"),
        (B, "consumer add B1 c1 --pull --max-pending=20 --defaults"),
        (B, "consumer add B1 c2 --pull --max-pending=20 --defaults"),
        (B, "consumer add B1 c3 --pull --max-pending=20 --defaults"),
        (B, "server check jetstream"),
        (
            B,
            "server check jetstream --streams-warn=10 --streams-critical=20",
        ),
        (SYS, "server report accounts"),
        (SYS, "server report health"),
        (SYS, "server report downgrade 0"),
        (SYS, "server report downgrade 1"),
        (SYS, "!server stream-check"),
        (SYS, "server cluster step-down --force"),
        (SYS, "server cluster balance"),
        (SYS, "server cluster peer-remove x --force"),
        (SYS, "server account purge B --force"),
        (B, "stream ls"),
        (SYS, "stream ls"),
    ];
    compare(&[&FILLED[..], &more].concat());
}

//! Configuration files and command lines against what the stock server printed for them.
//!
//! `fixtures/config/stock.json` holds files, exit codes and standard error of `nats-server -t` 2.15.1.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use ramjet::ops::cli::{self, CliError, Command};
use ramjet::ops::config::{self, Configured};
use ramjet::options::{
    AccountTiers, JetStreamAccountLimits, JetStreamLimits, JetStreamOptions, StoreCipher,
};

/// The environment the stock server had.
fn environment(name: &str) -> Option<String> {
    let value = match name {
        "RAMJET_TEXT" => "a-b",
        "RAMJET_NUMBER" => "4300",
        "RAMJET_LIST" => "[a, {b: 1}]",
        "RAMJET_CHAIN" => "$RAMJET_LIST",
        "RAMJET_LOOP" => "$RAMJET_LOOP",
        _ => return None,
    };
    Some(value.to_owned())
}

fn command(arguments: &[&str]) -> Result<Command, CliError> {
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    cli::parse(&arguments, &environment)
}

/// What a run with these arguments and this file gives; `@` stands for the file.
fn with_file(text: &str, arguments: &[&str]) -> Result<Configured, String> {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("q.conf");
    fs::write(&path, text).expect("file");
    let path = path.to_str().expect("path");
    let arguments: Vec<&str> = arguments
        .iter()
        .map(|it| if *it == "@" { path } else { *it })
        .collect();
    match command(&arguments) {
        Ok(Command::Run(configured)) => Ok(*configured),
        Ok(other) => Err(other.message()),
        Err(error) => Err(error.stderr),
    }
    .map_err(|it| it.replace(path, "q.conf"))
}

#[test]
fn files_give_the_text_and_digest_of_stock() {
    let cases: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("fixtures/config/stock.json")).expect("fixture");
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("q.conf");
    let name = path.to_str().expect("path");
    for case in cases {
        let text = case["conf"].as_str().expect("conf");
        fs::write(&path, text).expect("file");
        let (stderr, exit) = match command(&["-t", "-c", name]) {
            Ok(command) => (command.message(), 0),
            Err(error) => (error.stderr, error.exit_code),
        };
        let stderr = stderr.replace(name, "q.conf");
        let stderr = stderr.replace(&format!("{}/", folder.path().display()), "");
        assert_eq!(
            (sorted(&stderr), u64::from(exit)),
            (
                sorted(case["stderr"].as_str().expect("stderr")),
                case["exit"].as_u64().expect("exit")
            ),
            "{} {text:?}",
            case["row"]
        );
    }
}

/// Stock walks its maps in random order, so several errors come in any.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.trim_start_matches("nats-server: ").lines().collect();
    lines.sort_unstable();
    lines
}

/// CFG-15, CFG-16: keys of the file are merged in place, relative to the including file.
#[test]
fn includes_are_relative_to_the_including_file() {
    let folder = tempfile::tempdir().expect("folder");
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("sub")).expect("folder");
    fs::write(
        at("a.conf"),
        "port: 1\nauthorization { include sub/b.conf }\n",
    )
    .expect("file");
    fs::write(at("sub/b.conf"), "user: u\ninclude './c.conf'\n").expect("file");
    fs::write(at("sub/c.conf"), "password: p\n").expect("file");
    let options = config::load(&at("a.conf"), &environment)
        .expect("valid")
        .options;
    assert_eq!(options.auth.username.as_deref(), Some("u"));
    assert_eq!(options.auth.password.as_deref(), Some("p"));

    fs::write(at("sub/c.conf"), "password: 3\n").expect("file");
    let error = config::load(&at("a.conf"), &environment).expect_err("type");
    let name = at("sub/c.conf");
    let expected = format!(
        "{}:1:0: interface conversion: interface {{}} is int64, not string\n",
        name.display()
    );
    assert_eq!(error.to_string(), expected);
}

/// Files that would exhaust stack or memory end in an error.
#[test]
fn hostile_files_end_in_an_error() {
    let laughs: String = (1..40).fold("a0 = [x, x]\n".into(), |text, n| {
        format!("{text}a{n} = [$a{}, $a{}]\n", n - 1, n - 1)
    });
    let cases = [
        (
            "a = ".to_owned() + &"[".repeat(100_000),
            "nested more than 100",
        ),
        (
            "a ".to_owned() + &"{a ".repeat(100_000),
            "nested more than 100",
        ),
        ("{".repeat(100_000), "nested more than 100"),
        (laughs, "unfold to more than"),
        ("include \"q.conf\"\n".to_owned(), "nested more than 16"),
        ("a = $RAMJET_LOOP".to_owned(), "variable reference cycle"),
    ];
    for (text, expected) in cases {
        let error = with_file(&text, &["-c", "@"]).expect_err("refused");
        assert!(error.contains(expected), "{error}");
    }
}

/// A key whose absence would let somebody in is refused, with file, line and cure.
#[test]
fn trust_that_cannot_be_read_is_refused() {
    for (text, at) in [
        ("port: 1\noperator: x", "2:1: error parsing operator JWT: "),
        ("operator: eyJ", "1:0: error parsing operator JWT: "),
        ("resolver: nowhere", "1:0: error parsing account resolver"),
        (
            "authorization { auth_callout {} }",
            "1:16: Authorization callouts require an issuer",
        ),
    ] {
        let error = with_file(text, &["-c", "@"]).expect_err(text);
        assert!(error.contains(at), "{error}");
    }
}

/// JS-244, JS-246, JS-247.
#[test]
fn jetstream_is_read_into_options() {
    let text = "
        jetstream {
            store_dir: /data, max_mem: \"64M\", max_file: 1073741824, domain: hub, strict: false
            sync_interval: \"10s\", key: secret, prev_key: old, cipher: AES
            limits {
                max_ack_pending: 7, max_request_batch: 8, duplicate_window: \"1m\"
                default_max_consumers: 9, max_ha_assets: 1
                batch { max_inflight_per_stream: 1, max_inflight_total: 2, max_msgs: 3, timeout: \"1s\" }
            }
            max_buffered_msgs: 5, max_buffered_size: \"1K\", request_queue_limit: 6, info_queue_limit: 0
            unique_tag: a, meta_compact: 3, max_concurrent_io: 16
        }
        accounts {
            A { jetstream: enabled }
            B { jetstream { max_mem: 1, disk: 2, streams: 3, consumers: 4, max_ack_pending: 5
                            mem_max_stream_bytes: 6, disk_max_stream_bytes: 7, max_bytes: true } }
            C { jetstream: false }
            D {}
        }
    ";
    let options = with_file(text, &["-c", "@"]).expect("valid").options;
    let limits = JetStreamLimits {
        max_ack_pending: 7,
        max_request_batch: 8,
        duplicate_window: Duration::from_secs(60),
        default_max_consumers: 9,
        batch_max_inflight_per_stream: 1,
        batch_max_inflight_total: 2,
        batch_max_msgs: 3,
        batch_timeout: Duration::from_secs(1),
    };
    let expected = JetStreamOptions {
        enabled: true,
        store_dir: Some("/data".into()),
        max_memory: Some(64 << 20),
        max_storage: Some(1 << 30),
        domain: Some("hub".to_owned()),
        strict: false,
        sync_interval: Duration::from_secs(10),
        sync_given: true,
        key: Some("secret".to_owned()),
        previous_key: Some("old".to_owned()),
        cipher: StoreCipher::Aes,
        limits,
        max_buffered_msgs: 5,
        max_buffered_size: 1024,
        request_queue_limit: 6,
        ..JetStreamOptions::default()
    };
    assert_eq!(options.jetstream, expected);
    let all = JetStreamAccountLimits::default();
    let some = JetStreamAccountLimits {
        max_memory: 1,
        max_storage: 2,
        max_streams: 3,
        max_consumers: 4,
        max_ack_pending: 5,
        memory_max_stream_bytes: 6,
        storage_max_stream_bytes: 7,
        max_bytes_required: true,
    };
    let accounts = options.accounts.iter().map(|it| it.jetstream.clone());
    let accounts: Vec<_> = accounts.collect();
    let [all, some] = [all, some].map(|it| Some(AccountTiers::One(it)));
    assert_eq!(accounts, [all, some, None, None]);

    for (text, enabled) in [
        ("jetstream: enabled", true),
        ("jetstream: true", true),
        ("jetstream {}", true),
        ("jetstream: disabled", false),
        ("jetstream { enabled: false, max_mem: 5 }", false),
        ("", false),
    ] {
        let options = with_file(text, &["-c", "@"]).expect(text).options;
        assert_eq!(options.jetstream.enabled, enabled, "{text}");
    }
    let text = "jetstream { sync: always, max_mem: -1, max_file: 0 }";
    let jetstream = with_file(text, &["-c", "@"])
        .expect("valid")
        .options
        .jetstream;
    assert!(jetstream.sync_always && jetstream.sync_interval == Duration::from_secs(120));
    assert_eq!(
        (jetstream.max_memory, jetstream.max_storage),
        (None, Some(0))
    );
    let jetstream = with_file("", &["-c", "@", "-js", "-sd", "/x"]).expect("valid");
    let jetstream = jetstream.options.jetstream;
    assert!(jetstream.enabled && jetstream.store_dir == Some("/x".into()));
}

/// Texts of 2.15.1.
#[test]
fn jetstream_that_cannot_be_is_refused() {
    for (text, expected) in [
        (
            "store_dir: /b\njetstream { store_dir: /a }",
            "q.conf:2:13: Duplicate 'store_dir' configuration",
        ),
        (
            "jetstream { limits { zzz: 5 } }",
            "q.conf:1:21: unknown field \"zzz\"",
        ),
        (
            "jetstream { max_mem: \"5X\" }",
            "q.conf:1:12: max_mem_store sizes defined as strings must end in K, M, G, T",
        ),
        (
            "jetstream { max_file: {} }",
            "q.conf:1:12: max_file_store must be int64 or string",
        ),
        (
            "jetstream { cipher: foo }",
            "q.conf:1:12: Unknown cipher type: \"foo\"",
        ),
        (
            "accounts { A { jetstream { cluster_traffic: x } } }",
            "q.conf:1:27: Expected 'system' or 'owner' string value for \"cluster_traffic\", got x",
        ),
        (
            "accounts { A { jetstream: foo } }",
            "Expected 'enabled' or 'disabled' for string value, got 'foo'",
        ),
        (
            "jetstream { domain: \"a.b\" }",
            "invalid domain name: may not contain ., * or >",
        ),
        (
            "jetstream { domain: \"a b\" }",
            "invalid domain name: derived \"$JS.a b.API.>\" is not a valid subject",
        ),
        (
            "default_js_domain { X: a }",
            "in non operator mode, `default_js_domain` references non existing account \"X\"",
        ),
        (
            "accounts { X { jetstream: true } }\ndefault_js_domain { X: a }",
            "default_js_domain contains account name \"X\" with enabled JetStream",
        ),
        (
            "default_js_domain { \"$G\": \"a b\" }",
            "default_js_domain contains account \"$G\" with invalid domain name \"a b\"",
        ),
        (
            "default_js_domain { \"$SYS\": a }",
            "in non operator mode, `default_js_domain` references non existing account \"$SYS\"",
        ),
    ] {
        let error = with_file(text, &["-c", "@"]).expect_err(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

/// A file of the wild starts: what does nothing yet is named, once.
#[test]
fn features_to_come_are_named_inactive() {
    let text = "
        http: -1, ports_file_dir: /tmp, server_tags: [a, B]
        jetstream { store_dir: /data, max_mem: 64MiB }
        leafnodes { port: -1 }
        websocket { port: -1, no_tls: true }
        accounts { $SYS { users: [ {user: s, password: p} ] } }
        mqtt: {}
    ";
    let configured = with_file(text, &["-c", "@", "-js", "-sd=/x"]).expect("valid");
    assert_eq!(
        configured.inactive_line().as_deref(),
        Some("Accepted, not active yet: mqtt")
    );
    let folder = configured.options.jetstream.store_dir.as_deref();
    assert_eq!(folder, Some(std::path::Path::new("/x")));
    assert_eq!(configured.options.tags, ["a", "b"]);
    assert_eq!(configured.options.monitor.http_port, -1);
}

/// CFG-12, PROC-11, PROC-14: a chart's file, with a variable that holds a block.
#[test]
fn files_of_the_wild() {
    let text = "
        server_name: $RAMJET_TEXT
        lame_duck_grace_period: 10s, lame_duck_duration: 30s
        pid_file: \"/var/run/nats/nats.pid\"
        max_payload: 8MB; write_deadline: \"2s\"
        SHARED = { publish: [\"a.>\", b], allow_responses: true }
        authorization {
          default_permissions = { subscribe: \"x\" }
          users = [
            {user: a, pass: $2a$11$W2zko751KUvVy59mUTWmpOdWjpEm5qhcCZRd05GjI, permissions: $SHARED}
            {username: b, password: 'p'}
          ]
        }
        no_auth_user: b
    ";
    let options = with_file(text, &["-c", "@"]).expect("valid").options;
    assert_eq!(options.server_name.as_deref(), Some("a-b"));
    assert_eq!(options.client.max_payload, 8 * 1024 * 1024);
    let [first, second] = options.auth.users.as_slice() else {
        panic!("two users")
    };
    assert!(first.password.starts_with("$2a$11$"));
    let publish = first
        .permissions
        .as_ref()
        .and_then(|it| it.publish.as_ref());
    assert_eq!(
        publish.and_then(|it| it.allow.as_deref()),
        Some(["a.>".to_owned(), "b".to_owned()].as_slice())
    );
    let subscribe = second
        .permissions
        .as_ref()
        .and_then(|it| it.subscribe.as_ref());
    assert_eq!(
        subscribe.and_then(|it| it.allow.as_deref()),
        Some(["x".to_owned()].as_slice())
    );
    assert_eq!(
        config::start_warnings(&options),
        [config::StartWarning::PlaintextPasswords]
    );
}

/// CFG-75, CORE-54, CORE-95, AUTH-5.
#[test]
fn options_that_do_not_go_together() {
    for (text, expected) in [
        (
            "lame_duck_duration: \"30s\", lame_duck_grace_period: \"30s\"",
            "lame duck grace period (30s) should be strictly lower than lame duck duration (30s)",
        ),
        (
            "max_payload: 10mb, max_pending: 1mb",
            "max_payload (10485760) cannot be higher than max_pending (1048576)",
        ),
        (
            "no_auth_user: x",
            "no_auth_user: \"x\" present, but users/nkeys are not defined",
        ),
        (
            "authorization { users: [ {user: a} ] }\nno_auth_user: x",
            "no_auth_user: \"x\" not present as user or nkey in authorization block or account \
             configuration",
        ),
    ] {
        let error = with_file(text, &["-c", "@"]).expect_err(text);
        assert_eq!(error, format!("nats-server: {expected}\n"));
    }
}

/// CFG-78..83, PROC-3: spellings, order, and flags over the file.
#[test]
fn flags() {
    let run = |arguments: &[&str]| with_file("port: 1\ndebug: true\nuser: x", arguments);
    let options = |arguments: &[&str]| match command(arguments) {
        Ok(Command::Run(configured)) => configured.options,
        other => panic!("{arguments:?}: {other:?}"),
    };
    assert!(run(&["-c", "@"]).is_err(), "unknown key");
    for arguments in [
        ["-p", "7"].as_slice(),
        &["--port", "7"],
        &["-p=7"],
        &["--port=0x7"],
        &["-p", "6", "--port", "7"],
    ] {
        assert_eq!(options(arguments).port, 7, "{arguments:?}");
    }
    assert_eq!(options(&["-p", "-1"]).port, -1);
    assert_eq!(options(&["-p", "0"]).port, 4222);
    assert!(options(&["-DV"]).log.debug);
    assert!(options(&["-DVV"]).log.trace_verbose);
    assert!(!options(&["-T=false"]).log.logtime);
    assert_eq!(options(&["--shards", "2"]).shards, Some(2));
    let over = with_file("port: 1\ndebug: true", &["-c", "@", "-p", "2", "-D=false"]);
    let over = over.expect("valid").options;
    assert_eq!((over.port, over.log.debug), (2, false));

    assert_eq!(command(&["-v", "-c", "nothing"]), Ok(Command::PrintVersion));
    assert_eq!(command(&["VERSION"]), Ok(Command::PrintVersion));
    assert_eq!(command(&["help", "-x"]), Ok(Command::PrintHelp));
    assert_eq!(Command::PrintVersion.message(), "nats-server: v2.15.1\n");
    assert_eq!(
        command(&["-sl=ldm=/run/x.pid"]),
        Ok(Command::Signal {
            command: "ldm".into(),
            target: "/run/x.pid".into()
        })
    );
    for (arguments, stderr, exit_code) in [
        (
            ["-xyz"].as_slice(),
            "flag provided but not defined: -xyz\n",
            0,
        ),
        (&["-p"], "flag needs an argument: -p\n", 0),
        (
            &["-p", "abc"],
            "invalid value \"abc\" for flag -p: parse error\n",
            0,
        ),
        (
            &["-p", "99999999999999999999"],
            "invalid value \"99999999999999999999\" for flag -p: value out of range\n",
            0,
        ),
        (&["---x"], "bad flag syntax: ---x\n", 0),
        (&["-=3"], "bad flag syntax: -=3\n", 0),
        (
            &["-D=maybe"],
            "invalid boolean value \"maybe\" for -D: parse error\n",
            0,
        ),
        (&["foo"], "nats-server: unrecognized command: \"foo\"\n", 1),
        (&["-"], "nats-server: unrecognized command: \"-\"\n", 1),
        (
            &["--", "foo"],
            "nats-server: unrecognized command: \"foo\"\n",
            1,
        ),
        (
            &["-t"],
            "nats-server: must specify [-c, --config] option to check configuration file syntax\n",
            1,
        ),
        (
            &["-c", "no-such.conf"],
            "nats-server: open no-such.conf: no such file or directory\n",
            1,
        ),
        (
            &["--routes", "nats://a"],
            "nats-server: solicited routes require cluster capabilities, e.g. --cluster\n",
            1,
        ),
        (
            &["--tls"],
            "nats-server: TLS Server certificate must be present and valid\n",
            1,
        ),
        (
            &["--tls", "--tlscert", "c", "--tlskey", "k"],
            "nats-server: error parsing X509 certificate/key pair: open c: no such file or \
             directory\n",
            1,
        ),
        (
            &["--signal", "ldm=a=b"],
            "nats-server: invalid signal parameters: [b]\n",
            1,
        ),
    ] {
        let error = command(arguments).expect_err("refused");
        assert_eq!(
            (error.stderr.as_str(), error.exit_code),
            (stderr, exit_code)
        );
        assert_eq!(error.stdout.is_empty(), exit_code != 0);
    }
    let closed = with_file("tls { cert_file: a }", &["-c", "@", "--tls=false"]);
    assert_eq!(closed.expect("without TLS").options.tls, None);
}

/// CFG-84.
#[test]
fn secrets_of_the_command_line_are_not_shown() {
    let arguments = [
        "ramjet",
        "--user",
        "u",
        "-pass=p",
        "--cluster",
        "nats://a:b@h:1",
        "-p",
        "1",
        "--routes=nats://x:y@h:1,nats://h:2",
    ];
    let shown = cli::redacted(&arguments.map(str::to_owned));
    assert_eq!(
        shown,
        [
            "ramjet",
            "--user",
            "[REDACTED]",
            "-pass=[REDACTED]",
            "--cluster",
            "nats://[REDACTED]@h:1",
            "-p",
            "1",
            "--routes=nats://[REDACTED]@h:1,nats://h:2",
        ]
    );
}

/// The name of a file that does not exist is shown as given.
#[test]
fn missing_files_are_named() {
    let error = config::load(Path::new("a/b.conf"), &environment).expect_err("missing");
    assert_eq!(
        error.to_string(),
        "open a/b.conf: no such file or directory"
    );
}

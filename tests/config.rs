//! Configuration files and command lines against what the stock server printed for them.
//!
//! `fixtures/config/stock.json` holds files, exit codes and standard error of `nats-server -t` 2.15.1.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use ramjet::ops::cli::{self, CliError, Command};
use ramjet::ops::config::{self, Configured};

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

#[test]
fn keys_that_protect_are_refused() {
    for text in [
        "port: 1\ntls { ocsp_peer: true }",
        "port: 1\ntls { ocsp_peer: { verify: true } }",
    ] {
        let error = with_file(text, &["-c", "@"]).expect_err(text);
        assert!(error.contains("2:1: ocsp_peer is not"), "{error}");
        assert!(error.contains("remove"), "{error}");
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
        Some("Accepted, not active yet: jetstream, mqtt, --jetstream")
    );
    let folder = configured.options.store_dir.as_deref();
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

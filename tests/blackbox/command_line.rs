//! Section 2.4 and PROC-3: flags and bare words.

use crate::support::server::{Finished, Server};
use serde_json::json;

#[track_caller]
fn run(flags: &str) -> Finished {
    Server::builder().flags(flags).run()
}

/// `flags` end with exit code 1 and all of `texts` on standard error.
#[track_caller]
fn fails(flags: &str, texts: &[&str]) {
    let run = run(flags);
    assert_eq!(run.code, 1, "{flags}: {}", run.stderr);
    for text in texts {
        assert!(
            run.stderr.contains(text),
            "{flags} without {text}: {}",
            run.stderr
        );
    }
}

#[test]
fn cfg_078_flags_take_one_or_two_dashes_and_blank_or_equals() {
    for flags in [
        "-a 127.0.0.1 -p -1 -m -1 -n x",
        "--addr 127.0.0.1 --port -1 --http_port -1 --name x",
        "-addr=127.0.0.1 -port=-1 -http_port=-1 -server_name=x",
        "--net=127.0.0.1 --p=-1 --m=-1 --server_name=x",
        "-net 127.0.0.1 -p=-1 -m=-1 -name x",
    ] {
        let server = Server::builder().own_listener().flags(flags).start();
        assert_eq!(server.client().info["server_name"], "x", "{flags}");
        assert_eq!(server.get("/healthz").status, 200, "{flags}");
    }
}

#[test]
fn cfg_078_an_unknown_flag_prints_the_usage_and_exits_with_zero() {
    let run = run("-p -1 --nonsense");
    assert_eq!(run.code, 0);
    assert!(
        run.stderr
            .contains("flag provided but not defined: -nonsense"),
        "{}",
        run.stderr
    );
    assert!((run.stdout + &run.stderr).contains("Usage: nats-server [options]"));
}

#[test]
fn cfg_078_a_bad_value_is_named() {
    for (flags, text) in [
        ("-p abc", "invalid value \"abc\" for flag -p"),
        ("-p", "flag needs an argument: -p"),
        ("-D=maybe", "invalid boolean value \"maybe\" for -D"),
    ] {
        let run = run(flags);
        assert!(run.stderr.contains(text), "{flags}: {}", run.stderr);
    }
}

#[test]
fn cfg_078_booleans_take_a_value_only_with_equals() {
    let server = Server::builder()
        .flags("-D=true -V=false -T=1 -js=false")
        .start();
    server.client();
    server.logged("[DBG]");
    assert_eq!(server.count_in_log("[TRC]"), 0);
}

#[test]
fn cfg_079_help_names_every_flag() {
    for flags in ["-h", "--help", "help"] {
        let run = run(flags);
        assert_eq!(run.code, 0, "{flags}");
        let text = run.stdout + &run.stderr;
        assert!(text.contains("Usage: nats-server [options]"), "{flags}");
        for flag in [
            "--addr",
            "--port",
            "--server_name",
            "--pid",
            "--http_port",
            "--https_port",
            "--config",
            "-t ",
            "--signal",
            "--client_advertise",
            "--ports_file_dir",
            "--log ",
            "--logtime",
            "--logtime_utc",
            "--syslog",
            "--remote_syslog",
            "--debug",
            "--trace",
            "-VV",
            "-DV",
            "-DVV",
            "--log_size_limit",
            "--max_traced_msg_len",
            "--jetstream",
            "--store_dir",
            "--user",
            "--pass",
            "--auth",
            "--tls ",
            "--tlscert",
            "--tlskey",
            "--tlsverify",
            "--tlscacert",
            "--routes",
            "--cluster ",
            "--cluster_name",
            "--no_advertise",
            "--cluster_advertise",
            "--connect_retries",
            "--cluster_listen",
            "--profile",
            "--help",
            "--version",
            "--help_tls",
        ] {
            assert!(text.contains(flag), "{flag}");
        }
    }
}

#[test]
fn cfg_080_logging_flags() {
    for (flags, debug, trace) in [
        ("-D", true, false),
        ("--debug", true, false),
        ("-V", false, true),
        ("--trace", false, true),
        ("-DV", true, true),
        ("-VV", false, true),
        ("-DVV", true, true),
        ("-T", false, false),
    ] {
        let server = Server::builder().flags(flags).start();
        server.client().quietly("SUB a 1\r\n");
        if trace {
            server.logged("<<- [SUB a 1]");
        }
        if debug {
            server.logged("Client connection created");
        }
        assert_eq!(server.count_in_log("[TRC]") > 0, trace, "{flags}");
        assert_eq!(server.count_in_log("[DBG]") > 0, debug, "{flags}");
    }
}

#[test]
fn cfg_080_the_log_goes_to_the_file_named() {
    for flag in ["-l @DIR@/x.log", "--log=@DIR@/x.log"] {
        let server = Server::builder().flags(flag).start();
        let text = std::fs::read_to_string(server.dir().file("x.log")).expect("log file");
        assert!(text.contains("Server is ready"), "{text}");
        assert!(!server.log().contains("Server is ready"));
    }
}

#[test]
fn cfg_081_one_user_or_one_token() {
    let server = Server::builder().flags("--user u --pass p").start();
    server
        .client_with("{\"user\":\"u\",\"pass\":\"p\"}")
        .quietly("");
    let mut wrong = server.open();
    wrong.send("CONNECT {\"verbose\":false,\"user\":\"u\",\"pass\":\"q\"}\r\n");
    assert_eq!(wrong.closed(), ["-ERR 'Authorization Violation'"]);
    let server = Server::builder().flags("--auth s3cr3t").start();
    server
        .client_with("{\"auth_token\":\"s3cr3t\"}")
        .quietly("");
}

#[test]
fn cfg_081_tls_needs_a_certificate_and_a_key() {
    fails(
        "-p -1 --tls",
        &["TLS Server certificate must be present and valid"],
    );
    fails(
        "-p -1 --tls --tlscert /x",
        &["TLS Server private key must be present and valid"],
    );
}

#[test]
fn cfg_082_routes_need_a_cluster() {
    fails(
        "-p -1 --routes nats://127.0.0.1:1",
        &["solicited routes require cluster capabilities, e.g. --cluster"],
    );
}

#[test]
fn cfg_083_flags_win_over_the_file() {
    let server = Server::builder()
        .config("host: 0.0.0.0\nport: 4222\nhttp_port: 8222\nserver_name: file\nping_max: 4\n")
        .flags("-m -1 -n flag")
        .start();
    let varz = server.json("/varz");
    assert_eq!(varz["server_name"], "flag");
    assert_eq!(varz["host"], "127.0.0.1");
    assert_eq!(varz["ping_max"], 4);
    assert_ne!(server.address().port(), 4222);
}

#[test]
fn cfg_083_version_is_one_line_on_standard_output_or_error() {
    for flags in ["-v", "--version", "-version", "version"] {
        let run = run(flags);
        assert_eq!(run.code, 0, "{flags}");
        assert_eq!(
            run.stdout + &run.stderr,
            "nats-server: v2.15.1\n",
            "{flags}"
        );
    }
}

#[test]
fn cfg_083_other_words_are_refused() {
    fails("serve", &["nats-server: unrecognized command: \"serve\""]);
    fails("-p -1 extra", &["unrecognized command: \"extra\""]);
}

#[test]
fn cfg_084_t29_secrets_of_the_command_line_are_not_shown() {
    let server = Server::builder()
        .flags("--user planted-user --pass planted-pass -m -1")
        .start();
    for path in ["/varz", "/connz?auth=1", "/subsz", "/"] {
        assert!(!server.get(path).body.contains("planted-pass"), "{path}");
    }
}

#[test]
fn cfg_085_the_check_needs_a_file() {
    fails(
        "-t",
        &["nats-server: must specify [-c, --config] option to check configuration file syntax"],
    );
}

#[test]
fn cfg_085_the_check_starts_nothing() {
    let run = Server::builder()
        .config("port: 1\npid_file: @DIR@/pid")
        .flags("-t")
        .run();
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    let text = run.stderr;
    assert!(
        text.starts_with("nats-server: configuration file ") && text.contains(" is valid (sha256:"),
        "{text}"
    );
}

#[test]
fn cfg_085_a_missing_file_is_an_error() {
    fails(
        "-c nowhere.conf",
        &["nats-server: open nowhere.conf: no such file or directory"],
    );
    fails("-t -c nowhere.conf", &["nowhere.conf"]);
}

#[test]
fn cfg_079_relative_paths_are_against_the_working_directory() {
    let server = Server::builder().flags("-P my.pid -l my.log").start();
    let pid = std::fs::read_to_string(server.dir().file("my.pid")).expect("pid file");
    assert_eq!(pid, server.pid().to_string());
    assert!(server.dir().path().join("my.log").exists());
}

#[test]
fn cfg_079_flags_show_in_varz() {
    let server = Server::builder()
        .flags("-m -1 --max_traced_msg_len 5 --log_size_limit 4096")
        .start();
    assert_eq!(server.json("/varz")["config_digest"], json!(""));
}

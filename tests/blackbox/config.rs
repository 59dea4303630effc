//! Section 2.1: the grammar of configuration files, seen through `-t` and `/varz`.

use crate::support::server::{Builder, Server};
use serde_json::{Value, json};

/// `-t` accepts `config`.
#[track_caller]
pub fn valid(config: &str) {
    let run = Server::builder().config(config).flags("-t").run();
    assert_eq!(run.code, 0, "{config}\n{}", run.stderr);
    assert!(
        run.stderr.contains("server.conf is valid (sha256:"),
        "{}",
        run.stderr
    );
}

/// `-t` refuses `config` with all of `texts`.
#[track_caller]
pub fn invalid(config: &str, texts: &[&str]) {
    let run = Server::builder().config(config).flags("-t").run();
    assert_eq!(run.code, 1, "{config}\n{}", run.stderr);
    assert!(run.stderr.starts_with("nats-server: "), "{}", run.stderr);
    for text in texts {
        assert!(
            run.stderr.contains(text),
            "{config}\nwithout {text}: {}",
            run.stderr
        );
    }
}

#[track_caller]
fn varz_of(builder: Builder) -> Value {
    builder.flags("-m -1").start().json("/varz")
}

/// A server with `config` shows these values in `/varz`.
#[track_caller]
fn shows(config: &str, fields: &[(&str, Value)]) {
    let varz = varz_of(Server::builder().config(config));
    for (field, value) in fields {
        // 3 and 3.0 are one JSON number.
        let same =
            varz[field] == *value || (value.is_number() && varz[field].as_f64() == value.as_f64());
        assert!(same, "{field} is {}, not {value}: {config}", varz[field]);
    }
}

#[test]
fn cfg_001_pairs_are_separated_by_blank_colon_or_equals() {
    shows(
        "max_payload 1001\nmax_control_line: 1002\nmax_pending=1003\nping_max = 4\n",
        &[
            ("max_payload", json!(1001)),
            ("max_control_line", json!(1002)),
            ("max_pending", json!(1003)),
            ("ping_max", json!(4)),
        ],
    );
}

#[test]
fn cfg_001_keys_may_be_quoted_and_values_in_braces_may_follow_directly() {
    shows(
        "\"max_payload\" 1001\n'ping_max': 4\nauthorization {timeout=3}\n",
        &[
            ("max_payload", json!(1001)),
            ("ping_max", json!(4)),
            ("auth_timeout", json!(3.0)),
        ],
    );
}

#[test]
fn cfg_001_json_files_are_configurations() {
    shows(
        "{\n  \"max_payload\": 1001,\n  \"server_tags\": [\"a\", \"b\"],\n  \
         \"authorization\": {\"timeout\": 3, \"users\": []},\n  \"debug\": false\n}\n",
        &[
            ("max_payload", json!(1001)),
            ("tags", json!(["a", "b"])),
            ("auth_timeout", json!(3.0)),
        ],
    );
}

#[test]
fn cfg_002_entries_end_with_newline_comma_semicolon_or_comment() {
    shows(
        "max_payload: 1001, ping_max: 4; max_control_line: 1002 # end\nmax_pending: 1003",
        &[
            ("max_payload", json!(1001)),
            ("ping_max", json!(4)),
            ("max_control_line", json!(1002)),
            ("max_pending", json!(1003)),
        ],
    );
}

#[test]
fn cfg_002_a_blank_does_not_end_an_entry() {
    invalid("debug: true trace: true\n", &["Parse error on line 1"]);
    invalid(
        "\n\nauthorization { timeout: 1 user: a }\n",
        &["Parse error on line 3"],
    );
}

#[test]
fn cfg_003_comments_stand_anywhere_but_inside_bare_strings() {
    shows(
        "# first\n// second\nmax_payload: 1001 // after\nping_max: 4 # tight\n\
         server_tags: [ # in an array\n a//b // c\n d#e ] # end\nserver_name: n#1\n",
        &[
            ("max_payload", json!(1001)),
            ("ping_max", json!(4)),
            ("tags", json!(["a//b", "d#e"])),
            ("server_name", json!("n#1")),
        ],
    );
}

#[test]
fn cfg_004_array_elements_end_with_comma_or_newline() {
    for list in [
        "[a, b, c]",
        "[a,b,c,]",
        "[\n a\n b\n c\n]",
        "[ a, b\n 'c', ]",
        "[a\nb,\nc,\n]",
    ] {
        shows(
            &format!("server_tags: {list}"),
            &[("tags", json!(["a", "b", "c"]))],
        );
    }
    invalid("server_tags: [a, b", &["Parse error"]);
}

#[test]
fn cfg_005_bare_words_are_booleans_and_quoted_ones_are_not() {
    for word in ["true", "yes", "on", "TRUE", "Yes", "oN"] {
        valid(&format!("debug: {word}"));
    }
    for word in ["false", "no", "off", "False", "OFF"] {
        valid(&format!("debug: {word}"));
    }
    invalid("debug: 'true'", &["server.conf:1:"]);
    invalid("debug: \"no\"", &["server.conf:1:"]);
    invalid("debug: maybe", &["server.conf:1:"]);
    shows("server_name: 'true'", &[("server_name", json!("true"))]);
}

#[test]
fn cfg_005_bare_strings_end_at_blanks_and_closing_marks() {
    shows(
        "server_tags: [a/b:c,d-e]\nserver_name: x_1.y:2/3;ping_max: 4\n",
        &[
            ("tags", json!(["a/b:c", "d-e"])),
            ("server_name", json!("x_1.y:2/3")),
            ("ping_max", json!(4)),
        ],
    );
}

#[test]
fn cfg_006_double_quotes_know_escapes_and_single_quotes_none() {
    shows(
        "server_name: \"a\\x41\\\"\\\\\"\nserver_tags: ['b\\x41', c\\x41]\n",
        &[
            ("server_name", json!("aA\"\\")),
            // Tags are kept in lower case.
            ("tags", json!(["b\\x41", "ca"])),
        ],
    );
    invalid("server_name: \"\\q\"", &["Parse error on line 1"]);
    invalid("server_name: \"\\xZZ\"", &["Parse error on line 1"]);
    invalid("server_name: \"open", &["Parse error"]);
}

#[test]
fn cfg_006_strings_may_span_lines() {
    shows(
        "server_tags: [\"a\nb\", 'c\nd']\n",
        &[("tags", json!(["a\nb", "c\nd"]))],
    );
}

#[test]
fn cfg_007_a_block_string_ends_with_its_parenthesis_alone() {
    shows(
        "server_tags (\na (b) c\n)\nping_max: 4\n",
        &[("ping_max", json!(4))],
    );
}

#[test]
fn cfg_008_integers_take_decimal_and_binary_suffixes() {
    for (text, value) in [
        ("1000", 1000),
        ("7k", 7000),
        ("7K", 7000),
        ("7kb", 7168),
        ("7KB", 7168),
        ("7Ki", 7168),
        ("7kIb", 7168),
        ("2m", 2_000_000),
        ("2mb", 2_097_152),
        ("2MiB", 2_097_152),
        ("2mi", 2_097_152),
    ] {
        shows(
            &format!("max_payload: {text}"),
            &[("max_payload", json!(value))],
        );
    }
    for (text, value) in [
        ("1g", 1_000_000_000_u64),
        ("1GB", 1 << 30),
        ("1Gi", 1 << 30),
        ("1t", 1_000_000_000_000),
        ("1TiB", 1 << 40),
        ("1p", 1_000_000_000_000_000),
        ("1pb", 1 << 50),
        ("1e", 1_000_000_000_000_000_000),
        ("1EiB", 1 << 60),
    ] {
        shows(
            &format!("max_pending: {text}"),
            &[("max_pending", json!(value))],
        );
    }
    invalid(
        "max_pending: 9223372036854775808",
        &["9223372036854775808", "range"],
    );
}

#[test]
fn cfg_009_numbers_and_what_only_looks_like_one() {
    shows(
        "authorization { timeout: 0.5 }\nping_interval: 90s\nserver_name: 1.2.3.4:80\n",
        &[
            ("auth_timeout", json!(0.5)),
            ("ping_interval", json!(90_000_000_000_u64)),
            ("server_name", json!("1.2.3.4:80")),
        ],
    );
    shows(
        "host: 127.0.0.1\nserver_name: 2a\n",
        &[("host", json!("127.0.0.1")), ("server_name", json!("2a"))],
    );
    invalid("authorization { timeout: 1. }", &["Parse error on line 1"]);
    invalid("server_name: 2006-01-02T15:04:05Z", &["server.conf:1:"]);
}

#[test]
fn cfg_010_an_unquoted_minute_is_a_million() {
    invalid(
        "authorization { timeout: 1m }",
        &["server.conf:1:", "timeout"],
    );
    shows(
        "authorization { timeout: \"1m\" }",
        &[("auth_timeout", json!(60.0))],
    );
}

#[test]
fn cfg_011_durations_are_text_or_seconds_with_a_warning() {
    for (text, nanos) in [
        ("\"1h30m\"", 5_400_000_000_000_u64),
        ("'2m'", 120_000_000_000),
        ("\"300ms\"", 300_000_000),
        ("\"1.5s\"", 1_500_000_000),
        ("\"2s\"", 2_000_000_000),
        ("1h2m3s", 3_723_000_000_000),
    ] {
        shows(
            &format!("ping_interval: {text}"),
            &[("ping_interval", json!(nanos))],
        );
    }
    let server = Server::with_monitor("ping_interval: 5\nwrite_deadline: 6\n");
    let varz = server.json("/varz");
    assert_eq!(varz["ping_interval"], 5_000_000_000_u64);
    assert_eq!(varz["write_deadline"], 6_000_000_000_u64);
    server.logged("invalid use of field \"ping_interval\"");
    server.logged("invalid use of field \"write_deadline\"");
    invalid("ping_interval: \"5\"", &["server.conf:1:", "ping_interval"]);
    invalid(
        "ping_interval: \"five\"",
        &["server.conf:1:", "ping_interval"],
    );
}

#[test]
fn cfg_012_variables_are_found_from_inside_out() {
    shows(
        "SIZE = 1001\nmax_payload: $SIZE\nT = 9\nauthorization { T = 3, timeout: $T }\nping_max: $T\n",
        &[
            ("max_payload", json!(1001)),
            ("auth_timeout", json!(3.0)),
            ("ping_max", json!(9)),
        ],
    );
    shows(
        "AUTH = {timeout: 4}\nauthorization: $AUTH\nTAGS = [a, b]\nserver_tags: $TAGS\n",
        &[("auth_timeout", json!(4.0)), ("tags", json!(["a", "b"]))],
    );
}

#[test]
fn cfg_012_then_in_the_environment() {
    let varz = varz_of(
        Server::builder()
            .config("max_payload: $BB_SIZE\nserver_name: $BB_NAME\ndebug: $BB_DEBUG\nping_max: $BB_SELF")
            .env("BB_SIZE", "2KB")
            .env("BB_NAME", "from-env")
            .env("BB_DEBUG", "yes")
            .env("BB_SELF", "$BB_MAX")
            .env("BB_MAX", "7"),
    );
    assert_eq!(varz["max_payload"], 2048);
    assert_eq!(varz["server_name"], "from-env");
    assert_eq!(varz["ping_max"], 7);
}

#[test]
fn cfg_012_unknown_and_circular_variables_are_errors() {
    invalid(
        "\nport: $BB_NOWHERE\n",
        &["BB_NOWHERE", "line 2", "can not be found"],
    );
    let run = Server::builder()
        .config("port: $BB_A")
        .env("BB_A", "$BB_B")
        .env("BB_B", "$BB_A")
        .flags("-t")
        .run();
    assert_eq!(run.code, 1);
    assert!(
        run.stderr.contains("variable reference cycle"),
        "{}",
        run.stderr
    );
}

#[test]
fn cfg_013_a_bcrypt_value_is_no_variable() {
    let hash = "$2a$04$P/.bd.7unw9Ew7yWJqXsl.f4oNRLQGvadEL2YnqQXbbb.IVQajRdK";
    valid(&format!("authorization {{ user: u, password: {hash} }}"));
    valid(&format!(
        "authorization {{ user: u, password: \"{}\" }}",
        hash.replace("2a", "2b")
    ));
    invalid(
        &format!(
            "authorization {{ user: u, password: {} }}",
            hash.replace("2a", "2b")
        ),
        &["variable reference"],
    );
}

#[test]
fn cfg_014_unknown_keys_are_errors_with_their_place() {
    invalid(
        "port: -1\n\nfoo: 3\nbar: 4\n",
        &[
            "server.conf:3:1: unknown field \"foo\"",
            "server.conf:4:1: unknown field \"bar\"",
        ],
    );
    invalid(
        "authorization {\n  user: a\n  who: b\n}\n",
        &["server.conf:3:", "unknown field \"who\""],
    );
    invalid(
        "port: -1\nUNUSED = 1\n",
        &["server.conf:2:1: unknown field \"UNUSED\""],
    );
}

#[test]
fn cfg_015_includes_are_relative_to_the_including_file() {
    let builder = Server::builder();
    let nested = builder.dir().path().join("nested");
    std::fs::create_dir(&nested).expect("directory");
    builder.dir().write(
        "nested/outer.conf",
        "max_payload: 1001\ninclude inner.conf\n",
    );
    builder.dir().write("nested/inner.conf", "ping_max: 4\n");
    builder.dir().write("auth.conf", "timeout: 3\n");
    let varz = varz_of(builder.config(
        "include './nested/outer.conf'\nauthorization { include \"auth.conf\" }\nmax_control_line: 1002\n",
    ));
    assert_eq!(varz["max_payload"], 1001);
    assert_eq!(varz["ping_max"], 4);
    assert_eq!(varz["auth_timeout"], 3.0);
    assert_eq!(varz["max_control_line"], 1002);
}

#[test]
fn cfg_015_a_missing_include_is_an_error() {
    invalid(
        "include nowhere.conf\n",
        &["error parsing include file 'nowhere.conf'"],
    );
}

#[test]
fn cfg_016_the_last_of_repeated_keys_wins_and_case_is_ignored() {
    shows(
        "max_payload: 1001\nMAX_Payload: 1002\nmax_payload: 1003\nPing_Max: 4\n",
        &[("ping_max", json!(4))],
    );
    shows(
        "max_payload: 1001\nmax_payload: 1003\n",
        &[("max_payload", json!(1003))],
    );
    let twice =
        "authorization { timeout: 3, user: a, password: b }\nauthorization { timeout: 4 }\n";
    shows(
        twice,
        &[("auth_timeout", json!(4.0)), ("auth_required", Value::Null)],
    );
}

#[test]
fn cfg_017_all_errors_are_reported_at_once() {
    invalid(
        "max_payload: x\nping_max: y\nfoo: 1\n",
        &[
            "server.conf:1:",
            "server.conf:2:",
            "server.conf:3:1: unknown field \"foo\"",
        ],
    );
}

#[test]
fn cfg_017_an_empty_file_is_a_warning_that_fails_the_check_only() {
    invalid("", &["config has no values or is empty"]);
    invalid("# nothing\n", &["config has no values or is empty"]);
    let server = Server::with_config("");
    server.logged("config has no values or is empty");
}

#[test]
fn cfg_017_a_warning_fails_the_check() {
    invalid(
        "ping_interval: 5\n",
        &["invalid use of field \"ping_interval\""],
    );
}

#[test]
fn cfg_085_a_parse_error_says_where() {
    invalid("cluster {\n", &["Parse error on line 2"]);
    let run = Server::builder().config("port: -1\nbad [\n").run();
    assert_eq!(run.code, 1);
    assert!(
        run.stderr.starts_with("nats-server: Parse error on line "),
        "{}",
        run.stderr
    );
}

#[test]
fn cfg_086_the_digest_depends_on_values_only() {
    let digest = |config: &str| {
        let run = Server::builder().config(config).flags("-t").run();
        let (_, tail) = run.stderr.split_once("(sha256:").expect("digest");
        tail.trim_end().trim_end_matches(')').to_owned()
    };
    let known = "7ea4cc5c6864139d814ce940a40ee6546b7ac5285eec3c390a4ce11e34dc1102";
    assert_eq!(digest("port: -1\n"), known);
    assert_eq!(digest("# comment\n\nport =   -1 // x\n"), known);
    assert_ne!(digest("port: -1\ndebug: false\n"), known);
    let server = Server::with_monitor("port: -1\n");
    server.logged(&format!("server.conf (sha256:{known})"));
    assert_eq!(
        server.json("/varz")["config_digest"],
        format!("sha256:{known}")
    );
}

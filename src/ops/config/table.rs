//! Every top-level key: its names, its default, and whether it reloads.
//!
//! The parser takes a key only through [`find`], `--help-config` prints [`listing`], and a test
//! holds defaults and reloads against what parser and [`changes`](super::changes) do: none of the
//! three can drift from the others.

use std::fmt::Write as _;

/// What a reload makes of a changed key (CFG-93).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// It takes effect.
    Yes,
    /// The reload is refused.
    No,
    /// The key is checked and has no effect in this version; those that protect are refused.
    Inactive,
}

impl Reload {
    const fn text(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no, needs a restart",
            Self::Inactive => "(not active yet)",
        }
    }
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its names in lower case, all alike; the parser knows it by the first.
    pub names: &'static [&'static str],
    /// Its default as it would stand in a file; [`NONE`] where there is none.
    pub default: &'static str,
    /// Does it reload?
    pub reload: Reload,
}

/// Default of a key that says nothing unless it is given.
pub const NONE: &str = "-";

/// The key of that name, written in any case.
pub fn find(name: &str) -> Option<&'static Key> {
    let name = name.to_lowercase();
    KEYS.iter().find(|key| key.names.contains(&&*name))
}

const fn key(names: &'static [&'static str], default: &'static str, reload: Reload) -> Key {
    Key {
        names,
        default,
        reload,
    }
}

const fn dormant(names: &'static [&'static str]) -> Key {
    key(names, NONE, Inactive)
}

use Reload::{Inactive, No, Yes};

/// All of them, in groups.
pub const KEYS: &[Key] = &[
    // Identity and listeners.
    key(&["listen"], "0.0.0.0:4222", No),
    key(&["port"], "4222", No),
    key(&["host", "net"], "0.0.0.0", No),
    key(&["client_advertise"], NONE, Yes),
    key(&["server_name"], NONE, No),
    key(&["server_tags"], NONE, Yes),
    key(&["server_metadata"], NONE, Yes),
    key(&["shards"], "0", No),
    key(&["pin_shards"], "false", No),
    key(&["http"], NONE, No),
    key(&["http_port", "monitor_port"], "0", No),
    key(&["http_base_path"], NONE, No),
    key(&["https"], NONE, No),
    key(&["https_port"], "0", No),
    // Log and files.
    key(&["debug"], "false", Yes),
    key(&["trace"], "false", Yes),
    key(&["trace_verbose"], "false", Yes),
    key(&["trace_headers"], "false", Yes),
    key(&["max_traced_msg_len"], "0", Yes),
    key(&["logtime"], "true", Yes),
    key(&["logtime_utc"], "false", Yes),
    key(&["log_file", "logfile"], NONE, Yes),
    key(&["log_size_limit", "logfile_size_limit"], "0", No),
    key(&["log_max_num", "logfile_max_num"], "0", No),
    key(&["syslog"], "false", Yes),
    key(&["remote_syslog"], NONE, Yes),
    key(&["pid_file", "pidfile"], NONE, Yes),
    key(&["ports_file_dir"], NONE, Yes),
    // Limits and timers of clients.
    key(&["max_connections", "max_conn"], "65536", Yes),
    key(&["max_payload"], "1MB", Yes),
    key(&["max_pending"], "64MB", No),
    key(&["max_control_line"], "4096", Yes),
    key(&["max_subscriptions", "max_subs"], "0", No),
    key(&["max_subscription_tokens", "max_sub_tokens"], NONE, No),
    key(&["max_closed_clients"], "10000", No),
    key(&["ping_interval"], "\"2m\"", Yes),
    key(&["ping_max"], "2", Yes),
    key(&["write_deadline"], "\"10s\"", Yes),
    key(&["write_timeout"], "default", No),
    key(&["no_fast_producer_stall"], "false", Yes),
    key(&["rate_limits"], NONE, Yes),
    key(&["no_header_support"], "false", No),
    key(&["disable_sublist_cache", "no_sublist_cache"], "false", No),
    key(&["lame_duck_duration"], "\"2m\"", No),
    key(&["lame_duck_grace_period"], "\"10s\"", No),
    key(&["feature_flags"], NONE, No),
    // Who may do what.
    key(&["authorization"], NONE, Yes),
    key(&["no_auth_user"], NONE, No),
    key(&["system_account", "system"], "$SYS", No),
    key(
        &["no_system_account", "no_system", "no_sys_acc"],
        "false",
        No,
    ),
    key(&["accounts"], NONE, Yes),
    key(&["mappings", "maps"], NONE, Yes),
    key(
        &[
            "operator",
            "operators",
            "roots",
            "root",
            "root_operators",
            "root_operator",
        ],
        NONE,
        No,
    ),
    key(
        &["resolver", "account_resolver", "accounts_resolver"],
        NONE,
        Yes,
    ),
    key(&["resolver_tls"], NONE, Yes),
    key(&["resolver_preload"], NONE, Yes),
    key(&["resolver_pinned_accounts"], NONE, Yes),
    key(&["trusted_keys", "trusted"], NONE, No),
    key(&["default_sentinel"], NONE, Yes),
    key(&["proxies"], NONE, Yes),
    key(&["proxy_protocol"], "false", No),
    // Encryption.
    key(&["tls"], NONE, Yes),
    key(&["allow_non_tls"], "false", No),
    key(&["ocsp"], NONE, Yes),
    key(
        &["ocsp_cache"],
        "{ type: local, local_store: \"_rc_\" }",
        Yes,
    ),
    // Other servers, other protocols, storage.
    dormant(&["cluster"]),
    dormant(&["gateway"]),
    key(&["leafnodes", "leaf"], NONE, No),
    key(&["websocket", "ws"], NONE, No),
    dormant(&["mqtt"]),
    key(&["jetstream"], NONE, No),
    key(&["store_dir", "storedir"], NONE, No),
    key(&["default_js_domain"], NONE, No),
    key(&["connect_error_reports"], "3600", Inactive),
    key(&["reconnect_error_reports"], "1", Inactive),
    dormant(&["prof_port"]),
    dormant(&["prof_block_rate"]),
];

/// What `--help-config` prints.
pub fn listing() -> String {
    let mut text = String::from(
        "\nTop-level keys of the configuration file, with other names of the same key.\n\n",
    );
    let mut line = |key: &str, default: &str, reload: &str| {
        // Writing to a string cannot fail.
        _ = writeln!(text, "{key:<56} {default:<14} {reload}");
    };
    line("KEY", "DEFAULT", "RELOADS");
    for key in KEYS {
        line(&key.names.join(", "), key.default, key.reload.text());
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use nkeys::{KeyPair, KeyPairType};
    use serde_json::json;

    use super::super::{changes, from_tree, parser};
    use super::*;
    use crate::auth::jwt::token;
    use crate::options::Options;

    /// A file in which the key is not its default.
    const CHANGED: &[(&str, &str)] = &[
        (
            "proxies",
            "{ trusted: [ {key: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4} ] }",
        ),
        ("proxy_protocol", "true"),
        ("tls", "{ timeout: 5 }"),
        ("allow_non_tls", "true"),
        ("websocket", "{ port: 8080, no_tls: true }"),
        ("jetstream", "enabled"),
        ("store_dir", "d"),
        ("default_js_domain", "{ \"$G\": hub }"),
        ("leafnodes", "{ port: 7422 }"),
        ("listen", "127.0.0.1:4333"),
        ("port", "4333"),
        ("host", "127.0.0.1"),
        ("client_advertise", "h:1"),
        ("server_name", "x"),
        ("server_tags", "[a]"),
        ("server_metadata", "{a: b}"),
        ("shards", "3"),
        ("pin_shards", "true"),
        ("http", "127.0.0.1:8222"),
        ("http_port", "8222"),
        ("http_base_path", "/x"),
        ("https", "127.0.0.1:8222"),
        ("https_port", "8222"),
        ("ocsp", "{ mode: always }"),
        ("ocsp_cache", "false"),
        ("store_dir", "d"),
        ("debug", "true"),
        ("trace", "true"),
        ("trace_verbose", "true"),
        ("trace_headers", "true"),
        ("max_traced_msg_len", "9"),
        ("logtime", "false"),
        ("logtime_utc", "true"),
        ("log_file", "f"),
        ("log_size_limit", "1000"),
        ("log_max_num", "3"),
        ("syslog", "true"),
        ("remote_syslog", "\"udp://h:1\""),
        ("pid_file", "f"),
        ("ports_file_dir", "d"),
        ("max_connections", "3"),
        ("max_payload", "3000"),
        ("max_pending", "2MB"),
        ("max_control_line", "512"),
        ("max_subscriptions", "3"),
        ("max_subscription_tokens", "3"),
        ("max_closed_clients", "3"),
        ("ping_interval", "\"3s\""),
        ("ping_max", "3"),
        ("write_deadline", "\"3s\""),
        ("write_timeout", "retry"),
        ("no_fast_producer_stall", "true"),
        ("rate_limits", "{user: {messages: 9}}"),
        ("no_header_support", "true"),
        ("disable_sublist_cache", "true"),
        ("lame_duck_duration", "\"60s\""),
        ("lame_duck_grace_period", "\"3s\""),
        ("feature_flags", "{js_ack_fc_v2: true}"),
        ("authorization", "{token: t}"),
        ("accounts", "{A: {}}"),
        ("mappings", "{a: b}"),
        ("no_auth_user", "u"),
        ("system_account", "X"),
        ("no_system_account", "true"),
        ("operator", "OPERATOR"),
        ("resolver", "MEMORY"),
        ("resolver_tls", "{insecure: true}"),
        ("resolver_preload", "{A: ACCOUNT}"),
        ("resolver_pinned_accounts", "[A]"),
        ("trusted_keys", "OPKEY"),
        ("default_sentinel", "x"),
    ];

    /// An operator's token and key.
    fn operator() -> (String, String) {
        let key = KeyPair::new_from_raw(KeyPairType::Operator, [7; 32]).expect("32 bytes");
        let own = key.public_key();
        let claims = json!({"iss": own, "sub": own, "nats": {"type": "operator", "version": 2}});
        (token::encode(&key, &claims).expect("has its seed"), own)
    }

    /// An account's token.
    fn account() -> String {
        let key = KeyPair::new_from_raw(KeyPairType::Operator, [7; 32]).expect("32 bytes");
        let own = KeyPair::new_from_raw(KeyPairType::Account, [8; 32]).expect("32 bytes");
        let claims = json!({"iss": key.public_key(), "sub": own.public_key(),
            "nats": {"type": "account", "version": 2}});
        token::encode(&key, &claims).expect("has its seed")
    }

    fn options(text: &str) -> Options {
        let map = parser::parse_bytes(text.as_bytes(), "f", &|_| None).expect(text);
        let configured = from_tree(&map, Path::new("f"), false).expect(text);
        Options {
            config_digest: String::new(),
            ..configured.options
        }
    }

    #[test]
    fn names_are_lower_case_and_belong_to_one_key() {
        let mut names: Vec<&str> = KEYS.iter().flat_map(|key| key.names).copied().collect();
        assert!(names.iter().all(|name| *name == name.to_lowercase()));
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn the_parser_takes_every_name() {
        for name in KEYS.iter().flat_map(|key| key.names) {
            // A value that suits no key: refused or not, it is no unknown field.
            let text = format!("{name}: {{ zzz: 1 }}\n");
            let map = parser::parse_bytes(text.as_bytes(), "f", &|_| None).expect("a tree");
            if let Err(errors) = from_tree(&map, Path::new("f"), false) {
                let errors = errors.to_string();
                assert!(
                    !errors.contains(&format!("unknown field {name:?}")),
                    "{errors}"
                );
            }
        }
    }

    #[test]
    fn defaults_are_those_of_the_options() {
        for key in KEYS.iter().filter(|key| key.default != NONE) {
            for name in key.names {
                let text = format!("{name}: {}", key.default.replace("$SYS", "\"$SYS\""));
                assert_eq!(options(&text), options(""), "{text}");
            }
        }
    }

    #[test]
    fn reloads_are_those_that_are_made() {
        for key in KEYS.iter().filter(|key| key.reload != Inactive) {
            let changed = CHANGED.iter().find(|(name, _)| *name == key.names[0]);
            let (name, value) = changed.expect(key.names[0]);
            let value = value.replace("OPERATOR", &operator().0);
            let value = value.replace("OPKEY", &operator().1);
            let value = value.replace("ACCOUNT", &account());
            // From none to one is another matter.
            let before = match *name {
                "resolver" => "resolver: URL(http://localhost/)",
                _ => "",
            };
            let (old, new) = (options(before), options(&format!("{name}: {value}")));
            assert_ne!(old, new, "{name}");
            let answer = changes::between(&old, &new, [4222, 0]);
            assert_eq!(answer.is_ok(), key.reload == Yes, "{name}: {answer:?}");
        }
    }
}

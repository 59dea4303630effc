//! The `authorization` block: users, permissions, answers (AUTH-1..17).

use std::collections::HashSet;
use std::time::Duration;

use super::error::{Origin, ProblemKind};
use super::report::{Report, TextsError, strict_duration, type_in};
use super::value::{Map, Node, Value};
use crate::auth::jwt::token::is_public_key;
use crate::ids::GLOBAL_ACCOUNT;
use crate::options::{
    AuthOptions, CalloutOptions, PermissionsOptions, ResponsePermission, SubjectPermission,
    UserOptions,
};

/// Kinds of connection a user may be bound to (AUTH-8).
const CONNECTION_TYPES: [&str; 7] = [
    "STANDARD",
    "WEBSOCKET",
    "LEAFNODE",
    "LEAFNODE_WS",
    "MQTT",
    "MQTT_WS",
    "IN_PROCESS",
];

/// `allow_responses: true` (AUTH-14).
const RESPONSES_DEFAULT: ResponsePermission = ResponsePermission {
    max_msgs: 1,
    expires: Some(Duration::from_secs(120)),
};

/// What a block of this form holds; links use it too, without users.
#[derive(Default)]
pub struct Authorization {
    /// Single user, token, users, timeout.
    pub options: AuthOptions,
    /// Whether `users` is there, even if empty.
    pub has_users: bool,
    /// Whether permissions for users without their own are there.
    pub has_default_permissions: bool,
}

/// Reads the block. `None` if it is no map.
pub fn read(report: &mut Report, value: &Value) -> Option<Authorization> {
    let map = report.keep(value, value.map())?;
    let mut block = Authorization::default();
    let mut default_permissions = None;
    for (key, value) in map.iter() {
        let options = &mut block.options;
        let name = String::from_utf8_lossy(key).to_lowercase();
        match name.as_str() {
            "user" | "username" => options.username = non_empty(report, value),
            "pass" | "password" => options.password = non_empty(report, value),
            "token" => options.token = non_empty(report, value),
            "timeout" => {
                if let Some(seconds) = report.timeout(key, "authorization", value)
                    && seconds != 0.0
                {
                    options.timeout =
                        Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
                }
            }
            "users" => {
                block.has_users = true;
                options.users = users(report, value);
            }
            "default_permission" | "default_permissions" | "permissions" => {
                default_permissions = permissions(report, value);
                block.has_default_permissions = true;
            }
            "auth_callout" | "auth_hook" => block.options.callout = callout(report, value),
            "proxy_required" => {
                block.options.proxy_required = report.keep(value, value.boolean()) == Some(true);
            }
            _ => report.unknown_field(key, value),
        }
    }
    for user in &mut block.options.users {
        if user.permissions.is_none() {
            user.permissions.clone_from(&default_permissions);
        }
    }
    Some(block)
}

/// Reads the top-level block and checks what only makes sense there (AUTH-1, AUTH-3).
pub fn read_top_level(report: &mut Report, value: &Value) -> Option<AuthOptions> {
    let Authorization {
        options, has_users, ..
    } = read(report, value)?;
    let single = options.username.is_some();
    let stock = |text| Some(ProblemKind::Stock(text));
    let mut seen = HashSet::new();
    let duplicate = options.users.iter().find_map(|user| match &user.nkey {
        Some(nkey) => (!seen.insert(nkey.as_str())).then(|| quoted("Duplicate nkey ", nkey)),
        None => (!seen.insert(user.username.as_str()))
            .then(|| quoted("Duplicate user ", &user.username)),
    });
    let problem = if (single || options.password.is_some()) && options.token.is_some() {
        stock("Cannot have a user/pass and token")
    } else if has_users && single {
        stock("Can not have a single user/pass and a users array")
    } else if has_users && options.token.is_some() {
        stock("Can not have a token and a users array")
    } else {
        duplicate.map(|text| ProblemKind::Value {
            before: text.0,
            value: text.1,
            after: " detected",
        })
    };
    if let Some(kind) = problem {
        report.error(value, kind);
        return None;
    }
    Some(options)
}

fn quoted(before: &'static str, name: &str) -> (&'static str, String) {
    (before, name.to_owned())
}

fn non_empty(report: &mut Report, value: &Value) -> Option<String> {
    let text = report.keep(value, value.text())?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// The service that decides about users (AUTH-80).
fn callout(report: &mut Report, value: &Value) -> Option<CalloutOptions> {
    let map = report.map(
        "Expected authorization callout to be a map/struct, got ",
        value,
    )?;
    let mut options = CalloutOptions {
        account: GLOBAL_ACCOUNT.into(),
        ..CalloutOptions::default()
    };
    for (key, value) in map.iter() {
        let name = String::from_utf8_lossy(key).to_lowercase();
        let what = TextsError {
            in_array: "Expected auth_users field to be an array of strings, got ",
            alone: "Expected auth_users field to be an array, got ",
        };
        let text = |report: &mut Report| report.keep(value, value.text().map(str::to_owned));
        match name.as_str() {
            "issuer" => options.issuer = text(report)?,
            "account" | "acc" => options.account = text(report)?,
            "xkey" | "key" => options.xkey = text(report),
            "auth_users" | "users" => options.auth_users = report.texts(what, value)?,
            "allowed_accounts" => options.allowed_accounts = report.texts(what, value)?,
            _ => report.unknown_field_in(
                ("Unknown field ", " parsing authorization callout"),
                key,
                value,
            ),
        }
    }
    let problem = if options.issuer.is_empty() {
        ProblemKind::Stock("Authorization callouts require an issuer to be specified")
    } else if !is_public_key(&options.issuer, 'A') {
        ProblemKind::Value {
            before: "Expected callout user to be a valid public account nkey, got ",
            value: options.issuer.clone(),
            after: "",
        }
    } else if options.auth_users.is_empty() {
        ProblemKind::Stock("Authorization callouts require authorized users to be specified")
    } else if let Some(xkey) = options.xkey.as_ref().filter(|it| !is_public_key(it, 'X')) {
        ProblemKind::Value {
            before: "Expected callout xkey to be a valid public xkey, got ",
            value: xkey.clone(),
            after: "",
        }
    } else {
        return Some(options);
    };
    report.error(value, problem);
    None
}

/// Reads `users`, of an account too.
pub fn users(report: &mut Report, value: &Value) -> Vec<UserOptions> {
    let Node::Array(entries) = &value.node else {
        report.error(
            value,
            ProblemKind::TypeIn {
                text: "Expected users field to be an array, got ",
                found: value.node.shown(),
            },
        );
        return Vec::new();
    };
    entries.iter().filter_map(|it| user(report, it)).collect()
}

fn user(report: &mut Report, entry: &Value) -> Option<UserOptions> {
    let Node::Map(map) = &entry.node else {
        report.error(
            entry,
            ProblemKind::TypeIn {
                text: "Expected user entry to be a map/struct, got ",
                found: entry.node.shown(),
            },
        );
        return None;
    };
    let mut user = UserOptions::default();
    // Stock reports what an entry lacks at its last key.
    let mut last: &Origin = &entry.origin;
    let errors_before = report.errors.len();
    for (key, value) in map.iter() {
        last = &value.origin;
        match String::from_utf8_lossy(key).to_lowercase().as_str() {
            "nkey" => user.nkey = non_empty(report, value),
            "user" | "username" => user.username = non_empty(report, value).unwrap_or_default(),
            "pass" | "password" => user.password = non_empty(report, value).unwrap_or_default(),
            "permission" | "permissions" | "authorization" => {
                user.permissions = permissions(report, value);
            }
            "allowed_connection_types" | "connection_types" | "clients" => {
                user.allowed_connection_types = connection_types(report, value);
            }
            "proxy_required" => {
                user.proxy_required = report.keep(value, value.boolean()) == Some(true);
            }
            _ => report.unknown_field(key, value),
        }
    }
    let problem = match &user.nkey {
        None if user.username.is_empty() => Some("User entry requires a user"),
        None => None,
        Some(nkey) if !is_user_nkey(nkey) => Some("Not a valid public nkey for a user"),
        Some(_) if !user.username.is_empty() || !user.password.is_empty() => {
            Some("Nkey users do not take usernames or passwords")
        }
        Some(_) => None,
    };
    if let Some(text) = problem {
        // An entry whose name had the wrong type was reported already.
        if report.errors.len() == errors_before {
            report.error_at(last, ProblemKind::Stock(text));
        }
        return None;
    }
    Some(user)
}

/// Is it the public nkey of a user?
pub fn is_user_nkey(text: &str) -> bool {
    text.starts_with('U') && nkeys::KeyPair::from_public_key(text).is_ok()
}

fn connection_types(report: &mut Report, value: &Value) -> Vec<String> {
    let what = TextsError {
        in_array: "error parsing allowed connection types: unsupported type in array ",
        alone: "error parsing allowed connection types: unsupported type ",
    };
    let names = report.texts(what, value).unwrap_or_default();
    let names = names.into_iter().map(|it| it.to_uppercase());
    let (known, unknown): (Vec<_>, Vec<_>) =
        names.partition(|it| CONNECTION_TYPES.contains(&it.as_str()));
    if !unknown.is_empty() {
        report.error(value, ProblemKind::ConnectionTypes(unknown));
    }
    known
}

/// Reads a permissions block (AUTH-10, AUTH-14). `None` if it is no map.
pub fn permissions(report: &mut Report, value: &Value) -> Option<PermissionsOptions> {
    let Node::Map(map) = &value.node else {
        report.error(
            value,
            ProblemKind::TypeIn {
                text: "Expected permissions to be a map/struct, got ",
                found: value.node.shown(),
            },
        );
        return None;
    };
    let mut permissions = PermissionsOptions::default();
    for (key, value) in map.iter() {
        match String::from_utf8_lossy(key).to_lowercase().as_str() {
            "pub" | "publish" | "import" => {
                permissions.publish = subject_permission(report, value, false);
            }
            "sub" | "subscribe" | "export" => {
                permissions.subscribe = subject_permission(report, value, true);
            }
            "publish_allow_responses" | "allow_responses" => {
                permissions.responses = responses(report, value);
            }
            _ => report.unknown_field_in(("Unknown field ", " parsing permissions"), key, value),
        }
    }
    if permissions.responses.is_some() {
        // Whoever may only answer may publish nothing else (AUTH-14).
        let publish = permissions.publish.get_or_insert_default();
        publish.allow.get_or_insert_default();
    }
    Some(permissions)
}

fn subject_permission(
    report: &mut Report,
    value: &Value,
    queues: bool,
) -> Option<SubjectPermission> {
    let Node::Map(map) = &value.node else {
        return Some(SubjectPermission {
            // Stock does not know here where it is.
            allow: listed(report, value, queues, Report::error_anywhere),
            deny: Vec::new(),
        });
    };
    if map.is_empty() {
        return None;
    }
    let mut permission = SubjectPermission::default();
    for (key, value) in map.iter() {
        match String::from_utf8_lossy(key).to_lowercase().as_str() {
            "allow" => permission.allow = subjects(report, value, queues),
            "deny" => permission.deny = subjects(report, value, queues).unwrap_or_default(),
            _ => report.unknown_field_in(
                (
                    "Unknown field name ",
                    " parsing subject permissions, only 'allow' or 'deny' are permitted",
                ),
                key,
                value,
            ),
        }
    }
    Some(permission)
}

/// A subject or a list of them; `None` for an empty list, which stock takes as no list at all.
pub fn subjects(report: &mut Report, value: &Value, queues: bool) -> Option<Vec<String>> {
    listed(report, value, queues, |report, kind| {
        report.error(value, kind)
    })
}

/// The same, where `place` notes what is wrong.
fn listed(
    report: &mut Report,
    value: &Value,
    queues: bool,
    place: impl Fn(&mut Report, ProblemKind),
) -> Option<Vec<String>> {
    let mut subjects = Vec::new();
    match &value.node {
        Node::String(_) => subjects.push(report.keep(value, value.text())?.to_owned()),
        Node::Array(entries) => {
            for entry in entries {
                let Node::String(_) = entry.node else {
                    let text = "Subject in permissions array cannot be cast to string";
                    report.error(entry, ProblemKind::Stock(text));
                    return None;
                };
                subjects.push(report.keep(entry, entry.text())?.to_owned());
            }
        }
        _ => {
            let text = "Expected subject permissions to be a subject, or array of subjects, got ";
            place(report, type_in(text, value));
            return None;
        }
    }
    for subject in &subjects {
        if let Err(kind) = check_subject(subject, queues) {
            place(report, kind);
            return None;
        }
    }
    (!subjects.is_empty()).then_some(subjects)
}

/// AUTH-17; with `queues` the form `subject queue` is valid too (AUTH-13).
fn check_subject(text: &str, queues: bool) -> Result<(), ProblemKind> {
    let invalid = |value: &str| ProblemKind::Value {
        before: "subject ",
        value: value.to_owned(),
        after: " is not a valid subject",
    };
    if is_subject(text) {
        return Ok(());
    }
    let mut parts = text.split_whitespace();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(subject), Some(queue), None) if queues => {
            if !is_subject(subject) {
                Err(invalid(subject))
            } else if !is_subject(queue) {
                Err(ProblemKind::Value {
                    before: "queue ",
                    value: queue.to_owned(),
                    after: " is not a valid queue",
                })
            } else {
                Ok(())
            }
        }
        _ => Err(invalid(text)),
    }
}

/// Tokens without blanks, none empty, `>` only at the end.
pub fn is_subject(text: &str) -> bool {
    let mut tokens = text.split('.').peekable();
    while let Some(token) = tokens.next() {
        let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c');
        if token.is_empty() || token.contains(blank) || (token == ">" && tokens.peek().is_some()) {
            return false;
        }
    }
    true
}

fn responses(report: &mut Report, value: &Value) -> Option<ResponsePermission> {
    match &value.node {
        Node::Bool(flag) => flag.then_some(RESPONSES_DEFAULT),
        Node::Map(map) => response_limits(report, map),
        _ => {
            let text = "error parsing response permissions, expected a boolean or a map";
            report.error(value, ProblemKind::Stock(text));
            None
        }
    }
}

fn response_limits(report: &mut Report, map: &Map) -> Option<ResponsePermission> {
    let mut limits = RESPONSES_DEFAULT;
    for (key, value) in map.iter() {
        match String::from_utf8_lossy(key).to_lowercase().as_str() {
            "max" | "max_msgs" | "max_messages" | "max_responses" => {
                match report.keep(value, value.integer())? {
                    0 => {}
                    max => limits.max_msgs = max,
                }
            }
            "expires" | "expiration" | "ttl" => {
                let Node::String(_) = value.node else {
                    let text = "error parsing expires, not a duration string";
                    report.error(value, ProblemKind::Stock(text));
                    return None;
                };
                let nanos = strict_duration(value, "error parsing expires: ");
                match report.keep(value, nanos)? {
                    0 => {}
                    nanos => limits.expires = u64::try_from(nanos).ok().map(Duration::from_nanos),
                }
            }
            _ => report.unknown_field_in(("Unknown field ", " parsing permissions"), key, value),
        }
    }
    Some(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AUTH-17.
    #[test]
    fn subjects_in_permissions() {
        for good in ["a", "a.b.>", "*.x", ">", "foo.>x", "a*"] {
            assert!(is_subject(good), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", ">.a", "a b", "a.\tb"] {
            assert!(!is_subject(bad), "{bad}");
        }
        assert_eq!(check_subject("foo v1.*", true), Ok(()));
        assert!(check_subject("foo v1", false).is_err());
        assert!(check_subject("foo a b", true).is_err());
    }
}

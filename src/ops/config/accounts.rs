//! `accounts`: tenants, their users and what they may use (AUTH-27..31).

use std::collections::HashSet;

use super::authorization::{permissions, users};
use super::error::ProblemKind;
use super::inactive::accounts::message_trace;
use super::report::Report;
use super::value::{Map, Node, Value};
use super::{exports, imports, jetstream, mappings};
use crate::accounts::registry::Accounts;
use crate::ids::GLOBAL_ACCOUNT;
use crate::options::{AccountLimits, AccountOptions, AuthOptions, Options, UserOptions};

/// Reads the block into `options`, whose other users are known.
pub fn read(report: &mut Report, value: &Value, options: &mut Options) {
    read_all(report, value, options);
    // What they have of each other is looked at once each of them is right.
    if report.errors.is_empty() {
        for problem in Accounts::problems(&options.accounts) {
            let found = problem.to_string();
            report.error(value, ProblemKind::TypeIn { text: "", found });
        }
        // Stock refuses only where it happens to read the other key first (AUTH-22).
        let exports = options.accounts.iter().flat_map(|it| &it.exports);
        let mut measured = exports.filter(|it| it.latency.is_some());
        if options.no_system_account
            && let Some(export) = measured.next()
        {
            let found = format!(
                "Error adding service latency sampling for {:?}: system account not setup",
                export.subject
            );
            report.error(value, ProblemKind::TypeIn { text: "", found });
        }
    }
}

fn read_all(report: &mut Report, value: &Value, options: &mut Options) {
    match &value.node {
        Node::Array(names) => {
            let mut seen = HashSet::new();
            for name in names {
                let Some(text) = report.keep(name, name.text()) else {
                    continue;
                };
                if text == GLOBAL_ACCOUNT {
                    reserved(report, name);
                } else if seen.insert(text) {
                    options.accounts.push(named(text));
                } else {
                    let found = text.to_owned();
                    let text = "Duplicate Account Entry: ";
                    report.error(name, ProblemKind::TypeIn { text, found });
                }
            }
        }
        Node::Map(map) => {
            let mut seen = names_of(&options.auth);
            for (name, value) in map.iter().filter(|(_, value)| !value.is_variable) {
                let Node::Map(entries) = &value.node else {
                    let text = "Expected map entries for accounts";
                    report.error(value, ProblemKind::Stock(text));
                    continue;
                };
                if name == GLOBAL_ACCOUNT.as_bytes() {
                    reserved(report, value);
                    continue;
                }
                let Ok(name) = std::str::from_utf8(name) else {
                    report.error(value, ProblemKind::NotUtf8);
                    continue;
                };
                let mut account = named(name);
                let found = entry(report, entries, &mut account);
                options.accounts.push(account);
                if let Some(found) = found {
                    take_users(report, found, name, &mut options.auth, &mut seen);
                }
            }
        }
        // Stock takes anything else as no accounts.
        _ => {}
    }
}

fn named(name: &str) -> AccountOptions {
    AccountOptions {
        name: name.to_owned(),
        ..AccountOptions::default()
    }
}

fn reserved(report: &mut Report, value: &Value) {
    report.error(
        value,
        ProblemKind::Value {
            before: "",
            value: GLOBAL_ACCOUNT.to_owned(),
            after: " is a Reserved Account",
        },
    );
}

/// The users of an account, where they stand, and what they may do unless they say otherwise.
type Users<'v> = (&'v Value, Vec<UserOptions>);

fn entry<'v>(
    report: &mut Report,
    entries: &'v Map,
    account: &mut AccountOptions,
) -> Option<Users<'v>> {
    let mut found: Option<Users<'v>> = None;
    let mut default_permissions = None;
    for (key, value) in entries.iter() {
        let text = String::from_utf8_lossy(key);
        match text.to_lowercase().as_str() {
            "nkey" => account.nkey = account_nkey(report, value),
            "imports" => account.imports = imports::read(report, value),
            "exports" => account.exports = exports::read(report, value),
            "jetstream" => account.jetstream = jetstream::of_account(report, value),
            "users" => found = Some((value, users(report, value))),
            "default_permissions" => default_permissions = permissions(report, value),
            "mappings" | "maps" => account.mappings = mappings::read(report, value),
            "limits" => limits(report, value, &mut account.limits),
            "msg_trace" | "trace_dest" => {
                account.trace = message_trace(report, &text, value);
            }
            _ => report.unknown_field(key, value),
        }
    }
    for user in found.iter_mut().flat_map(|(_, users)| users) {
        if user.permissions.is_none() {
            user.permissions.clone_from(&default_permissions);
        }
    }
    found
}

/// Everybody has one name in the whole server, whatever account he is in (AUTH-3).
fn take_users(
    report: &mut Report,
    (at, users): Users<'_>,
    account: &str,
    auth: &mut AuthOptions,
    seen: &mut HashSet<String>,
) {
    let given = |text: &Option<String>| text.as_ref().is_some_and(|it| !it.is_empty());
    if !users.is_empty() {
        let text = if given(&auth.username) {
            Some("Can not have a single user/pass and accounts")
        } else if given(&auth.token) {
            Some("Can not have a token and accounts")
        } else {
            None
        };
        if let Some(text) = text {
            return report.error(at, ProblemKind::Stock(text));
        }
    }
    for mut user in users {
        let (before, name) = match &user.nkey {
            Some(nkey) => ("Duplicate nkey ", nkey),
            None => ("Duplicate user ", &user.username),
        };
        if !seen.insert(name.clone()) {
            let kind = ProblemKind::Value {
                before,
                value: name.clone(),
                after: " detected",
            };
            report.error(at, kind);
            continue;
        }
        account.clone_into(&mut user.account);
        auth.users.push(user);
    }
}

fn names_of(auth: &AuthOptions) -> HashSet<String> {
    let name = |user: &UserOptions| user.nkey.clone().unwrap_or_else(|| user.username.clone());
    auth.users.iter().map(name).collect()
}

fn account_nkey(report: &mut Report, value: &Value) -> Option<String> {
    let valid = |it: &&str| it.starts_with('A') && nkeys::KeyPair::from_public_key(it).is_ok();
    let nkey = value.text().ok().filter(valid);
    if nkey.is_none() {
        report.error(
            value,
            ProblemKind::Value {
                before: "Not a valid public nkey for an account: ",
                value: value.node.shown(),
                after: "",
            },
        );
    }
    nkey.map(str::to_owned)
}

/// AUTH-29. Anything below zero is unlimited.
fn limits(report: &mut Report, value: &Value, limits: &mut AccountLimits) {
    let wrong_type = "Expected account limits to be a map/struct, got ";
    let Node::Map(map) = &value.node else {
        let found = value.node.shown();
        let text = wrong_type;
        return report.error(value, ProblemKind::TypeIn { text, found });
    };
    for (key, value) in map.iter() {
        let limit = match String::from_utf8_lossy(key).to_lowercase().as_str() {
            "max_connections" | "max_conn" => &mut limits.max_connections,
            "max_subscriptions" | "max_subs" => &mut limits.max_subscriptions,
            "max_payload" | "max_pay" => &mut limits.max_payload,
            "max_leafnodes" | "max_leafs" => &mut limits.max_leafnodes,
            _ => {
                report.unknown_field_in(("Unknown field ", " parsing account limits"), key, value);
                continue;
            }
        };
        if let Some(number) = report.keep(value, value.integer()) {
            *limit = u32::try_from(number).ok();
        }
    }
}

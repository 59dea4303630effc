//! `operator`, `resolver` and the keys beside them (AUTH-50, AUTH-70..73).

use std::path::PathBuf;
use std::time::Duration;

use super::error::ProblemKind;
use super::report::{Report, TextsError, strict_duration};
use super::value::{Map, Node, Value};
use crate::auth::jwt::account::AccountClaims;
use crate::auth::jwt::operator::OperatorClaims;
use crate::auth::jwt::token::{is_public_key, undecorated};
use crate::limits;
use crate::options::{DirectoryOptions, OperatorOptions, ResolverOptions};

/// How a token in place of a file name begins.
const TOKEN_START: &str = "eyJ";
/// Where an account server has its accounts.
const ACCOUNTS_PATH: &str = "/accounts";

/// The operators' tokens: file names, or the tokens themselves.
pub fn operators(report: &mut Report, value: &Value, options: &mut OperatorOptions) {
    let what = TextsError {
        in_array: "error parsing operators: unsupported type ",
        alone: "error parsing operators: unsupported type ",
    };
    for name in report.texts(what, value).unwrap_or_default() {
        match read(&name) {
            Ok(token) => options.operators.push(token),
            Err(error) => report.error(
                value,
                ProblemKind::TypeIn {
                    text: "error parsing operator JWT: ",
                    found: error,
                },
            ),
        }
    }
}

fn read(name: &str) -> Result<String, String> {
    let contents = match std::fs::metadata(name) {
        Ok(facts) if facts.len() > limits::TOKEN_FILE_MAX => {
            return Err(format!(
                "{name}: larger than {} bytes",
                limits::TOKEN_FILE_MAX
            ));
        }
        Ok(_) => std::fs::read_to_string(name).map_err(|error| format!("open {name}: {error}"))?,
        Err(_) if name.starts_with(TOKEN_START) => name.to_owned(),
        Err(_) => return Err(format!("open {name}: no such file or directory")),
    };
    let token = undecorated(&contents).to_owned();
    OperatorClaims::decode(&token).map_err(|error| error.to_string())?;
    Ok(token)
}

/// What one operator says itself holds where the file does not (AUTH-58): its system account and
/// its account server.
pub fn complete(options: &mut OperatorOptions, system_account: &mut Option<String>) {
    let [token] = options.operators.as_slice() else {
        return;
    };
    let Ok(claims) = OperatorClaims::decode(token) else {
        return; // refused where it was read
    };
    let url = claims.body.account_server_url;
    if options.resolver.is_none() && url.contains("://") {
        let url = format!("{}{ACCOUNTS_PATH}", url.trim_end_matches('/'));
        options.resolver = Some(ResolverOptions::Url(url));
    }
    if !claims.body.system_account.is_empty() {
        system_account.get_or_insert(claims.body.system_account);
    }
}

/// Where accounts come from.
pub fn resolver(report: &mut Report, value: &Value, options: &mut OperatorOptions) {
    options.resolver = match &value.node {
        Node::String(_) => report.keep(value, value.text().and_then(named)),
        Node::Map(map) => directory(report, value, map),
        _ => {
            report.error(value, not_understood());
            None
        }
    };
}

fn not_understood() -> ProblemKind {
    ProblemKind::Stock("error parsing account resolver, should be MEM or  URL(\"url\")")
}

/// `MEMORY`, or `URL(...)`.
fn named(text: &str) -> Result<ResolverOptions, ProblemKind> {
    let upper = text.to_uppercase();
    if upper.contains("MEM") {
        return Ok(ResolverOptions::Memory);
    }
    let at = upper.find("URL").ok_or_else(not_understood)?;
    let url = text.get(at + 3..).unwrap_or_default().trim();
    let url = url.strip_prefix('(').and_then(|it| it.split(')').next());
    let url = url.unwrap_or_default().trim().trim_matches('"');
    match url.starts_with("http://") || url.starts_with("https://") {
        true => Ok(ResolverOptions::Url(url.to_owned())),
        false => Err(ProblemKind::Value {
            before: "error parsing account resolver url [",
            value: url.to_owned(),
            after: "]",
        }),
    }
}

fn directory(report: &mut Report, value: &Value, map: &Map) -> Option<ResolverOptions> {
    let text = |report: &mut Report, name: &str| {
        let value = map.find(name)?;
        report.keep(value, value.text().map(str::to_owned))
    };
    let flag = |report: &mut Report, name: &str| {
        let value = map.find(name)?;
        report.keep(value, value.boolean())
    };
    let time = |report: &mut Report, name: &str| {
        let value = map.find(name)?;
        let nanos = report.keep(value, strict_duration(value, ""))?;
        Some(Duration::from_nanos(nanos.max(0) as u64))
    };
    let kind = text(report, "type").unwrap_or_default().to_uppercase();
    let dir = text(report, "dir").unwrap_or_default();
    if dir.is_empty() {
        let text = "dir has no value and needs to point to a directory";
        report.error(value, ProblemKind::Stock(text));
        return None;
    }
    let delete = flag(report, "allow_delete");
    let hard_delete = flag(report, "hard_delete");
    let interval = time(report, "interval");
    let ttl = time(report, "ttl");
    let limit = map.find("limit");
    let limit = limit.and_then(|it| report.keep(it, it.integer()));
    let options = DirectoryOptions {
        dir: PathBuf::from(dir),
        allow_delete: delete.unwrap_or(false),
        hard_delete: hard_delete.unwrap_or(false),
        limit: limit
            .and_then(|it| usize::try_from(it).ok())
            .filter(|&it| it > 0),
        ttl,
        interval: interval.filter(|it| !it.is_zero()),
        timeout: time(report, "timeout").filter(|it| !it.is_zero()),
    };
    match kind.as_str() {
        "CACHE" => {
            for (given, text) in [
                (interval.is_some(), "CACHE does not accept sync"),
                (delete == Some(true), "CACHE does not accept allow_delete"),
                (hard_delete.is_some(), "CACHE does not accept hard_delete"),
            ] {
                if given {
                    report.error(value, ProblemKind::Stock(text));
                }
            }
            Some(ResolverOptions::Cache(options))
        }
        "FULL" => {
            if ttl.is_some() {
                report.error(value, ProblemKind::Stock("FULL does not accept ttl"));
            }
            if hard_delete.is_some() && delete != Some(true) {
                let text = "hard_delete has no effect without delete";
                report.error(value, ProblemKind::Stock(text));
            }
            Some(ResolverOptions::Full(options))
        }
        _ => {
            let text = "error parsing account resolver, should be MEM or  URL(\"url\")";
            report.error(value, ProblemKind::Stock(text));
            None
        }
    }
}

/// Tokens of accounts that are there from the start.
pub fn preload(report: &mut Report, value: &Value, options: &mut OperatorOptions) {
    let Node::Map(map) = &value.node else {
        let text = "preload should be a map of account_public_key:account_jwt";
        return report.error(value, ProblemKind::Stock(text));
    };
    for (key, token) in map.iter() {
        if !matches!(token.node, Node::String(_)) {
            let text = "preload map value should be a string JWT";
            report.error(token, ProblemKind::Stock(text));
        } else if let Some(text) = report.keep(token, token.text()) {
            if AccountClaims::decode(text).is_err() {
                report.error(token, ProblemKind::Stock("invalid account JWT"));
            }
            let key = String::from_utf8_lossy(key).into_owned();
            options.preload.push((key, text.to_owned()));
        }
    }
}

/// Accounts that may be used.
pub fn pinned(report: &mut Report, value: &Value, options: &mut OperatorOptions) {
    let what = TextsError {
        in_array: "error parsing resolver_pinned_accounts: unsupported type in array ",
        alone: "error parsing resolver_pinned_accounts: unsupported type ",
    };
    options.pinned_accounts = report.texts(what, value);
}

/// Keys of operators without their tokens.
pub fn trusted_keys(report: &mut Report, value: &Value, options: &mut OperatorOptions) {
    let what = TextsError {
        in_array: "error parsing trusted: unsupported type in array ",
        alone: "error parsing trusted: unsupported type ",
    };
    options.trusted_keys = report.texts(what, value).unwrap_or_default();
    let bad = |it: &&String| !is_public_key(it, 'O');
    if let Some((at, bad)) = options
        .trusted_keys
        .iter()
        .enumerate()
        .find(|it| bad(&it.1))
    {
        let entry = match &value.node {
            Node::Array(entries) => entries.get(at),
            _ => None,
        };
        report.error(
            entry.unwrap_or(value),
            ProblemKind::Value {
                before: "trust key ",
                value: bad.clone(),
                after: " required to be a valid public operator nkey",
            },
        );
    }
}

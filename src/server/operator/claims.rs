//! `$SYS.REQ.CLAIMS.>` and `$SYS.REQ.ACCOUNT.*.CLAIMS.>`: tokens of accounts asked for, changed,
//! compared with other servers (AUTH-74..79).

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::directory::Directory;
use crate::auth::jwt::account::AccountClaims;
use crate::auth::jwt::operator::OperatorClaims;
use crate::auth::jwt::token::{Token, is_public_key};
use crate::ids::AccountId;
use crate::options::{DirectoryOptions, OperatorOptions};
use crate::server::reload::Reloader;
use crate::server::system::envelope::Envelope;
use crate::server::system::services::{Outlet, Service};
use crate::shard::internal::{InternalMessage, InternalPublish};

/// Time between two comparisons with other servers.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
/// Queue group of those who answer comparisons.
const PACK_QUEUE: &str = "responder";
/// Problems of a token that are named in an answer.
const PROBLEMS_SHOWN: usize = 16;
const PACK: &str = "$SYS.REQ.CLAIMS.PACK";

/// Answers for a directory of tokens.
pub(in crate::server) struct ClaimsService {
    directory: Directory,
    reloader: Arc<Reloader>,
    envelope: Arc<Envelope>,
    system: AccountId,
    system_key: String,
    /// The operator whose own key may not sign accounts.
    strict: Option<String>,
    /// Keys of operators that may delete accounts.
    operators: Vec<String>,
    interval: Duration,
    next_comparison: Option<Instant>,
    inbox: String,
}

/// What came of a change.
struct Outcome {
    /// The account it is about, if it is about one.
    account: String,
    message: String,
    error: Option<String>,
}

impl Outcome {
    fn new(account: impl Into<String>, message: impl Into<String>, error: Option<String>) -> Self {
        Self {
            account: account.into(),
            message: message.into(),
            error,
        }
    }
}

impl ClaimsService {
    pub fn new(
        directory: Directory,
        options: (&OperatorOptions, &DirectoryOptions),
        (system, system_key): (AccountId, &str),
        reloader: Arc<Reloader>,
        envelope: Arc<Envelope>,
    ) -> Self {
        let (operator, at) = options;
        let claims: Vec<OperatorClaims> = operator
            .operators
            .iter()
            .filter_map(|token| OperatorClaims::decode(token).ok())
            .collect();
        let first = claims.first().filter(|it| it.body.strict_signing_key_usage);
        let inbox = format!("$SYS._INBOX.{}", envelope.server_id());
        Self {
            strict: first.map(|it| it.standard.subject.clone()),
            operators: claims
                .iter()
                .flat_map(|it| it.body.signing_keys.iter().chain([&it.standard.subject]))
                .cloned()
                .collect(),
            interval: at.interval.unwrap_or(INTERVAL_DEFAULT),
            directory,
            reloader,
            envelope,
            system,
            system_key: system_key.to_owned(),
            next_comparison: None,
            inbox,
        }
    }

    /// A new token for an account; `named` is the one the subject names.
    fn update(&mut self, named: Option<&str>, payload: &[u8]) -> Outcome {
        const FAILED: &str = "jwt update resulted in error";
        let text = String::from_utf8_lossy(payload);
        let text = text.trim();
        let claims = match AccountClaims::decode(text) {
            Ok(claims) => claims,
            Err(error) => return Outcome::new("n/a", FAILED, Some(error.to_string())),
        };
        let key = claims.standard.subject.as_str();
        let mut problems = claims.problems();
        if !problems.is_empty() {
            problems.truncate(PROBLEMS_SHOWN);
            let text = format!("validation errors: [{}]", problems.join(" "));
            return Outcome::new(key, "jwt validation failed", Some(text));
        }
        if let Some(named) = named.filter(|&named| named != key) {
            let text = "subject does not match jwt content";
            return Outcome::new(named, FAILED, Some(text.into()));
        }
        if self.strict.as_ref() == Some(&claims.standard.issuer) {
            let text = "operator requires issuer to be a signing key";
            return Outcome::new(key, FAILED, Some(text.into()));
        }
        match self.directory.save(key, text) {
            Ok(changed) => {
                if changed {
                    self.reloader.update_accounts(&[(key, Some(text))]);
                }
                Outcome::new(key, "jwt updated", None)
            }
            Err(error) => Outcome::new(key, FAILED, Some(error.to_string())),
        }
    }

    fn delete(&mut self, payload: &[u8]) -> Outcome {
        let text = String::from_utf8_lossy(payload);
        let refused = |subject: &str, why: &str| {
            let message = format!("delete accounts request by {subject} failed");
            Outcome::new("", message, Some(why.to_owned()))
        };
        let token = match Token::decode(text.trim()) {
            Ok(token) => token,
            Err(error) => return refused("", &error.to_string()),
        };
        let (subject, issuer) = (&token.standard.subject, &token.standard.issuer);
        let listed = token.raw_body().get("accounts").and_then(Value::as_array);
        let keys: Option<Vec<&str>> = listed.and_then(|it| it.iter().map(Value::as_str).collect());
        let keys = match keys {
            _ if !self.directory.allows_delete() => {
                return refused(subject, "delete must be enabled in server config");
            }
            _ if subject != issuer => return refused(subject, "not self signed"),
            _ if !self.operators.contains(issuer) => return refused(subject, "not trusted"),
            Some(keys) if keys.iter().all(|it| is_public_key(it, 'A')) => keys,
            _ => return refused(subject, "malformed request"),
        };
        if keys.contains(&self.system_key.as_str()) {
            return refused(subject, "not allowed to delete system account");
        }
        let mut errors = Vec::new();
        let mut gone = Vec::new();
        for key in &keys {
            match self.directory.delete(key) {
                Ok(_) => gone.push((*key, None)),
                Err(error) => errors.push(error.to_string()),
            }
        }
        self.reloader.update_accounts(&gone);
        let count = gone.len();
        match errors.len() {
            0 => Outcome::new("", format!("deleted {count} accounts"), None),
            failed => {
                let message = format!("deleted {count} accounts, failed for {failed}");
                Outcome::new("", message, Some(errors.join("\n")))
            }
        }
    }

    /// The answer to a change, in stock's form.
    fn answer(&self, request: &InternalMessage, outcome: &Outcome, outlet: &Outlet) {
        let Outcome {
            account,
            message,
            error,
        } = outcome;
        let mut body = json!({});
        if !account.is_empty() {
            body["account"] = account.as_str().into();
        }
        let name = match error {
            Some(error) => {
                log::error!("{message} - {account} - {error}");
                body["code"] = 500.into();
                body["description"] = format!("{message} - {error}").into();
                "error"
            }
            None => {
                log::debug!("{message} - {account}");
                body["code"] = 200.into();
                body["message"] = message.as_str().into();
                "data"
            }
        };
        let answer = json!({"server": self.envelope.server(), name: body});
        outlet.answer(request, answer.to_string().into_bytes());
    }

    fn list(&self, request: &InternalMessage, outlet: &Outlet) {
        let mut keys: Vec<&String> = self.directory.iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        let answer = json!({"server": self.envelope.server(), "data": keys});
        outlet.answer(request, answer.to_string().into_bytes());
    }

    fn pack(&self, request: &InternalMessage, outlet: &Outlet) {
        if *request.payload != self.directory.hash() {
            for (key, token) in self.directory.iter() {
                outlet.answer(request, format!("{key}|{token}").into_bytes());
            }
        }
        outlet.answer(request, Vec::new());
    }

    fn merge(&mut self, payload: &[u8]) {
        let text = String::from_utf8_lossy(payload);
        match self.directory.merge(&text) {
            Ok(changed) => {
                let tokens = changed.iter().map(|key| {
                    let token = self.directory.token(key).map(String::as_str);
                    (key.as_str(), token)
                });
                let tokens: Vec<_> = tokens.collect();
                if !tokens.is_empty() {
                    self.reloader.update_accounts(&tokens);
                }
            }
            Err(error) => log::error!("DirResolver - Merging resulted in error: {error}"),
        }
    }
}

impl Service for ClaimsService {
    fn start(&mut self, outlet: &Outlet) {
        for pattern in [
            "$SYS.REQ.ACCOUNT.*.CLAIMS.UPDATE",
            "$SYS.ACCOUNT.*.CLAIMS.UPDATE",
            "$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP",
            "$SYS.REQ.CLAIMS.UPDATE",
            "$SYS.REQ.CLAIMS.LIST",
            "$SYS.REQ.CLAIMS.DELETE",
        ] {
            outlet.subscribe(self.system, pattern, None);
        }
        outlet.subscribe(self.system, PACK, Some(PACK_QUEUE));
        outlet.subscribe(self.system, &self.inbox, None);
        let path = self.directory.path().display();
        log::info!("Managing all jwt in exclusive directory {path}");
    }

    fn message(&mut self, message: &InternalMessage, outlet: &Outlet) {
        let subject = String::from_utf8_lossy(&message.subject);
        let tokens: Vec<&str> = subject.split('.').collect();
        let outcome = match tokens.as_slice() {
            ["$SYS", "REQ", "CLAIMS", "UPDATE"] => self.update(None, &message.payload),
            ["$SYS", "REQ", "ACCOUNT", key, "CLAIMS", "UPDATE"]
            | ["$SYS", "ACCOUNT", key, "CLAIMS", "UPDATE"] => {
                self.update(Some(key), &message.payload)
            }
            ["$SYS", "REQ", "CLAIMS", "DELETE"] => self.delete(&message.payload),
            ["$SYS", "REQ", "CLAIMS", "LIST"] => return self.list(message, outlet),
            ["$SYS", "REQ", "ACCOUNT", key, "CLAIMS", "LOOKUP"] => {
                let token = self.directory.token(key).cloned().unwrap_or_default();
                return outlet.answer(message, token.into_bytes());
            }
            ["$SYS", "REQ", "CLAIMS", "PACK"] => return self.pack(message, outlet),
            _ if *subject == self.inbox => return self.merge(&message.payload),
            _ => return,
        };
        self.answer(message, &outcome, outlet);
    }

    fn tick(&mut self, now: Instant, outlet: &Outlet) {
        let next = *self.next_comparison.get_or_insert(now + self.interval);
        if now >= next {
            self.next_comparison = Some(now + self.interval);
            outlet.publish(InternalPublish {
                account: self.system,
                subject: PACK.as_bytes().into(),
                reply: Some(self.inbox.as_bytes().into()),
                payload: self.directory.hash().into(),
                ..InternalPublish::default()
            });
        }
    }
}

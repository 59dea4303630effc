//! `$SYS.REQ.CLAIMS.>` and `$SYS.REQ.ACCOUNT.*.CLAIMS.>`: tokens of accounts asked for, changed,
//! compared with other servers (AUTH-73..79).

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::directory::Directory;
use super::lookups::{Lookups, Open};
use super::outcome::{Outcome, named};
use super::search::Search;
use super::waiting::Waiting;
use crate::auth::jwt::account::AccountClaims;
use crate::auth::jwt::operator::OperatorClaims;
use crate::auth::jwt::token::{Token, is_public_key};
use crate::ids::AccountId;
use crate::options::{DirectoryOptions, OperatorOptions};
use crate::server::reload::Reloader;
use crate::server::system::envelope::Envelope;
use crate::server::system::services::{Outlet, Service};
use crate::shard::internal::{AccountSought, InternalMessage, InternalPublish};

/// Time between two comparisons with other servers.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
/// Queue group of those who answer comparisons.
const PACK_QUEUE: &str = "responder";
/// Problems of a token that are named in an answer.
const PROBLEMS_SHOWN: usize = 16;
/// Longest time between two looks at what has expired.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);
/// Time between two tries for the system account.
const SYSTEM_RETRY: Duration = Duration::from_secs(1);
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
    expiry_interval: Duration,
    next_expiry: Option<Instant>,
    next_try: Option<Instant>,
    /// Reloads that the directory was read again for.
    reloads: u64,
    inbox: String,
    lookups: Lookups,
}

impl ClaimsService {
    pub fn new(
        directory: Directory,
        options: (&OperatorOptions, &DirectoryOptions),
        (system, system_key): (AccountId, &str),
        reloader: Arc<Reloader>,
        envelope: Arc<Envelope>,
        waiting: Waiting,
    ) -> Self {
        let (operator, at) = options;
        let claims: Vec<OperatorClaims> = operator
            .operators
            .iter()
            .filter_map(|token| OperatorClaims::decode(token).ok())
            .collect();
        let first = claims.first().filter(|it| it.body.strict_signing_key_usage);
        let inbox = format!("$SYS._INBOX.{}", envelope.server_id());
        let lookups = Lookups::new(waiting, system, &inbox, at.timeout);
        let check = at
            .ttl
            .map_or(EXPIRY_INTERVAL, |it| (it / 2).min(EXPIRY_INTERVAL));
        Self {
            expiry_interval: check,
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
            next_expiry: None,
            next_try: None,
            reloads: 0,
            inbox,
            lookups,
        }
    }

    /// A new token for an account; `named` is the one the subject names.
    fn update(&mut self, named: Option<&str>, payload: &[u8]) -> Outcome {
        // A cache words it otherwise.
        let [failed, invalid, updated] = match self.directory.is_cache() {
            false => [
                "jwt update resulted in error",
                "jwt validation failed",
                "jwt updated",
            ],
            true => [
                "jwt update cache resulted in error",
                "jwt update cache validation failed",
                "jwt updated cache",
            ],
        };
        let text = String::from_utf8_lossy(payload);
        let text = text.trim();
        let claims = match AccountClaims::decode(text) {
            Ok(claims) => claims,
            Err(error) => {
                return Outcome::new(
                    named.filter(|_| self.directory.is_cache()).unwrap_or("n/a"),
                    failed,
                    Some(error.to_string()),
                );
            }
        };
        let key = claims.standard.subject.as_str();
        let refused = |why: &str| Outcome::new(key, failed, Some(why.to_owned()));
        let subject = |named: &str| {
            let why = "subject does not match jwt content";
            Outcome::new(named, failed, Some(why.into()))
        };
        let strict = self.strict.as_ref() == Some(&claims.standard.issuer);
        let mut problems = claims.problems();
        problems.truncate(PROBLEMS_SHOWN);
        let validation = || {
            let text = format!("validation errors: [{}]", problems.join(" "));
            Outcome::new(key, invalid, Some(text))
        };
        const STRICT: &str = "operator requires issuer to be a signing key";
        let other = named.filter(|&named| named != key);
        // Which of several mistakes is named differs between the kinds.
        if self.directory.is_cache() {
            match other {
                Some(named) => return subject(named),
                None if strict => return refused(STRICT),
                None if !self.reloader.knows(key) => {
                    return Outcome::new(key, "jwt update cache skipped", None);
                }
                None if !problems.is_empty() => return validation(),
                None => {}
            }
        } else if !problems.is_empty() {
            return validation();
        } else if let Some(named) = other {
            return subject(named);
        } else if strict {
            return refused(STRICT);
        }
        match self.directory.save(key, text) {
            Ok(changed) => {
                if changed {
                    self.tell(&[(key, Some(text))]);
                }
                Outcome::new(key, updated, None)
            }
            Err(error) => refused(&error.to_string()),
        }
    }

    /// Tells the shards of accounts; what is wrong with one is in the log.
    fn tell(&self, accounts: &[(&str, Option<&str>)]) {
        let _ = self.reloader.update_accounts(accounts);
    }

    /// Goes on with a search: what is not in the directory is asked for.
    fn go_on(&mut self, mut search: Search, outlet: &Outlet) {
        let reloader = Arc::clone(&self.reloader);
        while let Some(key) = search.next(|key| reloader.has(key)) {
            match self.directory.use_token(&key) {
                Some(token) => _ = search.take(&key, token),
                None if is_public_key(&key, 'A') => return self.lookups.ask(search, key, outlet),
                None => {}
            }
        }
        self.finish(&search);
    }

    /// After a reload the files count as they are now.
    fn reread(&mut self) {
        let reloads = self.reloader.reloads();
        if std::mem::replace(&mut self.reloads, reloads) == reloads {
            return;
        }
        match self.directory.reread() {
            Ok(mut changed) => {
                if self.directory.is_cache() {
                    changed.retain(|key| self.reloader.knows(key));
                }
                self.take_over(&changed);
            }
            Err(error) => log::error!("DirResolver - Reload resulted in error: {error}"),
        }
    }

    /// Tells the shards of accounts as the directory has them.
    fn take_over(&self, keys: &[String]) {
        let tokens = keys.iter().map(|key| {
            let token = self.directory.token(key).map(String::as_str);
            (key.as_str(), token)
        });
        self.tell(&tokens.collect::<Vec<_>>());
    }

    fn finish(&mut self, search: &Search) {
        self.tell(&search.found());
        self.lookups.waiting.done(&search.key);
    }

    fn found(&mut self, open: Open, payload: &[u8], outlet: &Outlet) {
        let Open { mut search, key } = open;
        let token = String::from_utf8_lossy(payload);
        let token = token.trim();
        if token.is_empty() {
            log::warn!("Account fetch failed: account jwt not found");
        } else if !search.take(&key, token) {
            log::warn!("Account fetch failed: account validation failed");
        } else if let Err(error) = self.directory.save_newer(&key, token) {
            log::warn!("Account fetch failed: {error}");
        }
        self.go_on(search, outlet);
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
        self.tell(&gone);
        let count = gone.len();
        match errors.len() {
            0 => Outcome::new("", format!("deleted {count} accounts"), None),
            failed => {
                let message = format!("deleted {count} accounts, failed for {failed}");
                Outcome::new("", message, Some(errors.join("\n")))
            }
        }
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
            Ok(changed) => self.take_over(&changed),
            Err(error) => log::error!("DirResolver - Merging resulted in error: {error}"),
        }
    }
}

impl Service for ClaimsService {
    fn start(&mut self, outlet: &Outlet) {
        let both = [
            "$SYS.REQ.ACCOUNT.*.CLAIMS.UPDATE",
            "$SYS.ACCOUNT.*.CLAIMS.UPDATE",
            "$SYS.REQ.CLAIMS.UPDATE",
            "$SYS.REQ.CLAIMS.LIST",
            "$SYS.REQ.CLAIMS.DELETE",
            &self.lookups.pattern(),
        ];
        for pattern in both {
            outlet.subscribe(self.system, pattern, None);
        }
        let path = self.directory.path().display();
        if self.directory.is_cache() {
            return log::info!("Managing some jwt in exclusive directory {path}");
        }
        let pattern = "$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP";
        outlet.subscribe(self.system, pattern, None);
        outlet.subscribe(self.system, PACK, Some(PACK_QUEUE));
        outlet.subscribe(self.system, &self.inbox, None);
        log::info!("Managing all jwt in exclusive directory {path}");
    }

    fn message(&mut self, message: &InternalMessage, outlet: &Outlet) {
        let subject = String::from_utf8_lossy(&message.subject);
        let tokens: Vec<&str> = subject.split('.').collect();
        let outcome = match tokens.as_slice() {
            ["$SYS", "REQ", "CLAIMS", "UPDATE"] => self.update(None, &message.payload),
            ["$SYS", "REQ", "CLAIMS", "DELETE"] => self.delete(&message.payload),
            ["$SYS", "REQ", "CLAIMS", "LIST"] => return self.list(message, outlet),
            ["$SYS", "REQ", "ACCOUNT", key, "CLAIMS", "LOOKUP"] => {
                let own = message.reply.as_ref();
                if own.is_some_and(|reply| self.lookups.is_own(reply)) {
                    return;
                }
                let token = self.directory.token(key).cloned().unwrap_or_default();
                return outlet.answer(message, token.into_bytes());
            }
            ["$SYS", "REQ", "CLAIMS", "PACK"] => return self.pack(message, outlet),
            _ if *subject == self.inbox => return self.merge(&message.payload),
            other => match (named(other), self.lookups.answered(&subject)) {
                (Some(key), _) => self.update(Some(key), &message.payload),
                (_, Some(open)) => return self.found(open, &message.payload, outlet),
                _ => return,
            },
        };
        outcome.answer(message, &self.envelope, outlet);
    }

    fn seek(&mut self, sought: &AccountSought, outlet: &Outlet) {
        if self.lookups.waiting.add(sought) {
            let search = self.lookups.search(&sought.key);
            self.go_on(search, outlet);
        }
    }

    fn stop(&mut self, outlet: &Outlet) {
        outlet.unsubscribe();
        self.lookups.waiting.end();
    }

    fn tick(&mut self, now: Instant, outlet: &Outlet) {
        self.lookups.waiting.give_up(now);
        for open in self.lookups.late(now) {
            log::warn!("Account fetch failed: fetching jwt timed out");
            self.finish(&open.search);
        }
        self.reread();
        if now >= *self.next_expiry.get_or_insert(now) {
            self.next_expiry = Some(now + self.expiry_interval);
            self.directory.expire();
        }
        if now >= *self.next_try.get_or_insert(now) {
            self.next_try = Some(now + SYSTEM_RETRY);
            let key = self.reloader.bootstrapping();
            if let Some(key) = key.filter(|it| !self.lookups.seeks(it)) {
                let search = self.lookups.search(&key);
                self.go_on(search, outlet);
            }
        }
        if self.directory.is_cache() {
            return;
        }
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

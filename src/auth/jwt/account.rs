//! Claims of an account: its limits, who signs for it, whom it has shut out (AUTH-55, AUTH-56).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::activation;
use super::shape;
use super::token::{Kind, Standard, Token, TokenError, is_public_key};
use super::user::{Permissions, UserLimits, is_subject};
use crate::options::{
    AccountLimits, AccountTiers, DestinationOptions, JetStreamAccountLimits, MappingOptions,
};

/// Stands for every user in a list of revocations, and for every account in lists of accounts.
pub const ANYBODY: &str = "*";

/// Users, or importing accounts, whose tokens of that second and before count no more.
pub type Revocations = BTreeMap<String, i64>;

/// Is a token of `subject`, made at `issued_at`, revoked?
pub fn is_revoked(list: &Revocations, subject: &str, issued_at: i64) -> bool {
    let until = |key: &str| list.get(key).is_some_and(|&time| time >= issued_at);
    until(subject) || until(ANYBODY)
}

/// What is said of an account.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AccountClaims {
    /// Claims of every kind.
    pub standard: Standard,
    /// Its own.
    pub body: AccountBody,
    /// Other keys that sign for it, and what users may do who are signed by them.
    pub signing_keys: BTreeMap<String, Option<Scope>>,
}

/// Claims of accounts.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct AccountBody {
    /// What it takes from others.
    #[serde(deserialize_with = "shape::maps")]
    pub imports: Vec<Import>,
    /// What others may take from it.
    #[serde(deserialize_with = "shape::maps")]
    pub exports: Vec<Export>,
    /// What it may use.
    #[serde(deserialize_with = "shape::map")]
    pub limits: Limits,
    /// Shut out users.
    pub revocations: Revocations,
    /// Of users for whom nothing is said.
    #[serde(deserialize_with = "shape::map")]
    pub default_permissions: Permissions,
    /// Where messages go instead.
    #[serde(deserialize_with = "shape::map_of_maps")]
    pub mappings: BTreeMap<String, Vec<Destination>>,
    /// Who decides about its users.
    #[serde(deserialize_with = "shape::map")]
    pub authorization: ExternalAuthorization,
    /// Message tracing.
    #[serde(deserialize_with = "shape::some_map")]
    pub trace: Option<Trace>,
    /// Labels.
    pub tags: Vec<String>,
    #[serde(rename = "signing_keys")]
    signers: Vec<Value>,
}

/// Limits of an account; -1 is unlimited, what is absent is 0.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Subscriptions of one connection.
    pub subs: i64,
    /// Bytes of one message.
    pub payload: i64,
    /// Connections.
    pub conn: i64,
    /// Leaf nodes.
    pub leaf: i64,
    /// Imports.
    pub imports: i64,
    /// Exports.
    pub exports: i64,
    /// May exports have wildcards?
    pub wildcards: bool,
    /// Every user must sign the nonce.
    pub disallow_bearer: bool,
    /// JetStream, the same for all streams.
    #[serde(flatten)]
    pub jetstream: JetStreamClaims,
    /// JetStream, by `R1`, `R3` and so on.
    #[serde(deserialize_with = "shape::map")]
    pub tiered_limits: BTreeMap<String, JetStreamClaims>,
}

/// What of JetStream an account may use (JS-244); -1 is unlimited, what is absent is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct JetStreamClaims {
    /// Bytes in memory.
    pub mem_storage: i64,
    /// Bytes on disk.
    pub disk_storage: i64,
    /// Streams.
    pub streams: i64,
    /// Consumers of one stream.
    pub consumer: i64,
    /// Messages in flight of one consumer; 0 is unlimited, too.
    pub max_ack_pending: i64,
    /// Bytes of one stream in memory; 0 is unlimited, too.
    pub mem_max_stream_bytes: i64,
    /// Bytes of one stream on disk; 0 is unlimited, too.
    pub disk_max_stream_bytes: i64,
    /// Streams must say how many bytes they may have.
    pub max_bytes_required: bool,
}

impl JetStreamClaims {
    fn is_given(&self) -> bool {
        self.mem_storage != 0 || self.disk_storage != 0
    }

    fn limits(&self) -> JetStreamAccountLimits {
        let unlimited = |it: i64| if it > 0 { it } else { -1 };
        JetStreamAccountLimits {
            max_memory: self.mem_storage,
            max_storage: self.disk_storage,
            max_streams: self.streams,
            max_consumers: self.consumer,
            max_ack_pending: unlimited(self.max_ack_pending),
            memory_max_stream_bytes: unlimited(self.mem_max_stream_bytes),
            storage_max_stream_bytes: unlimited(self.disk_max_stream_bytes),
            max_bytes_required: self.max_bytes_required,
        }
    }
}

/// Users signed by a certain key have no permissions of their own, but these.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Scope {
    /// The key.
    pub key: String,
    /// A name for people.
    pub role: String,
    /// What its users may do; subjects may have placeholders.
    #[serde(deserialize_with = "shape::map")]
    pub template: UserLimits,
}

/// One thing taken from another account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Import {
    /// A name for people.
    pub name: String,
    /// Subject in the exporting account.
    pub subject: String,
    /// That account.
    pub account: String,
    /// Activation.
    pub token: String,
    /// Old spelling of [`local_subject`](Self::local_subject).
    pub to: String,
    /// Subject in this account.
    pub local_subject: String,
    /// `stream` or `service`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Tell the service who asks.
    pub share: bool,
    /// Let traces through.
    pub allow_trace: bool,
}

/// One thing given to other accounts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Export {
    /// A name for people.
    pub name: String,
    /// Its subject.
    pub subject: String,
    /// `stream` or `service`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Importers need an activation.
    pub token_req: bool,
    /// Importers whose activation counts no more.
    pub revocations: Revocations,
    /// `Singleton`, `Stream` or `Chunked`.
    pub response_type: String,
    /// Nanoseconds.
    pub response_threshold: i64,
    /// Token of the subject that names the importer.
    pub account_token_position: u32,
    /// Let traces through.
    pub allow_trace: bool,
    /// Latency tracking.
    #[serde(deserialize_with = "shape::some_map")]
    pub service_latency: Option<Latency>,
}

/// Latency tracking of a service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// Per cent, or `"headers"`.
    pub sampling: Value,
    /// Where results go.
    pub results: String,
}

/// One destination of a mapping.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Destination {
    /// Subject with placeholders.
    pub subject: String,
    /// Per cent; 0 is all.
    pub weight: u8,
    /// Only in this cluster.
    pub cluster: String,
}

/// An auth service decides about the users (AUTH-80).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ExternalAuthorization {
    /// Users about whom it is not asked, its own among them. None means nobody is asked.
    pub auth_users: Vec<String>,
    /// Accounts it may put users into.
    pub allowed_accounts: Vec<String>,
    /// Its public curve key.
    pub xkey: String,
}

/// Message tracing of an account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Trace {
    /// Where traces go.
    pub dest: String,
    /// Per cent.
    pub sampling: i64,
}

impl AccountClaims {
    /// Decodes an account's token.
    ///
    /// # Errors
    /// [`TokenError`] says what is wrong with it.
    pub fn decode(text: &str) -> Result<Self, TokenError> {
        let token = Token::decode_kind(text, Kind::Account)?;
        let mut body: AccountBody = token.body()?;
        if token.version == 1 {
            // Those did not know any of this.
            body.mappings.clear();
            body.default_permissions = Permissions::default();
            body.authorization = ExternalAuthorization::default();
            body.trace = None;
        }
        let mut signing_keys = BTreeMap::new();
        for signer in std::mem::take(&mut body.signers) {
            match signer {
                Value::String(key) => {
                    signing_keys.insert(key, None);
                }
                Value::Object(scope) => {
                    let (key, scope) = read_scope(scope)?;
                    signing_keys.insert(key, Some(scope));
                }
                _ => {}
            }
        }
        Ok(Self {
            body,
            signing_keys,
            standard: token.standard,
        })
    }

    /// What does not make sense in it, in stock's words; its times apart.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut subject = |text: &str| subject_problems(text, &mut problems);
        for export in &self.body.exports {
            subject(&export.subject);
        }
        for import in &self.body.imports {
            subject(&import.subject);
        }
        for (source, destinations) in &self.body.mappings {
            subject(source);
            destinations.iter().for_each(|it| subject(&it.subject));
        }
        let known = |kind: &str| matches!(kind, "stream" | "service");
        for export in self.body.exports.iter().filter(|it| !known(&it.kind)) {
            problems.push(format!("invalid export type: {:?}", export.kind));
        }
        for import in &self.body.imports {
            if !known(&import.kind) {
                problems.push(format!("invalid import type: {:?}", import.kind));
            }
            if import.account.is_empty() {
                problems.push("account to import from is not specified".into());
            }
            if !import.token.is_empty() {
                let importer = &self.standard.subject;
                problems.extend(activation::problem(importer, import));
            }
        }
        if !self.body.default_permissions.is_sound() {
            problems.push("default permissions contain an invalid subject".into());
        }
        self.limit_problems(&mut problems);
        self.mapping_problems(&mut problems);
        self.authorization_problems(&mut problems);
        for (key, scope) in &self.signing_keys {
            if !is_public_key(key, 'A') {
                problems.push(match scope {
                    Some(_) => format!("{key} is not an account public key"),
                    None => format!("{key:?} is not a valid account signing key"),
                });
            }
        }
        problems
    }

    fn limit_problems(&self, problems: &mut Vec<String>) {
        let AccountBody {
            limits,
            imports,
            exports,
            ..
        } = &self.body;
        let more = |count: usize, limit: i64| limit != -1 && count as i64 > limit;
        if more(imports.len(), limits.imports) {
            let text = "the account contains more imports than allowed by the operator";
            problems.push(text.into());
        }
        if more(exports.len(), limits.exports) {
            let text = "the account contains more exports than allowed by the operator";
            problems.push(text.into());
        }
        let wild = |it: &Export| {
            it.subject
                .split('.')
                .any(|token| matches!(token, "*" | ">"))
        };
        if limits.exports != -1 && !limits.wildcards && exports.iter().any(wild) {
            let text = "the account contains wildcard exports that are not allowed by the operator";
            problems.push(text.into());
        }
    }

    fn mapping_problems(&self, problems: &mut Vec<String>) {
        for (source, destinations) in &self.body.mappings {
            let mut totals: BTreeMap<&str, u32> = BTreeMap::new();
            for it in destinations {
                *totals.entry(&it.cluster).or_default() += u32::from(it.percent());
            }
            if totals.values().any(|&total| total > 100) {
                problems.push(format!(
                    "Mapping {source:?} exceeds 100% among all of it's weighted to mappings"
                ));
            }
        }
    }

    fn authorization_problems(&self, problems: &mut Vec<String>) {
        let external = &self.body.authorization;
        if !external.allowed_accounts.is_empty() && external.auth_users.is_empty() {
            let text = "External authorization cannot have accounts without users specified";
            problems.push(text.into());
        }
        for user in external
            .auth_users
            .iter()
            .filter(|it| !is_public_key(it, 'U'))
        {
            problems.push(format!("AuthUser {user:?} is not a valid user public key"));
        }
        for account in &external.allowed_accounts {
            if account == ANYBODY && external.allowed_accounts.len() > 1 {
                problems.push("AllowedAccounts can only be a list of accounts or \"*\"".into());
            } else if account != ANYBODY && !is_public_key(account, 'A') {
                problems.push(format!(
                    "Account {account:?} is not a valid account public key"
                ));
            }
        }
        if !external.xkey.is_empty() && !is_public_key(&external.xkey, 'X') {
            problems.push(format!(
                "XKey {:?} is not a valid public xkey",
                external.xkey
            ));
        }
    }

    /// An account of which nothing is known but its key, and that may do everything.
    pub fn unlimited(key: &str) -> Self {
        Self {
            standard: Standard {
                subject: key.to_owned(),
                ..Standard::default()
            },
            body: AccountBody {
                limits: Limits {
                    subs: -1,
                    payload: -1,
                    conn: -1,
                    leaf: -1,
                    imports: -1,
                    exports: -1,
                    wildcards: true,
                    disallow_bearer: false,
                    ..Limits::default()
                },
                ..AccountBody::default()
            },
            signing_keys: BTreeMap::new(),
        }
    }

    /// Its limits as the server's own.
    pub fn limits(&self) -> AccountLimits {
        let limits = &self.body.limits;
        AccountLimits {
            max_connections: limit(limits.conn),
            max_subscriptions: limit(limits.subs),
            max_payload: limit(limits.payload),
            max_leafnodes: limit(limits.leaf),
        }
    }

    /// What of JetStream it may use; nothing where its token gives no bytes.
    pub fn jetstream(&self) -> Option<AccountTiers> {
        let limits = &self.body.limits;
        if limits.jetstream.is_given() {
            return Some(AccountTiers::One(limits.jetstream.limits()));
        }
        let tiers = &limits.tiered_limits;
        tiers.values().any(JetStreamClaims::is_given).then(|| {
            let tiers = tiers.iter().map(|(tier, it)| (tier.clone(), it.limits()));
            AccountTiers::ByReplicas(tiers.collect())
        })
    }

    /// Its mappings as the server's own.
    pub fn mappings(&self) -> Vec<MappingOptions> {
        let all = self.body.mappings.iter();
        all.map(|(source, destinations)| MappingOptions {
            source: source.clone(),
            destinations: destinations
                .iter()
                .map(|it| DestinationOptions {
                    subject: it.subject.clone(),
                    weight: it.percent(),
                    cluster: (!it.cluster.is_empty()).then(|| it.cluster.clone()),
                })
                .collect(),
        })
        .collect()
    }
}

impl ExternalAuthorization {
    /// Is there an auth service?
    pub fn is_enabled(&self) -> bool {
        !self.auth_users.is_empty()
    }
}

impl Destination {
    fn percent(&self) -> u8 {
        match self.weight {
            0 => 100,
            weight => weight,
        }
    }
}

/// A limit as tokens spell it: below 0 is none.
pub(super) fn limit(value: i64) -> Option<u32> {
    (value >= 0).then(|| u32::try_from(value).unwrap_or(u32::MAX))
}

fn read_scope(mut map: serde_json::Map<String, Value>) -> Result<(String, Scope), TokenError> {
    if map.get("kind").and_then(Value::as_str) != Some("user_scope") {
        return Err(TokenError::Json("unknown signing key scope".into()));
    }
    // Unlimited where a template does not say.
    if let Some(Value::Object(template)) = map.get_mut("template") {
        for name in ["subs", "data", "payload"] {
            template.entry(name).or_insert_with(|| (-1).into());
        }
    } else {
        let unlimited = serde_json::json!({"subs": -1, "data": -1, "payload": -1});
        map.insert("template".into(), unlimited);
    }
    let scope: Scope = serde_json::from_value(Value::Object(map))
        .map_err(|error| TokenError::Json(error.to_string()))?;
    Ok((scope.key.clone(), scope))
}

fn subject_problems(text: &str, problems: &mut Vec<String>) {
    if text.is_empty() {
        problems.push("subject cannot be empty".into());
    } else if text.contains(' ') {
        problems.push(format!("subject {text:?} cannot have spaces"));
    } else if !is_subject(text) {
        problems.push(match text.contains("..") {
            true => format!("subject {text:?} cannot contain consecutive `.`"),
            false => format!("subject {text:?} cannot start or end with a `.`"),
        });
    }
}

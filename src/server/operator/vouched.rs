//! The accounts that operators vouch for, and the views of shards that they come to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::account_server::{AccountServer, AccountServerError};
use super::directory::{Directory, StoreError};
use crate::accounts::mapping::Mappings;
use crate::accounts::registry::{AccountError, Accounts};
use crate::auth::authenticate::{AuthConfigError, Authenticator};
use crate::auth::callout::Callout;
use crate::auth::jwt::account::{Export, Import};
use crate::auth::jwt::activation::activates;
use crate::auth::jwt::setup::{self, SetupError};
use crate::auth::jwt::token::is_public_key;
use crate::auth::jwt::trust::{AccountRefused, Keys, Trust, TrustedAccount, seconds};
use crate::ids::{Listener, SYSTEM_ACCOUNT};
use crate::options::{
    AccountOptions, AuthOptions, ExportOptions, ImportOptions, LatencyOptions, OperatorOptions,
    Options, ResolverOptions, ResponseType, Shared,
};
use crate::server::identity::COMPATIBLE_VERSION;
use crate::server::shards::wall_time;
use crate::server::transports::{websocket_auth, with_trust};
use crate::shard::settings::Settings;

/// Operator mode cannot be as it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The options contradict each other.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The account server cannot be used.
    #[error(transparent)]
    Server(#[from] AccountServerError),
    /// Of accounts.
    #[error(transparent)]
    Accounts(#[from] AccountError),
    /// Of users.
    #[error(transparent)]
    Auth(#[from] AuthConfigError),
}

/// Where tokens of accounts come from while the server runs.
pub(in crate::server) enum Source {
    /// The options alone.
    Options,
    /// A directory, and other servers.
    Directory(Directory),
    /// An account server.
    Server(AccountServer),
}

/// The accounts that are vouched for.
#[derive(Clone, Default)]
pub(in crate::server) struct Vouched {
    keys: Option<Keys>,
    accounts: Arc<BTreeMap<String, Arc<TrustedAccount>>>,
    /// The system account where its token could not be had yet.
    bootstrapping: Option<String>,
    /// Accounts that are not here may be in the [`Source`].
    seeks: bool,
}

impl Vouched {
    /// Those the options and their directory know of, and where others come from. Blocks where an
    /// account server is asked for the system account.
    pub fn new(options: &Options) -> Result<(Self, Source), OperatorError> {
        let Some(keys) = setup::keys(options, COMPATIBLE_VERSION)? else {
            return Ok((Self::default(), Source::Options));
        };
        let mut this = Self {
            keys: Some(keys),
            ..Self::default()
        };
        let operator = &options.operator;
        let system = options.system_account.as_str();
        let source = match &operator.resolver {
            None | Some(ResolverOptions::Memory) => {
                let preload = operator.preload.iter();
                preload.for_each(|(key, token)| this.load(key, token));
                return Ok((this, Source::Options));
            }
            Some(ResolverOptions::Full(at)) => {
                let directory = preloaded(Directory::open(at)?, options)?;
                directory
                    .iter()
                    .for_each(|(key, token)| this.load(key, token));
                Source::Directory(directory)
            }
            // Others when somebody comes who needs them.
            Some(ResolverOptions::Cache(at)) => {
                let directory = preloaded(Directory::open_cache(at)?, options)?;
                if let Some(token) = directory.token(system) {
                    this.load(system, token);
                }
                Source::Directory(directory)
            }
            Some(ResolverOptions::Url(url)) => {
                let server = AccountServer::new(url, operator.resolver_tls.as_ref())?;
                server.check()?;
                if system != SYSTEM_ACCOUNT
                    && let Ok(token) = server.fetch(system)
                {
                    this.load(system, token.trim());
                }
                Source::Server(server)
            }
        };
        this.seeks = true;
        let known = this.knows(system) || system == SYSTEM_ACCOUNT;
        if operator.operators.len() == 1 && !known {
            log::info!("Using bootstrapping system account");
            let account = TrustedAccount::bootstrapping(system);
            Arc::make_mut(&mut this.accounts).insert(system.to_owned(), Arc::new(account));
            this.bootstrapping = Some(system.to_owned());
        }
        Ok((this, source))
    }

    /// Has these, too, where others come only when somebody needs them: those have streams.
    pub fn load_those(&mut self, keys: &[String], source: &Source) {
        for key in keys.iter().filter(|it| is_public_key(it, 'A')) {
            let token = match source {
                _ if self.knows(key) => None,
                Source::Options => None,
                Source::Directory(directory) => directory.token(key).cloned(),
                Source::Server(server) => server.fetch(key).ok(),
            };
            if let Some(token) = token {
                self.load(key, token.trim());
            }
        }
    }

    /// All of them by their keys.
    pub fn accounts(&self) -> Arc<BTreeMap<String, Arc<TrustedAccount>>> {
        Arc::clone(&self.accounts)
    }

    /// Is there a token of this account? An expired one will do.
    pub fn knows(&self, key: &str) -> bool {
        self.accounts.contains_key(key)
    }

    /// Is there a token of this account that counts, so that there is no need to look for one?
    pub fn has(&self, key: &str) -> bool {
        let now = seconds(wall_time());
        let account = self.accounts.get(key);
        account.is_some_and(|it| !it.expired(now)) && self.bootstrapping() != Some(&key.to_owned())
    }

    /// The system account, where its token could not be had yet.
    pub fn bootstrapping(&self) -> Option<&String> {
        self.bootstrapping.as_ref()
    }

    /// Follows a reload: a resolver in memory knows what the options say now (AUTH-70). Another
    /// resolver than `before` knows what it has, and the accounts that are in use: those stay as
    /// they are where it has no token of them.
    pub fn reload(
        &mut self,
        before: &OperatorOptions,
        options: &Options,
        in_use: impl Fn(&str) -> bool,
    ) -> Result<Option<Source>, OperatorError> {
        let now = &options.operator;
        if (&before.resolver, &before.resolver_tls) != (&now.resolver, &now.resolver_tls) {
            let (new, source) = Self::new(options)?;
            let before = std::mem::replace(self, new);
            if !matches!(source, Source::Options) {
                self.keep(&before, &source, &options.system_account, in_use);
            }
            return Ok(Some(source));
        }
        self.keys = setup::keys(options, COMPATIBLE_VERSION)?;
        if self.keys.is_some() && options.operator.resolver == Some(ResolverOptions::Memory) {
            let preload = &options.operator.preload;
            let before = std::mem::take(&mut self.accounts);
            for (key, token) in preload {
                match before.get(key).filter(|it| *it.token == **token) {
                    Some(same) => {
                        let accounts = Arc::make_mut(&mut self.accounts);
                        accounts.insert(key.clone(), Arc::clone(same));
                    }
                    None => self.load(key, token),
                }
            }
        }
        Ok(None)
    }

    /// Those of `before` that are in use, with those they import from, and the system account.
    fn keep(
        &mut self,
        before: &Self,
        source: &Source,
        system: &str,
        in_use: impl Fn(&str) -> bool,
    ) {
        let all = before.accounts.keys();
        let mut open: Vec<&String> = all.filter(|it| *it == system || in_use(it)).collect();
        if before.has(system) && self.bootstrapping.take().is_some() {
            Arc::make_mut(&mut self.accounts).remove(system);
        }
        while let Some(key) = open.pop() {
            let Some(account) = before.accounts.get(key).filter(|_| !self.knows(key)) else {
                continue;
            };
            if let Source::Directory(directory) = source
                && let Some(token) = directory.token(key)
            {
                self.load(key, token);
            }
            if !self.knows(key) {
                let accounts = Arc::make_mut(&mut self.accounts);
                accounts.insert(key.clone(), Arc::clone(account));
            }
            open.extend(account.claims.body.imports.iter().map(|it| &it.account));
        }
    }

    fn load(&mut self, key: &str, token: &str) {
        if let Err(error) = self.take(key, token) {
            log::warn!("Account {key}: {error}");
        }
    }

    /// Takes over an account's token. True if it is another than before.
    pub fn take(&mut self, key: &str, token: &str) -> Result<bool, AccountRefused> {
        let Some(keys) = &self.keys else {
            return Ok(false);
        };
        if self.accounts.get(key).is_some_and(|it| *it.token == *token) {
            return Ok(false);
        }
        let account = TrustedAccount::new(keys, key, token, seconds(wall_time()))?;
        Arc::make_mut(&mut self.accounts).insert(key.to_owned(), Arc::new(account));
        if self.bootstrapping.take_if(|it| it == key).is_some() {
            log::info!("System account fetched and updated");
        }
        Ok(true)
    }

    /// Forgets an account. True if it was there.
    pub fn drop(&mut self, key: &str) -> bool {
        Arc::make_mut(&mut self.accounts).remove(key).is_some()
    }
}

/// A directory with what the options add to it.
fn preloaded(mut directory: Directory, options: &Options) -> Result<Directory, StoreError> {
    for (key, token) in &options.operator.preload {
        directory.save_newer(key, token)?;
    }
    Ok(directory)
}

/// Who may connect by each listener.
pub(in crate::server) struct Logins {
    /// By the client port.
    pub client: Arc<Authenticator>,
    /// By WebSocket, where that is not the same (WS-11).
    pub websocket: Option<Arc<Authenticator>>,
}

impl Logins {
    fn new(
        before: Option<&Settings>,
        options: &Options,
        make: impl Fn(&AuthOptions) -> Result<Authenticator, OperatorError>,
    ) -> Result<Self, OperatorError> {
        let make = |auth: &AuthOptions, listener| -> Result<_, OperatorError> {
            let made = with_trust(make(auth)?, options);
            Ok(Arc::new(match before {
                Some(before) => made.after(before.authenticator(listener)),
                None => made,
            }))
        };
        let websocket = websocket_auth(options);
        let websocket = websocket.map(|it| make(&it, Listener::WebSocket));
        Ok(Self {
            client: make(&options.auth, Listener::Client)?,
            websocket: websocket.transpose()?,
        })
    }
}

/// Accounts and users that options and tokens come to, after `before`; `None` at the start.
pub(in crate::server) fn view(
    before: Option<&Settings>,
    options: &Options,
    vouched: &Vouched,
) -> Result<(Accounts, Logins), OperatorError> {
    let none = Accounts::default();
    let accounts_before = before.map_or(&none, |it| &it.accounts);
    let Some(keys) = &vouched.keys else {
        let accounts = accounts_before.next(options)?;
        let logins = Logins::new(before, options, |auth| {
            let authenticator = Authenticator::with_accounts(auth, &accounts)?;
            Ok(match &auth.callout {
                Some(callout) => authenticator.asking(Callout::new(callout, &accounts, zone)?),
                None => authenticator,
            })
        })?;
        return Ok((accounts, logins));
    };
    let cluster = options.cluster_name.as_deref();
    let with_accounts = Options {
        accounts: vouched
            .accounts
            .values()
            .map(|it| AccountOptions {
                exports: exports(it, &vouched.accounts),
                ..own(it, cluster)
            })
            .collect(),
        ..options.clone()
    };
    let (accounts, refused) = accounts_before.next_but(&with_accounts)?;
    for error in refused {
        log::error!("Error adding import or export: {error}");
    }
    let mut trust = Trust::new(keys.clone(), zone);
    if vouched.seeks {
        trust = trust.seeking();
    }
    for (key, account) in &*vouched.accounts {
        if let Some(id) = accounts.find(key) {
            trust.add(id, Arc::clone(account));
        }
    }
    let logins = Logins::new(before, options, |auth| {
        Ok(Authenticator::with_accounts(auth, &accounts)?.trusting(trust.clone()))
    })?;
    Ok((accounts, logins))
}

/// An account as the server's own. What of its token cannot be done is left out, and logged: its
/// users are not to suffer from one mapping.
fn own(account: &TrustedAccount, cluster: Option<&str>) -> AccountOptions {
    let mut mappings = account.claims.mappings();
    mappings.retain(|mapping| {
        let done = Mappings::new(std::slice::from_ref(mapping), cluster);
        if let Err(error) = &done {
            log::error!(
                "Error adding mapping for account [{}]: {error}",
                account.key()
            );
        }
        done.is_ok()
    });
    AccountOptions {
        name: account.key().to_owned(),
        name_tag: account.claims.standard.name.clone(),
        limits: account.claims.limits(),
        mappings,
        jetstream: account.claims.jetstream(),
        imports: account
            .claims
            .body
            .imports
            .iter()
            .filter_map(import)
            .collect(),
        ..AccountOptions::default()
    }
}

/// What an account takes from others.
fn import(import: &Import) -> Option<ImportOptions> {
    let options = ImportOptions {
        shared: shared(&import.kind)?,
        account: import.account.clone(),
        subject: import.subject.clone(),
        share: import.share,
        allow_trace: import.allow_trace,
        ..ImportOptions::default()
    };
    // The old spelling was the exporter's subject for services, and a prefix for streams.
    Some(match (options.shared, import.to.as_str()) {
        (_, "") => ImportOptions {
            to: import.local_subject.clone(),
            ..options
        },
        (Shared::Service, to) => ImportOptions {
            subject: to.to_owned(),
            to: import.subject.clone(),
            ..options
        },
        (Shared::Stream, prefix) => ImportOptions {
            prefix: prefix.to_owned(),
            ..options
        },
    })
}

/// What an account gives to others. A private export is for those who have an activation.
fn exports(
    account: &TrustedAccount,
    all: &BTreeMap<String, Arc<TrustedAccount>>,
) -> Vec<ExportOptions> {
    let now = seconds(wall_time());
    let activated = |export: &Export| -> Vec<String> {
        let importers = all.values().filter(|importer| {
            let imports = importer.claims.body.imports.iter();
            imports
                .filter(|it| it.account == account.key() && it.kind == export.kind)
                .any(|it| activates(&account.claims, export, importer.key(), it, now))
        });
        // With itself, because an empty list would be everybody.
        let own = account.key().to_owned();
        importers
            .map(|it| it.key().to_owned())
            .chain([own])
            .collect()
    };
    let exports = account.claims.body.exports.iter();
    let own = exports.filter_map(|export| {
        Some(ExportOptions {
            shared: shared(&export.kind)?,
            subject: export.subject.clone(),
            accounts: export.token_req.then(|| activated(export)),
            account_token_position: export.account_token_position,
            response: match export.response_type.as_str() {
                "Stream" => ResponseType::Stream,
                "Chunked" => ResponseType::Chunked,
                _ => ResponseType::Singleton,
            },
            threshold: u64::try_from(export.response_threshold)
                .ok()
                .filter(|&it| it > 0)
                .map(Duration::from_nanos),
            latency: export.service_latency.as_ref().map(|it| LatencyOptions {
                subject: it.results.clone(),
                sampling: it
                    .sampling
                    .as_u64()
                    .and_then(|it| u8::try_from(it).ok())
                    .unwrap_or(0),
            }),
            allow_trace: export.allow_trace,
        })
    });
    own.collect()
}

fn shared(kind: &str) -> Option<Shared> {
    match kind {
        "stream" => Some(Shared::Stream),
        "service" => Some(Shared::Service),
        _ => None,
    }
}

/// A time zone by its name; the server's own for an empty one.
fn zone(name: &str) -> Option<TimeZone> {
    match name {
        "" => Some(TimeZone::system()),
        name => TimeZone::get(name).ok(),
    }
}

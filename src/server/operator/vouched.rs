//! The accounts that operators vouch for, and the views of shards that they come to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::directory::{Directory, StoreError};
use crate::accounts::mapping::Mappings;
use crate::accounts::registry::{AccountError, Accounts};
use crate::auth::authenticate::{AuthConfigError, Authenticator};
use crate::auth::callout::Callout;
use crate::auth::jwt::account::{Export, Import};
use crate::auth::jwt::activation::activates;
use crate::auth::jwt::setup::{self, SetupError};
use crate::auth::jwt::trust::{AccountRefused, Keys, Trust, TrustedAccount, seconds};
use crate::options::{
    AccountOptions, AuthOptions, ExportOptions, ImportOptions, LatencyOptions, Options,
    ResolverOptions, ResponseType, Shared,
};
use crate::server::identity::COMPATIBLE_VERSION;
use crate::server::shards::wall_time;
use crate::server::transports::{websocket_auth, with_trust};

/// Operator mode cannot be as it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The options contradict each other.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Of accounts.
    #[error(transparent)]
    Accounts(#[from] AccountError),
    /// Of users.
    #[error(transparent)]
    Auth(#[from] AuthConfigError),
}

/// The accounts that are vouched for.
#[derive(Clone, Default)]
pub(in crate::server) struct Vouched {
    keys: Option<Keys>,
    accounts: BTreeMap<String, Arc<TrustedAccount>>,
}

impl Vouched {
    /// Those the options and their directory know of. `None` where there is no operator.
    pub fn new(options: &Options) -> Result<(Self, Option<Directory>), OperatorError> {
        let Some(keys) = setup::keys(options, COMPATIBLE_VERSION)? else {
            return Ok((Self::default(), None));
        };
        let mut this = Self {
            keys: Some(keys),
            accounts: BTreeMap::new(),
        };
        let preload = &options.operator.preload;
        let directory = match &options.operator.resolver {
            Some(ResolverOptions::Full(at) | ResolverOptions::Cache(at)) => {
                let mut directory = Directory::open(at)?;
                for (key, token) in preload {
                    directory.save_newer(key, token)?;
                }
                Some(directory)
            }
            _ => None,
        };
        match &directory {
            Some(directory) => directory
                .iter()
                .for_each(|(key, token)| this.load(key, token)),
            None => preload
                .iter()
                .for_each(|(key, token)| this.load(key, token)),
        }
        Ok((this, directory))
    }

    /// Follows a reload: a resolver in memory knows what the options say now (AUTH-70).
    pub fn reload(&mut self, options: &Options) -> Result<(), OperatorError> {
        self.keys = setup::keys(options, COMPATIBLE_VERSION)?;
        if self.keys.is_some() && options.operator.resolver == Some(ResolverOptions::Memory) {
            let preload = &options.operator.preload;
            let before = std::mem::take(&mut self.accounts);
            for (key, token) in preload {
                match before.get(key).filter(|it| *it.token == **token) {
                    Some(same) => _ = self.accounts.insert(key.clone(), Arc::clone(same)),
                    None => self.load(key, token),
                }
            }
        }
        Ok(())
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
        self.accounts.insert(key.to_owned(), Arc::new(account));
        Ok(true)
    }

    /// Forgets an account. True if it was there.
    pub fn drop(&mut self, key: &str) -> bool {
        self.accounts.remove(key).is_some()
    }
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
        options: &Options,
        make: impl Fn(&AuthOptions) -> Result<Authenticator, OperatorError>,
    ) -> Result<Self, OperatorError> {
        let make = |auth: &AuthOptions| -> Result<_, OperatorError> {
            Ok(Arc::new(with_trust(make(auth)?, options)))
        };
        Ok(Self {
            client: make(&options.auth)?,
            websocket: websocket_auth(options).as_ref().map(make).transpose()?,
        })
    }
}

/// Accounts and users that options and tokens come to, after `before`.
pub(in crate::server) fn view(
    before: &Accounts,
    options: &Options,
    vouched: &Vouched,
) -> Result<(Accounts, Logins), OperatorError> {
    let Some(keys) = &vouched.keys else {
        let accounts = before.next(options)?;
        let logins = Logins::new(options, |auth| {
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
    let (accounts, refused) = before.next_but(&with_accounts)?;
    for error in refused {
        log::error!("Error adding import or export: {error}");
    }
    let mut trust = Trust::new(keys.clone(), zone);
    for (key, account) in &vouched.accounts {
        if let Some(id) = accounts.find(key) {
            trust.add(id, Arc::clone(account));
        }
    }
    let logins = Logins::new(options, |auth| {
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

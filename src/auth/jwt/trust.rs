//! Whom an operator's server lets in: the order of checks from a user's token to a user (AUTH-51).

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use data_encoding::{BASE64, BASE64URL_NOPAD};

use super::account::{ANYBODY, AccountClaims, Scope, is_revoked, limit};
use super::scope::{self, Names};
use super::token::{self, TokenError};
use super::user::{UserClaims, UserLimits};
use super::window::{self, Admitted, Zones};
use crate::auth::authenticate::User;
use crate::auth::callout::Ask;
use crate::auth::user::Proof;
use crate::ids::{AccountId, IpAddr};
use crate::options::{AccountLimits, PermissionsOptions, UserOptions};
use crate::time::WallTime;

/// Kinds of connection a token may name (AUTH-8).
const CONNECTION_TYPES: [&str; 7] = [
    "STANDARD",
    "WEBSOCKET",
    "LEAFNODE",
    "LEAFNODE_WS",
    "MQTT",
    "MQTT_WS",
    "IN_PROCESS",
];
const NANOS: u64 = 1_000_000_000;

/// Whose signatures count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keys {
    /// Keys of operators that vouch for accounts.
    pub trusted: BTreeSet<String>,
    /// Those whose accounts must sign users with signing keys only.
    pub strict: BTreeSet<String>,
    /// Accounts that may be used; `None` is any.
    pub pinned: Option<BTreeSet<String>>,
    /// Token of those who present none.
    pub default_sentinel: Option<String>,
}

/// Why an account's token does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountRefused {
    /// Malformed.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Its operator is not trusted, its contents make no sense, it has expired or is another's.
    #[error("account validation failed")]
    Invalid,
}

/// An account that an operator vouches for.
#[derive(Debug)]
pub struct TrustedAccount {
    /// Its token.
    pub token: Arc<str>,
    /// What the token says.
    pub claims: AccountClaims,
    /// Do only signing keys sign for it?
    strict: bool,
    default_permissions: Option<PermissionsOptions>,
}

impl TrustedAccount {
    /// Decodes and checks the token of the account `key`.
    ///
    /// # Errors
    /// [`AccountRefused`] says why it does not count.
    pub fn new(keys: &Keys, key: &str, text: &str, now: i64) -> Result<Self, AccountRefused> {
        let claims = AccountClaims::decode(text)?;
        let standard = &claims.standard;
        let valid = standard.subject == key
            && keys.trusted.contains(&standard.issuer)
            && standard.in_time(now)
            && claims.problems().is_empty();
        if !valid {
            return Err(AccountRefused::Invalid);
        }
        Ok(Self {
            token: text.into(),
            strict: keys.strict.contains(&standard.issuer),
            default_permissions: claims.body.default_permissions.options(),
            claims,
        })
    }

    /// Its public key, which is its name.
    pub fn key(&self) -> &str {
        &self.claims.standard.subject
    }

    /// The system account of an operator before its token could be had (stock's bootstrapping
    /// account): users signed with its own key may connect, so that they can bring the token.
    pub fn bootstrapping(key: &str) -> Self {
        Self {
            token: "".into(),
            claims: AccountClaims::unlimited(key),
            strict: false,
            default_permissions: None,
        }
    }

    /// Is it one of [`TrustedAccount::bootstrapping`]?
    pub fn is_bootstrapping(&self) -> bool {
        self.token.is_empty()
    }

    /// Has it expired?
    pub fn expired(&self, now: i64) -> bool {
        let expires = self.claims.standard.expires;
        expires > 0 && expires <= now
    }

    /// All keys that sign for it.
    fn signers(&self) -> impl Iterator<Item = &String> {
        let own = &self.claims.standard.subject;
        self.claims.signing_keys.keys().chain([own])
    }

    /// May this key sign for it, and under which scope?
    pub fn signer(&self, key: &str) -> Option<Option<&Scope>> {
        match self.claims.signing_keys.get(key) {
            Some(scope) => Some(scope.as_ref()),
            None => (key == self.key() && !self.strict).then_some(None),
        }
    }
}

/// Everything an operator's server knows about who may connect.
#[derive(Default, Clone)]
pub struct Trust {
    /// Whose signatures count.
    pub keys: Keys,
    accounts: HashMap<String, (AccountId, Arc<TrustedAccount>)>,
    zones: Option<Zones>,
    /// May an account that is not here be somewhere else?
    seeks: bool,
}

/// What somebody presents.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// User token.
    pub jwt: &'a str,
    /// Signature of the nonce.
    pub sig: &'a str,
    /// What was to be signed.
    pub nonce: &'a [u8],
    /// How it is connected.
    pub connection_type: &'a str,
    /// Where it comes from.
    pub address: Option<IpAddr>,
    /// Time of day.
    pub now: WallTime,
    /// A trusted proxy vouches for it (CORE-92).
    pub proxied: bool,
}

/// Why somebody is not let in, or may not stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// No token.
    NoToken,
    /// Malformed.
    Token(TokenError),
    /// It contradicts itself or its time is over.
    Invalid,
    /// It may come through a trusted proxy only.
    Proxy,
    /// Its account is not among the pinned ones.
    NotPinned,
    /// Nobody vouches for its account.
    NoAccount,
    /// Its issuer does not sign for the account.
    Issuer,
    /// It has permissions of its own beside those of its scope, or these cannot be filled in.
    Scope,
    /// The account's time is over.
    AccountExpired,
    /// It must sign.
    Bearer,
    /// Not in this way.
    ConnectionType,
    /// It has not signed, or somebody else has.
    Signature,
    /// It is shut out.
    Revoked,
    /// Not from there.
    Source,
    /// Not now.
    Times,
    /// Its account is not known here, or only as it was until it expired: the key of one to be
    /// looked for.
    Seek(String),
    /// An auth service decides about it.
    Ask(Box<Ask>),
    /// An auth service put it into an account it may not.
    NotAllowed,
    /// The key that signed it signs no more, or under another scope.
    SignerChanged,
}

impl Refused {
    /// A text for the debug log; clients are not told.
    pub fn why(&self) -> &'static str {
        match self {
            Self::NoToken => "Authentication requires a user JWT",
            Self::Token(_) => "User JWT not valid",
            Self::Invalid => "User JWT no longer valid",
            Self::Proxy => "User requires a trusted proxy",
            Self::NotPinned => "Account not listed as operator pinned account",
            Self::NoAccount | Self::Seek(_) => {
                "Account JWT lookup error: no trusted JWT of the account"
            }
            Self::Issuer => "User JWT issuer is not known",
            Self::Scope => "User JWT is not valid for its scope",
            Self::AccountExpired => "Account JWT has expired",
            Self::Bearer => "Account does not allow bearer tokens",
            Self::ConnectionType => "Connection type not allowed",
            Self::Signature => "Signature not verified",
            Self::Revoked => "User authentication revoked",
            Self::Source => "Bad src Ip",
            Self::Times => "Outside connect times",
            Self::Ask(_) => "Account delegates to an auth service",
            Self::NotAllowed => "Account not permitted as valid account option for auth callout",
            Self::SignerChanged => "User JWT issuer has changed",
        }
    }
}

impl From<TokenError> for Refused {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}

/// What is kept of a user who came with a token.
#[derive(Debug, PartialEq, Eq)]
pub struct Issued {
    /// Its claims, with the limits that hold: its scope's or its own.
    pub claims: UserClaims,
    /// The limits of the scope as they were when it came, not filled in.
    scope: Option<UserLimits>,
    /// When it must go.
    pub expires: Option<WallTime>,
    /// When its account must.
    pub account_expires: Option<WallTime>,
    /// Limits of its connections.
    pub limits: AccountLimits,
    /// The issuing key where that is not the account's own.
    pub signing_key: Option<String>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("keys", &self.keys)
            .field("accounts", &self.accounts.len())
            .finish_non_exhaustive()
    }
}

impl Issued {
    /// Of somebody an auth service vouched for where there are no operators.
    pub fn by_service(claims: UserClaims, expires: Option<WallTime>) -> Self {
        Self {
            scope: None,
            expires,
            account_expires: None,
            limits: AccountLimits::default(),
            signing_key: None,
            claims,
        }
    }
}

/// How and for how long somebody may be connected, as his token has it.
pub struct Admission {
    /// Kinds of connection; empty is all.
    pub types: Vec<String>,
    /// When he must go.
    pub expires: Option<WallTime>,
}

impl Admission {
    /// What holds for somebody in no operator's account.
    ///
    /// # Errors
    /// [`Refused`] says why he may not be connected.
    pub fn of(
        claims: &UserClaims,
        presented: &Presented<'_>,
        zones: Zones,
    ) -> Result<Self, Refused> {
        if claims.body.limits.proxy_required && !presented.proxied {
            return Err(Refused::Proxy);
        }
        if !claims.standard.in_time(seconds(presented.now)) || !claims.is_sound(zones) {
            return Err(Refused::Invalid);
        }
        let types = connection_types(&claims.body.limits.allowed_connection_types)?;
        let may_use = types.is_empty() || types.iter().any(|it| it == presented.connection_type);
        match may_use {
            true => Ok(Self {
                types,
                expires: expiry(claims, presented.now, zones)?,
            }),
            false => Err(Refused::ConnectionType),
        }
    }
}

impl Trust {
    /// Trust in these keys, and in no account yet. `zones` finds time zones.
    pub fn new(keys: Keys, zones: Zones) -> Self {
        Self {
            keys,
            accounts: HashMap::new(),
            zones: Some(zones),
            seeks: false,
        }
    }

    /// Accounts that are not here are to be looked for.
    #[must_use]
    pub fn seeking(self) -> Self {
        Self {
            seeks: true,
            ..self
        }
    }

    /// Adds an account.
    pub fn add(&mut self, id: AccountId, account: Arc<TrustedAccount>) {
        self.accounts
            .insert(account.key().to_owned(), (id, account));
    }

    /// The account with this public key.
    pub fn account(&self, key: &str) -> Option<&Arc<TrustedAccount>> {
        self.accounts.get(key).map(|(_, account)| account)
    }

    /// Decides on a login.
    ///
    /// # Errors
    /// [`Refused`] says why not.
    pub fn login(&self, presented: &Presented<'_>) -> Result<Arc<User>, Refused> {
        let sentinel = self.keys.default_sentinel.as_deref();
        let decoded = match (UserClaims::decode(presented.jwt), sentinel) {
            (Ok(claims), _) => claims,
            (Err(_), Some(sentinel)) => UserClaims::decode(sentinel)?,
            (Err(_), None) if presented.jwt.is_empty() => return Err(Refused::NoToken),
            (Err(error), None) => return Err(error.into()),
        };
        let proven = |key: &str| {
            let sig = BASE64URL_NOPAD
                .decode(presented.sig.as_bytes())
                .or_else(|_| BASE64.decode(presented.sig.as_bytes()));
            sig.is_ok_and(|sig| token::verified(key, presented.nonce, &sig))
        };
        self.admit(decoded, presented, proven, false)
    }

    /// The user that an auth service's answer makes of somebody who came with a token of the
    /// account `asked`.
    ///
    /// # Errors
    /// [`Refused`] says why it makes none.
    pub fn admit_answer(
        &self,
        asked: AccountId,
        claims: UserClaims,
        presented: &Presented<'_>,
    ) -> Result<Arc<User>, Refused> {
        let mut all = self.accounts.values();
        let account = all.find(|(id, _)| *id == asked).map(|(_, account)| account);
        let account = account.ok_or(Refused::NoAccount)?;
        let target = claims.account();
        let allowed = &account.claims.body.authorization.allowed_accounts;
        let may = target == account.key() || allowed.iter().any(|it| it == target || it == ANYBODY);
        match may {
            true => self.admit(claims, presented, |_| true, true),
            false => Err(Refused::NotAllowed),
        }
    }

    fn admit(
        &self,
        mut claims: UserClaims,
        presented: &Presented<'_>,
        proven: impl FnOnce(&str) -> bool,
        vouched: bool,
    ) -> Result<Arc<User>, Refused> {
        let zones: Zones = self.zones.ok_or(Refused::Invalid)?;
        let now = seconds(presented.now);
        if claims.body.limits.proxy_required && !presented.proxied {
            return Err(Refused::Proxy);
        }
        if !claims.standard.in_time(now) || !claims.is_sound(zones) {
            return Err(Refused::Invalid);
        }
        let key = claims.account().to_owned();
        if self
            .keys
            .pinned
            .as_ref()
            .is_some_and(|it| !it.contains(&key))
        {
            return Err(Refused::NotPinned);
        }
        let known = self.accounts.get(&key);
        if self.seeks && known.is_none_or(|(_, account)| account.expired(now)) {
            return Err(Refused::Seek(key));
        }
        let Some((id, account)) = known else {
            return Err(Refused::NoAccount);
        };
        let scope = account.signer(&claims.standard.issuer);
        let scope = scope.ok_or(Refused::Issuer)?;
        if let Some(scope) = scope {
            if claims.body.limits != UserLimits::default() {
                return Err(Refused::Scope);
            }
            let names = Names {
                name: &claims.standard.name,
                subject: &claims.standard.subject,
                account_name: &account.claims.standard.name,
                account_subject: &claims.body.issuer_account,
                tags: &claims.body.tags,
                account_tags: &account.claims.body.tags,
            };
            let filled = scope::fill(&scope.template, &names).map_err(|_| Refused::Scope)?;
            claims.body.limits = filled;
        }
        if account.expired(now) {
            return Err(Refused::AccountExpired);
        }
        let limits = &claims.body.limits;
        if limits.bearer_token && account.claims.body.limits.disallow_bearer {
            return Err(Refused::Bearer);
        }
        let types = connection_types(&limits.allowed_connection_types)?;
        let may_use = types.is_empty() || types.iter().any(|it| it == presented.connection_type);
        if !may_use {
            return Err(Refused::ConnectionType);
        }
        if !limits.bearer_token && !proven(&claims.standard.subject) {
            return Err(Refused::Signature);
        }
        let template = scope.map(|scope| scope.template.clone());
        self.stands(&claims, account, presented)?;
        // Whom an auth service decides about is not let in without its word.
        let external = &account.claims.body.authorization;
        let decides = external.is_enabled();
        if decides && !vouched && !external.auth_users.contains(&claims.standard.subject) {
            return Err(Refused::Ask(Box::new(Ask {
                account: *id,
                subject: key,
                xkey: (!external.xkey.is_empty()).then(|| external.xkey.clone()),
                signers: Some(account.signers().cloned().collect()),
            })));
        }
        let expires = expiry(&claims, presented.now, zones)?;
        Ok(Arc::new(user(
            *id, account, claims, template, types, expires,
        )))
    }

    /// May somebody stay who was let in before? Who he is then: permissions follow the account's.
    ///
    /// # Errors
    /// [`Refused`] says why not.
    pub fn recheck(
        &self,
        issued: &Issued,
        presented: &Presented<'_>,
    ) -> Result<Arc<User>, Refused> {
        let zones: Zones = self.zones.ok_or(Refused::Invalid)?;
        let key = issued.claims.account();
        let Some((id, account)) = self.accounts.get(key) else {
            return Err(Refused::NoAccount);
        };
        if account.expired(seconds(presented.now)) {
            return Err(Refused::AccountExpired);
        }
        let claims = &issued.claims;
        if claims.body.limits.bearer_token && account.claims.body.limits.disallow_bearer {
            return Err(Refused::Bearer);
        }
        self.stands(claims, account, presented)?;
        let scope = account.signer(&claims.standard.issuer);
        let scope = scope.map(|it| it.map(|scope| &scope.template));
        if scope != Some(issued.scope.as_ref()) {
            return Err(Refused::SignerChanged);
        }
        let types = connection_types(&claims.body.limits.allowed_connection_types)?;
        let expires = expiry(claims, presented.now, zones)?;
        let template = issued.scope.clone();
        Ok(Arc::new(user(
            *id,
            account,
            claims.clone(),
            template,
            types,
            expires,
        )))
    }

    /// What may change while somebody is connected.
    fn stands(
        &self,
        claims: &UserClaims,
        account: &TrustedAccount,
        presented: &Presented<'_>,
    ) -> Result<(), Refused> {
        let standard = &claims.standard;
        let revocations = &account.claims.body.revocations;
        if is_revoked(revocations, &standard.subject, standard.issued_at) {
            return Err(Refused::Revoked);
        }
        match window::from_there(&claims.body.limits.src, presented.address) {
            true => Ok(()),
            false => Err(Refused::Source),
        }
    }
}

/// Seconds since 1970.
pub fn seconds(now: WallTime) -> i64 {
    (now.0 / NANOS) as i64
}

/// When somebody must go: when the token expires, or the hours are over.
fn expiry(claims: &UserClaims, now: WallTime, zones: Zones) -> Result<Option<WallTime>, Refused> {
    let limits = &claims.body.limits;
    let left = match window::admitted(&limits.times, &limits.times_location, now.0, zones) {
        Admitted::No => return Err(Refused::Times),
        Admitted::Always => None,
        Admitted::For(left) => Some(now.0.saturating_add(left.as_nanos() as u64)),
    };
    let left = left.map(WallTime);
    let token = moment(claims.standard.expires);
    Ok(left.into_iter().chain(token).min_by_key(|it| it.0))
}

/// A second as tokens spell it; 0 is none.
fn moment(second: i64) -> Option<WallTime> {
    let second = u64::try_from(second).ok().filter(|&it| it > 0)?;
    Some(WallTime(second.saturating_mul(NANOS)))
}

/// Those this server knows; it is an error if it knows none of them.
fn connection_types(named: &[String]) -> Result<Vec<String>, Refused> {
    let upper = named.iter().map(|it| it.to_uppercase());
    let known: Vec<String> = upper
        .filter(|it| CONNECTION_TYPES.contains(&it.as_str()))
        .collect();
    match known.is_empty() && !named.is_empty() {
        true => Err(Refused::ConnectionType),
        false => Ok(known),
    }
}

fn user(
    id: AccountId,
    account: &TrustedAccount,
    claims: UserClaims,
    scope: Option<UserLimits>,
    allowed_connection_types: Vec<String>,
    expires: Option<WallTime>,
) -> User {
    let limits = &claims.body.limits;
    let own = limits.permissions.options();
    let mut permissions = own.or_else(|| account.default_permissions.clone());
    if account.claims.body.authorization.is_enabled() {
        deny_auth_requests(&mut permissions);
    }
    let options = UserOptions {
        permissions,
        allowed_connection_types,
        ..UserOptions::default()
    };
    let mut user = User::new(&options, &claims.standard.subject, id, Proof::Token);
    user.issued = Some(Arc::new(Issued {
        limits: AccountLimits {
            max_subscriptions: limit(limits.subs),
            max_payload: limit(limits.payload),
            ..AccountLimits::default()
        },
        scope,
        expires,
        account_expires: moment(account.claims.standard.expires),
        signing_key: (!claims.body.issuer_account.is_empty())
            .then(|| claims.standard.issuer.clone()),
        claims,
    }));
    user
}

/// Nobody but the server asks an auth service (AUTH-84).
pub fn deny_auth_requests(permissions: &mut Option<PermissionsOptions>) {
    let publish = permissions
        .get_or_insert_default()
        .publish
        .get_or_insert_default();
    publish.deny.push("$SYS.REQ.USER.AUTH".into());
}

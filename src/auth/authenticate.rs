//! From a CONNECT's credentials to a user.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

pub use super::certificate::{CertificateNames, CertificateProof};
pub use super::nkey::is_user_nkey;
pub use super::password::{PasswordCheck, is_bcrypt};
pub use super::user::User;

use nkeys::KeyPair;

use super::callout::{Ask, Callout};
use super::jwt::trust::{Presented, Refused, Trust, deny_auth_requests};
use super::jwt::user::UserClaims;
use super::nkey::{signed, verifying_key};
use super::password::same;
use super::user::Proof;
use crate::accounts::registry::Accounts;
use crate::ids::{AccountId, IpAddr};
use crate::options::AuthOptions;
use crate::time::WallTime;

/// What monitoring shows where a token was the only thing presented.
const TOKEN_SHOWN: &str = "[REDACTED]";

/// What a client presents. Empty is absent.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// `user`.
    pub user: &'a str,
    /// `pass`.
    pub pass: &'a str,
    /// `auth_token`.
    pub token: &'a str,
    /// `nkey`.
    pub nkey: &'a str,
    /// `sig`.
    pub sig: &'a str,
    /// How it is connected, as in `allowed_connection_types`.
    pub connection_type: &'a str,
    /// Its certificate, where that says who the user is.
    pub certificate: CertificateProof<'a>,
    /// A trusted proxy vouches for it (CORE-92).
    pub proxied: bool,
    /// `jwt`.
    pub jwt: &'a str,
    /// Where it comes from.
    pub address: Option<IpAddr>,
    /// Time of day.
    pub now: WallTime,
}

/// What comes of credentials.
#[derive(Debug)]
pub enum Decision {
    /// Good: it is this user, or nobody in particular.
    Accept(Option<Arc<User>>),
    /// Not good. The client hears the same whatever the reason (CORE-51).
    Refuse(RefuseReason),
    /// A bcrypt comparison decides, which takes too long for a shard: call
    /// [`PasswordCheck::run`] on another thread, then [`PasswordCheck::finish`].
    Verify(PasswordCheck),
    /// The account with this key has to be looked for first: decide again when that is done.
    Seek(String),
    /// An auth service decides: ask it, then [`Authenticator::answered`].
    Ask(Box<Ask>),
}

/// Why the answer of an auth service lets nobody in.
#[derive(Debug)]
pub enum NotAdmitted {
    /// Its account has to be looked for first: ask the service again when that is done.
    Seek(String),
    /// It does not; why, for the log.
    Refused(String),
}

/// Why credentials are not good, for monitoring and events (AUTH-23).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefuseReason {
    /// `Authentication Failure`: wrong, missing, or not for this kind of connection.
    Credentials,
    /// `Proxy Required`: the user may connect only through a proxy, and did not.
    ProxyRequired,
    /// `Proxy Not Trusted`: a proxy vouches for it that nobody here knows.
    ProxyNotTrusted,
    /// A token does not hold, for the reason that the debug log is told. To everybody else, wrong
    /// credentials.
    Untrusted(&'static str),
}

/// Why an `authorization` block cannot be used; texts are stock's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthConfigError {
    /// AUTH-5.
    #[error(
        "no_auth_user: \"{0}\" not present as user or nkey in authorization block or account configuration"
    )]
    NoAuthUserUnknown(String),
    /// AUTH-5.
    #[error("no_auth_user: \"{0}\" present, but users/nkeys are not defined")]
    NoAuthUserWithoutUsers(String),
    /// AUTH-3.
    #[error("Duplicate user \"{0}\" detected")]
    DuplicateUser(String),
    /// AUTH-3.
    #[error("Duplicate nkey \"{0}\" detected")]
    DuplicateNkey(String),
    /// AUTH-1.
    #[error("Cannot have a user/pass and token")]
    UserAndToken,
    /// AUTH-1.
    #[error("Can not have a single user/pass and a users array")]
    UserAndUsers,
    /// AUTH-1.
    #[error("Can not have a token and a users array")]
    TokenAndUsers,
    /// A user of an account that is none. No stock text: its files cannot say so.
    #[error("account \"{0}\" is not defined")]
    NoAccount(String),
    /// Not the public key of a user.
    #[error("Not a valid public nkey for a user")]
    BadNkey,
}

/// Do the parts of one `authorization` block of a file go together (AUTH-1)?
///
/// To be asked before the command line is laid over it: `--user` and `--auth` may meet any block,
/// and [`Authenticator::begin`] knows which of them counts then.
///
/// # Errors
/// Which two do not.
pub fn check_block(block: &AuthOptions) -> Result<(), AuthConfigError> {
    let given = |text: &Option<String>| text.as_ref().is_some_and(|it| !it.is_empty());
    let (user, password) = (given(&block.username), given(&block.password));
    let token = given(&block.token);
    match block {
        _ if (user || password) && token => Err(AuthConfigError::UserAndToken),
        AuthOptions { users, .. } if users.is_empty() => Ok(()),
        _ if user => Err(AuthConfigError::UserAndUsers),
        _ if token => Err(AuthConfigError::TokenAndUsers),
        _ => Ok(()),
    }
}

/// Knows everybody who may connect. Built once, shared by all shards.
#[derive(Default)]
pub struct Authenticator {
    pub(super) users: HashMap<String, Arc<User>>,
    pub(super) nkeys: HashMap<String, Arc<User>>,
    single: Option<Arc<User>>,
    token: Option<Arc<str>>,
    no_auth_user: Option<Arc<User>>,
    /// Some hash that is in use: compared with where there is nothing to compare with.
    decoy: Option<Arc<str>>,
    plaintext_passwords: bool,
    /// Kinds of connection whose certificates are mapped to users.
    pub(super) mapping: Vec<&'static str>,
    /// Keys of proxies that may vouch for clients, with their public spelling.
    proxies: Vec<(Arc<str>, KeyPair)>,
    /// The single user, or the token, only through one of those.
    proxy_required: bool,
    /// Only tokens count.
    trust: Option<Trust>,
    /// An auth service has the last word.
    callout: Option<Callout>,
    /// The users of before, for those who are connected ([`after`](Self::after)).
    pub(super) former: Option<Arc<Self>>,
}

impl Authenticator {
    /// Takes over the `authorization` block.
    ///
    /// # Errors
    /// [`AuthConfigError`] names what contradicts itself.
    pub fn new(options: &AuthOptions) -> Result<Self, AuthConfigError> {
        Self::with_accounts(options, &Accounts::default())
    }

    /// The same where users are in accounts.
    ///
    /// # Errors
    /// As [`new`](Self::new), and where a user's account is none of them.
    pub fn with_accounts(
        options: &AuthOptions,
        accounts: &Accounts,
    ) -> Result<Self, AuthConfigError> {
        let mut this = Self {
            proxy_required: options.proxy_required,
            ..Self::default()
        };
        for entry in &options.users {
            let (name, proof) = match &entry.nkey {
                Some(nkey) if !is_user_nkey(nkey) => return Err(AuthConfigError::BadNkey),
                Some(nkey) => (nkey, Proof::Signature(verifying_key(nkey).map(Box::new))),
                None => {
                    this.plaintext_passwords |= !is_bcrypt(&entry.password);
                    (&entry.username, this.password(&entry.password))
                }
            };
            let account = match entry.account.as_str() {
                "" => AccountId::GLOBAL,
                account => accounts
                    .find(account)
                    .ok_or_else(|| AuthConfigError::NoAccount(account.to_owned()))?,
            };
            let asked = options.callout.as_ref();
            let in_callout = asked.is_some_and(|it| accounts.find(&it.account) == Some(account));
            let mut entry = entry.clone();
            if in_callout {
                deny_auth_requests(&mut entry.permissions);
            }
            let user = Arc::new(User::new(&entry, name, account, proof));
            let (table, duplicate): (_, fn(String) -> AuthConfigError) = match entry.nkey {
                Some(_) => (&mut this.nkeys, AuthConfigError::DuplicateNkey),
                None => (&mut this.users, AuthConfigError::DuplicateUser),
            };
            if table.insert(name.clone(), user).is_some() {
                return Err(duplicate(name.clone()));
            }
        }
        // What is empty is not set: a password without a user is no single user (AUTH-1).
        let set = |text: &Option<String>| text.clone().filter(|it| !it.is_empty());
        let password = set(&options.password).unwrap_or_default();
        this.plaintext_passwords |= !password.is_empty() && !is_bcrypt(&password);
        this.single = set(&options.username).map(|name| {
            let proof = this.password(&password);
            Arc::new(User::unrestricted(&name, proof))
        });
        this.token = set(&options.token).map(Into::into);
        if let Some(token) = &this.token
            && is_bcrypt(token)
        {
            this.decoy.get_or_insert_with(|| Arc::clone(token));
        }
        if let Some(name) = set(&options.no_auth_user) {
            if options.users.is_empty() {
                return Err(AuthConfigError::NoAuthUserWithoutUsers(name));
            }
            let user = this.nkeys.get(&name).or_else(|| this.users.get(&name));
            this.no_auth_user = Some(match user {
                Some(user) => Arc::clone(user),
                None => return Err(AuthConfigError::NoAuthUserUnknown(name)),
            });
        }
        if let Some(name) = &options.open_global
            && this.no_auth_user.is_none()
            && this.required()
        {
            this.no_auth_user = Some(unproven(name));
        }
        Ok(this)
    }

    /// The same in operator mode.
    #[must_use]
    pub fn trusting(self, trust: Trust) -> Self {
        Self {
            trust: Some(trust),
            ..self
        }
    }

    /// The same where an auth service decides.
    #[must_use]
    pub fn asking(self, callout: Callout) -> Self {
        Self {
            callout: Some(callout),
            ..self
        }
    }

    /// Whom operator mode trusts.
    pub fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }

    /// Does an auth service decide?
    pub(super) fn asks(&self) -> bool {
        self.callout.is_some()
    }

    fn password(&mut self, password: &str) -> Proof {
        let password = Arc::from(password);
        if is_bcrypt(&password) {
            self.decoy.get_or_insert_with(|| Arc::clone(&password));
        }
        Proof::Password(password)
    }

    /// The same, where certificates of these kinds of connection are mapped to users, and proxies
    /// with these public nkeys may vouch for clients.
    #[must_use]
    pub fn with_trust(mut self, mapping: Vec<&'static str>, proxies: &[String]) -> Self {
        self.mapping = mapping;
        let pairs = proxies.iter();
        self.proxies = pairs
            .filter_map(|key| Some((key.as_str().into(), KeyPair::from_public_key(key).ok()?)))
            .collect();
        self
    }

    /// Which trusted proxy has signed the nonce, if the client shows a signature of one; an error
    /// if it is nobody's (CORE-92).
    pub fn proxy(&self, sig: &str, nonce: &[u8]) -> Result<Option<Arc<str>>, RefuseReason> {
        if sig.is_empty() || self.proxies.is_empty() {
            return Ok(None);
        }
        let signer = self.proxies.iter().find(|(_, key)| signed(key, sig, nonce));
        match signer {
            Some((name, _)) => Ok(Some(Arc::clone(name))),
            None => Err(RefuseReason::ProxyNotTrusted),
        }
    }

    /// The user of that name, or else nkey, in `users`.
    pub(super) fn listed(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name).or_else(|| self.nkeys.get(name))
    }

    /// The single user.
    pub(super) fn single(&self) -> Option<&Arc<User>> {
        self.single.as_ref()
    }

    /// Must clients prove who they are (CORE-7)? What the INFO after the CONNECT says.
    pub fn required(&self) -> bool {
        self.trust.is_some()
            || self.callout.is_some()
            || self.single.is_some()
            || self.token.is_some()
            || !self.users.is_empty()
            || !self.nkeys.is_empty()
    }

    /// Does the first INFO say so? Not where a user was named for those without credentials
    /// (CORE-7).
    pub fn first_info_auth_required(&self) -> bool {
        let named = |user: &Arc<User>| !matches!(user.proof, Proof::Elsewhere);
        self.required() && !self.no_auth_user.as_ref().is_some_and(named)
    }

    /// Do clients need a nonce to sign (CORE-8)?
    pub fn nonce_required(&self) -> bool {
        self.trust.is_some() || !self.nkeys.is_empty() || !self.proxies.is_empty()
    }

    /// Is any password not a hash (CFG-76)? An empty one of `users` counts, a token does not.
    pub fn plaintext_passwords(&self) -> bool {
        self.plaintext_passwords
    }

    /// The user that connections without credentials become on any first operation (CORE-31): one
    /// with a name, not an nkey. It must be allowed to connect this way, as any other (T39).
    pub fn no_auth_user(&self, connection_type: &str) -> Option<Arc<User>> {
        // Nobody gets around those who decide.
        if self.trust.is_some() || self.callout.is_some() {
            return None;
        }
        let user = self.no_auth_user.as_ref()?;
        let password = match &user.proof {
            Proof::Password(password) => password,
            Proof::Elsewhere => "",
            Proof::Signature(_) | Proof::Token => return None,
        };
        let may = !is_bcrypt(password) && !user.proxy_required && user.may_use(connection_type);
        may.then(|| Arc::clone(user))
    }

    /// Decides on credentials; `nonce` is what the client was given to sign.
    ///
    /// The methods in stock's order: nkey, name and password of `users`, then the token or else
    /// the single user. Where passwords are hashes, a name nobody has costs the client a
    /// comparison too.
    pub fn begin(&self, credentials: &Credentials<'_>, nonce: &[u8]) -> Decision {
        let decision = self.judge(credentials, nonce);
        let Some(callout) = &self.callout else {
            return decision;
        };
        let user = match &decision {
            Decision::Accept(user) => user.as_deref(),
            _ => None,
        };
        match callout.ask(credentials, user) {
            Some(ask) => Decision::Ask(Box::new(ask)),
            None => decision,
        }
    }

    /// Decides on the answer of an auth service to [`Decision::Ask`].
    ///
    /// # Errors
    /// Why it lets nobody in, or not yet.
    pub fn answered(
        &self,
        asked: AccountId,
        claims: UserClaims,
        credentials: &Credentials<'_>,
    ) -> Result<Arc<User>, NotAdmitted> {
        let presented = credentials.presented(&[]);
        match (&self.trust, &self.callout) {
            (Some(trust), _) => trust
                .admit_answer(asked, claims, &presented)
                .map_err(|refused| match refused {
                    Refused::Seek(key) => NotAdmitted::Seek(key),
                    refused => NotAdmitted::Refused(refused.why().to_owned()),
                }),
            (None, Some(callout)) => {
                let shown = credentials.shown_name().unwrap_or_default();
                let user = callout.admit(claims, &presented, shown);
                user.map_err(NotAdmitted::Refused)
            }
            (None, None) => Err(NotAdmitted::Refused("Auth callout is off".into())),
        }
    }

    /// Without an auth service.
    fn judge(&self, credentials: &Credentials<'_>, nonce: &[u8]) -> Decision {
        if !self.required() {
            return Decision::Accept(credentials.shown_name().map(unproven));
        }
        if let Some(trust) = &self.trust {
            return decided(trust.login(&credentials.presented(nonce)));
        }
        let connection_type = credentials.connection_type;
        let nobody = credentials.user.is_empty()
            && credentials.pass.is_empty()
            && credentials.token.is_empty();
        let implied = self.no_auth_user.as_ref().filter(|_| nobody);
        if let Some(user) = implied
            && credentials.nkey.is_empty()
            && matches!(user.proof, Proof::Elsewhere)
        {
            return Decision::Accept(Some(Arc::clone(user)));
        }

        if !self.nkeys.is_empty() {
            let user = match (credentials.nkey, implied) {
                ("", Some(user)) if matches!(user.proof, Proof::Signature(_)) => Some(user),
                ("", _) => None,
                (nkey, _) => match self.nkeys.get(nkey) {
                    Some(user) => Some(user),
                    None => return Decision::Refuse(RefuseReason::Credentials),
                },
            };
            if let Some(user) = user {
                return self.by_signature(user, credentials, nonce);
            }
        }
        if !self.users.is_empty() {
            if let CertificateProof::Maps(names) = credentials.certificate {
                return self.by_certificate(names, credentials);
            }
            // `no_auth_user` presents its own password, and so fails if that is a hash.
            if let Some(user) = implied
                && let Proof::Password(password) = &user.proof
            {
                return if !user.may_use(connection_type) || is_bcrypt(password) {
                    Decision::Refuse(RefuseReason::Credentials)
                } else if user.proxy_required && !credentials.proxied {
                    Decision::Refuse(RefuseReason::ProxyRequired)
                } else {
                    Decision::Accept(Some(Arc::clone(user)))
                };
            }
            if !credentials.user.is_empty() {
                return match self.users.get(credentials.user) {
                    Some(user)
                        if user.may_use(connection_type)
                            && (self.is_no_auth_user(user) || !self.needs_certificate(user)) =>
                    {
                        self.by_password(user, credentials)
                    }
                    _ => self.refuse_slowly(credentials.pass, RefuseReason::Credentials),
                };
            }
        }
        if self.proxy_required && !credentials.proxied {
            return self.refuse_slowly(credentials.pass, RefuseReason::ProxyRequired);
        }
        if let Some(token) = &self.token {
            let name = credentials.shown_name().unwrap_or(TOKEN_SHOWN);
            return compare(token, credentials.token, || unproven(name));
        }
        match &self.single {
            Some(user) if same(&user.name, credentials.user) => self.by_password(user, credentials),
            Some(_) => self.refuse_slowly(credentials.pass, RefuseReason::Credentials),
            None => Decision::Refuse(RefuseReason::Credentials),
        }
    }

    fn by_signature(
        &self,
        user: &Arc<User>,
        credentials: &Credentials<'_>,
        nonce: &[u8],
    ) -> Decision {
        // Who may come without credentials need not sign either.
        let implied = self.is_no_auth_user(user);
        let proven = implied
            || matches!(&user.proof, Proof::Signature(Some(key))
                if signed(key, credentials.sig, nonce));
        if !user.may_use(credentials.connection_type) {
            Decision::Refuse(RefuseReason::Credentials)
        } else if user.proxy_required && !credentials.proxied {
            Decision::Refuse(RefuseReason::ProxyRequired)
        } else if proven {
            Decision::Accept(Some(Arc::clone(user)))
        } else {
            Decision::Refuse(RefuseReason::Credentials)
        }
    }

    fn is_no_auth_user(&self, user: &Arc<User>) -> bool {
        let named = self.no_auth_user.as_ref();
        named.is_some_and(|it| Arc::ptr_eq(it, user))
    }

    pub(super) fn by_password(&self, user: &Arc<User>, credentials: &Credentials<'_>) -> Decision {
        // CORE-93.
        if user.proxy_required && !credentials.proxied {
            return self.refuse_slowly(credentials.pass, RefuseReason::ProxyRequired);
        }
        match &user.proof {
            Proof::Password(password) => compare(password, credentials.pass, || Arc::clone(user)),
            Proof::Signature(_) | Proof::Token | Proof::Elsewhere => {
                Decision::Refuse(RefuseReason::Credentials)
            }
        }
    }

    /// No, after as long as it takes to find a password wrong.
    fn refuse_slowly(&self, presented: &str, reason: RefuseReason) -> Decision {
        match &self.decoy {
            Some(hash) => {
                Decision::Verify(PasswordCheck::decoy(Arc::clone(hash), presented, reason))
            }
            None => Decision::Refuse(reason),
        }
    }
}

fn compare(stored: &Arc<str>, presented: &str, user: impl FnOnce() -> Arc<User>) -> Decision {
    if is_bcrypt(stored) {
        let check = PasswordCheck::new(Arc::clone(stored), presented, user());
        Decision::Verify(check)
    } else if same(stored, presented) {
        Decision::Accept(Some(user()))
    } else {
        Decision::Refuse(RefuseReason::Credentials)
    }
}

/// Somebody who may do everything under a name of its own choice: all that is known of who
/// presents the token, or need not present anything.
fn unproven(name: &str) -> Arc<User> {
    Arc::new(User::unrestricted(name, Proof::Elsewhere))
}

/// What came of a token.
pub(super) fn decided(outcome: Result<Arc<User>, Refused>) -> Decision {
    match outcome {
        Ok(user) => Decision::Accept(Some(user)),
        Err(Refused::Ask(ask)) => Decision::Ask(ask),
        Err(Refused::Seek(key)) => Decision::Seek(key),
        Err(Refused::Proxy) => Decision::Refuse(RefuseReason::ProxyRequired),
        Err(refused) => Decision::Refuse(RefuseReason::Untrusted(refused.why())),
    }
}

impl<'a> Credentials<'a> {
    /// What of them concerns tokens.
    pub(super) fn presented(&self, nonce: &'a [u8]) -> Presented<'a> {
        Presented {
            jwt: self.jwt,
            sig: self.sig,
            nonce,
            connection_type: self.connection_type,
            address: self.address,
            now: self.now,
            proxied: self.proxied,
        }
    }

    /// The name monitoring shows where none was proven.
    fn shown_name(&self) -> Option<&'a str> {
        let token = if self.token.is_empty() {
            ""
        } else {
            TOKEN_SHOWN
        };
        [self.nkey, self.user, token]
            .into_iter()
            .find(|name| !name.is_empty())
    }
}

/// Without the secrets.
impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .field("nkey", &self.nkey)
            .field("connection_type", &self.connection_type)
            .finish_non_exhaustive()
    }
}

/// Without the secrets.
impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("users", &self.users.len())
            .field("nkeys", &self.nkeys.len())
            .field("single", &self.single)
            .field("token", &self.token.is_some())
            .field("no_auth_user", &self.no_auth_user)
            .finish_non_exhaustive()
    }
}

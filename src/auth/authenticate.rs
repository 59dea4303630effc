//! From a CONNECT's credentials to a user.

use std::collections::HashMap;
use std::sync::Arc;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use nkeys::KeyPair;
use subtle::ConstantTimeEq;

use super::permissions::Permissions;
use crate::options::AuthOptions;

/// Who a connection is.
#[derive(Debug)]
pub struct User {
    /// What monitoring shows: the name, the public nkey, or that a token was used.
    pub name: Arc<str>,
    /// What it may do; `None` is everything.
    pub permissions: Option<Arc<Permissions>>,
    /// Kinds of connection it may use; empty is all (AUTH-8).
    allowed_connection_types: Vec<String>,
    proxy_required: bool,
    password: String,
}

/// What a client presents. Empty is absent.
#[derive(Debug, Clone, Copy, Default)]
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
}

/// What comes of credentials.
#[derive(Debug)]
pub enum Decision {
    /// Good: it is this user, or nobody in particular.
    Accept(Option<Arc<User>>),
    /// Not good. The client hears the same whatever the reason (CORE-51).
    Refuse,
    /// A bcrypt comparison decides, which takes too long for a shard.
    Verify(PasswordCheck),
}

/// A password to be compared with a bcrypt hash on a thread that may take its time.
#[derive(Debug)]
pub struct PasswordCheck {
    hash: String,
    presented: String,
    user: Option<Arc<User>>,
}

impl PasswordCheck {
    /// Compares; takes milliseconds to seconds, by the hash's cost.
    pub fn run(&self) -> bool {
        bcrypt::verify(&self.presented, &self.hash).unwrap_or(false)
    }

    /// What follows from the comparison.
    pub fn finish(self, matches: bool) -> Decision {
        if matches {
            Decision::Accept(self.user)
        } else {
            Decision::Refuse
        }
    }
}

/// Why an `authorization` block cannot be used; texts are stock's where it has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthConfigError {
    /// AUTH-5.
    #[error(
        "no_auth_user: \"{0}\" not present as user or nkey in authorization block or account configuration"
    )]
    NoAuthUserUnknown(String),
    /// AUTH-3.
    #[error("Duplicate user \"{0}\" detected")]
    DuplicateUser(String),
    /// AUTH-3.
    #[error("Duplicate nkey \"{0}\" detected")]
    DuplicateNkey(String),
    /// AUTH-1.
    #[error("Cannot have a user/pass and token")]
    UserAndToken,
    /// Not the public key of a user.
    #[error("Not a valid public nkey for a user: \"{0}\"")]
    BadNkey(String),
}

/// Knows everybody who may connect. Built once, shared by all shards.
#[derive(Debug, Default)]
pub struct Authenticator {
    users: HashMap<String, Arc<User>>,
    nkeys: HashMap<String, Arc<User>>,
    single: Option<(String, String)>,
    token: Option<String>,
    no_auth_user: Option<Arc<User>>,
}

impl Authenticator {
    /// Takes over the `authorization` block.
    ///
    /// # Errors
    /// [`AuthConfigError`] names what contradicts itself.
    pub fn new(options: &AuthOptions) -> Result<Self, AuthConfigError> {
        let mut this = Self {
            token: options.token.clone(),
            ..Self::default()
        };
        if let Some(name) = &options.username {
            this.single = Some((name.clone(), options.password.clone().unwrap_or_default()));
        }
        if this.single.is_some() && this.token.is_some() {
            return Err(AuthConfigError::UserAndToken);
        }
        for entry in &options.users {
            let name = entry.nkey.as_ref().unwrap_or(&entry.username);
            let user = Arc::new(User {
                name: name.as_str().into(),
                permissions: entry
                    .permissions
                    .as_ref()
                    .map(|it| Arc::new(Permissions::new(it))),
                allowed_connection_types: entry.allowed_connection_types.clone(),
                proxy_required: entry.proxy_required,
                password: entry.password.clone(),
            });
            let (table, duplicate): (_, fn(String) -> AuthConfigError) = match &entry.nkey {
                Some(nkey) if !is_user_nkey(nkey) => {
                    return Err(AuthConfigError::BadNkey(nkey.clone()));
                }
                Some(_) => (&mut this.nkeys, AuthConfigError::DuplicateNkey),
                None => (&mut this.users, AuthConfigError::DuplicateUser),
            };
            if table.insert(name.clone(), user).is_some() {
                return Err(duplicate(name.clone()));
            }
        }
        if let Some(name) = &options.no_auth_user {
            let user = this
                .users
                .get(name)
                .or_else(|| this.nkeys.get(name))
                .cloned();
            let unknown = || AuthConfigError::NoAuthUserUnknown(name.clone());
            this.no_auth_user = Some(user.ok_or_else(unknown)?);
        }
        Ok(this)
    }

    /// Must clients prove who they are?
    pub fn required(&self) -> bool {
        self.single.is_some()
            || self.token.is_some()
            || !self.users.is_empty()
            || !self.nkeys.is_empty()
    }

    /// Does the first INFO say so? Not where a user stands for those without credentials (CORE-7).
    pub fn first_info_auth_required(&self) -> bool {
        self.required() && self.no_auth_user.is_none()
    }

    /// Do clients need a nonce to sign (CORE-8)?
    pub fn nonce_required(&self) -> bool {
        !self.nkeys.is_empty()
    }

    /// Is any password or token not a hash (CFG-76)?
    pub fn plaintext_passwords(&self) -> bool {
        let users = self.users.values().map(|user| user.password.as_str());
        let single = self.single.iter().map(|(_, password)| password.as_str());
        let token = self.token.iter().map(String::as_str);
        users
            .chain(single)
            .chain(token)
            .any(|secret| !secret.is_empty() && !is_bcrypt(secret))
    }

    /// The user that connections without credentials become on any first operation (CORE-31). It
    /// must be allowed to connect this way, as any other (T39).
    pub fn no_auth_user(&self, connection_type: &str) -> Option<Arc<User>> {
        self.no_auth_user
            .clone()
            .filter(|user| user.may_use(connection_type))
    }

    /// Decides on credentials; `nonce` is what the client was given to sign.
    pub fn begin(&self, credentials: &Credentials<'_>, nonce: &[u8]) -> Decision {
        if !self.required() {
            return Decision::Accept(None);
        }
        let anonymous = credentials.user.is_empty()
            && credentials.pass.is_empty()
            && credentials.token.is_empty()
            && credentials.nkey.is_empty();
        if anonymous && let Some(user) = &self.no_auth_user {
            return if user.may_use(credentials.connection_type) {
                Decision::Accept(Some(Arc::clone(user)))
            } else {
                Decision::Refuse
            };
        }
        if !self.nkeys.is_empty() && !credentials.nkey.is_empty() {
            return match self.nkeys.get(credentials.nkey) {
                Some(user)
                    if user.may_use(credentials.connection_type)
                        && signed(credentials.nkey, credentials.sig, nonce) =>
                {
                    Decision::Accept(Some(Arc::clone(user)))
                }
                _ => Decision::Refuse,
            };
        }
        if !self.users.is_empty() && !credentials.user.is_empty() {
            return match self.users.get(credentials.user) {
                Some(user) if user.may_use(credentials.connection_type) => {
                    compare(&user.password, credentials.pass, Some(Arc::clone(user)))
                }
                _ => Decision::Refuse,
            };
        }
        if let Some(token) = &self.token {
            let user = anonymous_user("[REDACTED]");
            return compare(token, credentials.token, Some(user));
        }
        if let Some((name, password)) = &self.single {
            if !bool::from(name.as_bytes().ct_eq(credentials.user.as_bytes())) {
                return Decision::Refuse;
            }
            return compare(password, credentials.pass, Some(anonymous_user(name)));
        }
        Decision::Refuse
    }
}

impl User {
    fn may_use(&self, connection_type: &str) -> bool {
        // No proxy is trusted yet, so who must come through one cannot come at all (CORE-93).
        !self.proxy_required
            && (self.allowed_connection_types.is_empty()
                || self
                    .allowed_connection_types
                    .iter()
                    .any(|allowed| allowed == connection_type))
    }
}

fn anonymous_user(name: &str) -> Arc<User> {
    Arc::new(User {
        name: name.into(),
        permissions: None,
        allowed_connection_types: Vec::new(),
        proxy_required: false,
        password: String::new(),
    })
}

fn compare(stored: &str, presented: &str, user: Option<Arc<User>>) -> Decision {
    if is_bcrypt(stored) {
        let (hash, presented) = (stored.to_owned(), presented.to_owned());
        return Decision::Verify(PasswordCheck {
            hash,
            presented,
            user,
        });
    }
    if bool::from(stored.as_bytes().ct_eq(presented.as_bytes())) {
        Decision::Accept(user)
    } else {
        Decision::Refuse
    }
}

/// Is this a bcrypt hash rather than a password (AUTH-2)?
pub fn is_bcrypt(secret: &str) -> bool {
    ["$2a$", "$2b$", "$2x$", "$2y$"]
        .iter()
        .any(|prefix| secret.starts_with(prefix))
}

/// Is this the public key of a user? Malformed ones of any kind are not (T38).
pub fn is_user_nkey(nkey: &str) -> bool {
    nkey.starts_with('U') && KeyPair::from_public_key(nkey).is_ok()
}

/// Has the owner of `nkey` signed `nonce`? The signature may be spelled in either base64 (AUTH-4).
fn signed(nkey: &str, sig: &str, nonce: &[u8]) -> bool {
    let sig = BASE64URL_NOPAD
        .decode(sig.as_bytes())
        .or_else(|_| BASE64.decode(sig.as_bytes()));
    match (KeyPair::from_public_key(nkey), sig) {
        (Ok(key), Ok(sig)) if sig.len() == 64 => key.verify(nonce, &sig).is_ok(),
        _ => false,
    }
}

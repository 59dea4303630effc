//! Who a connection is.

use std::fmt;
use std::sync::Arc;

use nkeys::KeyPair;

use super::jwt::trust::Issued;
use super::permissions::Permissions;
use crate::ids::AccountId;
use crate::options::UserOptions;

/// Somebody who may connect. Shared by all connections of that user.
pub struct User {
    /// What monitoring shows: the name, the public nkey, or that a token was used.
    pub name: Arc<str>,
    /// What it may do; `None` is everything.
    pub permissions: Option<Arc<Permissions>>,
    /// Account it is in.
    pub account: AccountId,
    /// The token it came with, in operator mode.
    pub issued: Option<Arc<Issued>>,
    /// Only through a trusted proxy (CORE-93).
    pub(super) proxy_required: bool,
    /// Kinds of connection it may use; empty is all (AUTH-8).
    allowed_connection_types: Vec<String>,
    /// How it proves itself.
    pub(super) proof: Proof,
}

/// What a user must present.
pub(super) enum Proof {
    /// Its name, and the password behind this: plain or bcrypt, `""` too.
    Password(Arc<str>),
    /// A signature of the nonce. Nobody can give one for a key that is none.
    Signature(Option<Box<KeyPair>>),
    /// A token that somebody trusted has signed ([`crate::auth::jwt`]).
    Token,
    /// It is this user by other means: the token, or nobody asks.
    Elsewhere,
}

impl User {
    pub(super) fn new(options: &UserOptions, name: &str, account: AccountId, proof: Proof) -> Self {
        Self {
            name: name.into(),
            account,
            issued: None,
            permissions: options
                .permissions
                .as_ref()
                .map(|it| Arc::new(Permissions::new(it))),
            proxy_required: options.proxy_required,
            allowed_connection_types: options.allowed_connection_types.clone(),
            proof,
        }
    }

    /// A user who may do everything.
    pub(super) fn unrestricted(name: &str, proof: Proof) -> Self {
        Self::new(&UserOptions::default(), name, AccountId::GLOBAL, proof)
    }

    /// May it be connected in this way (AUTH-8)?
    pub(super) fn may_use(&self, connection_type: &str) -> bool {
        self.allowed_connection_types.is_empty()
            || self
                .allowed_connection_types
                .iter()
                .any(|allowed| allowed.eq_ignore_ascii_case(connection_type))
    }
}

/// Without the secrets.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("permissions", &self.permissions)
            .finish_non_exhaustive()
    }
}

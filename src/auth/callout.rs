//! An auth service decides who may connect (AUTH-80..84): when it is asked, what it is told, what
//! its answer must be.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;

use super::authenticate::{AuthConfigError, Credentials};
use super::jwt::token::{Kind, Token};
use super::jwt::trust::{Admission, Issued, Presented};
use super::jwt::user::UserClaims;
use super::jwt::window::Zones;
use super::user::{Proof, User};
use crate::accounts::registry::Accounts;
use crate::ids::AccountId;
use crate::options::{CalloutOptions, UserOptions};

/// Where the service is asked.
pub const SUBJECT: &str = "$SYS.REQ.USER.AUTH";
/// Header that names the server's curve key where the question is sealed.
pub const XKEY_HEADER: &str = "Nats-Server-Xkey";
/// `aud` of questions.
pub const AUDIENCE: &str = "nats-authorization-request";

/// The auth service of the configuration.
#[derive(Debug, Default)]
pub struct Callout {
    issuer: String,
    pub(super) account: AccountId,
    auth_users: HashSet<String>,
    /// Accounts it decides about beside `$G`; none is all.
    delegated: Vec<AccountId>,
    xkey: Option<String>,
    /// By name, for where it puts users.
    accounts: Option<Arc<Accounts>>,
    zones: Option<Zones>,
}

/// A question to an auth service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Account it is in.
    pub account: AccountId,
    /// `sub` of the question.
    pub subject: String,
    /// Its curve key, where it wants questions sealed.
    pub xkey: Option<String>,
    /// Keys whose signature on an answer that is not sealed counts; `None` is any.
    pub signers: Option<Vec<String>>,
}

impl Callout {
    /// Takes over the configuration's.
    ///
    /// # Errors
    /// An account it names is none.
    pub fn new(
        options: &CalloutOptions,
        accounts: &Accounts,
        zones: Zones,
    ) -> Result<Self, AuthConfigError> {
        let find = |name: &String| {
            let id = accounts.find(name);
            id.ok_or_else(|| AuthConfigError::NoAccount(name.clone()))
        };
        Ok(Self {
            issuer: options.issuer.clone(),
            account: find(&options.account)?,
            auth_users: options.auth_users.iter().cloned().collect(),
            delegated: options
                .allowed_accounts
                .iter()
                .map(find)
                .collect::<Result<_, _>>()?,
            xkey: options.xkey.clone(),
            accounts: Some(Arc::new(accounts.clone())),
            zones: Some(zones),
        })
    }

    /// The question to ask about these credentials, of whom the configuration thinks `user`; `None`
    /// where its word counts.
    pub(super) fn ask(&self, credentials: &Credentials<'_>, user: Option<&User>) -> Option<Ask> {
        let who = [credentials.nkey, credentials.user, credentials.token];
        let who = who
            .into_iter()
            .find(|it| !it.is_empty())
            .unwrap_or_default();
        let elsewhere = user
            .map(|it| it.account)
            .filter(|&it| it != AccountId::GLOBAL);
        let own =
            elsewhere.is_some_and(|it| !self.delegated.is_empty() && !self.delegated.contains(&it));
        (!own && !self.auth_users.contains(who)).then(|| Ask {
            account: self.account,
            subject: self.issuer.clone(),
            xkey: self.xkey.clone(),
            signers: None,
        })
    }

    /// The user that the service's answer makes of somebody.
    ///
    /// # Errors
    /// Why it makes none, in stock's words.
    pub(super) fn admit(
        &self,
        claims: UserClaims,
        presented: &Presented<'_>,
        shown: &str,
    ) -> Result<Arc<User>, String> {
        let accounts = self.accounts.as_ref().ok_or("no accounts")?;
        let zones = self.zones.ok_or("no time zones")?;
        let account = accounts.name(self.account);
        let standard = &claims.standard;
        if !claims.body.issuer_account.is_empty() {
            return Err(format!(
                "Error non operator mode account {account:?}: attempted to use issuer_account"
            ));
        }
        if standard.issuer != self.issuer {
            return Err(format!(
                "Wrong issuer for auth callout response on account {account:?}, expected {:?} got \
                 {:?}",
                self.issuer, standard.issuer
            ));
        }
        let Some(id) = accounts.find(&standard.audience) else {
            return Err(format!(
                "No valid account {:?} for auth callout response on account {account:?}",
                standard.audience
            ));
        };
        let Admission { types, expires } =
            Admission::of(&claims, presented, zones).map_err(|refused| refused.why().to_owned())?;
        let mut permissions = claims.body.limits.permissions.options();
        if id == self.account {
            super::jwt::trust::deny_auth_requests(&mut permissions);
        }
        let options = UserOptions {
            permissions,
            allowed_connection_types: types,
            ..UserOptions::default()
        };
        let name = match standard.name.as_str() {
            "" => shown.to_owned(),
            name => name.to_owned(),
        };
        let mut user = User::new(&options, &name, id, Proof::Token);
        user.issued = Some(Arc::new(Issued::by_service(claims, expires)));
        Ok(Arc::new(user))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    jwt: String,
    error: String,
    issuer_account: String,
}

/// What an opened answer says about the user with the key `user`, asked for by `server`.
///
/// # Errors
/// Why it is no answer, or that it is no, in stock's words.
pub fn read_answer(
    text: &str,
    ask: &Ask,
    sealed: bool,
    (user, server): (&str, &str),
    now: i64,
) -> Result<UserClaims, String> {
    let token = Token::decode_kind(text, Kind::AuthorizationResponse);
    let token = token.map_err(|error| error.to_string())?;
    let answer: Answer = token.body().map_err(|error| error.to_string())?;
    let standard = &token.standard;
    if !standard.in_time(now) {
        return Err("Authorization response had validation errors".into());
    }
    if standard.subject != user {
        let text = "Auth callout violation: auth callout response is not for expected user";
        return Err(text.into());
    }
    if standard.audience != server {
        return Err("Auth callout violation: auth callout response is not for server".into());
    }
    if !answer.error.is_empty() {
        return Err(format!(
            "Auth callout service returned an error: {}",
            answer.error
        ));
    }
    let signer = match answer.issuer_account.as_str() {
        "" => &standard.issuer,
        account => account,
    };
    if let Some(signers) = &ask.signers
        && !sealed
        && !signers.iter().any(|it| it == signer)
    {
        return Err("Auth callout signing key is unknown".into());
    }
    let claims = UserClaims::decode(&answer.jwt).map_err(|error| error.to_string())?;
    if claims.standard.subject != user {
        return Err(format!(
            "Expected authorized user of {user:?} but got {:?}",
            claims.standard.subject
        ));
    }
    Ok(claims)
}

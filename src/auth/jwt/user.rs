//! Claims of a user: what it may do, when and from where (AUTH-52).

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::shape;
use super::token::{Kind, Standard, Token, TokenError, is_public_key};
use super::window::{self, TimeRange, Zones};
use crate::options::{PermissionsOptions, ResponsePermission, SubjectPermission};

/// What is said of a user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserClaims {
    /// Claims of every kind.
    pub standard: Standard,
    /// Its own.
    pub body: UserBody,
}

/// Claims of users.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct UserBody {
    /// Permissions and limits, which a scope may give instead.
    #[serde(flatten)]
    pub limits: UserLimits,
    /// Account it belongs to where a signing key issued it; empty is the issuer.
    pub issuer_account: String,
    /// Labels.
    pub tags: Vec<String>,
}

/// What a user may do. -1 is unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct UserLimits {
    /// What it may publish, subscribe to and answer.
    #[serde(flatten)]
    pub permissions: Permissions,
    /// Networks it may come from; empty is any.
    #[serde(deserialize_with = "networks")]
    pub src: Vec<String>,
    /// When it may be connected; empty is always.
    #[serde(deserialize_with = "shape::maps")]
    pub times: Vec<TimeRange>,
    /// Time zone of `times`; empty is the server's.
    pub times_location: String,
    /// Subscriptions of one connection.
    pub subs: i64,
    /// Bytes.
    pub data: i64,
    /// Bytes of one message.
    pub payload: i64,
    /// Need not sign the nonce.
    pub bearer_token: bool,
    /// Only through a trusted proxy.
    pub proxy_required: bool,
    /// How it may be connected; empty is in any way.
    pub allowed_connection_types: Vec<String>,
}

/// Permissions as tokens spell them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Permissions {
    /// What may be published.
    #[serde(rename = "pub", deserialize_with = "shape::map")]
    pub publish: Lists,
    /// What may be subscribed to; entries may be `subject queue`.
    #[serde(rename = "sub", deserialize_with = "shape::map")]
    pub subscribe: Lists,
    /// Answers.
    #[serde(deserialize_with = "shape::some_map")]
    pub resp: Option<Answers>,
}

/// Allow and deny; an empty list is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Lists {
    /// Patterns allowed.
    pub allow: Vec<String>,
    /// Patterns denied.
    pub deny: Vec<String>,
}

/// The right to answer requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Answers {
    /// Answers per request.
    pub max: i64,
    /// Nanoseconds.
    pub ttl: i64,
}

/// A list, or one string with commas.
fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Spelled {
        List(Vec<String>),
        Text(String),
    }
    Ok(match Spelled::deserialize(from)? {
        Spelled::List(list) => list,
        Spelled::Text(text) => {
            let parts = text.split(',').map(|part| part.trim().to_lowercase());
            parts.filter(|part| !part.is_empty()).collect()
        }
    })
}

impl UserClaims {
    /// Decodes a user's token.
    ///
    /// # Errors
    /// [`TokenError`] says what is wrong with it.
    pub fn decode(text: &str) -> Result<Self, TokenError> {
        let token = Token::decode_kind(text, Kind::User)?;
        let mut body: UserBody = token.body()?;
        if token.version == 1 {
            // Limits were unlimited where they were not named.
            let named = |name: &str| token.raw_body().get(name).is_some();
            let limits = &mut body.limits;
            for (name, limit) in [
                ("subs", &mut limits.subs),
                ("data", &mut limits.data),
                ("payload", &mut limits.payload),
            ] {
                if !named(name) {
                    *limit = -1;
                }
            }
            limits.allowed_connection_types.clear();
            limits.proxy_required = false;
        }
        Ok(Self {
            body,
            standard: token.standard,
        })
    }

    /// The account it belongs to.
    pub fn account(&self) -> &str {
        match self.body.issuer_account.as_str() {
            "" => &self.standard.issuer,
            account => account,
        }
    }

    /// Does everything in it make sense?
    pub fn is_sound(&self, zones: Zones) -> bool {
        let account = &self.body.issuer_account;
        self.body.limits.is_sound(zones) && (account.is_empty() || is_public_key(account, 'A'))
    }
}

impl UserLimits {
    fn is_sound(&self, zones: Zones) -> bool {
        self.permissions.is_sound()
            && self
                .src
                .iter()
                .all(|network| window::network(network).is_some())
            && self.times.iter().all(TimeRange::is_sound)
            && (self.times_location.is_empty() || zones(&self.times_location).is_some())
    }
}

impl Permissions {
    /// Is each entry a subject, with a queue where there may be one?
    pub fn is_sound(&self) -> bool {
        let sound = |entry: &String, queue: bool| {
            let mut parts = entry.split(' ');
            let (first, second) = (parts.next().unwrap_or_default(), parts.next());
            is_subject(first)
                && parts.next().is_none()
                && second.is_none_or(|name| queue && is_subject(name))
        };
        let all = |lists: &Lists, queue: bool| {
            let mut entries = lists.allow.iter().chain(&lists.deny);
            entries.all(|entry| sound(entry, queue))
        };
        all(&self.publish, false) && all(&self.subscribe, true)
    }

    /// As the server's own; `None` where nothing is said.
    pub fn options(&self) -> Option<PermissionsOptions> {
        let lists = |lists: &Lists| {
            let said = !(lists.allow.is_empty() && lists.deny.is_empty());
            said.then(|| SubjectPermission {
                allow: (!lists.allow.is_empty()).then(|| lists.allow.clone()),
                deny: lists.deny.clone(),
            })
        };
        let options = PermissionsOptions {
            publish: lists(&self.publish),
            subscribe: lists(&self.subscribe),
            responses: self.resp.map(|it| ResponsePermission {
                max_msgs: it.max,
                // Below zero is without end, zero the default.
                expires: u64::try_from(it.ttl).ok().map(Duration::from_nanos),
            }),
        };
        (options != PermissionsOptions::default()).then_some(options)
    }
}

/// A subject by the rules of tokens, which ask for less than a subscription does.
pub(super) fn is_subject(text: &str) -> bool {
    !text.is_empty()
        && !text.contains(' ')
        && !text.starts_with('.')
        && !text.ends_with('.')
        && !text.contains("..")
}

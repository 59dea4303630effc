//! Those who are connected, judged anew when the configuration has changed (CFG-94).

use std::sync::Arc;

use super::authenticate::{Authenticator, Credentials, Decision};
use super::jwt::trust::Refused;
use super::user::{Proof, User};

/// What becomes of a connection under new rules.
#[derive(Debug)]
pub enum Recheck {
    /// As at a login.
    Decided(Decision),
    /// The user is no more. Stock closes these without a word, and so they come back at once and
    /// hear it then.
    Gone,
    /// Its token holds no more.
    Expelled(Refused),
}

impl Authenticator {
    /// Judges credentials that `before` found good for `user`.
    ///
    /// A password that was compared with the same hash is not compared again: a reload that
    /// changes nothing for ten thousand connections must not cost ten thousand comparisons.
    pub fn recheck(
        &self,
        before: &Self,
        user: Option<&Arc<User>>,
        credentials: &Credentials<'_>,
        nonce: &[u8],
    ) -> Recheck {
        if let Some(trust) = &self.trust()
            && let Some(issued) = user.and_then(|user| user.issued.as_ref())
        {
            return match trust.recheck(issued, &credentials.presented(nonce)) {
                Ok(user) => Recheck::Decided(Decision::Accept(Some(user))),
                Err(refused) => Recheck::Expelled(refused),
            };
        }
        // An auth service is not asked again about whom it has let in.
        if let Some(user) = user.filter(|user| user.issued.is_some()) {
            return Recheck::Decided(Decision::Accept(Some(Arc::clone(user))));
        }
        let proven = user.filter(|user| !matches!(user.proof, Proof::Elsewhere));
        let name = match (credentials.nkey, credentials.user) {
            ("", "") => proven.map_or("", |user| &user.name),
            ("", name) => name,
            (nkey, _) => nkey,
        };
        let unknown = !name.is_empty() && !self.knows(name);
        if unknown && proven.is_some() {
            return Recheck::Gone;
        }
        let decision = match self.begin(credentials, nonce) {
            Decision::Verify(now) => match before.begin(credentials, nonce) {
                Decision::Verify(then) if now.repeats(&then) => now.finish(true),
                _ => Decision::Verify(now),
            },
            decision => decision,
        };
        match decision {
            Decision::Refuse(_) if unknown => Recheck::Gone,
            decision => Recheck::Decided(decision),
        }
    }

    /// Is there a user of this name or nkey?
    fn knows(&self, name: &str) -> bool {
        self.listed(name).is_some() || self.single().is_some_and(|user| user.name.as_ref() == name)
    }

    /// Is this one of `users`, whom stock holds to the limits anew at every reload (CORE-56)?
    pub fn lists(&self, user: &Arc<User>) -> bool {
        self.listed(&user.name)
            .is_some_and(|listed| Arc::ptr_eq(listed, user))
    }
}

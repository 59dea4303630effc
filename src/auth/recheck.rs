//! Those who are connected, judged anew when the configuration has changed (CFG-94).

use std::sync::Arc;

use super::authenticate::{Authenticator, CertificateProof, Credentials, Decision};
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
        let credentials = &resolved(credentials, proven);
        let (this, before) = (
            self.judge_of(proven, before),
            before.judge_of(proven, before),
        );
        let name = match (credentials.nkey, credentials.user) {
            ("", "") => proven.map_or("", |user| &user.name),
            ("", name) => name,
            (nkey, _) => nkey,
        };
        let unknown = !name.is_empty() && !this.knows(name);
        if unknown && proven.is_some() {
            return Recheck::Gone;
        }
        let decision = match this.begin(credentials, nonce) {
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

    /// The same after a reload.
    ///
    /// Where a token or a single user takes the place of `users`, stock keeps its tables of them
    /// until a reload brings others, or nobody is asked any more: so who is connected goes on as
    /// the user it was (CFG-94). Here nobody new is let in by them; in stock they are.
    #[must_use]
    pub fn after(mut self, before: &Self) -> Self {
        let lists = |it: &Self| !it.users.is_empty() || !it.nkeys.is_empty();
        let decided = self.trust().is_some() || self.asks();
        if decided || lists(&self) || !self.required() {
            return self;
        }
        let last = if lists(before) {
            Some(before)
        } else {
            before.former.as_deref()
        };
        self.former = last.map(|last| {
            let mut former = Self::default();
            former.users.clone_from(&last.users);
            former.nkeys.clone_from(&last.nkeys);
            former.mapping.clone_from(&self.mapping);
            Arc::new(former)
        });
        self
    }

    /// Are there users who are no more, and may stay while they are connected?
    pub fn has_former(&self) -> bool {
        self.former.is_some()
    }

    /// Who judges a connection of this user: the users of before, if it is one of them.
    fn judge_of(&self, user: Option<&Arc<User>>, before: &Self) -> &Self {
        let single = before.single();
        let listed = user.filter(|user| single.is_none_or(|it| !Arc::ptr_eq(it, user)));
        match (&self.former, listed) {
            (Some(former), Some(user)) if former.knows(&user.name) => former,
            _ => self,
        }
    }

    /// Is there a user of this name or nkey?
    fn knows(&self, name: &str) -> bool {
        self.listed(name).is_some() || self.single().is_some_and(|user| user.name.as_ref() == name)
    }

    /// Is this one of `users`, whom stock holds to the limits anew at every reload (CORE-56)?
    pub fn lists(&self, user: &Arc<User>) -> bool {
        let former = self.former.as_ref();
        self.listed(&user.name)
            .or_else(|| former.and_then(|it| it.listed(&user.name)))
            .is_some_and(|listed| Arc::ptr_eq(listed, user))
    }
}

/// Who came without credentials has presented those of the user it became, for all later times:
/// that user may stop being the one for those who come so.
fn resolved<'a>(presented: &Credentials<'a>, user: Option<&'a Arc<User>>) -> Credentials<'a> {
    let mut resolved = *presented;
    let names = [
        presented.user,
        presented.nkey,
        presented.pass,
        presented.token,
    ];
    let by_certificate = matches!(presented.certificate, CertificateProof::Maps(_));
    if let Some(user) = user.filter(|_| names == [""; 4] && !by_certificate) {
        match &user.proof {
            Proof::Password(password) => (resolved.user, resolved.pass) = (&user.name, password),
            Proof::Signature(_) => resolved.nkey = &user.name,
            Proof::Token | Proof::Elsewhere => {}
        }
    }
    resolved
}

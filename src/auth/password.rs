//! Passwords and tokens, plain or as bcrypt hashes (AUTH-2).

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::authenticate::{Decision, RefuseReason};
use super::user::User;

/// Characters of a bcrypt hash. What follows is not looked at, as stock does not.
const BCRYPT_LEN: usize = 60;

/// Is this a bcrypt hash rather than a password (AUTH-2)?
pub fn is_bcrypt(secret: &str) -> bool {
    matches!(
        secret.as_bytes(),
        [b'$', b'2', b'a' | b'b' | b'x' | b'y', b'$', tens, ones, b'$', ..]
            if tens.is_ascii_digit() && ones.is_ascii_digit()
    )
}

/// Are both the same? Takes as long whatever they share; only their lengths show.
pub(super) fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// A password to be compared with a bcrypt hash on a thread that may take its time.
pub struct PasswordCheck {
    hash: Arc<str>,
    presented: Box<str>,
    outcome: Result<Arc<User>, RefuseReason>,
}

impl PasswordCheck {
    /// A comparison that makes the client `user` if it succeeds.
    pub(super) fn new(hash: Arc<str>, presented: &str, user: Arc<User>) -> Self {
        Self {
            hash,
            presented: presented.into(),
            outcome: Ok(user),
        }
    }

    /// A comparison for the time it takes, so that a refusal does not tell who exists.
    pub(super) fn decoy(hash: Arc<str>, presented: &str, reason: RefuseReason) -> Self {
        Self {
            hash,
            presented: presented.into(),
            outcome: Err(reason),
        }
    }

    /// Compares; takes milliseconds to seconds, by the hash's cost.
    pub fn run(&self) -> bool {
        let hash = self.hash.get(..BCRYPT_LEN).unwrap_or_default();
        bcrypt::verify(self.presented.as_bytes(), hash).unwrap_or(false)
    }

    /// Is it the comparison `other` was, where the answer may be yes?
    pub(super) fn repeats(&self, other: &Self) -> bool {
        self.hash == other.hash
            && self.presented == other.presented
            && self.outcome.is_ok()
            && other.outcome.is_ok()
    }

    /// What follows from the comparison.
    pub fn finish(self, matches: bool) -> Decision {
        match self.outcome {
            Ok(user) if matches => Decision::Accept(Some(user)),
            Ok(_) => Decision::Refuse(RefuseReason::Credentials),
            Err(reason) => Decision::Refuse(reason),
        }
    }
}

/// Without the secrets.
impl fmt::Debug for PasswordCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordCheck")
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "My S3cre7 P@55w0rd!";
    const REST: &str = "05$HlFShUxTu4ZHHfOLJwfmCeDj/kuKFKboanXtDJXxCC7aIPTUgxNDe";

    fn verifies(hash: &str, password: &str) -> bool {
        PasswordCheck::decoy(hash.into(), password, RefuseReason::Credentials).run()
    }

    #[test]
    fn four_kinds_of_bcrypt() {
        for kind in ["$2a$", "$2b$", "$2x$", "$2y$"] {
            let hash = format!("{kind}{REST}");
            assert!(is_bcrypt(&hash), "{kind}");
            assert!(verifies(&hash, PASSWORD), "{kind}");
            assert!(!verifies(&hash, "My S3cre7 P@55w0rd?"), "{kind}");
            // As 2.15.1: more than a hash is one, less is a hash that nothing matches.
            assert!(verifies(&format!("{hash}xyz"), PASSWORD), "{kind}");
            assert!(!verifies(&hash[..59], PASSWORD), "{kind}");
        }
    }

    #[test]
    fn what_is_no_hash_is_a_password() {
        for text in [
            "",
            "$",
            "$2a$",
            "$2a$1",
            "$2a$zz$abc",
            "$2z$05$abc",
            "$2$05$abc",
            "x$2a$05$",
        ] {
            assert!(!is_bcrypt(text), "{text}");
        }
        assert!(is_bcrypt("$2a$05$"));
    }

    #[test]
    fn damaged_hashes_match_nothing() {
        let wide = format!("$2b$05${}", "é".repeat(30));
        for hash in [
            "",
            "$2a$05$",
            "$2a$99$",
            &format!("$2a$99${}", &REST[3..]),
            &wide,
        ] {
            assert!(!verifies(hash, PASSWORD) && !verifies(hash, ""), "{hash}");
        }
        let odd = format!("$2b$00${}", &REST[3..]);
        assert!(!verifies(&odd, PASSWORD), "a cost of 0 is none");
    }

    #[test]
    fn equal_is_equal() {
        assert!(same("", "") && same("abc", "abc"));
        assert!(!same("abc", "abd") && !same("abc", "ab") && !same("", "a"));
    }

    #[test]
    fn debug_output_keeps_secrets() {
        let check =
            PasswordCheck::decoy("$2a$05$hash".into(), "hunter2", RefuseReason::Credentials);
        let shown = format!("{check:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("$2a$"),
            "{shown}"
        );
    }
}

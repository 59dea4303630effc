//! Answers to "may it publish here?", or "may it be sent this?", by subject.

/// Subjects remembered for each connection with permissions: 8 KiB, taken at its first question.
const SUBJECTS: usize = 128;
const _: () = assert!(SUBJECTS.is_power_of_two(), "masked");
/// Longest subject remembered, so that a place is one cache line. Longer ones are looked up.
const SUBJECT_LEN_MAX: usize = 62;
const _: () = assert!(size_of::<Place>() == 64, "one cache line");

/// A direct-mapped table: one place for each subject, the last one wins. It never allocates after
/// its first subject, and forgets nothing but by collision: a table belongs to one question about
/// one set of permissions for its life.
#[derive(Debug)]
pub struct VerdictCache {
    places: Box<[Place]>,
    /// Where the last answer was: bursts have one subject.
    last: usize,
    hasher: ahash::RandomState,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    /// 0 is none.
    len: u8,
    allowed: bool,
    subject: [u8; SUBJECT_LEN_MAX],
}

impl Default for VerdictCache {
    fn default() -> Self {
        Self {
            places: Box::default(),
            last: 0,
            // Known keys do no harm: a client that makes its subjects collide slows itself down.
            hasher: ahash::RandomState::with_seeds(1, 2, 3, 4),
        }
    }
}

impl VerdictCache {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// What `ask` says of `subject`; the same question at every call.
    pub fn allowed(&mut self, subject: &[u8], ask: impl FnOnce(&[u8]) -> bool) -> bool {
        if let Some(place) = self.places.get(self.last)
            && place.subject[..usize::from(place.len)] == *subject
            && place.len > 0
        {
            return place.allowed;
        }
        if subject.is_empty() || subject.len() > SUBJECT_LEN_MAX {
            return ask(subject);
        }
        if self.places.is_empty() {
            const FREE: Place = Place {
                len: 0,
                allowed: false,
                subject: [0; SUBJECT_LEN_MAX],
            };
            self.places = vec![FREE; SUBJECTS].into();
        }
        let at = self.hasher.hash_one(subject) as usize & (SUBJECTS - 1);
        self.last = at;
        let place = &mut self.places[at];
        let len = usize::from(place.len);
        if place.subject[..len] != *subject {
            place.allowed = ask(subject);
            place.len = subject.len() as u8;
            place.subject[..subject.len()].copy_from_slice(subject);
        }
        place.allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::permissions::Permissions;
    use crate::options::{PermissionsOptions, SubjectPermission};

    #[test]
    fn says_what_the_permissions_say() {
        let permissions = Permissions::new(&PermissionsOptions {
            publish: Some(SubjectPermission {
                allow: Some(vec!["even.*".into(), "long.>".into()]),
                deny: vec!["even.0".into()],
            }),
            ..PermissionsOptions::default()
        });
        let mut cache = VerdictCache::new();
        // More subjects than places, so that they push each other out, and each twice in a row.
        for round in 0..3 {
            for number in 0..400 {
                let kind = if number % 2 == 0 { "even" } else { "odd" };
                let subject = format!("{kind}.{number}");
                let expected = number % 2 == 0 && number != 0;
                for _ in 0..2 {
                    let got = cache.allowed(subject.as_bytes(), |it| permissions.can_publish(it));
                    assert_eq!(got, expected, "{subject} round {round}");
                }
            }
        }
        for len in [0, 1, 61, 62, 63, 64, 500] {
            let (good, bad) = (format!("long.{}", "x".repeat(len)), "y".repeat(len));
            for _ in 0..2 {
                let allowed = cache.allowed(good.as_bytes(), |it| permissions.can_publish(it));
                assert_eq!(allowed, len > 0, "{good}");
                assert!(
                    !cache.allowed(bad.as_bytes(), |it| permissions.can_publish(it)),
                    "{bad}"
                );
            }
        }
    }

    #[test]
    fn beginnings_are_not_wholes() {
        let permissions = Permissions::new(&PermissionsOptions {
            publish: Some(SubjectPermission {
                allow: Some(vec!["abc".into()]),
                deny: Vec::new(),
            }),
            ..PermissionsOptions::default()
        });
        let mut cache = VerdictCache::new();
        cache.allowed(b"abc", |it| permissions.can_publish(it));
        for at in 0..SUBJECTS {
            // Every place holds "abc": none of these may take it for itself.
            let place = cache.places.iter().find(|it| it.len == 3).copied();
            cache.places[at] = place.expect("asked before");
        }
        for other in [&b"ab"[..], b"abcd", b"abc.d", b"a"] {
            assert!(!cache.allowed(other, |it| permissions.can_publish(it)));
        }
    }
}

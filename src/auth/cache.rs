//! Answers to "may it publish here?" by subject.

use super::permissions::Permissions;

/// Subjects remembered for each connection with permissions: 8 KiB, taken at its first publish.
const SUBJECTS: usize = 128;
const _: () = assert!(SUBJECTS.is_power_of_two(), "masked");
/// Longest subject remembered, so that a place is one cache line. Longer ones are looked up.
const SUBJECT_LEN_MAX: usize = 62;
const _: () = assert!(size_of::<Place>() == 64, "one cache line");

/// A direct-mapped table: one place for each subject, the last one wins. It never allocates after
/// its first subject, and forgets nothing but by collision: a table belongs to one
/// [`Permissions`] for its life.
#[derive(Debug)]
pub struct PublishCache {
    places: Box<[Place]>,
    hasher: ahash::RandomState,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    /// 0 is none.
    len: u8,
    allowed: bool,
    subject: [u8; SUBJECT_LEN_MAX],
}

impl Default for PublishCache {
    fn default() -> Self {
        Self {
            places: Box::default(),
            // Known keys do no harm: a client that makes its subjects collide slows itself down.
            hasher: ahash::RandomState::with_seeds(1, 2, 3, 4),
        }
    }
}

impl PublishCache {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// What `permissions` say of publishing to `subject`; the same ones at every call.
    pub fn allowed(&mut self, permissions: &Permissions, subject: &[u8]) -> bool {
        if subject.is_empty() || subject.len() > SUBJECT_LEN_MAX {
            return permissions.can_publish(subject);
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
        let place = &mut self.places[at];
        let len = usize::from(place.len);
        if place.subject[..len] != *subject {
            place.allowed = permissions.can_publish(subject);
            place.len = subject.len() as u8;
            place.subject[..subject.len()].copy_from_slice(subject);
        }
        place.allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let mut cache = PublishCache::new();
        // More subjects than places, so that they push each other out, and each twice in a row.
        for round in 0..3 {
            for number in 0..400 {
                let kind = if number % 2 == 0 { "even" } else { "odd" };
                let subject = format!("{kind}.{number}");
                let expected = number % 2 == 0 && number != 0;
                for _ in 0..2 {
                    let got = cache.allowed(&permissions, subject.as_bytes());
                    assert_eq!(got, expected, "{subject} round {round}");
                }
            }
        }
        for len in [0, 1, 61, 62, 63, 64, 500] {
            let (good, bad) = (format!("long.{}", "x".repeat(len)), "y".repeat(len));
            for _ in 0..2 {
                let allowed = cache.allowed(&permissions, good.as_bytes());
                assert_eq!(allowed, len > 0, "{good}");
                assert!(!cache.allowed(&permissions, bad.as_bytes()), "{bad}");
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
        let mut cache = PublishCache::new();
        cache.allowed(&permissions, b"abc");
        for at in 0..SUBJECTS {
            // Every place holds "abc": none of these may take it for itself.
            let place = cache.places.iter().find(|it| it.len == 3).copied();
            cache.places[at] = place.expect("asked before");
        }
        for other in [&b"ab"[..], b"abcd", b"abc.d", b"a"] {
            assert!(!cache.allowed(&permissions, other));
        }
    }
}

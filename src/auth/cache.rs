//! Answers to "may it publish here?" by subject.

use super::permissions::Permissions;

/// Subjects remembered for each connection with permissions: a few KiB.
const SUBJECTS: usize = 128;
const _: () = assert!(SUBJECTS.is_power_of_two(), "masked");

/// A direct-mapped table: one place for each subject, the last one wins.
#[derive(Debug)]
pub struct PublishCache {
    slots: Box<[(Vec<u8>, bool)]>,
    hasher: ahash::RandomState,
}

impl Default for PublishCache {
    fn default() -> Self {
        let slots = (0..SUBJECTS).map(|_| (Vec::new(), false)).collect();
        Self {
            slots,
            hasher: ahash::RandomState::new(),
        }
    }
}

impl PublishCache {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// What `permissions` say of publishing to `subject`.
    pub fn allowed(&mut self, permissions: &Permissions, subject: &[u8]) -> bool {
        let at = self.hasher.hash_one(subject) as usize & (SUBJECTS - 1);
        let (known, allowed) = &mut self.slots[at];
        if known != subject || subject.is_empty() {
            *allowed = permissions.can_publish(subject);
            known.clear();
            known.extend_from_slice(subject);
        }
        *allowed
    }
}

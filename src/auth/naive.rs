//! The slow and obvious version of permissions, and the dice for tests that compare with it.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::options::SubjectPermission;

/// `RAMJET_SEED=n` runs one seed.
pub(crate) fn seeds() -> std::ops::Range<u64> {
    match std::env::var("RAMJET_SEED")
        .ok()
        .and_then(|it| it.parse().ok())
    {
        Some(seed) => seed..seed + 1,
        None => 0..400,
    }
}

pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.0.next_u32() % bound
    }

    pub(crate) fn one_of<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u32) as usize]
    }

    /// A pattern of one to three tokens over `a` and `b`.
    pub(crate) fn pattern(&mut self) -> String {
        let last = self.below(3);
        let mut pattern = String::new();
        for at in 0..=last {
            let wild: &[&str] = if at == last {
                &["a", "b", "*", ">"]
            } else {
                &["a", "b", "*"]
            };
            pattern.push_str(self.one_of(wild));
            if at < last {
                pattern.push('.');
            }
        }
        pattern
    }

    /// An entry of a permission list: a pattern, and perhaps a queue.
    fn entry(&mut self) -> String {
        let pattern = self.pattern();
        match self.below(3) {
            0 => format!("{pattern} {}", self.one_of(QUEUE_PATTERNS)),
            _ => pattern,
        }
    }

    fn entries(&mut self) -> Vec<String> {
        (0..self.below(5)).map(|_| self.entry()).collect()
    }

    /// Lists for subscriptions; no allow list, or one with something in it.
    pub(crate) fn subscribe(&mut self) -> SubjectPermission {
        SubjectPermission {
            allow: Some(self.entries()).filter(|it| !it.is_empty()),
            deny: self.entries(),
        }
    }
}

/// Queue groups that permissions name.
const QUEUE_PATTERNS: &[&str] = &["q", "v.a", "v.*", "v.>", "*", ">"];
/// Queue groups that subscriptions are in, wildcards as plain characters among them.
pub(crate) const QUEUES: &[Option<&str>] = &[
    None,
    Some("q"),
    Some("p"),
    Some("v.a"),
    Some("v.b"),
    Some("v.b.c"),
    Some("v.*"),
    Some("v.>"),
    Some(">"),
];

/// Every subject of up to four tokens over `a` and `b`.
pub(crate) fn subjects() -> Vec<String> {
    let mut all = vec!["a".to_owned(), "b".to_owned()];
    for at in 0.. {
        let subject = all[at].clone();
        if subject.len() > 5 {
            return all;
        }
        all.extend(["a", "b"].map(|token| format!("{subject}.{token}")));
    }
    unreachable!("longer subjects are always found")
}

/// Does the pattern match? Recursive, by the definition of the wildcards; `*` and `>` in the
/// subject are plain tokens.
pub(crate) fn matches(pattern: &str, subject: &str) -> bool {
    let (first, rest) = halves(pattern);
    let (token, tail) = halves(subject);
    match (first, rest, tail) {
        (">", ..) => true,
        (first, _, _) if first != "*" && first != token => false,
        (_, Some(rest), Some(tail)) => matches(rest, tail),
        (_, None, None) => true,
        _ => false,
    }
}

fn halves(text: &str) -> (&str, Option<&str>) {
    match text.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (text, None),
    }
}

/// Does the entry speak of this subject at all, and of this queue group?
fn entry_matches(entry: &str, subject: &str, queue: Option<&str>) -> bool {
    let (pattern, entry_queue) = match entry.split_once(' ') {
        Some((pattern, queue)) => (pattern, Some(queue)),
        None => (entry, None),
    };
    matches(pattern, subject)
        && match (entry_queue, queue) {
            (None, _) => true,
            (Some(_), None) => false,
            // `>` as the last token of a group's name is more than `*` stands for.
            (Some(pattern), Some(queue)) => {
                pattern == queue
                    || (matches(pattern, queue)
                        && (pattern.ends_with('>') || !queue.ends_with('>')))
            }
        }
}

/// May it subscribe? Stock's rules of 2.15.1, entry by entry (AUTH-12, AUTH-13).
pub(crate) fn can_subscribe(lists: &SubjectPermission, pattern: &str, queue: Option<&str>) -> bool {
    let allowed = lists.allow.as_ref().is_none_or(|allow| {
        let about = |named: bool| {
            allow.iter().filter(move |it| {
                let subject = it.split(' ').next().unwrap_or_default();
                it.contains(' ') == named && matches(subject, pattern)
            })
        };
        if queue.is_some() && about(true).next().is_some() {
            about(true).any(|entry| entry_matches(entry, pattern, queue))
        } else {
            about(false).next().is_some()
        }
    });
    allowed && !denied(lists, pattern, queue)
}

/// Is a message on `subject` denied to a subscription in that queue group?
fn denied(lists: &SubjectPermission, subject: &str, queue: Option<&str>) -> bool {
    lists
        .deny
        .iter()
        .any(|entry| entry_matches(entry, subject, queue))
}

/// What may reach a subscription: what is allowed without what is denied.
pub(crate) fn may_receive(lists: &SubjectPermission, subject: &str, queue: Option<&str>) -> bool {
    let allowed = |allow: &Vec<String>| {
        allow
            .iter()
            .any(|entry| entry_matches(entry, subject, queue))
    };
    lists.allow.as_ref().is_none_or(allowed) && !denied(lists, subject, queue)
}

//! What a user may publish and subscribe to.

use serde_json::json;

use crate::options::{PermissionsOptions, ResponsePermission, SubjectPermission};
use crate::routing::subject::{is_literal, pattern_matches, pattern_subset, patterns_overlap};

/// A user's permissions, ready to be asked.
#[derive(Debug)]
pub struct Permissions {
    publish: Rules,
    subscribe: Rules,
    responses: Option<ResponsePermission>,
}

/// Allow and deny entries of one direction.
#[derive(Debug, Default)]
struct Rules {
    /// `None` is everything.
    allow: Option<Vec<Entry>>,
    deny: Vec<Entry>,
}

/// One entry: a subject, and for subscriptions perhaps a queue (AUTH-13).
#[derive(Debug)]
struct Entry {
    subject: Vec<u8>,
    queue: Option<Vec<u8>>,
}

impl Entry {
    fn new(text: &str) -> Option<Self> {
        let mut words = text
            .split_ascii_whitespace()
            .map(|word| word.as_bytes().to_vec());
        // An entry of blanks names nothing; the configuration refuses it, and so do we.
        Some(Self {
            subject: words.next()?,
            queue: words.next(),
        })
    }
}

impl Rules {
    fn new(options: Option<&SubjectPermission>) -> Self {
        let Some(options) = options else {
            return Self::default();
        };
        let entries = |list: &[String]| list.iter().filter_map(|text| Entry::new(text)).collect();
        Self {
            allow: options.allow.as_deref().map(entries),
            deny: entries(&options.deny),
        }
    }
}

impl Permissions {
    /// Takes over what the configuration says.
    pub fn new(options: &PermissionsOptions) -> Self {
        let mut publish = Rules::new(options.publish.as_ref());
        if options.responses.is_some() && publish.allow.is_none() {
            // Who may answer may publish nothing else unless it is said (AUTH-14).
            publish.allow = Some(Vec::new());
        }
        let subscribe = Rules::new(options.subscribe.as_ref());
        Self {
            publish,
            subscribe,
            responses: options.responses,
        }
    }

    /// May it publish to this subject? (Answers it may give are not looked at here.)
    pub fn can_publish(&self, subject: &[u8]) -> bool {
        let matches = |entry: &Entry| pattern_matches(&entry.subject, subject);
        self.publish
            .allow
            .as_ref()
            .is_none_or(|allow| allow.iter().any(matches))
            && !self.publish.deny.iter().any(matches)
    }

    /// May it subscribe to this pattern, in this queue group (AUTH-12, AUTH-13)?
    pub fn can_subscribe(&self, pattern: &[u8], queue: Option<&[u8]>) -> bool {
        let allowed = match &self.subscribe.allow {
            None => true,
            Some(allow) => {
                let covers = |entry: &&Entry| pattern_subset(pattern, &entry.subject);
                match queue {
                    None => allow
                        .iter()
                        .filter(covers)
                        .any(|entry| entry.queue.is_none()),
                    Some(queue) => queue_allowed(allow.iter().filter(covers), queue),
                }
            }
        };
        allowed && !self.subscribe_denied(pattern, queue)
    }

    fn subscribe_denied(&self, pattern: &[u8], queue: Option<&[u8]>) -> bool {
        self.subscribe
            .deny
            .iter()
            .filter(|entry| pattern_subset(pattern, &entry.subject))
            .any(|entry| entry.denies(queue))
    }

    /// Must each message be asked about, because the pattern overlaps with what is denied?
    pub fn filters_deliveries_of(&self, pattern: &[u8], queue: Option<&[u8]>) -> bool {
        self.subscribe
            .deny
            .iter()
            .any(|entry| entry.denies(queue) && patterns_overlap(pattern, &entry.subject))
            && !is_literal(pattern)
    }

    /// May it be sent a message on this subject? Asked at delivery, for plain and queue
    /// subscriptions alike.
    pub fn can_deliver(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        !self
            .subscribe
            .deny
            .iter()
            .any(|entry| entry.denies(queue) && pattern_matches(&entry.subject, subject))
    }

    /// The answers it may give, if any.
    pub fn responses(&self) -> Option<ResponsePermission> {
        self.responses
    }

    /// As shown to the user itself (MON-56).
    pub fn describe(&self) -> serde_json::Value {
        let mut shown = json!({});
        for (key, rules) in [("publish", &self.publish), ("subscribe", &self.subscribe)] {
            let mut sides = serde_json::Map::new();
            let allow = rules.allow.as_deref().unwrap_or_default();
            for (side, entries) in [("allow", allow), ("deny", &rules.deny)] {
                if !entries.is_empty() {
                    let texts = entries.iter().map(Entry::text).collect::<Vec<_>>();
                    sides.insert(side.into(), texts.into());
                }
            }
            if !sides.is_empty() {
                shown[key] = sides.into();
            }
        }
        if let Some(responses) = self.responses {
            let ttl = responses.expires.map_or(0, |ttl| ttl.as_nanos() as u64);
            shown["responses"] = json!({ "max": responses.max_msgs, "ttl": ttl });
        }
        shown
    }
}

impl Entry {
    /// Does this deny entry concern a subscription in that queue group? One without a queue
    /// concerns all; one with a queue only groups that match it.
    fn denies(&self, queue: Option<&[u8]>) -> bool {
        match (&self.queue, queue) {
            (None, _) => true,
            (Some(pattern), Some(queue)) => pattern_matches(pattern, queue),
            (Some(_), None) => false,
        }
    }

    fn text(&self) -> String {
        let subject = String::from_utf8_lossy(&self.subject);
        match &self.queue {
            Some(queue) => format!("{subject} {}", String::from_utf8_lossy(queue)),
            None => subject.into_owned(),
        }
    }
}

/// A queue group is allowed if an entry names it, or if entries name none at all.
fn queue_allowed<'a>(entries: impl Iterator<Item = &'a Entry>, queue: &[u8]) -> bool {
    let (mut plain, mut named) = (false, false);
    for entry in entries {
        match &entry.queue {
            Some(pattern) if pattern_matches(pattern, queue) => return true,
            Some(_) => named = true,
            None => plain = true,
        }
    }
    plain && !named
}

//! What a user may publish and subscribe to.
//!
//! Entries were checked when the configuration was read. Should one arrive here that is none, it
//! allows nothing, and denies the whole of its subject.

use serde_json::json;

use super::pattern_set::PatternSet;
use crate::options::{PermissionsOptions, ResponsePermission, SubjectPermission};
use crate::routing::subject::{is_literal, is_valid_pattern, pattern_subset, patterns_overlap};
use std::time::Duration;

/// Answers per request where none are named (AUTH-14).
const RESPONSES_DEFAULT: i64 = 1;
/// Time for answers where none is named.
const RESPONSES_EXPIRE_DEFAULT: Duration = Duration::from_secs(120);

/// A user's permissions, ready to be asked. Read only, shared by all of the user's connections.
#[derive(Debug)]
pub struct Permissions {
    publish: Rules,
    subscribe: Rules,
    responses: Option<ResponsePermission>,
}

/// What is said of one direction.
#[derive(Debug)]
struct Rules {
    /// `None` is everything.
    allow: Option<Entries>,
    /// Wins over `allow`.
    deny: Entries,
}

/// One list, as written and as searched.
#[derive(Debug, Default)]
struct Entries {
    list: Vec<Entry>,
    /// By subject; numbers are places in `list`.
    index: PatternSet,
}

/// One entry: a subject, and for subscriptions perhaps a queue group (AUTH-13).
#[derive(Debug)]
struct Entry {
    subject: Vec<u8>,
    queue: Option<Vec<u8>>,
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Allow,
    Deny,
}

impl Permissions {
    /// Takes over what the configuration says.
    ///
    /// An empty allow list of `subscribe` is none, one of `publish` allows nothing: what the
    /// configuration makes of `[]` is decided where it is read.
    pub fn new(options: &PermissionsOptions) -> Self {
        let responses = options.responses.map(|it| ResponsePermission {
            max_msgs: match it.max_msgs {
                0 => RESPONSES_DEFAULT,
                given => given,
            },
            expires: match it.expires {
                Some(Duration::ZERO) => Some(RESPONSES_EXPIRE_DEFAULT),
                given => given,
            },
        });
        let mut publish = Rules::new(options.publish.as_ref(), Entry::of_publish);
        if responses.is_some() {
            // Who may answer may publish nothing else unless it is said (AUTH-14).
            publish.allow.get_or_insert_with(Entries::default);
        }
        let mut subscribe = Rules::new(options.subscribe.as_ref(), Entry::of_subscribe);
        if let Some(lists) = &options.subscribe
            && lists.allow.as_ref().is_some_and(Vec::is_empty)
        {
            subscribe.allow = None;
        }
        Self {
            publish,
            subscribe,
            responses,
        }
    }

    /// May it publish to this subject? (Answers it may give are not looked at here.)
    pub fn can_publish(&self, subject: &[u8]) -> bool {
        let listed = |entries: &Entries| entries.index.find(subject, |_| true);
        self.publish.allow.as_ref().is_none_or(listed) && !listed(&self.publish.deny)
    }

    /// May it subscribe to this pattern, in this queue group (AUTH-12, AUTH-13)?
    ///
    /// Stock looks the pattern up as if it were a subject, so an entry's `*` stands for a last
    /// `>` too: who may have `a.*` may subscribe to `a.>`, and who is denied `a.*` may not. Here
    /// as there; but what an allow entry does not match is then not delivered
    /// ([`can_deliver`](Self::can_deliver)), where stock delivers it.
    pub fn can_subscribe(&self, pattern: &[u8], queue: Option<&[u8]>) -> bool {
        let allow = &self.subscribe.allow;
        allow.as_ref().is_none_or(|it| it.allow(pattern, queue))
            && !self.subscribe.deny.concern(pattern, queue)
    }

    /// Must each message for this subscription be asked about with
    /// [`can_deliver`](Self::can_deliver)? Where the pattern overlaps with what is denied, or is
    /// wider than what is allowed.
    ///
    /// Looks at every entry: to be asked once for a subscription.
    pub fn filters_deliveries_of(&self, pattern: &[u8], queue: Option<&[u8]>) -> bool {
        let overlaps = |it: &Entry| it.concerns(queue) && patterns_overlap(pattern, &it.subject);
        let covers = |it: &Entry| it.concerns(queue) && pattern_subset(pattern, &it.subject);
        let Rules { allow, deny } = &self.subscribe;
        !is_literal(pattern)
            && (deny.list.iter().any(overlaps)
                || allow.as_ref().is_some_and(|it| !it.list.iter().any(covers)))
    }

    /// May it be sent a message on this subject? Asked at delivery, for plain and queue
    /// subscriptions alike (T10, T32, T33).
    pub fn can_deliver(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        let Rules { allow, deny } = &self.subscribe;
        !deny.concern(subject, queue) && allow.as_ref().is_none_or(|it| it.concern(subject, queue))
    }

    /// Is whoever has this user at the other end of a link to be told of a pattern wanted here, so
    /// that it publishes there? A pattern wider than what is allowed is told: what comes is judged
    /// by itself (TOPO-20, TOPO-35).
    pub fn may_bring(&self, pattern: &[u8]) -> bool {
        self.publish.open_to(pattern)
    }

    /// The same where the lists for subscriptions decide what comes from the other end.
    pub fn may_want(&self, pattern: &[u8]) -> bool {
        self.subscribe.open_to(pattern)
    }

    /// The answers it may give, if any.
    pub fn responses(&self) -> Option<ResponsePermission> {
        self.responses
    }

    /// What may be published, and subscribed to: allowed, `None` for everything, and denied. As a
    /// server at the other end of a link is told (TOPO-11).
    pub fn lists(&self) -> [(Option<Vec<String>>, Vec<String>); 2] {
        [&self.publish, &self.subscribe].map(|rules| {
            let texts = |entries: &Entries| entries.list.iter().map(Entry::text).collect();
            (rules.allow.as_ref().map(texts), texts(&rules.deny))
        })
    }

    /// As shown to the user itself (MON-56).
    pub fn describe(&self) -> serde_json::Value {
        let mut shown = json!({
            "publish": self.publish.describe(),
            "subscribe": self.subscribe.describe(),
        });
        if let Some(responses) = self.responses {
            let ttl = responses.expires.map_or(0, |ttl| ttl.as_nanos() as u64);
            shown["responses"] = json!({ "max": responses.max_msgs, "ttl": ttl });
        }
        shown
    }
}

impl Rules {
    /// May anything that a pattern stands for pass?
    fn open_to(&self, pattern: &[u8]) -> bool {
        let listed = |entries: &Entries| entries.concern(pattern, None);
        let wider = |entries: &Entries| {
            let mut list = entries.list.iter();
            !is_literal(pattern) && list.any(|it| patterns_overlap(pattern, &it.subject))
        };
        let allow = &self.allow;
        allow.as_ref().is_none_or(|it| listed(it) || wider(it)) && !listed(&self.deny)
    }

    fn new(options: Option<&SubjectPermission>, entry: fn(&str, Side) -> Option<Entry>) -> Self {
        let (allow, deny) = match options {
            Some(SubjectPermission { allow, deny }) => (allow.as_deref(), deny.as_slice()),
            None => (None, [].as_slice()),
        };
        let entries = |list: &[String], side| {
            Entries::new(list.iter().filter_map(|text| entry(text, side)).collect())
        };
        Self {
            allow: allow.map(|list| entries(list, Side::Allow)),
            deny: entries(deny, Side::Deny),
        }
    }

    fn describe(&self) -> serde_json::Value {
        let mut sides = serde_json::Map::new();
        for (side, entries) in [("allow", self.allow.as_ref()), ("deny", Some(&self.deny))] {
            let list = entries.map_or(&[][..], |it| &it.list);
            if !list.is_empty() {
                let texts = list.iter().map(Entry::text).collect::<Vec<_>>();
                sides.insert(side.into(), texts.into());
            }
        }
        sides.into()
    }
}

impl Entries {
    fn new(list: Vec<Entry>) -> Self {
        let mut index = PatternSet::default();
        for (number, entry) in (0..).zip(&list) {
            index.insert(&entry.subject, number);
        }
        Self { list, index }
    }

    /// Does an entry match the subject that concerns this queue group?
    fn concern(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        self.index
            .find(subject, |number| self.list[number as usize].concerns(queue))
    }

    /// As an allow list, of a subscription: of the entries that match, those with a queue group
    /// decide about a subscription in one, if there are any (AUTH-13).
    fn allow(&self, pattern: &[u8], queue: Option<&[u8]>) -> bool {
        let (mut plain, mut named) = (false, false);
        let granted = self.index.find(pattern, |number| {
            let entry = &self.list[number as usize];
            match (&entry.queue, queue) {
                (None, _) => plain = true,
                (Some(_), Some(_)) => named = true,
                (Some(_), None) => {}
            }
            entry.queue.is_some() && entry.concerns(queue)
        });
        granted || plain && !named
    }
}

impl Entry {
    fn of_publish(text: &str, side: Side) -> Option<Self> {
        let entry = Self::of_subscribe(text, side)?;
        match (entry.queue, side) {
            (Some(_), Side::Allow) => None,
            _ => Some(Self {
                subject: entry.subject,
                queue: None,
            }),
        }
    }

    fn of_subscribe(text: &str, side: Side) -> Option<Self> {
        let mut words = text.split_ascii_whitespace().map(str::as_bytes);
        let subject = words.next().filter(|it| is_valid_pattern(it))?;
        let queue = words.next();
        let whole = words.next().is_none() && queue.is_none_or(is_valid_pattern);
        if !whole && side == Side::Allow {
            return None;
        }
        Some(Self {
            subject: subject.to_vec(),
            queue: queue.filter(|_| whole).map(<[u8]>::to_vec),
        })
    }

    /// Is a subscription in that queue group spoken of? By an entry without one always; by one
    /// with one only if the group matches it.
    fn concerns(&self, queue: Option<&[u8]>) -> bool {
        match (&self.queue, queue) {
            (None, _) => true,
            (Some(_), None) => false,
            // Groups may be named with wildcard characters: first the name as it is.
            (Some(pattern), Some(queue)) => {
                pattern == queue || (!is_literal(pattern) && pattern_subset(queue, pattern))
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::naive::{self, Dice, QUEUES, matches, seeds, subjects};

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&it| it.to_owned()).collect()
    }

    fn both(allow: Option<&[&str]>, deny: &[&str]) -> Permissions {
        let lists = Some(SubjectPermission {
            allow: allow.map(list),
            deny: list(deny),
        });
        Permissions::new(&PermissionsOptions {
            publish: lists.clone(),
            subscribe: lists,
            responses: None,
        })
    }

    /// `subscription` is "pattern" or "pattern queue".
    #[track_caller]
    fn check(permissions: &Permissions, subscription: &str, expected: bool) {
        let (pattern, queue) = match subscription.split_once(' ') {
            Some((pattern, queue)) => (pattern, Some(queue.as_bytes())),
            None => (subscription, None),
        };
        let got = permissions.can_subscribe(pattern.as_bytes(), queue);
        assert_eq!(got, expected, "{subscription}");
    }

    /// Each line as 2.15.1 answered it.
    #[test]
    fn subscriptions_as_stock_allows_them() {
        let cases: &[(&[&str], &[&str], &[&str])] = &[
            // allow, accepted, refused
            (
                &["foo.*"],
                &["foo.>", "foo.*", "foo.a"],
                &[">", "*.a", "foo.a.b", "foo"],
            ),
            (&["foo.*.x"], &["foo.*.x"], &["foo.>"]),
            (&["foo"], &["foo", "foo v1", "foo v2"], &["bar"]),
            (&["foo v1"], &["foo v1"], &["foo", "foo v2"]),
            (&["foo", "foo v1"], &["foo", "foo v1"], &["foo v2"]),
            (
                &["foo.>", "foo.a v1"],
                &["foo.b v2", "foo.* v2", "foo.* v1", "foo.a v1", "foo.a"],
                &["foo.a v2"],
            ),
            (
                &["foo *"],
                &["foo *", "foo a"],
                &["foo", "foo >", "foo a.b"],
            ),
            (&["foo a.*"], &["foo a.*", "foo a.b"], &["foo a.>", "foo b"]),
            (&["foo >"], &["foo >", "foo a.b", "foo *"], &["foo"]),
            (&[], &["foo", ">", "foo q"], &[]),
        ];
        for (allow, accepted, refused) in cases {
            let permissions = both(Some(allow), &[]);
            accepted.iter().for_each(|it| check(&permissions, it, true));
            refused.iter().for_each(|it| check(&permissions, it, false));
        }
    }

    #[test]
    fn subscriptions_as_stock_denies_them() {
        let cases: &[(&[&str], &[&str], &[&str])] = &[
            // deny, accepted, refused
            (
                &["foo.*"],
                &[">", "*.a", "foo.a.b", "foo"],
                &["foo.>", "foo.*", "foo.a", "foo.a q"],
            ),
            (&["*"], &["a.b"], &[">", "*", "a"]),
            (&["foo q1"], &["foo", "foo q2", "> q1", "* q1"], &["foo q1"]),
            (
                &["foo.* v.>"],
                &["foo.a", "foo.a v"],
                &["foo.a v.1", "foo.* v.>", "foo.> v.1"],
            ),
            (&["foo", "foo q1"], &[], &["foo", "foo q1", "foo q2"]),
            (&["foo q1", "foo"], &[], &["foo", "foo q1", "foo q2"]),
        ];
        for (deny, accepted, refused) in cases {
            let permissions = both(None, deny);
            accepted.iter().for_each(|it| check(&permissions, it, true));
            refused.iter().for_each(|it| check(&permissions, it, false));
        }
    }

    #[test]
    fn publishes_as_stock_allows_them() {
        let permissions = both(Some(&["foo.*", "a.>", "x"]), &["a.no.>", "foo.no"]);
        for allowed in ["foo.a", "foo.*", "foo.>", "a.b.c", "x", "a.no"] {
            assert!(permissions.can_publish(allowed.as_bytes()), "{allowed}");
        }
        for refused in [
            "foo", "foo.a.b", "foo.no", "a.no.x", "y", "", "foo.", "foo..b",
        ] {
            assert!(!permissions.can_publish(refused.as_bytes()), "{refused}");
        }
        // A subject with an empty token is matched by nothing, so not denied; nobody gets it.
        let deny_all = both(None, &[">"]);
        assert!(!deny_all.can_publish(b"x") && deny_all.can_publish(b"a..b"));
        assert!(
            !both(Some(&[]), &[]).can_publish(b"x"),
            "nothing is allowed"
        );
    }

    /// The one that counts: what reaches a subscription is what is allowed without what is denied,
    /// whatever the lists, the pattern and the queue group (T10, T32, T33).
    #[test]
    fn delivers_what_is_allowed_without_what_is_denied() {
        let subjects = subjects();
        let (mut accepted, mut filtered) = (0, 0);
        for seed in seeds() {
            let mut dice = Dice::new(seed);
            let lists = dice.subscribe();
            let permissions = Permissions::new(&PermissionsOptions {
                subscribe: Some(lists.clone()),
                ..PermissionsOptions::default()
            });
            for _ in 0..8 {
                let pattern = dice.pattern();
                for &queue in QUEUES {
                    let shown = format!("seed {seed}: {pattern} {queue:?} with {lists:?}");
                    let group = queue.map(str::as_bytes);
                    let may = permissions.can_subscribe(pattern.as_bytes(), group);
                    assert_eq!(
                        may,
                        naive::can_subscribe(&lists, &pattern, queue),
                        "{shown}"
                    );
                    if !may {
                        continue;
                    }
                    accepted += 1;
                    let filter = permissions.filters_deliveries_of(pattern.as_bytes(), group);
                    filtered += usize::from(filter);
                    for subject in subjects.iter().filter(|it| matches(&pattern, it)) {
                        let delivered =
                            !filter || permissions.can_deliver(subject.as_bytes(), group);
                        let expected = naive::may_receive(&lists, subject, queue);
                        assert_eq!(delivered, expected, "{subject} {shown}");
                    }
                }
            }
        }
        // The dice must not hide the interesting half.
        assert!(accepted > 1_000 || seeds().count() == 1, "{accepted}");
        assert!(filtered > 300 || seeds().count() == 1, "{filtered}");
    }

    #[test]
    fn literal_and_covered_subscriptions_are_not_filtered() {
        let permissions = both(Some(&["a.>", "b.* q"]), &["a.no.>", "a.no q2"]);
        let filters = |pattern: &str, queue: Option<&str>| {
            permissions.filters_deliveries_of(pattern.as_bytes(), queue.map(str::as_bytes))
        };
        assert!(!filters("a.no", None) && !filters("a.yes.>", None));
        assert!(filters("a.>", None) && filters("a.*.x", None));
        assert!(filters("a.*", Some("q2")) && !filters("a.*", Some("q3")) && !filters("a.*", None));
        assert!(filters("b.>", Some("q")) && !filters("b.*", Some("q")));
    }

    #[test]
    fn who_may_answer_may_publish_nothing_else() {
        let answers = |max_msgs, expires| {
            Permissions::new(&PermissionsOptions {
                responses: Some(ResponsePermission { max_msgs, expires }),
                ..PermissionsOptions::default()
            })
        };
        let permissions = answers(0, Some(Duration::ZERO));
        assert!(!permissions.can_publish(b"a"));
        let granted = permissions.responses().expect("given");
        assert_eq!(granted.max_msgs, 1);
        assert_eq!(granted.expires, Some(Duration::from_secs(120)));
        let granted = answers(-1, None).responses().expect("given");
        assert_eq!((granted.max_msgs, granted.expires), (-1, None));
    }

    #[test]
    fn entries_that_are_none_allow_nothing_and_deny_their_subject() {
        for text in [
            "", " ", "\t\n", "a..b", ".a", "a.", ">.a", " .", "a b c", "a b..c",
        ] {
            let allow = both(Some(&[text]), &[]);
            check(&allow, "a", false);
            check(&allow, "a b", false);
            assert!(!allow.can_publish(b"a"), "{text}");
            let deny = both(None, &[text]);
            let denies = text.starts_with("a ");
            check(&deny, "a", !denies);
            assert_eq!(deny.can_publish(b"a"), !denies, "{text}");
        }
        // A queue group means nothing to a publisher.
        assert!(!both(Some(&["a q"]), &[]).can_publish(b"a"));
        assert!(!both(None, &["a q"]).can_publish(b"a"));
    }

    #[test]
    fn shows_itself_as_stock_does() {
        let permissions = Permissions::new(&PermissionsOptions {
            publish: Some(SubjectPermission {
                allow: None,
                deny: list(&["x", "y"]),
            }),
            ..PermissionsOptions::default()
        });
        assert_eq!(
            permissions.describe(),
            json!({ "publish": { "deny": ["x", "y"] }, "subscribe": {} })
        );
        let permissions = Permissions::new(&PermissionsOptions {
            subscribe: Some(SubjectPermission {
                allow: Some(list(&["foo", "foo v1"])),
                deny: Vec::new(),
            }),
            responses: Some(ResponsePermission {
                max_msgs: 1,
                expires: Some(Duration::from_secs(120)),
            }),
            ..PermissionsOptions::default()
        });
        assert_eq!(
            permissions.describe(),
            json!({
                "publish": {},
                "subscribe": { "allow": ["foo", "foo v1"] },
                "responses": { "max": 1, "ttl": 120_000_000_000_u64 },
            })
        );
    }
}

//! What look-ups cost: what stays cached, what is bounded, what is reused.

use super::*;
use crate::routing::match_cache::Bounds;

fn member(number: u32) -> Member {
    Member {
        subscription: SubscriptionId(number),
        connection: number,
    }
}

/// Looks a subject up and says whether it was in the cache.
fn hit(interest: &mut Interest, subject: &str) -> bool {
    let before = interest.stats.cache_hits;
    interest.lookup(subject.as_bytes());
    interest.stats.cache_hits > before
}

#[test]
fn changes_leave_other_subjects_cached() {
    let mut interest = Interest::new();
    interest.insert_local(b"orders.>", None, member(0));
    interest.lookup(b"orders.new");
    // More than are remembered, but each is compared before it is forgotten.
    for number in 1..500 {
        interest.insert_local(b"replies.*", None, member(number));
        interest.insert_local(b"orders.old", Some(b"q"), member(500 + number));
        assert!(hit(&mut interest, "orders.new"), "{number}");
    }
    interest.set_remote(ShardId(5), b"orders.*", None, 1);
    assert!(!hit(&mut interest, "orders.new"));
    assert!(hit(&mut interest, "orders.new"));
    interest.set_remote(ShardId(5), b"orders.*", None, 1);
    assert!(hit(&mut interest, "orders.new"), "nothing new was said");
    interest.insert_local(b"orders.new", None, member(1000));
    assert!(!hit(&mut interest, "orders.new"));
    assert_eq!(interest.lookup(b"orders.new").plain.len(), 2);
}

#[test]
fn an_entry_that_missed_too_many_changes_is_made_anew() {
    let mut interest = Interest::new();
    interest.insert_local(b"a.*", None, member(0));
    interest.lookup(b"a.b");
    interest.insert_local(b"*.b", None, member(1));
    for number in 2..100 {
        interest.insert_local(b"c.*", None, member(number));
    }
    assert_eq!(interest.lookup(b"a.b").plain.len(), 2);
}

#[test]
fn subjects_seen_once_pass_by_and_the_table_stays_small() {
    let mut interest = Interest::new();
    interest.insert_local(b">", None, member(0));
    for number in 0..8192 {
        interest.lookup(format!("first.{number}").as_bytes());
    }
    let filled = interest.stats().cache_entries;
    let hot = |number: usize| format!("hot.{}", number % 8);
    for number in 0..8 * 100 {
        interest.lookup(hot(number).as_bytes());
    }
    for number in 0..20_000 {
        assert!(hit(&mut interest, &hot(number)), "{number}");
        assert!(!hit(&mut interest, &format!("once.{number}")));
    }
    assert!(interest.stats().cache_entries <= filled.max(4096));
    interest.check_invariants();
}

#[test]
fn subjects_that_come_back_make_the_table_grow() {
    let mut interest = Interest::new();
    interest.insert_local(b">", None, member(0));
    // A step that visits all in an order without short cycles.
    let subject = |step: usize| format!("back.{}", step * step % 16_411);
    for step in 0..600_000 {
        interest.lookup(subject(step).as_bytes());
    }
    assert!(interest.stats().cache_entries > 8000);
    let before = interest.stats();
    for step in 0..16_000 {
        interest.lookup(subject(step).as_bytes());
    }
    let hits = interest.stats().cache_hits - before.cache_hits;
    assert!(hits > 14_000, "{hits}");
}

#[test]
fn lists_held_are_bounded() {
    let held_max = 100_000;
    let mut interest = Interest::with_bounds(Bounds {
        sets_eager: 1024,
        sets_max: 1024,
        held_max,
    });
    for number in 0..100 {
        interest.insert_local(b"fan.*", None, member(number));
    }
    for round in 0..3 {
        for number in 0..1000 {
            let subject = format!("fan.{number}");
            assert_eq!(interest.lookup(subject.as_bytes()).plain.len(), 100);
        }
        interest.check_invariants();
        let stats = interest.stats();
        let held = stats.total_fanout as usize * size_of::<Member>();
        assert!(held <= held_max && held > held_max / 2, "{round} {held}");
    }
    // What is hot then finds room among what is not.
    for _ in 0..500 {
        interest.lookup(b"fan.hot");
    }
    assert!(hit(&mut interest, "fan.hot"));
}

#[test]
fn a_miss_reuses_the_buffers_of_what_it_replaces() {
    let mut interest = Interest::with_bounds(Bounds {
        sets_eager: 1,
        sets_max: 1,
        held_max: 1 << 20,
    });
    interest.insert_local(b"a.>", None, member(0));
    interest.insert_local(b"a.*", Some(b"workers"), member(1));
    let mut lists = std::collections::BTreeSet::new();
    for number in 0..1000 {
        let subject = format!("a.{}", number % 7);
        let list = interest.lookup(subject.as_bytes());
        assert_eq!((list.plain.len(), list.queues.len()), (1, 1));
        lists.insert((list.plain.as_ptr(), list.queues.as_ptr()));
    }
    assert_eq!(
        lists.len(),
        5,
        "four places, and the list of those that pass"
    );
}

/// One client can put a queue name of its own on each of its subscriptions.
#[test]
fn many_queue_names_cost_no_more_than_their_number() {
    const NAMES: u32 = 20_000;
    let mut interest = Interest::new();
    let name = |number: u32| number.to_string().into_bytes();
    for number in 0..NAMES {
        interest.insert_local(b"a.b", Some(&name(number)), member(2 * number));
        interest.insert_local(b"a.*", Some(&name(number)), member(2 * number + 1));
    }
    let list = interest.lookup(b"a.b");
    assert_eq!(list.queues.len() as u32, NAMES);
    assert!(list.queues.iter().all(|queue| queue.total_weight == 2));
    for number in 0..NAMES {
        interest.remove_local(b"a.b", Some(&name(number)), member(2 * number));
        interest.remove_local(b"a.*", Some(&name(number)), member(2 * number + 1));
    }
    interest.check_invariants();
    assert_eq!(interest.lookup(b"a.b").fanout(), 0);
}

#[test]
fn subjects_and_patterns_of_a_hundred_thousand_tokens() {
    let long = vec!["a"; 100_000].join(".");
    let mut interest = Interest::new();
    interest.insert_local(long.as_bytes(), None, member(0));
    interest.insert_local(b"a.>", None, member(1));
    interest.insert_local(b"*.*", None, member(2));
    assert_eq!(interest.lookup(long.as_bytes()).plain.len(), 2);
    let hole = format!("{long}..a");
    assert_eq!(interest.lookup(hole.as_bytes()).plain.len(), 0);
    let mut seen = 0;
    interest.each_local(|pattern, _, member| {
        seen += 1;
        assert!(member.subscription.0 > 0 || pattern == long.as_bytes());
    });
    assert_eq!(seen, 3);
    interest.remove_local(long.as_bytes(), None, member(0));
    interest.check_invariants();
}

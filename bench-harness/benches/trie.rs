//! Subjects against the trie of patterns, without the cache before it; and what a subscription
//! that comes and goes costs.

#![allow(missing_docs)] // criterion's macros make public functions without any

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ramjet::ids::SubscriptionId;
use ramjet::routing::interest::Member;
use ramjet::routing::trie::Trie;

const MEMBER: Member = Member {
    connection: 1,
    subscription: SubscriptionId(1),
};

/// `count` literal patterns of three tokens, and one with each wildcard.
fn trie_of(count: usize) -> Trie {
    let mut trie = Trie::default();
    let mut insert = |pattern: &str| {
        let node = trie.insert(pattern.as_bytes());
        trie.entry(node).plain.push(MEMBER);
    };
    for number in 0..count {
        insert(&subject(number));
    }
    insert("orders.*.created");
    insert("orders.>");
    trie
}

fn subject(number: usize) -> String {
    format!("orders.{number}.created")
}

fn trie(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("trie");
    for count in [10, 1_000, 100_000] {
        let mut trie = trie_of(count);
        let hit = subject(count / 2);
        assert_eq!(trie.matches(hit.as_bytes()).count(), 3);
        group.bench_function(format!("match_of_{count}"), |bencher| {
            bencher.iter(|| trie.matches(black_box(hit.as_bytes())).count());
        });
        assert_eq!(trie.matches(b"payments.7.created").count(), 0);
        group.bench_function(format!("miss_of_{count}"), |bencher| {
            bencher.iter(|| trie.matches(black_box(b"payments.7.created")).count());
        });
        group.bench_function(format!("insert_and_prune_in_{count}"), |bencher| {
            bencher.iter(|| {
                let node = trie.insert(black_box(b"orders.new.shipped"));
                trie.entry(node).plain.push(MEMBER);
                trie.entry(node).plain.clear();
                trie.prune(node);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, trie);
criterion_main!(benches);

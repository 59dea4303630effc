//! A subject's receivers as a publish asks for them: from the cache, past it, and beside
//! subscriptions that come and go.

#![allow(missing_docs)] // criterion's macros make public functions without any

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ramjet::ids::SubscriptionId;
use ramjet::routing::interest::{Interest, Member};

const fn member(number: u32) -> Member {
    Member {
        connection: number,
        subscription: SubscriptionId(number),
    }
}

fn interest() -> Interest {
    let mut interest = Interest::new();
    interest.insert_local(b"orders.*", None, member(0));
    interest.insert_local(b"orders.>", Some(b"workers"), member(1));
    interest
}

fn subjects(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("orders.{number}"))
        .collect()
}

fn match_cache(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("match_cache");
    // One subject; some that fit the caches of the CPU; more than the cache keeps.
    for count in [1, 1_000, 1_000_000] {
        let mut interest = interest();
        let subjects = subjects(count);
        let mut at = 0;
        group.bench_function(format!("round_robin_over_{count}"), |bencher| {
            bencher.iter(|| {
                at = (at + 1) % count;
                interest.lookup(black_box(subjects[at].as_bytes())).fanout()
            });
        });
    }
    let mut interest = interest();
    group.bench_function("beside_another_subscription", |bencher| {
        bencher.iter(|| {
            interest.insert_local(b"inbox.7", None, member(2));
            interest.remove_local(b"inbox.7", None, member(2));
            interest.lookup(black_box(b"orders.7")).fanout()
        });
    });
    group.bench_function("beside_a_subscription_on_it", |bencher| {
        bencher.iter(|| {
            interest.insert_local(b"orders.7", None, member(2));
            interest.remove_local(b"orders.7", None, member(2));
            interest.lookup(black_box(b"orders.7")).fanout()
        });
    });
    group.finish();
}

criterion_group!(benches, match_cache);
criterion_main!(benches);

//! What a message costs on its way to another shard: into a batch, out of it, and the ring that
//! carries batches between two threads.

#![allow(missing_docs)] // criterion's macros make public functions without any

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ramjet::ids::Slot;
use ramjet::mesh::batch::{Batch, Body, Item, Names, RemoteMessage};
use ramjet::mesh::ring::ring;

/// Messages of one turn.
const MESSAGES: usize = 256;

/// The end of a delivery goes along with its body.
fn fill(batch: &mut Batch, body: &[u8]) {
    let tail = [b"128\r\n", body, b"\r\n"].concat();
    let message = RemoteMessage {
        source: Slot {
            index: 3,
            generation: 1,
        },
        account: ramjet::ids::AccountId::GLOBAL,
        crossed: false,
        home: None,
        claim: None,
        subject: b"orders.eu.created",
        reply: None,
        header_len: None,
        header_size_text: b"",
        size_text: b"128",
        body: Body::Inline(body),
        tail: &tail,
        plain: true,
        tried: 0,
        queues: Names::NONE,
    };
    for _ in 0..MESSAGES {
        batch.message(black_box(&message), std::iter::empty());
    }
}

fn bytes_of(batch: &Batch) -> usize {
    let messages = batch.items().map(|item| match item {
        Item::Message(message) => message.body.as_slice().len(),
        _ => 0,
    });
    messages.sum()
}

fn batches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mesh");
    let body = [b'x'; 128];
    group.throughput(Throughput::Elements(MESSAGES as u64));
    let mut batch = Batch::default();
    group.bench_function("write_batch_128", |bencher| {
        bencher.iter(|| {
            batch.clear();
            fill(&mut batch, &body);
        });
    });
    assert_eq!(bytes_of(&batch), MESSAGES * body.len());
    group.bench_function("read_batch_128", |bencher| {
        bencher.iter(|| bytes_of(black_box(&batch)));
    });
    group.throughput(Throughput::Elements(1));
    let (mut producer, mut consumer) = ring::<u64>(64);
    group.bench_function("ring_push_pop_one_thread", |bencher| {
        bencher.iter(|| {
            let pushed = producer.try_push(black_box(7));
            assert!(pushed.is_ok(), "it is empty");
            consumer.pop()
        });
    });
    group.finish();
}

/// There and back between two threads that both look all the time.
fn round_trip(criterion: &mut Criterion) {
    let over = AtomicBool::new(false);
    let (mut there, mut from_here) = ring::<u64>(64);
    let (mut back, mut from_there) = ring::<u64>(64);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                match from_here.pop() {
                    // One is on its way at a time, so there is room.
                    Some(item) => drop(back.try_push(item)),
                    None => spin_loop(),
                }
            }
        });
        criterion.bench_function("mesh/ring_round_trip_two_threads", |bencher| {
            bencher.iter(|| {
                let pushed = there.try_push(1);
                assert!(pushed.is_ok(), "one is on its way at a time");
                loop {
                    if let Some(item) = from_there.pop() {
                        return item;
                    }
                    spin_loop();
                }
            });
        });
        over.store(true, Ordering::Relaxed);
    });
}

criterion_group!(benches, batches, round_trip);
criterion_main!(benches);

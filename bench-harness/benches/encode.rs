//! Heads of delivered messages into the outbound queue: one receiver, and a fan-out that writes
//! the common part once.

#![allow(missing_docs)] // criterion's macros make public functions without any

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ramjet::protocol::encode;

const SUBJECT: &[u8] = b"orders.eu.created";
const REPLY: &[u8] = b"_INBOX.abcdefgh.12";
const RECEIVERS: u64 = 100;

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    let mut out = Vec::with_capacity(64 * 1024);
    let body = [b'x'; 128];
    group.bench_function("msg_128", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode::msg_head(&mut out, black_box(SUBJECT), b"7", None, b"128");
            out.extend_from_slice(&body);
            out.extend_from_slice(encode::CRLF);
            out.len()
        });
    });
    group.bench_function("msg_with_reply_128", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode::msg_head(&mut out, black_box(SUBJECT), b"7", Some(REPLY), b"128");
            out.extend_from_slice(&body);
            out.extend_from_slice(encode::CRLF);
            out.len()
        });
    });
    group.bench_function("hmsg_head", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode::hmsg_head(
                &mut out,
                black_box(SUBJECT),
                b"7",
                Some(REPLY),
                b"18",
                b"146",
            );
            out.len()
        });
    });
    group.throughput(Throughput::Elements(RECEIVERS));
    let (mut prefix, mut tail) = (Vec::new(), Vec::new());
    group.bench_function("fan_out_100_heads", |bencher| {
        bencher.iter(|| {
            prefix.clear();
            tail.clear();
            out.clear();
            encode::msg_prefix(&mut prefix, black_box(SUBJECT));
            encode::msg_tail(&mut tail, None, b"128");
            for _ in 0..RECEIVERS {
                out.extend_from_slice(&prefix);
                out.extend_from_slice(b"7");
                out.extend_from_slice(&tail);
            }
            out.len()
        });
    });
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);

//! Bytes to operations: a read full of publishes, and the verbs of a request-reply client.

#![allow(missing_docs)] // criterion's macros make public functions without any

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ramjet::protocol::parser::{Limits, Progress, next_op};

const LIMITS: Limits = Limits {
    max_control_line: 4096,
    max_payload: 1 << 20,
    headers: true,
};
/// Operations in one input: about one receive buffer of small publishes.
const OPERATIONS: usize = 256;

fn parse_all(mut input: &[u8]) -> usize {
    let mut operations = 0;
    while let Ok(Progress::Op { op, used }) = next_op(input, &LIMITS) {
        black_box(op);
        operations += 1;
        input = &input[used..];
    }
    operations
}

fn publish(size: usize) -> String {
    format!("PUB orders.eu.created {size}\r\n{}\r\n", "x".repeat(size))
}

fn parser(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parser");
    group.throughput(Throughput::Elements(OPERATIONS as u64));
    let header = "NATS/1.0\r\na: b\r\n\r\n";
    let total = header.len() + 128;
    let inputs = [
        ("pub_16", publish(16)),
        ("pub_128", publish(128)),
        ("pub_1024", publish(1024)),
        (
            "request_128",
            format!(
                "PUB service.eu _INBOX.abcdefgh.12 128\r\n{}\r\n",
                "x".repeat(128)
            ),
        ),
        (
            "hpub_128",
            format!(
                "HPUB orders.eu {} {total}\r\n{header}{}\r\n",
                header.len(),
                "x".repeat(128)
            ),
        ),
        ("sub", "SUB orders.*.created workers 17\r\n".to_owned()),
    ];
    for (name, one) in inputs {
        let input = one.repeat(OPERATIONS);
        assert_eq!(parse_all(input.as_bytes()), OPERATIONS);
        group.bench_function(name, |bencher| {
            bencher.iter(|| parse_all(black_box(input.as_bytes())));
        });
    }
    group.finish();
}

criterion_group!(benches, parser);
criterion_main!(benches);

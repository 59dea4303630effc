//! A file log read from its begin to its end: read ahead, by many at
//! once, and with a file that somebody cut off.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::simulated_disk::SimulatedDisk;
use super::*;
use crate::time::WallTime;

const MESSAGES: u64 = 200;

/// Content of a message: 64 KiB on average.
fn payload(seq: u64) -> Vec<u8> {
    let len = seq.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 47;
    (0..len).map(|it| ((it * seq) >> 3) as u8).collect()
}

fn filled(rng: &mut ChaCha8Rng) -> (SimulatedDisk, Settings) {
    let settings = Settings::new(7, None);
    let mut disk = SimulatedDisk::default();
    let (mut store, _) = Store::open(settings, &mut disk).expect("it opens");
    for seq in 1..=MESSAGES {
        let message = Append {
            subject: b"a",
            payload: &payload(seq),
            time: WallTime(seq),
            ..Append::default()
        };
        assert_eq!(store.append(message), Ok(seq));
        disk.settle(&mut store, rng);
    }
    (disk, settings)
}

/// What there is of the messages in order.
fn read(store: &mut Store, disk: &mut SimulatedDisk, rng: &mut ChaCha8Rng) -> Vec<Option<Vec<u8>>> {
    let mut all = Vec::new();
    while all.len() < MESSAGES as usize {
        match store.fetch(all.len() as u64 + 1) {
            Fetch::Message(found) => all.push(Some(found.payload.to_vec())),
            Fetch::Reading => {
                assert!(disk.pump(store, rng, 0), "something is read");
                let most = rng.next_u64() % 3;
                disk.pump(store, rng, most);
            }
            Fetch::Absent | Fetch::Damaged => all.push(None),
        }
    }
    all
}

#[test]
fn who_reads_everything_has_it_read_ahead() {
    for seed in 0..5 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut disk, settings) = filled(&mut rng);
        let (mut store, _) = Store::open(settings, &mut disk).expect("it opens");
        disk.settle(&mut store, &mut rng);
        let before = disk.operations;
        let all = read(&mut store, &mut disk, &mut rng);
        for (found, seq) in all.iter().zip(1..) {
            assert!(found.as_deref() == Some(&payload(seq)), "{seed}: {seq}");
        }
        let reads = disk.operations - before;
        assert!(reads < MESSAGES / 3, "{seed}: {reads} reads");
    }
}

#[test]
fn what_stands_before_a_cut_is_found() {
    for seed in 0..5 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut disk, settings) = filled(&mut rng);
        let (mut store, _) = Store::open(settings, &mut disk).expect("it opens");
        disk.settle(&mut store, &mut rng);
        let name = disk
            .names()
            .into_iter()
            .find(|&it| disk.len(it) > 10_000_000);
        let name = name.expect("a segment");
        let len = 1_000_000 + rng.next_u64() as usize % 8_000_000;
        disk.truncate(name, len);
        let all = read(&mut store, &mut disk, &mut rng);
        let mut end = 0;
        for (found, seq) in all.iter().zip(1..) {
            let payload = payload(seq);
            end += payload.len();
            // Beside contents there are heads, frames and pages' ends.
            match end {
                end if end + 5000 * seq as usize <= len => {
                    assert!(found.as_ref() == Some(&payload), "{seed}: {seq} is there");
                }
                end if end > len => assert_eq!(found, &None, "{seed}: {seq}"),
                _ => {}
            }
        }
    }
}

/// Readers of messages of all lengths, each on its own way, in a cache that is too small for them
/// and a log that grows meanwhile.
#[test]
fn many_readers_find_everything() {
    for seed in 0..20 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut settings = Settings::new(7, None);
        settings.cache_size = (64 * 1024) << (rng.next_u64() % 8);
        settings.policy.compressed = seed % 2 == 0;
        let mut disk = SimulatedDisk::default();
        let (mut store, _) = Store::open(settings, &mut disk).expect("it opens");
        let mut all: Vec<Vec<u8>> = Vec::new();
        let mut readers = [1; 3];
        for round in 0..4000 {
            if all.len() < 200 && (round < 50 || rng.next_u64().is_multiple_of(20)) {
                let most = 1_u64 << (rng.next_u64() % 21);
                let payload = vec![all.len() as u8; (rng.next_u64() % most) as usize];
                let message = Append {
                    subject: b"a",
                    payload: &payload,
                    time: WallTime(round),
                    ..Append::default()
                };
                store.append(message).expect("it is taken");
                all.push(payload);
                let most = rng.next_u64() % 6;
                disk.pump(&mut store, &mut rng, most);
            }
            let reader = &mut readers[(rng.next_u64() % 3) as usize];
            let seq = *reader;
            match store.fetch(seq) {
                Fetch::Message(found) => {
                    assert!(found.payload == all[seq as usize - 1], "{seed}: {seq}");
                    let last = all.len() as u64;
                    *reader = match rng.next_u64() % 20 {
                        0 => 1 + rng.next_u64() % last,
                        _ => 1 + seq % last,
                    };
                }
                Fetch::Reading => {
                    assert!(disk.pump(&mut store, &mut rng, 0), "{seed}: {seq} is read");
                }
                Fetch::Absent | Fetch::Damaged => panic!("{seed}: {seq} is lost"),
            }
        }
    }
}

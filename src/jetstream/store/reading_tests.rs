//! A file log read from its begin to its end: read ahead, and with a file that somebody cut off.

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

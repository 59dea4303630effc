//! Durable appends of 128 bytes into one stream's log, by how many are outstanding: each is
//! acknowledged by the flush that covers it, and the next one takes its place.
//!
//! `RAMJET_BENCH_DIR` names the disk; `cargo test` runs each case for a moment.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ramjet::ids::StoreId;
use ramjet::io::disk::Flushing;
use ramjet::io::ring::Ring;
use ramjet::io::wake::Waker;
use ramjet::io::{Driver, Event};
use ramjet::jetstream::store::{Append, Settings, Store};
use ramjet::time::WallTime;
use rustix::time::{ClockId, clock_gettime};

const STORE: StoreId = StoreId(0);

struct Measured {
    per_second: f64,
    cpu_per_million: f64,
    p50: Duration,
    p99: Duration,
}

fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn measure(folder: PathBuf, outstanding: u64, flushing: Flushing, time: Duration) -> Measured {
    let waker = Waker::new().expect("an eventfd");
    let mut ring = Ring::new(waker, Vec::new(), Instant::now()).expect("a ring");
    ring.set_flushing(flushing);
    std::fs::create_dir_all(&folder).expect("a directory");
    ring.mount(STORE, &folder).expect("it is there");
    let mut directory = ramjet::io::disk::StoreDirectory::at(&folder);
    let settings = Settings::new(1, None);
    let (mut store, _) = Store::open(settings, &mut directory).expect("it opens");
    let payload = [b'x'; 128];
    let (mut acknowledged, mut turns) = (0, Vec::new());
    let mut events = Vec::new();
    let start = Instant::now();
    let (mut measured_from, mut cpu_from, mut count_from) = (start, cpu(), 0);
    let warm = time / 5;
    let mut appended_at = std::collections::VecDeque::new();
    while start.elapsed() < time {
        if measured_from == start && start.elapsed() > warm {
            (measured_from, cpu_from, count_from) = (Instant::now(), cpu(), acknowledged);
            turns.clear();
        }
        let now = Instant::now();
        while store.last_seq() < acknowledged + outstanding {
            let message = Append {
                subject: b"orders.eu",
                payload: &payload,
                time: WallTime(1),
                ..Append::default()
            };
            store.append(message).expect("it is taken");
        }
        appended_at.push_back((store.last_seq(), now));
        while let Some(operation) = store.next_operation() {
            ring.disk(STORE, operation);
        }
        ring.turn(Some(Duration::from_secs(1)), &mut events);
        for event in events.drain(..) {
            if let Event::Disk { id, result, .. } = event {
                store.completed(id, result);
            }
        }
        acknowledged = store.durable();
        while let Some((seq, at)) = appended_at.front()
            && *seq <= acknowledged
        {
            turns.push(at.elapsed());
            appended_at.pop_front();
        }
    }
    assert_eq!(store.trouble(), None);
    let count = (acknowledged - count_from) as f64;
    turns.sort_unstable();
    let at = |part: f64| turns.get((turns.len() as f64 * part) as usize).copied();
    Measured {
        per_second: count / measured_from.elapsed().as_secs_f64(),
        cpu_per_million: (cpu() - cpu_from) / count * 1e6,
        p50: at(0.5).unwrap_or_default(),
        p99: at(0.99).unwrap_or_default(),
    }
}

fn main() {
    let measured = std::env::args().any(|it| it == "--bench");
    let time = Duration::from_millis(if measured { 2500 } else { 50 });
    let folder = match std::env::var_os("RAMJET_BENCH_DIR") {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let folder = folder.expect("a directory");
    let mut out = std::io::stdout();
    let title = "flushing outstanding acknowledged/s s/M p50us p99us";
    writeln!(out, "{title}").expect("output");
    for flushing in [Flushing::Linked, Flushing::WithWrite] {
        for outstanding in [1, 64, 512, 4096] {
            let path = folder.path().join(format!("{flushing:?}{outstanding}"));
            let it = measure(path.clone(), outstanding, flushing, time);
            let (rate, cpu) = (it.per_second, it.cpu_per_million);
            let (p50, p99) = (it.p50.as_micros(), it.p99.as_micros());
            writeln!(
                out,
                "{flushing:?} {outstanding} {rate:.0} {cpu:.2} {p50} {p99}"
            )
            .expect("output");
            std::fs::remove_dir_all(path).expect("it goes");
        }
    }
}

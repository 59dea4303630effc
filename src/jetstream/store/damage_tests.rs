//! What is said of damage, start after start.

use super::filelog_tests::World;
use super::*;

/// Wherever one bit has changed: what one start tells to be lost the next ones tell, too, whether power was cut, the
/// log went on or the store was closed between them.
#[test]
fn what_was_told_to_be_lost_is_told_by_every_start() {
    let mut told = 0;
    for at in 0..240 {
        let mut world = World::new(1 + at % 6);
        world.settings.segment_size = 16 * 1024;
        let (mut store, _) = world.open();
        for seq in 1..=60 {
            let message = Append {
                subject: b"a",
                payload: &[seq as u8; 500],
                ..Append::default()
            };
            assert_eq!(store.append(message), Ok(seq));
            if seq % 5 == 0 {
                world.settle(&mut store);
            }
        }
        let names = world.disk.names().into_iter();
        let segments: Vec<_> = names
            .filter(|it| matches!(it, FileName::Segment { .. }))
            .collect();
        let file = segments[at as usize % segments.len()];
        let room = world.disk.len(file) as u64 - 4096;
        let byte = 4096 + at * 1009 % room.min(16 * 1024);
        world.disk.rot(file, byte as usize, (at % 8) as u8);
        let mut gaps: Vec<Gap> = Vec::new();
        for start in 0..4 {
            world.settings.thorough = (at + start) % 2 == 0;
            let (mut opened, report) = world.open();
            let context = format!("{at}, start {start}: {report:?}");
            for gap in &gaps {
                let covers = |it: &Gap| it.first <= gap.first && gap.last <= it.last;
                assert!(report.gaps.iter().any(covers), "{context} {gap:?}");
            }
            // One that was not looked for is found by who asks for the message.
            for seq in 1..=opened.last_seq() {
                world.fetch_any(&mut opened, seq);
            }
            gaps = opened.gaps().to_vec();
            told += gaps.len();
            match start {
                0 => {
                    // What was found is noted without being asked for.
                    world.settle(&mut opened);
                    world.disk.cut(&mut world.model.rng);
                }
                1 => {
                    let message = Append::default();
                    assert!(opened.append(message).is_ok(), "{context}");
                    world.settle(&mut opened);
                }
                _ => {
                    opened.close();
                    world.settle(&mut opened);
                }
            }
        }
    }
    assert!(told > 100, "{told}");
}

#[test]
fn a_segment_that_is_gone_is_told() {
    let mut world = World::new(1);
    world.settings.segment_size = 16 * 1024;
    let (mut store, _) = world.open();
    for seq in 1..=400 {
        let message = Append {
            subject: b"a",
            payload: &[1; 200],
            ..Append::default()
        };
        assert_eq!(store.append(message), Ok(seq));
        if seq % 10 == 0 {
            world.settle(&mut store);
        }
    }
    world.settle(&mut store);
    world.disk.forget(FileName::Segment {
        number: 2,
        version: 0,
    });
    let (mut store, report) = world.open();
    assert_eq!(report.missing_segments, [2]);
    let [gap] = report.gaps[..] else {
        panic!("{report:?}");
    };
    assert!(gap.first > 10 && gap.last < 200, "{gap:?}");
    assert_eq!(store.state().messages, 400 - (gap.last - gap.first + 1));
    assert_eq!(store.fetch(gap.first), Fetch::Absent);
    assert!(store.contains(gap.first - 1) && store.contains(gap.last + 1));
}

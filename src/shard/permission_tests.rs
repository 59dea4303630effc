//! Random allow and deny lists over whole shards: what is delivered is what is allowed without what
//! is denied, to plain subscriptions and members of queue groups alike (T10, T32, T33).

use std::collections::BTreeSet;

use crate::auth::naive::{self, Dice, QUEUES, seeds, subjects};
use crate::options::{AuthOptions, Options, PermissionsOptions, UserOptions};
use crate::shard::world_tests::World;

/// A server with somebody whose lists are random, and somebody who may do everything.
fn options(subscribe: crate::options::SubjectPermission) -> Options {
    let limited = UserOptions {
        username: "limited".to_owned(),
        permissions: Some(PermissionsOptions {
            subscribe: Some(subscribe),
            ..PermissionsOptions::default()
        }),
        ..UserOptions::default()
    };
    let free = UserOptions {
        username: "free".to_owned(),
        ..UserOptions::default()
    };
    Options {
        auth: AuthOptions {
            users: vec![limited, free],
            ..AuthOptions::default()
        },
        ..Options::default()
    }
}

#[test]
fn what_is_delivered_is_what_is_allowed_without_what_is_denied() {
    let subjects = subjects();
    let mut counts = [0; 2];
    for seed in seeds() {
        let mut dice = Dice::new(seed);
        let lists = dice.subscribe();
        let shards = 1 + dice.below(3) as usize;
        let mut world = World::new(shards, options(lists.clone()));
        let subscriptions: Vec<(String, Option<&str>)> = (0..6)
            .map(|at| {
                let queue = QUEUES[dice.below(QUEUES.len() as u32) as usize];
                (dice.pattern(), queue.filter(|_| at > 1))
            })
            .collect();
        let mut says = String::new();
        for (sid, (pattern, queue)) in subscriptions.iter().enumerate() {
            let queue = queue.map(|it| format!("{it} ")).unwrap_or_default();
            says.push_str(&format!("SUB {pattern} {queue}{sid}\r\n"));
        }
        let home = dice.below(shards as u32) as usize;
        let limited = world.connect(home, "limited", &says);
        let from = dice.below(shards as u32) as usize;
        let publisher = world.connect(from, "free", "");
        (0..4).for_each(|_| world.turn());
        for subject in &subjects {
            world.output.clear();
            world.say(from, publisher, &format!("PUB {subject} 0\r\n\r\n"));
            let found = world.messages(home, limited);
            let mut plain = BTreeSet::new();
            let mut groups = BTreeSet::new();
            for (sid, (pattern, queue)) in subscriptions.iter().enumerate() {
                let there = naive::can_subscribe(&lists, pattern, *queue);
                if !there || !naive::matches(pattern, subject) {
                    continue;
                }
                let may = naive::may_receive(&lists, subject, *queue);
                counts[usize::from(may)] += 1;
                match queue {
                    _ if !may => {}
                    None => _ = plain.insert(sid.to_string()),
                    Some(queue) => _ = groups.insert(*queue),
                }
            }
            let whence = format!("RAMJET_SEED={seed} {subject}: {lists:?} {subscriptions:?}");
            let mut found_plain = BTreeSet::new();
            let mut found_groups = BTreeSet::new();
            for (as_subject, sid) in &found {
                assert_eq!(as_subject, subject, "{whence}");
                let at: usize = sid.parse().expect("a number");
                let (pattern, queue) = &subscriptions[at];
                assert!(naive::matches(pattern, subject), "{whence}");
                assert!(naive::may_receive(&lists, subject, *queue), "{whence}");
                match queue {
                    None => assert!(found_plain.insert(sid.clone()), "{whence}"),
                    Some(queue) => assert!(found_groups.insert(*queue), "{whence}"),
                }
            }
            assert_eq!(found_plain, plain, "{whence}");
            assert_eq!(found_groups, groups, "{whence}");
        }
    }
    assert!(counts.iter().all(|&it| it > 500), "{counts:?}: too few");
}

/// A message that one member of a group is denied goes to one that may have it, wherever that is.
#[test]
fn what_one_member_is_denied_goes_to_another() {
    let subjects = subjects();
    let mut denied = 0;
    for seed in seeds() {
        let mut dice = Dice::new(seed);
        let lists = dice.subscribe();
        let shards = 1 + dice.below(3) as usize;
        let mut world = World::new(shards, options(lists.clone()));
        let queue = dice.one_of(&["q", "v.a", "v.b"]);
        let pattern = dice.pattern();
        let says = format!("SUB {pattern} {queue} 1\r\n");
        let mut members = Vec::new();
        for user in ["limited", "limited", "free"] {
            let shard = dice.below(shards as u32) as usize;
            members.push((user, shard, world.connect(shard, user, &says)));
        }
        let from = dice.below(shards as u32) as usize;
        let publisher = world.connect(from, "free", "");
        (0..4).for_each(|_| world.turn());
        for subject in &subjects {
            world.output.clear();
            world.say(from, publisher, &format!("PUB {subject} 0\r\n\r\n"));
            let may = naive::can_subscribe(&lists, &pattern, Some(queue))
                && naive::may_receive(&lists, subject, Some(queue));
            let mut received = 0;
            for (user, shard, index) in &members {
                let found = world.messages(*shard, *index).len();
                let whence = format!("RAMJET_SEED={seed} {pattern} {queue} {subject}: {lists:?}");
                assert!(found == 0 || *user == "free" || may, "{whence}");
                received += found;
            }
            let expected = usize::from(naive::matches(&pattern, subject));
            assert_eq!(received, expected, "RAMJET_SEED={seed} {pattern} {subject}");
            denied += usize::from(expected == 1 && !may);
        }
    }
    assert!(denied > 500, "{denied}: too few to mean anything");
}

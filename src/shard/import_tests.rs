//! Random accounts that import from each other, on shards connected by hand: every message is
//! where the naive model says, and nowhere else.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::accounts::naive;
use crate::accounts::registry::Accounts;
use crate::options::{
    AccountOptions, AuthOptions, ExportOptions, ImportOptions, Options, ResponseType, Shared,
    UserOptions,
};
use crate::shard::world_tests::World;

const NAMES: [&str; 5] = ["A", "B", "C", "D", "E"];
const EXPORTED: [&str; 6] = ["s.>", "s.*.*", "s.x", "t.*", "t.x", "s.x.>"];
const IMPORTED: [(&str, &str); 9] = [
    ("s.>", ""),
    ("s.>", "l.>"),
    ("s.*.*", ""),
    ("s.*.*", "l.$2.$1"),
    ("s.x", "l.x"),
    ("t.*", "l.$1.y"),
    ("t.x", ""),
    ("s.x.>", "t.>"),
    ("s.x.y", "s.y.x"),
];
const PATTERNS: [&str; 9] = [
    ">", "s.>", "l.>", "*.x", "*.*.y", "l.x.*", "t.*", "s.*.y", "l.y.x",
];
const SUBJECTS: [&str; 9] = [
    "s.x", "s.x.y", "s.y.x", "s.y", "t.x", "t.y", "l.x", "l.x.y", "l.y.x",
];

struct Dice(ChaCha8Rng);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n as u64) as usize
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// Accounts with random exports and imports, of which those that stock would refuse are left out.
fn accounts(dice: &mut Dice) -> Vec<AccountOptions> {
    let mut all: Vec<AccountOptions> = NAMES
        .iter()
        .map(|name| AccountOptions {
            name: (*name).to_owned(),
            ..AccountOptions::default()
        })
        .collect();
    for _ in 0..20 + dice.below(60) {
        let at = dice.below(all.len());
        let shared = dice.of(&[Shared::Stream, Shared::Service]);
        let mut with = all.clone();
        if dice.below(2) == 0 {
            with[at].exports.push(ExportOptions {
                shared,
                subject: dice.of(&EXPORTED).to_owned(),
                response: dice.of(&[ResponseType::Singleton, ResponseType::Stream]),
                accounts: (dice.below(3) == 0).then(|| vec![dice.of(&NAMES).to_owned()]),
                ..ExportOptions::default()
            });
        } else {
            let (subject, to) = dice.of(&IMPORTED);
            let account = NAMES[(at + 1 + dice.below(NAMES.len() - 1)) % NAMES.len()];
            with[at].imports.push(ImportOptions {
                shared,
                account: account.to_owned(),
                subject: subject.to_owned(),
                to: to.to_owned(),
                ..ImportOptions::default()
            });
        }
        if Accounts::problems(&with).is_empty() {
            all = with;
        }
    }
    all
}

/// T: no message leaks between accounts that are not connected, and none gets lost between those
/// that are (AUTH-27, AUTH-30..36).
#[test]
fn random_imports_lead_where_the_naive_model_says() {
    let seeds = match std::env::var("RAMJET_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (0..300).collect(),
    };
    let mut crossings = 0;
    for seed in seeds {
        let mut dice = Dice(ChaCha8Rng::seed_from_u64(seed));
        let all = accounts(&mut dice);
        let users = NAMES.iter().map(|name| UserOptions {
            username: (*name).to_owned(),
            account: (*name).to_owned(),
            ..UserOptions::default()
        });
        let options = Options {
            accounts: all.clone(),
            auth: AuthOptions {
                users: users.collect(),
                ..AuthOptions::default()
            },
            ..Options::default()
        };
        let shards = 1 + dice.below(3);
        let mut world = World::new(shards, options);
        let mut clients = Vec::new();
        for name in NAMES.iter().cycle().take(8) {
            let patterns = [">", dice.of(&PATTERNS), dice.of(&PATTERNS)];
            let subs = patterns.iter().zip(1..);
            let says: String = subs
                .map(|(it, sid)| format!("SUB {it} {sid}\r\n"))
                .collect();
            let shard = dice.below(shards);
            let index = world.connect(shard, name, &says);
            clients.push((*name, shard, index, patterns));
        }
        (0..4).for_each(|_| world.turn());
        world.output.clear();
        for step in 0..20 {
            let (account, shard, index, _) = clients[dice.below(clients.len())];
            let subject = dice.of(&SUBJECTS);
            let reply = dice.of(&["", " no.body"]);
            world.say(shard, index, &format!("PUB {subject}{reply} 0\r\n\r\n"));
            let places = naive::places(&all, account, subject);
            crossings += places.len() - 1;
            for (name, shard, index, patterns) in &clients {
                let mut expected: Vec<(String, String)> = Vec::new();
                for (_, subject) in places.iter().filter(|(account, _)| account == name) {
                    let subs = patterns.iter().zip(1..);
                    let matching = subs.filter(|(it, _)| naive::matches(it, subject));
                    expected.extend(matching.map(|(_, sid)| (subject.clone(), sid.to_string())));
                }
                expected.sort();
                let found = world.messages(*shard, *index);
                assert_eq!(
                    found, expected,
                    "RAMJET_SEED={seed} step {step}: {account} {subject} at {name}: {all:?}"
                );
            }
        }
    }
    assert!(crossings > 500, "{crossings}: too few to mean anything");
}

/// Imports in random circles end, whatever is refused.
#[test]
fn random_graphs_with_cycles_are_looked_through_to_an_end() {
    for seed in 0..200 {
        let mut dice = Dice(ChaCha8Rng::seed_from_u64(seed));
        let mut all = accounts(&mut dice);
        for account in &mut all {
            for other in NAMES {
                for (subject, to) in IMPORTED {
                    account.imports.push(ImportOptions {
                        shared: dice.of(&[Shared::Stream, Shared::Service]),
                        account: other.to_owned(),
                        subject: subject.to_owned(),
                        to: to.to_owned(),
                        ..ImportOptions::default()
                    });
                }
            }
            for subject in EXPORTED {
                account.exports.push(ExportOptions {
                    shared: dice.of(&[Shared::Stream, Shared::Service]),
                    subject: subject.to_owned(),
                    ..ExportOptions::default()
                });
            }
        }
        assert!(!Accounts::problems(&all).is_empty());
    }
}

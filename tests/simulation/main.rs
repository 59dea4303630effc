//! Several shards with a simulated network, run from one seed in one thread.
//!
//! The shards are the real ones, turn, mesh and all; only the driver is simulated: it delivers
//! bytes in random pieces, lets sockets take as much as it likes, and shards run in random order,
//! so mesh queues fill up and batches are late. `RAMJET_SEED=n` runs one seed.

mod client;
mod network;
mod settings;
mod world;

use world::World;

/// Worlds simulated by one run of the tests; `RAMJET_SEEDS=n` runs more.
const SEEDS: u64 = 200;

fn seeds() -> Vec<u64> {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    match number("RAMJET_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("RAMJET_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

/// No loss, no duplicate, nothing from another account, order kept, interest converged, requests nobody hears answered, nothing
/// left of those who went, under random subscriptions and unsubscriptions, connections that end,
/// break or are closed and whose places are taken at once, sockets that stand still, shards that
/// get no CPU and full queues between them.
#[test]
fn messages_reach_exactly_who_asked_for_them() {
    for seed in seeds() {
        let mut world = World::new(seed);
        world.run();
        world.check();
    }
}

/// The same world twice does the same, to the byte: otherwise a seed would say nothing.
#[test]
fn a_seed_decides_everything() {
    let outcome = |seed| {
        let mut world = World::new(seed);
        world.run();
        world.everything_received()
    };
    assert_eq!(outcome(7), outcome(7));
}

#[test]
fn a_pong_does_not_overtake_a_batch_that_waits_for_room() {
    let mut worlds = (1..).map(World::new);
    let mut world = worlds
        .find(|world| world.shards() > 1)
        .expect("there is always another");
    world.pong_waits_for_room();
    world.check();
}

//! What is run in one call: scenarios with the number of shards and the placement each needs.

use serde::Serialize;

use crate::leaf::Leaf;
use crate::placement::Placement;
use crate::reqrep::Inbox;
use crate::scenario::Scenario;
use crate::setup::Flush;
use crate::stream::Storage;
use crate::streams::Streams;

/// A scenario with its server's shape.
#[derive(Debug, Clone, Serialize)]
pub struct Case {
    /// The load.
    pub scenario: Scenario,
    /// Threads each server is given.
    pub shards: usize,
    /// Where the sides of a pair sit.
    pub placement: Placement,
}

impl Case {
    /// Title in the table.
    pub fn title(&self) -> String {
        let shards = match self.shards {
            1 => "1 shard".to_owned(),
            count => format!("{count} shards"),
        };
        format!(
            "{}, {shards}{}",
            self.scenario.title(),
            self.placement.words()
        )
    }
}

/// A set with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// Every figure of the README's table; some seven minutes with three rounds of a second.
    Standard,
    /// The six that say most; half a minute.
    Quick,
    /// Every scenario, tiny: does it run?
    Smoke,
}

impl Set {
    /// The cases in it.
    pub fn cases(self) -> Vec<Case> {
        match self {
            Self::Standard => standard(),
            Self::Quick => quick(),
            Self::Smoke => smoke(),
        }
    }
}

const fn on(shards: usize, scenario: Scenario) -> Case {
    Case {
        scenario,
        shards,
        placement: Placement::Any,
    }
}

const fn across(scenario: Scenario) -> Case {
    Case {
        scenario,
        shards: 2,
        placement: Placement::Across,
    }
}

const fn publish(publishers: usize, size: usize) -> Scenario {
    Scenario::Pub { publishers, size }
}

const fn pubsub(size: usize) -> Scenario {
    Scenario::Pubsub { size }
}

const PAIRS: Scenario = Scenario::Pairs {
    pairs: 4,
    size: 128,
};

const FANOUT: Scenario = Scenario::Fanout {
    subscribers: 100,
    size: 128,
};

const fn reqrep(outstanding: usize) -> Scenario {
    Scenario::Reqrep {
        outstanding,
        pairs: 1,
        size: 128,
        inbox: Inbox::Unique,
        asleep: false,
    }
}

/// The same with clients that sleep while they wait.
const SLEEPERS: Scenario = Scenario::Reqrep {
    outstanding: 10,
    pairs: 1,
    size: 128,
    inbox: Inbox::Unique,
    asleep: true,
};

fn standard() -> Vec<Case> {
    let fanin = Scenario::Fanin {
        publishers: 10,
        size: 128,
    };
    let open = Scenario::Open {
        rate: 10_000,
        pairs: 1,
        size: 128,
    };
    let churn = Scenario::Churn {
        rate: 10_000,
        size: 128,
    };
    let many = |subscribers| Scenario::Many {
        subjects: 1_000_000,
        subscribers,
        size: 16,
    };
    let slow = Scenario::Slow {
        subscribers: 1000,
        rate: 50,
        size: 128,
    };
    let idle = Scenario::Idle { connections: 5000 };
    vec![
        on(1, publish(1, 16)),
        on(1, publish(4, 16)),
        on(2, publish(4, 16)),
        on(4, publish(4, 16)),
        on(1, publish(1, 1024)),
        on(1, pubsub(128)),
        across(pubsub(128)),
        on(1, pubsub(64 * 1024)),
        on(1, PAIRS),
        on(2, PAIRS),
        on(4, PAIRS),
        on(1, fanin),
        on(1, FANOUT),
        on(1, reqrep(1)),
        on(1, reqrep(10)),
        on(1, reqrep(100)),
        across(reqrep(1)),
        across(reqrep(10)),
        across(reqrep(100)),
        on(1, SLEEPERS),
        across(SLEEPERS),
        on(1, open),
        on(1, churn),
        on(1, many(0)),
        on(1, many(1)),
        on(1, slow),
        on(4, idle),
    ]
    .into_iter()
    .chain(tenancy_and_transports())
    .chain(streams())
    .chain(leaf_links())
    .collect()
}

const LEAF_PUBSUB: Scenario = Scenario::Leaf(Leaf::Pubsub {
    size: 128,
    downwards: false,
});

fn leaf_links() -> Vec<Case> {
    let downwards = Leaf::Pubsub {
        size: 128,
        downwards: true,
    };
    let announce = |inwards| Leaf::Announce {
        subscriptions: 100_000,
        inwards,
    };
    let slow = Leaf::Slow {
        links: 100,
        rate: 50,
        size: 128,
    };
    let leaf = |scenario| on(1, Scenario::Leaf(scenario));
    vec![
        on(1, LEAF_PUBSUB),
        leaf(downwards),
        leaf(LEAF_REQREP),
        leaf(Leaf::Idle { links: 1000 }),
        leaf(announce(false)),
        leaf(announce(true)),
        leaf(Leaf::CatchUp {
            messages: 1_000_000,
            size: 128,
        }),
        leaf(slow),
    ]
}

const LEAF_REQREP: Leaf = Leaf::Reqrep {
    outstanding: 10,
    size: 128,
};

const fn stream_publish(outstanding: usize, flush: Flush) -> Scenario {
    Scenario::Streams(Streams::StreamPublish {
        publishers: 1,
        outstanding,
        size: 128,
        storage: Storage::File,
        flush,
    })
}

const fn stream_read(messages: u64, acknowledged: bool) -> Scenario {
    Scenario::Streams(Streams::StreamRead {
        messages,
        size: 128,
        batch: 500,
        acknowledged,
        storage: Storage::File,
    })
}

fn streams() -> Vec<Case> {
    let in_memory = Scenario::Streams(Streams::StreamPublish {
        publishers: 1,
        outstanding: 512,
        size: 128,
        storage: Storage::Memory,
        flush: Flush::Default,
    });
    vec![
        on(1, stream_publish(1, Flush::Default)),
        on(1, stream_publish(64, Flush::Default)),
        on(1, stream_publish(512, Flush::Default)),
        on(1, stream_publish(4096, Flush::Default)),
        on(1, stream_publish(512, Flush::Always)),
        on(1, in_memory),
        on(1, stream_read(500_000, false)),
        on(1, stream_read(500_000, true)),
    ]
}

fn tenancy_and_transports() -> Vec<Case> {
    let handshakes = |resumed| Scenario::TlsHandshakes {
        resumed,
        clients: 8,
    };
    let websocket = |per_frame| Scenario::Websocket {
        size: 128,
        per_frame,
    };
    let accounts = Scenario::Accounts {
        accounts: 1000,
        connections: 10,
        size: 128,
    };
    let permissions = Scenario::Permissions {
        patterns: 100,
        size: 128,
    };
    let storm = Scenario::ReconnectStorm {
        clients: 2000,
        rate: 2000,
    };
    vec![
        on(1, Scenario::Tls { size: 128 }),
        on(1, Scenario::Tls { size: 1024 }),
        on(1, handshakes(false)),
        on(1, handshakes(true)),
        on(1, websocket(1)),
        on(1, websocket(0)),
        on(1, accounts),
        on(1, permissions),
        on(1, Scenario::CrossAccount { size: 128 }),
        on(4, storm),
    ]
}

fn quick() -> Vec<Case> {
    vec![
        on(1, publish(1, 16)),
        on(1, pubsub(128)),
        on(2, PAIRS),
        on(1, FANOUT),
        on(1, reqrep(10)),
        across(reqrep(10)),
    ]
}

fn smoke() -> Vec<Case> {
    let size = 128;
    let scenarios = [
        publish(2, 16),
        pubsub(size),
        pubsub(64 * 1024),
        PAIRS,
        Scenario::Fanin {
            publishers: 3,
            size,
        },
        Scenario::Fanout {
            subscribers: 20,
            size,
        },
        reqrep(10),
        Scenario::Open {
            rate: 1000,
            pairs: 2,
            size,
        },
        Scenario::Churn { rate: 1000, size },
        Scenario::Many {
            subjects: 10_000,
            subscribers: 1,
            size,
        },
        Scenario::Slow {
            subscribers: 20,
            rate: 100,
            size,
        },
        Scenario::Idle { connections: 100 },
        Scenario::Tls { size },
        Scenario::TlsHandshakes {
            resumed: false,
            clients: 2,
        },
        Scenario::TlsHandshakes {
            resumed: true,
            clients: 2,
        },
        Scenario::Websocket { size, per_frame: 1 },
        Scenario::Accounts {
            accounts: 10,
            connections: 2,
            size,
        },
        Scenario::Permissions { patterns: 10, size },
        Scenario::CrossAccount { size },
        Scenario::ReconnectStorm {
            clients: 50,
            rate: 1000,
        },
        stream_publish(64, Flush::Default),
        stream_read(10_000, true),
        LEAF_PUBSUB,
        Scenario::Leaf(LEAF_REQREP),
        Scenario::Leaf(Leaf::Idle { links: 20 }),
        Scenario::Leaf(Leaf::Announce {
            subscriptions: 1000,
            inwards: false,
        }),
        Scenario::Leaf(Leaf::CatchUp {
            messages: 10_000,
            size,
        }),
        Scenario::Leaf(Leaf::Slow {
            links: 10,
            rate: 100,
            size,
        }),
    ];
    let mut cases: Vec<Case> = scenarios.map(|scenario| on(2, scenario)).into();
    cases.push(across(reqrep(10)));
    cases.push(Case {
        placement: Placement::Same,
        ..across(pubsub(size))
    });
    cases
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::mem::discriminant;

    use super::*;

    #[test]
    fn titles_are_unique_and_smoke_has_every_scenario() {
        for set in [Set::Standard, Set::Quick, Set::Smoke] {
            let cases = set.cases();
            let titles: HashSet<String> = cases.iter().map(Case::title).collect();
            assert_eq!(titles.len(), cases.len(), "{set:?}");
        }
        let kinds = |set: Set| -> HashSet<_> {
            let cases = set.cases();
            cases
                .iter()
                .map(|case| match &case.scenario {
                    Scenario::Streams(it) => {
                        (discriminant(&case.scenario), Some(discriminant(it)), None)
                    }
                    Scenario::Leaf(it) => {
                        (discriminant(&case.scenario), None, Some(discriminant(it)))
                    }
                    other => (discriminant(other), None, None),
                })
                .collect()
        };
        assert_eq!(kinds(Set::Smoke), kinds(Set::Standard));
    }
}

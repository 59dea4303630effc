//! The real executable over real sockets, a case for every row of the specification.
//!
//! `RAMJET_TEST_SERVER=/path/to/nats-server cargo test --test blackbox` runs the same cases
//! against another server.

#[path = "../support/mod.rs"]
mod support;

mod account_rows;
mod account_server;
mod accounts;
mod advisories;
mod advisories_jetstream;
mod auth;
mod callout;
mod command_line;
mod config;
mod connect;
mod connz;
mod doors;
mod errors;
mod framing;
mod headers;
mod hostile;
mod hostile_scale;
mod https;
mod imports;
mod jetstream_accounts;
mod jetstream_ack;
mod jetstream_api;
mod jetstream_backup;
mod jetstream_buckets;
mod jetstream_config;
mod jetstream_consumer;
mod jetstream_copies;
mod jetstream_direct;
mod jetstream_events;
mod jetstream_keeping;
mod jetstream_leaf;
mod jetstream_monitoring;
mod jetstream_priority;
mod jetstream_publish_counters;
mod jetstream_publishing;
mod jetstream_pull;
mod jetstream_push;
mod jetstream_restart;
mod lame_duck;
mod leaf_chaos;
mod leaf_copies;
mod leaf_doors;
mod leaf_metrics;
mod leaf_remotes;
mod leaf_rows;
mod leaf_slow;
mod leafnodes;
mod limits;
mod logging;
mod mappings;
mod monitoring;
mod operator;
mod options;
mod peer_revocation;
mod permissions;
mod process;
mod proxy;
mod queues;
mod rates;
mod reload;
mod resolver;
mod stapling;
mod subjects;
mod system_events;
mod system_requests;
mod tls;
mod tools;
mod tracing;
mod undelivered;
mod websocket;

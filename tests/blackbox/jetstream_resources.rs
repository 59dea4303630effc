//! Sections 19 and 20 of JetStream: what the server has for streams, and what it does with their
//! files.

use crate::support::jetstream::JetStream;
use crate::support::server::Server;
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;

/// What `/varz` and `/jsz` say the server has; they agree.
#[track_caller]
fn configured(server: &Server) -> Value {
    let varz = server.get("/varz").json()["jetstream"]["config"].clone();
    assert_eq!(server.get("/jsz").json()["config"], varz);
    varz
}

/// JS-246: three quarters of the memory (or of `GOMEMLIMIT`) and of the free disk where the
/// configuration names no limit; accounts have none of their own.
#[test]
fn js_246_limits_without_a_configured_one() {
    for (limits, memory, storage, both) in [
        ("", Some(48 * MIB), None, false),
        ("max_mem: 1MB", Some(MIB), None, false),
        ("max_file: 3MB", Some(48 * MIB), Some(3 * MIB), false),
        (
            "max_mem: 1MB, max_file: 3MB",
            Some(MIB),
            Some(3 * MIB),
            true,
        ),
        ("max_mem: 0, max_file: 3MB", Some(0), Some(3 * MIB), false),
    ] {
        let text = format!("http: '127.0.0.1:-1'\njetstream {{ store_dir: '@DIR@/s', {limits} }}");
        let builder = Server::builder().config(&text).env("GOMEMLIMIT", "64MiB");
        let mut jetstream = JetStream::of(builder.start(), "{}");
        let config = configured(&jetstream.server);
        let disk = config["max_storage"].as_u64().expect("bytes");
        assert_eq!(config["max_memory"].as_u64(), memory, "{limits}");
        assert!(storage.map_or(disk > 0 && disk < 1 << 60, |it| it == disk));
        assert_eq!(config.get("compress_ok"), both.then_some(&json!(true)));
        let info = jetstream.done("INFO", "");
        assert_eq!(info["limits"]["max_memory"], -1);
        assert_eq!(info["limits"]["max_storage"], -1);
        // More than there is cannot be reserved.
        for (storage, most, refused) in [
            ("memory", memory.unwrap_or(0), (500, 10028)),
            ("file", disk, (500, 10047)),
        ] {
            let stream = json!({"name": "S", "storage": storage, "max_bytes": most + 1});
            let (code, number, _) = jetstream.refused("STREAM.CREATE.S", stream);
            assert_eq!((code, number), refused, "{limits}");
        }
    }
}

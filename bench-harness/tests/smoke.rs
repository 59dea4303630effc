//! Every scenario, tiny, against Ramjet alone: it runs, received is sent, and the records are
//! whole. The harness itself fails a run that loses.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The server of the same build, or the one `RAMJET_TEST_SERVER` names.
fn ramjet() -> PathBuf {
    let path = env::var_os("RAMJET_TEST_SERVER").map_or_else(
        || {
            let harness = Path::new(env!("CARGO_BIN_EXE_bench-harness"));
            harness.with_file_name("ramjet")
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "{} is missing. Cure: cargo build -p ramjet, or cargo test --workspace",
        path.display()
    );
    path
}

fn harness(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench-harness"))
        .arg("--ramjet")
        .arg(ramjet())
        .args(arguments)
        .output()
        .expect("the harness starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_scenario_runs_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let record = folder.path().to_str().expect("text");
    let output = harness(&[
        "--rounds",
        "1",
        "--seconds",
        "0.3",
        "--warmup",
        "0.1",
        "--no-system-calls",
        "--record",
        record,
        "smoke",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let machine = fs::read_dir(folder.path())
        .expect("the record")
        .next()
        .expect("a folder for the machine")
        .expect("an entry")
        .path();
    let read = |name: &str| fs::read_to_string(machine.join(name)).expect(name);
    let report: serde_json::Value = serde_json::from_str(&read("smoke.json")).expect("JSON");
    let outcomes = report["outcomes"].as_array().expect("outcomes");
    assert!(outcomes.len() > 10);
    for outcome in outcomes {
        let run = &outcome["runs"][0][0];
        assert!(
            run["verified"].as_u64().is_some_and(|count| count > 0),
            "{outcome}"
        );
        if outcome["case"]["placement"] != "any" {
            assert!(run["placed"].is_number(), "{outcome}");
        }
    }
    assert_eq!(read("smoke.csv").lines().count(), outcomes.len() + 1);
    assert!(read("smoke.svg").starts_with("<svg") && read("machine.txt").contains("kernel"));
    assert_eq!(read("smoke.txt"), text(&output.stdout));
}

#[test]
fn a_soak_tells_the_longest_pause_and_fails_above_the_limit() {
    let soak = |max_pause: &str| {
        harness(&[
            "--shards",
            "2",
            "soak",
            "--duration",
            "0.3",
            "--max-pause",
            max_pause,
        ])
    };
    let patient = soak("10000");
    assert!(patient.status.success(), "{}", text(&patient.stderr));
    assert!(text(&patient.stdout).contains("longest pause"));
    let strict = soak("0");
    assert_eq!(strict.status.code(), Some(1));
    assert!(text(&strict.stderr).contains("above 0.0 ms"));
}

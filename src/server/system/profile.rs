//! Profiles (MON-50). The ones stock takes are of its own runtime; of ours the list of threads is
//! the only one that can be had from inside, and the answer for the others says what to use.

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::options::Kind;
use crate::ops::http::answers;

/// Fields of the request.
pub(super) const FIELDS: [(&str, &str, Kind); 3] = [
    ("name", "", Kind::Text),
    ("debug", "", Kind::Int),
    ("duration", "", Kind::Int),
];

/// Nanoseconds a CPU profile may take.
const DURATION_MAX: i64 = 15_000_000_000;

/// Profiles of a runtime that is not here.
const OF_GO: [&str; 4] = ["allocs", "block", "heap", "mutex"];

/// The answer for a profile of that name over that many nanoseconds.
pub(super) fn answer(name: &str, duration: i64) -> Value {
    let error = match name {
        "" => "Profile name not specified".to_owned(),
        "cpu" if !(1..=DURATION_MAX).contains(&duration) => {
            let shown = std::time::Duration::from_nanos(duration.unsigned_abs());
            let sign = if duration < 0 { "-" } else { "" };
            let shown = if duration == 0 {
                "0s".to_owned()
            } else {
                format!("{sign}{shown:?}")
            };
            format!("Duration {shown} should be between 0s and 15s")
        }
        "cpu" => "no CPU profile from inside this server: use `perf record -g -p <pid>`".to_owned(),
        "goroutine" | "threadcreate" => {
            let threads = answers::threads();
            return json!({ "profile": BASE64.encode(threads.as_bytes()), "error": "" });
        }
        name if OF_GO.contains(&name) => {
            format!("this server has no {name} profile: use `perf` or `heaptrack`")
        }
        name => format!("Profile {name:?} not found"),
    };
    json!({ "profile": null, "error": error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mon_050_profiles_are_had_or_refused_with_a_reason() {
        let error = |name: &str, duration: i64| answer(name, duration)["error"].clone();
        assert_eq!(error("", 0), "Profile name not specified");
        assert_eq!(error("zz", 0), "Profile \"zz\" not found");
        assert_eq!(error("cpu", 0), "Duration 0s should be between 0s and 15s");
        assert_eq!(
            error("cpu", 16_000_000_000),
            "Duration 16s should be between 0s and 15s"
        );
        assert_eq!(
            error("cpu", i64::MIN)
                .as_str()
                .map(|it| it.starts_with("Duration -")),
            Some(true)
        );
        assert_eq!(error("goroutine", 0), "");
        assert!(answer("goroutine", 0)["profile"].is_string());
    }
}

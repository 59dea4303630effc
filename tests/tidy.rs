//! The house rules that a compiler does not check: who may import whom, what pure folders may
//! touch, where `unsafe` may stand.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders without threads, sockets, files, clocks or randomness.
const PURE: [&str; 8] = [
    "accounts",
    "auth",
    "connection",
    "delivery",
    "jetstream",
    "protocol",
    "routing",
    "transport",
];
/// Everybody may use these.
const VOCABULARY: [&str; 4] = ["ids", "limits", "options", "time"];
/// Who may import whom, besides the vocabulary.
const ARROWS: [(&str, &[&str]); 15] = [
    ("protocol", &[]),
    ("routing", &[]),
    ("delivery", &[]),
    ("accounts", &["routing"]),
    ("auth", &["accounts", "routing"]),
    ("transport", &["delivery"]),
    ("jetstream", &["accounts", "protocol", "routing"]),
    (
        "connection",
        &[
            "accounts",
            "auth",
            "delivery",
            "protocol",
            "routing",
            "transport",
        ],
    ),
    ("mesh", &[]),
    ("io", &["delivery", "jetstream"]),
    ("listener", &["transport"]),
    (
        "shard",
        &[
            "accounts",
            "auth",
            "connection",
            "delivery",
            "io",
            "jetstream",
            "listener",
            "mesh",
            "protocol",
            "routing",
            "transport",
        ],
    ),
    (
        "ops",
        &[
            "accounts",
            "jetstream",
            "protocol",
            "routing",
            "shard",
            "auth",
            "listener",
            "transport",
        ],
    ),
    (
        "server",
        &[
            "accounts",
            "auth",
            "io",
            "jetstream",
            "ops",
            "protocol",
            "shard",
            "listener",
            "mesh",
            "transport",
        ],
    ),
    ("main", &["server", "ops"]),
];
/// Lines of a file that still fits in the head.
const LINES_MAX: usize = 800;

struct Source {
    path: PathBuf,
    /// First folder below `src`, or the file's own name.
    area: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut all = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("src can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let below = path.strip_prefix(&root).expect("below src");
                let area = below.iter().next().expect("a first part").to_string_lossy();
                let area = area.trim_end_matches(".rs").to_owned();
                let text = fs::read_to_string(&path).expect("text");
                all.push(Source { path, area, text });
            }
        }
    }
    assert!(all.len() > 40, "this test looks at the real tree");
    all
}

/// Lines of code, comments left out.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Does the line hold `word`, not as the end of a longer name?
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|it| it.is_alphanumeric() || it == '_')
    })
}

fn fail_if_any(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn imports_follow_the_arrows() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.into();
    let mut found = Vec::new();
    for source in sources() {
        let Some(allowed) = arrows.get(source.area.as_str()) else {
            continue;
        };
        for (number, line) in code(&source.text) {
            for part in line.split("crate::").skip(1) {
                let name: String = part
                    .chars()
                    .take_while(|it| it.is_ascii_lowercase() || *it == '_')
                    .collect();
                let fine = name.is_empty()
                    || name == source.area
                    || VOCABULARY.contains(&name.as_str())
                    || allowed.contains(&name.as_str());
                if !fine {
                    let path = source.path.display();
                    found.push(format!(
                        "{path}:{}: {} imports {name}",
                        number + 1,
                        source.area
                    ));
                }
            }
        }
    }
    fail_if_any(&found);
}

#[test]
fn pure_folders_touch_nothing_outside() {
    let outside = [
        "std::thread",
        "std::net",
        "std::fs",
        "std::os",
        "Instant::now",
        "SystemTime",
        "async fn",
        ".await",
        "getrandom",
        "tokio",
        "println!",
        "log::",
    ];
    let mut found = Vec::new();
    for source in sources()
        .iter()
        .filter(|it| PURE.contains(&it.area.as_str()))
    {
        for (number, line) in code(&source.text) {
            for word in outside.iter().filter(|&&word| names(line, word)) {
                found.push(format!("{}:{}: {word}", source.path.display(), number + 1));
            }
        }
    }
    fail_if_any(&found);
}

#[test]
fn only_io_names_the_runtime() {
    let runtime = ["glommio::", "io_uring::", "libc::"];
    let mut found = Vec::new();
    for source in sources().iter().filter(|it| it.area != "io") {
        for (number, line) in code(&source.text) {
            for word in runtime.iter().filter(|&&word| line.contains(word)) {
                found.push(format!("{}:{}: {word}", source.path.display(), number + 1));
            }
        }
    }
    fail_if_any(&found);
}

#[test]
fn unsafe_stands_only_where_memory_is_shared() {
    let mut found = Vec::new();
    for source in sources() {
        let allowed = source.area == "io" || source.path.ends_with("mesh/ring.rs");
        for (number, line) in code(&source.text).filter(|_| !allowed) {
            if line.contains("unsafe ") || line.contains("allow(unsafe_code)") {
                found.push(format!("{}:{}", source.path.display(), number + 1));
            }
        }
    }
    fail_if_any(&found);
}

#[test]
fn files_fit_in_the_head_and_hold_no_loose_ends() {
    let marks = [
        "TODO",
        "FIXME",
        "XXX:",
        "todo!(",
        "unimplemented!(",
        "allow(dead_code",
        "#[ignore",
    ];
    let mut found = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            found.push(format!("{}: {lines} lines", source.path.display()));
        }
        for (number, line) in source.text.lines().enumerate() {
            for mark in marks.iter().filter(|&&mark| line.contains(mark)) {
                found.push(format!("{}:{}: {mark}", source.path.display(), number + 1));
            }
        }
    }
    fail_if_any(&found);
}

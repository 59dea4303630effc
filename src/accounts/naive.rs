//! Slow and obvious versions of what this folder does, to compare with.

use crate::options::{AccountOptions, ImportOptions, Shared};
use crate::routing::subject::pattern_subset;

/// What `subject` becomes; only destinations that are valid for the source.
pub(super) fn transform(source: &str, destination: &str, subject: &[u8]) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = subject
        .split(|&it| it == b'.')
        .map(<[u8]>::to_vec)
        .collect();
    let from: Vec<&str> = source.split('.').collect();
    let wildcard = |number: &str| -> Vec<u8> {
        let number: usize = number.trim().parse().expect("a number");
        let places: Vec<usize> = (0..from.len()).filter(|&at| from[at] == "*").collect();
        parts[places[number - 1]].clone()
    };
    let mut tokens: Vec<Vec<u8>> = Vec::new();
    for token in destination.split('.') {
        if token == ">" {
            tokens.extend(parts[from.len() - 1..].to_vec());
        } else if let Some(number) = token.strip_prefix('$') {
            tokens.push(wildcard(number));
        } else if let Some(call) = token.strip_prefix("{{") {
            let call = call.strip_suffix(")}}").expect("closed");
            let (name, arguments) = call.split_once('(').expect("arguments");
            let arguments: Vec<&str> = arguments.split(',').collect();
            tokens.extend(function(&name.to_lowercase(), &arguments, &wildcard));
        } else {
            tokens.push(token.as_bytes().to_vec());
        }
    }
    tokens.join(&b'.')
}

fn function(name: &str, arguments: &[&str], wildcard: &dyn Fn(&str) -> Vec<u8>) -> Vec<Vec<u8>> {
    if name == "partition" {
        let count: u64 = arguments[0].parse().expect("a number");
        let mut hash: u64 = 2_166_136_261;
        for byte in arguments[1..].iter().flat_map(|it| wildcard(it)) {
            hash = ((hash ^ u64::from(byte)) * 16_777_619) % (1 << 32);
        }
        let number = if count == 0 { 0 } else { hash % count };
        return vec![number.to_string().into_bytes()];
    }
    let token = wildcard(arguments[0]);
    if name == "split" {
        let text = String::from_utf8(token).expect("text");
        let pieces: Vec<&str> = text.split(arguments[1]).collect();
        let mut joined = String::new();
        for (at, piece) in pieces.iter().enumerate() {
            joined.push_str(piece);
            let next = pieces.get(at + 1).is_some_and(|it| !it.is_empty());
            // Not after an empty first piece. (After two of them, yes: so it is in stock.)
            if next && !(at == 0 && piece.is_empty()) {
                joined.push('.');
            }
        }
        return vec![joined.into_bytes()];
    }
    let size: usize = arguments[1].trim().parse().expect("a number");
    let len = token.len();
    if size == 0 || size >= len {
        return vec![token];
    }
    // Places at which the token is cut, or the part that is kept.
    let cuts: Vec<usize> = match name {
        "left" => return vec![token[..size].to_vec()],
        "right" => return vec![token[len - size..].to_vec()],
        "splitfromleft" => vec![size],
        "splitfromright" => vec![len - size],
        "slicefromleft" => (1..len).filter(|at| at % size == 0).collect(),
        "slicefromright" => (1..len)
            .filter(|at| (len - at).is_multiple_of(size))
            .collect(),
        _ => unreachable!("no such function"),
    };
    let starts = std::iter::once(0).chain(cuts.clone());
    let ends = cuts.iter().copied().chain([len]);
    starts
        .zip(ends)
        .map(|(start, end)| token[start..end].to_vec())
        .collect()
}

/// Everywhere a message to `subject` of `account` turns up, with the name it has there: for each
/// account once for every way it gets there. Only exports and imports that are valid.
pub(crate) fn places(
    accounts: &[AccountOptions],
    account: &str,
    subject: &str,
) -> Vec<(String, String)> {
    let mut found = vec![(account.to_owned(), subject.to_owned())];
    for importer in accounts {
        for import in importer
            .imports
            .iter()
            .filter(|it| it.shared == Shared::Stream)
        {
            if import.account == account && matches(&import.subject, subject) {
                let to = match (&*import.prefix, &*import.to) {
                    ("", "") => import.subject.clone(),
                    ("", to) => to.to_owned(),
                    (prefix, _) => format!("{prefix}.{}", import.subject),
                };
                let name = renamed(&import.subject, &to, subject);
                found.push((importer.name.clone(), name));
            }
        }
    }
    // What comes through a service does not go on as a stream.
    let mut asked = vec![(account.to_owned(), subject.to_owned(), Vec::new())];
    while let Some((account, subject, path)) = asked.pop() {
        let own = accounts.iter().find(|it| it.name == account);
        let imports = own.map(|it| &it.imports[..]).unwrap_or_default();
        for import in imports.iter().filter(|it| it.shared == Shared::Service) {
            let from = match &*import.to {
                "" => &import.subject,
                to => to,
            };
            let (pattern, _) = super::transform::unnumbered(from);
            if matches(&pattern, &subject) {
                let name = match from == &*import.subject {
                    true => subject.clone(),
                    false => turned_back(&import.subject, from, &subject),
                };
                // No request comes through the same export twice.
                let export = (import.account.clone(), export_of(accounts, import));
                if path.contains(&export) {
                    continue;
                }
                let path = [&path[..], &[export]].concat();
                found.push((import.account.clone(), name.clone()));
                asked.push((import.account.clone(), name, path));
                assert!(found.len() < 10_000, "more ways than anybody wants");
            }
        }
    }
    found
}

/// The export that a service import is of: of its very subject, or the first that holds it.
fn export_of(accounts: &[AccountOptions], import: &ImportOptions) -> String {
    let exporter = accounts.iter().find(|it| it.name == import.account);
    let exports = exporter.map(|it| &it.exports[..]).unwrap_or_default();
    // Of two with the same subject the later one counts.
    let mut subjects: Vec<&str> = Vec::new();
    for export in exports.iter().filter(|it| it.shared == Shared::Service) {
        subjects.retain(|it| *it != export.subject);
        subjects.push(&export.subject);
    }
    let holds = |it: &&&str| pattern_subset(import.subject.as_bytes(), it.as_bytes());
    match subjects.iter().find(|it| **it == import.subject) {
        Some(exact) => (*exact).to_owned(),
        None => (*subjects.iter().find(holds).expect("exported")).to_owned(),
    }
}

/// Does a pattern match a subject, token by token?
pub(crate) fn matches(pattern: &str, subject: &str) -> bool {
    let (pattern, subject): (Vec<&str>, Vec<&str>) =
        (pattern.split('.').collect(), subject.split('.').collect());
    let full = pattern.last() == Some(&">");
    let fixed = pattern.len() - usize::from(full);
    let length = if full {
        subject.len() > fixed
    } else {
        subject.len() == fixed
    };
    length && (0..fixed).all(|at| pattern[at] == "*" || pattern[at] == subject[at])
}

/// What a stream's message is called by the importer.
fn renamed(from: &str, to: &str, subject: &str) -> String {
    if !from.contains(['*', '>']) {
        return to.to_owned();
    }
    if from == to {
        return subject.to_owned();
    }
    let name = transform(from, &super::transform::numbered(to), subject.as_bytes());
    String::from_utf8(name).expect("text")
}

/// What a request is called by the exporter of `pattern`, whose importer calls it by `local`.
fn turned_back(pattern: &str, local: &str, subject: &str) -> String {
    if !pattern.contains(['*', '>']) {
        return pattern.to_owned();
    }
    let local = super::transform::numbered(local);
    let parts: Vec<&str> = subject.split('.').collect();
    let mut number = 0;
    let mut tokens: Vec<String> = Vec::new();
    for token in pattern.split('.') {
        match token {
            "*" => {
                number += 1;
                let at = local.split('.').position(|it| it == format!("${number}"));
                tokens.push(parts[at.expect("used")].to_owned());
            }
            ">" => {
                let fixed = local.split('.').count() - 1;
                tokens.extend(parts[fixed..].iter().map(|it| (*it).to_owned()));
            }
            literal => tokens.push(literal.to_owned()),
        }
    }
    tokens.join(".")
}

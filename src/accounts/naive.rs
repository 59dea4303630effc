//! Slow and obvious versions of what this folder does, to compare with.

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

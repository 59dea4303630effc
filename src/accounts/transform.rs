//! One subject made of another: literal tokens, wildcards of the source, and functions of them
//! (AUTH-44..48).

use std::fmt;

use smallvec::SmallVec;

use crate::routing::subject::tokens;

/// Tokens of a subject that need no allocation to be taken apart.
pub(super) type Tokens<'a> = SmallVec<[&'a [u8]; 32]>;

/// Why a destination cannot be made; texts are stock's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransformError {
    /// Source or destination is no subject, or one has `>` and the other does not.
    BadSubject,
    /// Something about one token of the destination; empty where there is nothing to show.
    Token(&'static str, String),
}

impl TransformError {
    pub(super) const INVALID: &str = "invalid transform";
    const UNKNOWN: &str = "unknown function";
    const OUT_OF_RANGE: &str = "wildcard index out of range";
    const NOT_ENOUGH: &str = "not enough arguments passed to the function";
    const TOO_MANY: &str = "too many arguments passed to the function";
    const INVALID_ARGUMENT: &str = "function argument is invalid or in the wrong format";
    const NOT_ALL_USED: &str = "not using all of the token wildcard(s)";
    const NOT_FOR_IMPORT: &str =
        "the only mapping function allowed for import transforms is {{Wildcard()}}";

    pub(super) fn token(what: &'static str, token: &str) -> Self {
        Self::Token(what, token.to_owned())
    }
}

impl fmt::Display for TransformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadSubject => f.write_str("invalid subject"),
            Self::Token(what, token) => {
                write!(f, "invalid mapping destination: {what}")?;
                if token.is_empty() {
                    Ok(())
                } else {
                    write!(f, " in {token}")
                }
            }
        }
    }
}

impl std::error::Error for TransformError {}

/// A token of the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Literal(Box<[u8]>),
    /// The token there.
    Token(usize),
    /// A number below the first, by the tokens there; by the whole subject if there are none.
    Partition(u32, Box<[usize]>),
    /// A number below that.
    Random(i32),
    /// The token there, cut.
    Cut(Cut, usize, usize),
    /// The token there, in pieces.
    Split(usize, Box<[u8]>),
    /// All further tokens.
    Rest,
}

/// Where a token is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    InTwoFromLeft,
    InTwoFromRight,
    SlicesFromLeft,
    SlicesFromRight,
    KeepLeft,
    KeepRight,
}

/// How a subject is made of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transform {
    steps: Box<[Step]>,
    /// Tokens of the source before its `>`.
    fixed_tokens: usize,
}

/// What a token of a destination says, before it is known what it refers to.
enum Placeholder {
    None,
    Wildcard(i64),
    Partition(i64, Vec<i64>),
    Random(i64),
    Cut(Cut, i64, i64),
    Split(i64, String),
}

impl Transform {
    /// From subjects that match `source` to `destination`.
    ///
    /// # Errors
    /// What is wrong with the destination.
    pub fn new(source: &str, destination: &str) -> Result<Self, TransformError> {
        Self::build(source, destination, false)
    }

    /// The same for imports, which can be turned around: only `wildcard`, and each wildcard of the
    /// source is used.
    ///
    /// # Errors
    /// What is wrong with the destination.
    pub fn strict(source: &str, destination: &str) -> Result<Self, TransformError> {
        Self::build(source, destination, true)
    }

    fn build(source: &str, destination: &str, strict: bool) -> Result<Self, TransformError> {
        let (from, to) = (Shape::of(source), Shape::of(destination));
        let (Some(from), Some(to)) = (from, to) else {
            return Err(TransformError::BadSubject);
        };
        if !to.wildcards.is_empty() || from.full != to.full {
            return Err(TransformError::BadSubject);
        }
        let has_wildcards = !from.wildcards.is_empty() || from.full;
        let mut used = 0;
        let mut steps = Vec::with_capacity(to.tokens);
        for token in destination.split('.') {
            let out_of_range =
                |shown: String| TransformError::Token(TransformError::OUT_OF_RANGE, shown);
            // Stock takes what is below one as the first token.
            let place = |index: i64| match usize::try_from(index - 1) {
                Ok(at) => from.wildcards.get(at).copied(),
                Err(_) => Some(0),
            };
            let resolve = |index: i64| match place(index) {
                Some(at) => Ok(at),
                None => Err(out_of_range(format!("{token}: [{index}]"))),
            };
            let placeholder = placeholder(token)?;
            if has_wildcards
                && strict
                && !matches!(placeholder, Placeholder::None | Placeholder::Wildcard(_))
            {
                return Err(TransformError::token(TransformError::NOT_FOR_IMPORT, token));
            }
            if !has_wildcards
                && !matches!(
                    placeholder,
                    Placeholder::None | Placeholder::Random(_) | Placeholder::Partition(..)
                )
            {
                return Err(out_of_range(token.to_owned()));
            }
            steps.push(match placeholder {
                Placeholder::None if token == ">" => Step::Rest,
                Placeholder::None => Step::Literal(token.as_bytes().into()),
                Placeholder::Wildcard(index) => {
                    used += 1;
                    Step::Token(resolve(index)?)
                }
                // Of a literal there are no tokens to choose from.
                Placeholder::Partition(count, _) if !has_wildcards => {
                    Step::Partition(count as u32, Box::default())
                }
                Placeholder::Partition(count, indices) => {
                    used += indices.len();
                    let places: Result<Box<[usize]>, _> =
                        indices.into_iter().map(resolve).collect();
                    Step::Partition(count as u32, places?)
                }
                Placeholder::Random(count) => Step::Random(count as i32),
                Placeholder::Cut(cut, index, at) => {
                    used += 1;
                    Step::Cut(cut, resolve(index)?, usize::try_from(at).unwrap_or(0))
                }
                Placeholder::Split(index, delimiter) => {
                    used += 1;
                    Step::Split(resolve(index)?, delimiter.into_bytes().into())
                }
            });
        }
        if has_wildcards && strict && used < from.wildcards.len() {
            let what = TransformError::NOT_ALL_USED;
            return Err(TransformError::token(what, destination));
        }
        Ok(Self {
            steps: steps.into(),
            fixed_tokens: from.tokens - usize::from(from.full),
        })
    }

    /// Appends what `subject`, which matches the source, becomes. `random` is asked once for each
    /// `random` of the destination. Tokens a subject does not have count as empty.
    pub fn apply(&self, subject: &[u8], out: &mut Vec<u8>, mut random: impl FnMut() -> u64) {
        let parts: Tokens<'_> = tokens(subject).collect();
        let token = |at: usize| parts.get(at).copied().unwrap_or_default();
        for (number, step) in self.steps.iter().enumerate() {
            if number > 0 {
                out.push(b'.');
            }
            match step {
                Step::Literal(text) => out.extend_from_slice(text),
                Step::Token(at) => out.extend_from_slice(token(*at)),
                Step::Partition(count, places) => {
                    let hash = match places.is_empty() {
                        true => fnv1a(FNV_START, subject),
                        false => places
                            .iter()
                            .fold(FNV_START, |hash, &at| fnv1a(hash, token(at))),
                    };
                    push_number(out, hash.checked_rem(*count).unwrap_or(0));
                }
                Step::Random(count) => {
                    // 31 bits and a sign that does not matter, as in stock.
                    let number = (random() >> 33) as u32;
                    push_number(out, number.checked_rem(count.unsigned_abs()).unwrap_or(0));
                }
                Step::Cut(cut, at, size) => cut.apply(token(*at), *size, out),
                Step::Split(at, delimiter) => split(token(*at), delimiter, out),
                Step::Rest => {
                    let rest = parts.get(self.fixed_tokens..).unwrap_or_default();
                    for (number, part) in rest.iter().enumerate() {
                        if number > 0 {
                            out.push(b'.');
                        }
                        out.extend_from_slice(part);
                    }
                }
            }
        }
    }
}

impl Cut {
    /// A token too short to be cut there stays whole.
    fn apply(self, token: &[u8], size: usize, out: &mut Vec<u8>) {
        if size == 0 || size >= token.len() {
            return out.extend_from_slice(token);
        }
        let from_right = token.len() - size;
        let mut pieces = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            for (number, piece) in pieces.enumerate() {
                if number > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(piece);
            }
        };
        match self {
            Self::InTwoFromLeft => pieces(&mut [&token[..size], &token[size..]].into_iter()),
            Self::InTwoFromRight => {
                pieces(&mut [&token[..from_right], &token[from_right..]].into_iter());
            }
            Self::SlicesFromLeft => pieces(&mut token.chunks(size)),
            Self::SlicesFromRight => {
                let (first, rest) = token.split_at(token.len() % size);
                let first = Some(first).filter(|it| !it.is_empty());
                pieces(&mut first.into_iter().chain(rest.chunks(size)));
            }
            Self::KeepLeft => out.extend_from_slice(&token[..size]),
            Self::KeepRight => out.extend_from_slice(&token[from_right..]),
        }
    }
}

/// Pieces between delimiters, with a dot where one ends and another begins. The dot stands before
/// a piece that is not empty, unless nothing but one empty piece came before it: as in stock.
fn split(token: &[u8], delimiter: &[u8], out: &mut Vec<u8>) {
    let mut rest = Some(token);
    let mut number = 0;
    while let Some(text) = rest {
        let piece = if delimiter.is_empty() {
            // Between each two characters.
            let len = char_len(text);
            let (piece, after) = text.split_at(len.min(text.len()));
            rest = Some(after).filter(|it| !it.is_empty());
            piece
        } else {
            match memchr::memmem::find(text, delimiter) {
                Some(at) => {
                    rest = Some(&text[at + delimiter.len()..]);
                    &text[..at]
                }
                None => {
                    rest = None;
                    text
                }
            }
        };
        out.extend_from_slice(piece);
        let next_is_text = rest.is_some_and(|it| {
            !it.is_empty() && (delimiter.is_empty() || !it.starts_with(delimiter))
        });
        if next_is_text && !(number == 0 && piece.is_empty()) {
            out.push(b'.');
        }
        number += 1;
    }
}

/// Bytes of the first character; one where there is none.
fn char_len(text: &[u8]) -> usize {
    text.utf8_chunks().next().map_or(1, |chunk| {
        chunk.valid().chars().next().map_or(1, char::len_utf8)
    })
}

const FNV_START: u32 = 0x811c_9dc5;

fn fnv1a(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

fn push_number(out: &mut Vec<u8>, number: u32) {
    let start = out.len();
    let mut rest = number;
    loop {
        out.push(b'0' + (rest % 10) as u8);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out[start..].reverse();
}

/// What a subject is made of; `None` for none.
struct Shape {
    tokens: usize,
    /// Places of `*`.
    wildcards: Vec<usize>,
    full: bool,
}

impl Shape {
    fn of(subject: &str) -> Option<Self> {
        let mut shape = Self {
            tokens: 0,
            wildcards: Vec::new(),
            full: false,
        };
        for token in subject.split('.') {
            if token.is_empty() || shape.full {
                return None;
            }
            match token {
                "*" => shape.wildcards.push(shape.tokens),
                ">" => shape.full = true,
                _ => {}
            }
            shape.tokens += 1;
        }
        Some(shape)
    }
}

fn placeholder(token: &str) -> Result<Placeholder, TransformError> {
    if let Some(digits) = token.strip_prefix('$')
        && !digits.is_empty()
    {
        return Ok(integer(digits).map_or(Placeholder::None, Placeholder::Wildcard));
    }
    if !is_function(token) {
        return Ok(Placeholder::None);
    }
    let error = |what| TransformError::token(what, token);
    let Some((name, arguments)) = call(token) else {
        return Err(error(TransformError::UNKNOWN));
    };
    let arguments = comma_separated(arguments);
    let number = |text: &str| {
        integer(text.trim_matches(' ')).ok_or_else(|| error(TransformError::INVALID_ARGUMENT))
    };
    let count = |text: &str| {
        let count = number(text)?;
        if count > i64::from(i32::MAX) {
            return Err(error(TransformError::INVALID_ARGUMENT));
        }
        Ok(count)
    };
    let cut = |cut: Cut| match &arguments[..] {
        [index, at] => {
            let (index, at) = (number(index)?, number(at)?);
            if i32::try_from(at).is_err() {
                return Err(error(TransformError::INVALID_ARGUMENT));
            }
            Ok(Placeholder::Cut(cut, index, at))
        }
        [] | [_] => Err(error(TransformError::NOT_ENOUGH)),
        _ => Err(error(TransformError::TOO_MANY)),
    };
    match name {
        Function::Wildcard => match &arguments[..] {
            [""] => Err(error(TransformError::NOT_ENOUGH)),
            [index] => Ok(Placeholder::Wildcard(number(index)?)),
            _ => Err(error(TransformError::TOO_MANY)),
        },
        Function::Partition => {
            let (first, indices) = arguments.split_first().unwrap_or((&"", &[]));
            let count = count(first)?;
            let indices: Result<Vec<i64>, _> = indices.iter().map(|it| number(it)).collect();
            Ok(Placeholder::Partition(count, indices?))
        }
        Function::Cut(kind) => cut(kind),
        Function::Split => match &arguments[..] {
            [index, delimiter] => {
                let index = number(index)?;
                if delimiter.contains([' ', '.']) {
                    return Err(error(TransformError::INVALID_ARGUMENT));
                }
                Ok(Placeholder::Split(index, (*delimiter).to_owned()))
            }
            [] | [_] => Err(error(TransformError::NOT_ENOUGH)),
            _ => Err(error(TransformError::TOO_MANY)),
        },
        Function::Random => match &arguments[..] {
            [max] => Ok(Placeholder::Random(count(max)?)),
            _ => Err(error(TransformError::NOT_ENOUGH)),
        },
    }
}

/// Does it look like a function?
pub(super) fn is_function(token: &str) -> bool {
    token.len() > 4 && token.starts_with("{{") && token.ends_with("}}")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Wildcard,
    Partition,
    Cut(Cut),
    Split,
    Random,
}

/// Names as they are looked for; a capital letter may be a small one too.
const FUNCTIONS: [(&str, Function); 10] = [
    ("Wildcard", Function::Wildcard),
    ("Partition", Function::Partition),
    ("SplitFromLeft", Function::Cut(Cut::InTwoFromLeft)),
    ("SplitFromRight", Function::Cut(Cut::InTwoFromRight)),
    ("SliceFromLeft", Function::Cut(Cut::SlicesFromLeft)),
    ("SliceFromRight", Function::Cut(Cut::SlicesFromRight)),
    ("Right", Function::Cut(Cut::KeepRight)),
    ("Left", Function::Cut(Cut::KeepLeft)),
    ("Split", Function::Split),
    ("Random", Function::Random),
];

/// Name and arguments of `{{name(arguments)}}`, with blanks as one likes.
fn call(token: &str) -> Option<(Function, &str)> {
    let inner = token.strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let (name, rest) = inner.split_at(inner.find(|it: char| !it.is_ascii_alphabetic())?);
    let arguments = rest.trim_start().strip_prefix('(')?.strip_suffix(')')?;
    let same = |known: &str| {
        known.len() == name.len()
            && known.bytes().zip(name.bytes()).all(|(known, given)| {
                known == given
                    || (known.is_ascii_uppercase() && known.to_ascii_lowercase() == given)
            })
    };
    let found = FUNCTIONS.iter().find(|(known, _)| same(known));
    found.map(|&(_, function)| (function, arguments))
}

/// Arguments between commas, blanks after a comma left out.
fn comma_separated(text: &str) -> Vec<&str> {
    let mut arguments = text.split(',');
    let first = arguments.next().into_iter();
    first.chain(arguments.map(str::trim_start)).collect()
}

/// A number as Go reads it.
fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// The source with numbers for wildcards: `a.*.*` is `a.$1.$2`.
pub fn numbered(subject: &str) -> String {
    let mut number = 0;
    let token = |token: &str| {
        if token == "*" {
            number += 1;
            format!("${number}")
        } else {
            token.to_owned()
        }
    };
    let all: Vec<String> = subject.split('.').map(token).collect();
    all.join(".")
}

/// The opposite: `a.$2.{{wildcard(1)}}` is `a.*.*`; and the placeholders, in their order.
pub fn unnumbered(subject: &str) -> (String, Vec<String>) {
    let mut placeholders = Vec::new();
    let is_placeholder = |token: &str| {
        let old = token
            .strip_prefix('$')
            .is_some_and(|rest| rest.starts_with(|it: char| matches!(it, '1'..='9')));
        let new = is_function(token)
            && call(token).is_some_and(|(function, arguments)| {
                function == Function::Wildcard && !arguments.is_empty() && !arguments.contains(',')
            });
        old || new
    };
    let tokens: Vec<&str> = subject
        .split('.')
        .map(|token| {
            if is_placeholder(token) {
                placeholders.push(token.to_owned());
                "*"
            } else {
                token
            }
        })
        .collect();
    (tokens.join("."), placeholders)
}

#[cfg(test)]
#[path = "transform_tests.rs"]
mod tests;

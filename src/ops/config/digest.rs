//! Fingerprint of a configuration: the same for the same values, however they are written
//! (CFG-86).
//!
//! It is shown beside stock's and compared with it, so the bytes hashed are exactly those of Go's
//! JSON encoder: keys sorted by their bytes, `<`, `>` and `&` escaped, bytes that are not UTF-8
//! replaced, floats in Go's choice of form, a newline at the end.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::value::{Map, Node, Value};

/// `sha256:` and 64 hexadecimal digits.
pub fn digest(map: &Map) -> String {
    let mut hasher = Hasher(Sha256::new());
    hasher.map(map);
    hasher.0.update(b"\n");
    let mut text = "sha256:".to_owned();
    for byte in hasher.0.finalize() {
        // Writing to a string cannot fail.
        _ = write!(text, "{byte:02x}");
    }
    text
}

struct Hasher(Sha256);

impl Hasher {
    fn put(&mut self, text: &str) {
        self.0.update(text.as_bytes());
    }

    fn map(&mut self, map: &Map) {
        let mut entries: Vec<(&[u8], &Value)> = map.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        self.put("{");
        for (index, (key, value)) in entries.into_iter().enumerate() {
            if index > 0 {
                self.put(",");
            }
            self.string(key);
            self.put(":");
            self.node(&value.node);
        }
        self.put("}");
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::String(bytes) => self.string(bytes),
            Node::Integer(number) => self.put(&number.to_string()),
            Node::Float(number) => self.put(&float(*number)),
            Node::Bool(flag) => self.put(if *flag { "true" } else { "false" }),
            Node::Datetime(text) => {
                self.put("\"");
                self.put(text);
                self.put("\"");
            }
            Node::Array(values) => {
                self.put("[");
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        self.put(",");
                    }
                    self.node(&value.node);
                }
                self.put("]");
            }
            Node::Map(map) => self.map(map),
        }
    }

    fn string(&mut self, bytes: &[u8]) {
        self.put("\"");
        let mut buffer = String::new();
        for chunk in bytes.utf8_chunks() {
            buffer.clear();
            for character in chunk.valid().chars() {
                escape(character, &mut buffer);
            }
            // Go replaces byte by byte.
            for _ in chunk.invalid() {
                buffer.push(char::REPLACEMENT_CHARACTER);
            }
            self.put(&buffer);
        }
        self.put("\"");
    }
}

fn escape(character: char, out: &mut String) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
            _ = write!(out, "\\u{:04x}", character as u32);
        }
        other => out.push(other),
    }
}

/// Shortest digits that read back the same; exponents below -6 and from 21 on.
fn float(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        return match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                format!("{digits}e+{exponent}")
            }
            _ => text,
        };
    }
    number.to_string()
}

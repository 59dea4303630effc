//! JSON's syntax, with the words and offsets stock uses for what is wrong (JS-3).

use std::borrow::Cow;
use std::fmt::Write as _;

/// How deep arrays and objects may be nested. Stock stops at 10000; nothing a request may hold
/// needs more than a handful, and reading is recursive.
const DEPTH_MAX: usize = 128;

/// A JSON value. Numbers and whatever else is shown in errors keep their text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value<'a> {
    /// The value's own bytes.
    pub raw: &'a [u8],
    pub kind: Kind<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

/// Why it is no JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// What is wrong.
    pub text: String,
    /// Bytes up to and with what is wrong; none where the text just ends.
    pub offset: Option<usize>,
}

/// Reads the value at the front of `bytes[*at..]` and moves `at` behind it; `None` if only blanks
/// are left.
pub(super) fn next_value<'a>(
    bytes: &'a [u8],
    at: &mut usize,
) -> Result<Option<Value<'a>>, SyntaxError> {
    let mut scanner = Scanner { bytes, at: *at };
    if scanner.peek().is_none() {
        return Ok(None);
    }
    let value = scanner.value(0)?;
    *at = scanner.at;
    Ok(Some(value))
}

/// Reads the one value that is all of `bytes`; says what is wrong without places, as stock does
/// where it reads so.
pub(super) fn only_value(bytes: &[u8]) -> Result<Value<'_>, SyntaxError> {
    let mut scanner = Scanner { bytes, at: 0 };
    let value = scanner.value(0).and_then(|value| match scanner.peek() {
        None => Ok(value),
        Some(_) => Err(scanner.unexpected("after top-level value")),
    });
    value.map_err(|error| match error.offset {
        Some(_) => SyntaxError {
            offset: None,
            ..error
        },
        None => SyntaxError {
            text: "unexpected end of JSON input".to_owned(),
            offset: None,
        },
    })
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// The next byte that is no blank, not taken.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.bytes.get(self.at) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, SyntaxError> {
        if depth > DEPTH_MAX {
            return Err(SyntaxError {
                text: "exceeded max depth".to_owned(),
                offset: Some(self.at),
            });
        }
        let first = self.peek();
        let start = self.at;
        let kind = match first {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Kind::String(self.string()?),
            Some(b't') => self.literal("true", Kind::Bool(true))?,
            Some(b'f') => self.literal("false", Kind::Bool(false))?,
            Some(b'n') => self.literal("null", Kind::Null)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => return Err(self.unexpected("looking for beginning of value")),
        };
        let raw = self.bytes.get(start..self.at).unwrap_or_default();
        Ok(Value { raw, kind })
    }

    fn object(&mut self, depth: usize) -> Result<Kind<'a>, SyntaxError> {
        self.at += 1;
        let mut fields = Vec::new();
        if self.take_if(b'}') {
            return Ok(Kind::Object(fields));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("looking for beginning of object key string"));
            }
            let key = self.string()?;
            if !self.take_if(b':') {
                return Err(self.unexpected("after object key"));
            }
            fields.push((key, self.value(depth + 1)?));
            if self.take_if(b'}') {
                return Ok(Kind::Object(fields));
            }
            if !self.take_if(b',') {
                return Err(self.unexpected("after object key:value pair"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Kind<'a>, SyntaxError> {
        self.at += 1;
        let mut elements = Vec::new();
        if self.take_if(b']') {
            return Ok(Kind::Array(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            if self.take_if(b']') {
                return Ok(Kind::Array(elements));
            }
            if !self.take_if(b',') {
                return Err(self.unexpected("after array element"));
            }
        }
    }

    fn take_if(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn literal(&mut self, word: &'static str, kind: Kind<'a>) -> Result<Kind<'a>, SyntaxError> {
        for expected in word.bytes() {
            if self.bytes.get(self.at) != Some(&expected) {
                let expected = char::from(expected);
                return Err(self.unexpected(&format!("in literal {word} (expecting '{expected}')")));
            }
            self.at += 1;
        }
        Ok(kind)
    }

    fn digits(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.unexpected("in numeric literal"));
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Kind<'a>, SyntaxError> {
        let start = self.at;
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if self.bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = self.bytes.get(start..self.at).unwrap_or_default();
        Ok(Kind::Number(std::str::from_utf8(text).unwrap_or_default()))
    }

    /// A string from its first quote to its last. Bytes that are no UTF-8 and halves of surrogate
    /// pairs become U+FFFD.
    fn string(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        self.at += 1;
        let start = self.at;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => {
                    let plain = self.bytes.get(start..self.at).unwrap_or_default();
                    self.at += 1;
                    return Ok(String::from_utf8_lossy(plain));
                }
                b'\\' => return self.escaped(start).map(Cow::Owned),
                0..=0x1f => return Err(self.unexpected("in string")),
                _ => self.at += 1,
            }
        }
        Err(self.ended())
    }

    /// The same from its first escape on.
    fn escaped(&mut self, start: usize) -> Result<String, SyntaxError> {
        let mut text = Vec::from(self.bytes.get(start..self.at).unwrap_or_default());
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => {
                    self.at += 1;
                    return Ok(String::from_utf8_lossy(&text).into_owned());
                }
                b'\\' => {
                    let character = self.escape()?;
                    let mut utf8 = [0; 4];
                    text.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
                }
                0..=0x1f => return Err(self.unexpected("in string")),
                _ => {
                    text.push(byte);
                    self.at += 1;
                }
            }
        }
        Err(self.ended())
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        let start = self.at;
        let character = match self.bytes.get(start + 1) {
            None => return Err(self.ended()),
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let high = self.unit(start)?;
                self.at += 6;
                if !(0xd800..0xdc00).contains(&high) {
                    return Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                let low = match self.bytes.get(self.at..self.at + 2) {
                    Some(b"\\u") => self.unit(self.at)?,
                    _ => 0,
                };
                if !(0xdc00..0xe000).contains(&low) {
                    return Ok(char::REPLACEMENT_CHARACTER);
                }
                self.at += 6;
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(_) => return Err(self.invalid_escape(start, 2)),
        };
        self.at += 2;
        Ok(character)
    }

    /// Four hexadecimal digits of the `\u` at `start`.
    fn unit(&self, start: usize) -> Result<u32, SyntaxError> {
        let Some(digits) = self.bytes.get(start + 2..start + 6) else {
            return Err(self.ended());
        };
        digits.iter().try_fold(0, |sum, &digit| {
            let digit = char::from(digit).to_digit(16);
            digit
                .map(|digit| sum * 16 + digit)
                .ok_or_else(|| self.invalid_escape(start, 6))
        })
    }

    fn invalid_escape(&self, start: usize, length: usize) -> SyntaxError {
        let sequence = self.bytes.get(start..start + length).unwrap_or_default();
        SyntaxError {
            text: format!(
                "invalid escape sequence `{}` in string",
                String::from_utf8_lossy(sequence)
            ),
            offset: Some(start + length),
        }
    }

    /// The character here stands where something else should.
    fn unexpected(&self, place: &str) -> SyntaxError {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(&first) = rest.first() else {
            return self.ended();
        };
        let mut text = String::from("invalid character ");
        let head = rest.get(..4).unwrap_or(rest);
        let character = head
            .utf8_chunks()
            .next()
            .and_then(|chunk| chunk.valid().chars().next());
        let length = character.map_or(1, char::len_utf8);
        match character {
            Some('\'') => text.push_str("'\\''"),
            Some('"') => text.push_str("'\"'"),
            Some('\u{feff}') => text.push_str("'\\ufeff'"),
            Some('\n') => text.push_str("'\\n'"),
            Some('\r') => text.push_str("'\\r'"),
            Some('\t') => text.push_str("'\\t'"),
            Some(shown) if !shown.is_control() => {
                let _ = write!(text, "'{shown}'");
            }
            _ => {
                let _ = write!(text, "'\\x{first:02x}'");
            }
        }
        let _ = write!(text, " {place}");
        SyntaxError {
            text,
            offset: Some(self.at + length),
        }
    }

    fn ended(&self) -> SyntaxError {
        SyntaxError {
            text: "unexpected EOF".to_owned(),
            offset: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts seen at stock, with what it added for the offset.
    #[test]
    fn what_is_wrong_is_said_as_stock_says_it() {
        let cases: &[(&[u8], &str)] = &[
            (
                b"x",
                "invalid character 'x' looking for beginning of value at offset 1",
            ),
            (
                b"{\"name\":A}",
                "invalid character 'A' looking for beginning of value at offset 9",
            ),
            (
                b"{name:\"A\"}",
                "invalid character 'n' looking for beginning of object key string at offset 2",
            ),
            (
                b"{\"name\":\"A\",}",
                "invalid character '}' looking for beginning of object key string at offset 13",
            ),
            (
                b"{\"name\" \"A\"}",
                "invalid character '\"' after object key at offset 9",
            ),
            (
                b"{\"name\":\"\x01A\"}",
                "invalid character '\\x01' in string at offset 10",
            ),
            (
                b"{\"name\":\"A\n\"}",
                "invalid character '\\n' in string at offset 11",
            ),
            (
                b"{\"name\":\"A\",\"max_msgs\":01}",
                "invalid character '1' after object key:value pair at offset 25",
            ),
            (
                b"{\"name\":\"A\",\"max_msgs\":-}",
                "invalid character '}' in numeric literal at offset 25",
            ),
            (
                b"{\"name\":\"A\",\"max_msgs\":tru}",
                "invalid character '}' in literal true (expecting 'e') at offset 27",
            ),
            (
                b"{\"name\":\"\\z\"}",
                "invalid escape sequence `\\z` in string at offset 11",
            ),
            (
                b"{\"name\":\"\\u12g4\"}",
                "invalid escape sequence `\\u12g4` in string at offset 15",
            ),
            (
                b"{\"name\":1e+x}",
                "invalid character 'x' in numeric literal at offset 12",
            ),
            (
                b"{\"subjects\":[1 2]}",
                "invalid character '2' after array element at offset 16",
            ),
            (
                b"{\"name\":\xc3\xa9}",
                "invalid character '\u{e9}' looking for beginning of value at offset 10",
            ),
            (
                b"{\"name\":\xff}",
                "invalid character '\\xff' looking for beginning of value at offset 9",
            ),
            (
                b"\xef\xbb\xbf{}",
                "invalid character '\\ufeff' looking for beginning of value at offset 3",
            ),
            (
                b"{'name':1}",
                "invalid character '\\'' looking for beginning of object key string at offset 2",
            ),
            (b"{\"name\":", "unexpected EOF"),
            (b"{\"name\":\"A", "unexpected EOF"),
            (b"{\"na", "unexpected EOF"),
            (b"{", "unexpected EOF"),
            (b"nul", "unexpected EOF"),
            (b"\"\\", "unexpected EOF"),
            (b"\"\\u12", "unexpected EOF"),
        ];
        for (text, expected) in cases {
            let error = next_value(text, &mut 0).expect_err(expected);
            let shown = match error.offset {
                Some(offset) => format!("{} at offset {offset}", error.text),
                None => error.text,
            };
            assert_eq!(&shown, expected);
        }
    }

    #[test]
    fn values_are_what_they_say() {
        let text = br#" {"a":[1,-2.5e+3,true,false,null],"b\u00e9\ud83d\ude00":"\ud800x\n" } 5"#;
        let mut at = 0;
        let value = next_value(text, &mut at).expect("JSON").expect("a value");
        let Kind::Object(fields) = &value.kind else {
            panic!("an object");
        };
        assert_eq!(fields[0].1.raw, b"[1,-2.5e+3,true,false,null]");
        assert_eq!(fields[1].0, "b\u{e9}\u{1f600}");
        assert_eq!(fields[1].1.kind, Kind::String("\u{fffd}x\n".into()));
        let second = next_value(text, &mut at).expect("JSON").expect("a value");
        assert_eq!(second.kind, Kind::Number("5"));
        assert_eq!(next_value(text, &mut at), Ok(None));
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(100_000);
        let error = next_value(deep.as_bytes(), &mut 0).expect_err("too deep");
        assert_eq!(error.text, "exceeded max depth");
    }
}

//! JSON as a client may write it, read the way Go's `encoding/json` reads it into a struct, since
//! clients of every age depend on what that lets pass: keys match without case, `null` changes
//! nothing, unknown keys are skipped, the last of several equal keys wins, text that is no UTF-8
//! becomes U+FFFD, while a value of the wrong type or anything after the value is an error.

use std::borrow::Cow;

/// Go's bound on nested arrays and objects.
const DEPTH_MAX: usize = 10_000;

/// The text is no JSON, or not of the shape asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unacceptable JSON")]
pub struct JsonError;

/// Reads values off the front of a text. Every method that reads a value gives `None` for `null`.
#[derive(Debug)]
pub struct JsonReader<'a> {
    rest: &'a [u8],
}

impl<'a> JsonReader<'a> {
    /// Begins at the first byte of `text`.
    pub const fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    /// Ends the text: only blanks may follow.
    ///
    /// # Errors
    /// [`JsonError`] if anything else follows.
    pub fn end(mut self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(JsonError),
        }
    }

    /// Reads an object, calling `field` for each of its keys, which must read or skip the value.
    /// Keys come in lower case, folded as Go folds them to compare. `null` has no keys.
    ///
    /// # Errors
    /// [`JsonError`] for another type of value or broken syntax, or what `field` fails with.
    pub fn object(
        &mut self,
        mut field: impl FnMut(&mut Self, &str) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        if self.null()? {
            return Ok(());
        }
        self.expect(b'{')?;
        if self.take_if(b'}') {
            return Ok(());
        }
        loop {
            let key = self.text()?;
            self.expect(b':')?;
            field(self, &fold(&key))?;
            if self.take_if(b'}') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// Reads an array, calling `element` for each of its values. `null` has none.
    ///
    /// # Errors
    /// As [`object`](Self::object).
    pub fn array(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        if self.null()? {
            return Ok(());
        }
        self.expect(b'[')?;
        if self.take_if(b']') {
            return Ok(());
        }
        loop {
            element(self)?;
            if self.take_if(b']') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// Reads a string.
    ///
    /// # Errors
    /// [`JsonError`] for another type of value or broken syntax.
    pub fn string(&mut self) -> Result<Option<String>, JsonError> {
        if self.null()? {
            return Ok(None);
        }
        self.text().map(|text| Some(text.into_owned()))
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// [`JsonError`] for another type of value.
    pub fn bool(&mut self) -> Result<Option<bool>, JsonError> {
        match self.peek() {
            Some(b't') => self.literal(b"true").map(|()| Some(true)),
            Some(b'f') => self.literal(b"false").map(|()| Some(false)),
            _ => self.literal(b"null").map(|()| None),
        }
    }

    /// Reads a whole number written without fraction and exponent, even if those would be void.
    ///
    /// # Errors
    /// [`JsonError`] for another type of value, or a number out of `N`'s range.
    pub fn integer<N: std::str::FromStr>(&mut self) -> Result<Option<N>, JsonError> {
        if self.null()? {
            return Ok(None);
        }
        let number = str::from_utf8(self.number()?).map_err(|_| JsonError)?;
        number.parse().map(Some).map_err(|_| JsonError)
    }

    /// Passes over a value of any type.
    ///
    /// # Errors
    /// [`JsonError`] for broken syntax.
    pub fn skip(&mut self) -> Result<(), JsonError> {
        // The closing brackets waited for: a stack of our own, as the peer chooses its depth.
        let mut open = Vec::new();
        loop {
            match self.peek().ok_or(JsonError)? {
                bracket @ (b'{' | b'[') => {
                    // One below Go's bound: a skipped value lies within an object.
                    if open.len() + 1 >= DEPTH_MAX {
                        return Err(JsonError);
                    }
                    self.expect(bracket)?;
                    let close = if bracket == b'{' { b'}' } else { b']' };
                    if !self.take_if(close) {
                        open.push(close);
                        self.key_if(close)?;
                        continue;
                    }
                }
                b'"' => drop(self.text()?),
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                _ => drop(self.number()?),
            }
            while let Some(&close) = open.last() {
                if self.take_if(close) {
                    open.pop();
                } else {
                    self.expect(b',')?;
                    self.key_if(close)?;
                    break;
                }
            }
            if open.is_empty() {
                return Ok(());
            }
        }
    }

    /// Inside an object, a key and its colon stand before the next value.
    fn key_if(&mut self, close: u8) -> Result<(), JsonError> {
        if close == b'}' {
            self.text()?;
            self.expect(b':')?;
        }
        Ok(())
    }

    /// The next byte that is no blank, not taken.
    fn peek(&mut self) -> Option<u8> {
        while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = self.rest {
            self.rest = rest;
        }
        self.rest.first().copied()
    }

    fn take_if(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.take_if(byte) {
            Ok(())
        } else {
            Err(JsonError)
        }
    }

    pub(super) fn null(&mut self) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b'n') => self.literal(b"null").map(|()| true),
            _ => Ok(false),
        }
    }

    fn literal(&mut self, text: &[u8]) -> Result<(), JsonError> {
        self.rest = self.rest.strip_prefix(text).ok_or(JsonError)?;
        Ok(())
    }

    /// The text of a number after JSON's grammar.
    fn number(&mut self) -> Result<&'a [u8], JsonError> {
        self.peek();
        let start = self.rest;
        let at = |index: usize| start.get(index).copied();
        let digits = |from: usize| {
            let count = start[from..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            if count == 0 {
                Err(JsonError)
            } else {
                Ok(from + count)
            }
        };
        let mut end = usize::from(at(0) == Some(b'-'));
        end = if at(end) == Some(b'0') {
            end + 1
        } else {
            digits(end)?
        };
        if at(end) == Some(b'.') {
            end = digits(end + 1)?;
        }
        if let Some(b'e' | b'E') = at(end) {
            let signed = matches!(at(end + 1), Some(b'+' | b'-'));
            end = digits(end + 1 + usize::from(signed))?;
        }
        let (number, rest) = start.split_at(end);
        self.rest = rest;
        Ok(number)
    }

    /// A string, unescaped.
    fn text(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.expect(b'"')?;
        let start = self.rest;
        let plain = start
            .iter()
            .position(|&byte| matches!(byte, b'"' | b'\\' | 0..0x20))
            .ok_or(JsonError)?;
        let mut text = String::from_utf8_lossy(&start[..plain]);
        self.rest = &start[plain..];
        loop {
            match self.rest {
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return Ok(text);
                }
                [b'\\', ..] => text.to_mut().push(self.escape()?),
                [0x20..=0xff, ..] => {
                    let plain = self.rest.iter();
                    let plain = plain.take_while(|&&byte| !matches!(byte, b'"' | b'\\' | 0..0x20));
                    let (plain, rest) = self.rest.split_at(plain.count());
                    text.to_mut().push_str(&String::from_utf8_lossy(plain));
                    self.rest = rest;
                }
                _ => return Err(JsonError),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let [b'\\', kind, rest @ ..] = self.rest else {
            return Err(JsonError);
        };
        if *kind == b'u' {
            let (code, rest) = escaped_unit(self.rest).ok_or(JsonError)?;
            self.rest = rest;
            // Half of a pair alone is U+FFFD, and what follows it stands for itself.
            if let 0xd800..0xdc00 = code
                && let Some((low @ 0xdc00..0xe000, rest)) = escaped_unit(rest)
            {
                self.rest = rest;
                let code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        self.rest = rest;
        Ok(match kind {
            b'"' | b'\\' | b'/' => char::from(*kind),
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            _ => return Err(JsonError),
        })
    }
}

/// `\uXXXX` at the front.
fn escaped_unit(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.strip_prefix(b"\\u")?.split_first_chunk::<4>()?;
    let mut code = 0;
    for &digit in digits {
        code = code * 16 + char::from(digit).to_digit(16)?;
    }
    Some((code, rest))
}

/// Lower case for comparing with an ASCII name, as Go folds keys: two characters outside ASCII fold into it.
pub fn fold(key: &str) -> String {
    key.chars()
        .map(|character| match character {
            'ſ' => 's',
            '\u{212a}' => 'k',
            other => other.to_ascii_lowercase(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_what_is_json_and_nothing_else() {
        let check = |text: &[u8], expected: bool| {
            let mut reader = JsonReader::new(text);
            let ok = reader.skip().and_then(|()| reader.end()).is_ok();
            assert_eq!(ok, expected, "{}", String::from_utf8_lossy(text));
        };
        for good in [
            "null",
            " {} ",
            "[]",
            "[1,-0,0.5,1e9,-1.25E-3]",
            r#"{"a":[{"b":{}},[[]]],"c":"d"}"#,
            r#""\u00e9\"\\\/\b\f\n\r\t""#,
            "\"\u{7f}é\"",
            "[true,false,null]\r\n",
        ] {
            check(good.as_bytes(), true);
        }
        for bad in [
            "",
            "{",
            "[",
            "]",
            "{]",
            "[}",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "-",
            "nul",
            "nullx",
            "tru",
            "\"",
            "\"\\",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\t\"",
            "[] []",
            "{} xx",
            "'a'",
            "{,}",
            "[,]",
            "{\"a\" 1}",
            "\u{feff}{}",
        ] {
            check(bad.as_bytes(), false);
        }
        check(b"\"\xff\"", true);
        check(&[&[b'['; 9_999][..], &[b']'; 9_999][..]].concat(), true);
        check(&[&[b'['; 10_000][..], &[b']'; 10_000][..]].concat(), false);
    }

    #[test]
    fn strings_unescape_as_in_go() {
        let check = |text: &[u8], expected: &str| {
            assert_eq!(
                JsonReader::new(text).string(),
                Ok(Some(expected.to_owned()))
            );
        };
        check(br#""a\u0041\n""#, "aA\n");
        check(br#""\ud83c\udf89""#, "🎉");
        check(br#""\ud83cx\udf89""#, "\u{fffd}x\u{fffd}");
        check(br#""\ud83c\u0041""#, "\u{fffd}A");
        check(b"\"a\xffb\"", "a\u{fffd}b");
        assert_eq!(JsonReader::new(b" null").string(), Ok(None));
        assert_eq!(JsonReader::new(b"7").string(), Err(JsonError));
    }

    #[test]
    fn integers_are_whole_and_in_range() {
        let check = |text: &str, expected| {
            assert_eq!(
                JsonReader::new(text.as_bytes()).integer::<i64>(),
                expected,
                "{text}"
            );
        };
        check("1", Ok(Some(1)));
        check("-0", Ok(Some(0)));
        check("null", Ok(None));
        check("9223372036854775807", Ok(Some(i64::MAX)));
        check("9223372036854775808", Err(JsonError));
        check("1.0", Err(JsonError));
        check("1e0", Err(JsonError));
        check("\"1\"", Err(JsonError));
        check("true", Err(JsonError));
    }

    #[test]
    fn keys_fold() {
        let mut keys = Vec::new();
        let mut reader = JsonReader::new(r#"{"USER":1,"paſſ":2,"N\u212aey":3,"É":4}"#.as_bytes());
        let read = reader.object(|value, key| {
            keys.push(key.to_owned());
            value.skip()
        });
        assert_eq!(read, Ok(()));
        assert_eq!(keys, ["user", "pass", "nkey", "É"]);
    }
}

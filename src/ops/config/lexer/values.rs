//! Strings, numbers, dates, and what looks like one and is another.

use super::super::error::SyntaxError;
use super::{END, ItemKind, Lexer, State, Step};

/// How an escapable string ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum StringForm {
    Bare,
    DoubleQuoted,
}

impl Lexer<'_> {
    // Values.

    pub(super) fn value(&mut self) -> Step {
        match self.next() {
            ' ' | '\t' => {
                self.ignore();
                Ok(State::Value)
            }
            '[' => {
                self.descend()?;
                self.ignore();
                self.emit(ItemKind::ArrayStart);
                Ok(State::ArrayValue)
            }
            '{' => {
                self.descend()?;
                self.ignore();
                self.emit(ItemKind::MapStart);
                Ok(State::MapKey)
            }
            '\'' => {
                self.ignore();
                loop {
                    match self.next() {
                        '\'' => return self.close_quote(ItemKind::String),
                        END => return self.finish(),
                        _ => {}
                    }
                }
            }
            '"' => {
                self.ignore();
                self.string(StringForm::DoubleQuoted)
            }
            '-' => self.negative_number(),
            '(' => {
                self.ignore();
                self.block_string()
            }
            '0'..='9' => self.number(),
            '.' => Err(SyntaxError::FloatWithoutDigit),
            '\n' | '\r' => Err(SyntaxError::ValueOnNextLine),
            _ => {
                self.back();
                self.string(StringForm::Bare)
            }
        }
    }

    pub(super) fn string(&mut self, form: StringForm) -> Step {
        loop {
            match (self.next(), form) {
                ('\\', _) => self.escape()?,
                ('"', StringForm::DoubleQuoted) | ('\'', StringForm::Bare) => {
                    return self.close_quote(ItemKind::String);
                }
                (END, StringForm::DoubleQuoted) => return self.finish(),
                ('\n' | '\r' | END | ';' | ',' | ']' | '}' | ' ' | '\t', StringForm::Bare) => {
                    self.back();
                    self.emit_bare();
                    return self.resume();
                }
                _ => {}
            }
        }
    }

    /// A bare word is a boolean, a variable or a string; one with an escape is always a string.
    pub(super) fn emit_bare(&mut self) {
        let word = &self.input[self.start..self.pos];
        let kind = if self.resolved.is_some() {
            ItemKind::String
        } else if boolean(word).is_some() {
            ItemKind::Bool
        } else if self.input.get(self.start) == Some(&b'$') {
            self.start += 1;
            ItemKind::Variable
        } else {
            ItemKind::String
        };
        self.emit(kind);
    }

    /// The backslash was just taken.
    pub(super) fn escape(&mut self) -> Result<(), SyntaxError> {
        let before = &self.input[self.start..self.pos - 1];
        self.resolved
            .get_or_insert_default()
            .extend_from_slice(before);
        self.start = self.pos;
        let byte = match self.next() {
            'x' => self.hexadecimal()?,
            't' => b'\t',
            'n' => b'\n',
            'r' => b'\r',
            '"' => b'"',
            '\\' => b'\\',
            other => return Err(SyntaxError::Escape(other)),
        };
        self.resolved.get_or_insert_default().push(byte);
        self.start = self.pos;
        Ok(())
    }

    pub(super) fn hexadecimal(&mut self) -> Result<u8, SyntaxError> {
        for _ in 0..2 {
            if matches!(self.next(), '\n' | '\r') {
                return Err(SyntaxError::HexEndOfLine);
            }
        }
        // Two bytes, not two characters, as the text of the error shows them.
        let digits = &self.input[self.pos - 2..self.pos];
        str::from_utf8(digits)
            .ok()
            .filter(|it| it.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|it| u8::from_str_radix(it, 16).ok())
            .ok_or_else(|| SyntaxError::HexDigits(String::from_utf8_lossy(digits).into_owned()))
    }

    /// `( ... )`, where the closing parenthesis stands alone on its line.
    pub(super) fn block_string(&mut self) -> Step {
        loop {
            match self.next() {
                END => return Err(SyntaxError::EofInBlock),
                ')' if self.input.get(self.pos.wrapping_sub(2)) == Some(&b'\n') => {
                    match self.next() {
                        '\n' => {
                            self.back();
                            return self.close_block();
                        }
                        // At the very end of a file the parenthesis stays part of the string.
                        END if self.width == 0 => {
                            self.emit(ItemKind::String);
                            return self.resume();
                        }
                        END => {
                            self.back();
                            return self.close_block();
                        }
                        _ => self.back(),
                    }
                }
                _ => {}
            }
        }
    }

    /// Stands behind the closing parenthesis, one byte wide.
    pub(super) fn close_block(&mut self) -> Step {
        self.pos -= 1;
        self.emit(ItemKind::String);
        self.next();
        self.ignore();
        self.resume()
    }

    // Numbers, and what begins like one.

    /// The first digit was taken.
    pub(super) fn number(&mut self) -> Step {
        loop {
            match self.next() {
                '-' if self.pos - self.start == 5 => return self.datetime(),
                '-' => return Err(SyntaxError::DateForm),
                '0'..='9' => {}
                '.' => return self.float(),
                c if is_size_suffix(c) => return self.sized_number(),
                c if ends_number(c) => {
                    self.back();
                    self.emit(ItemKind::Integer);
                    return self.resume();
                }
                _ => return self.string(StringForm::Bare),
            }
        }
    }

    /// The minus sign was taken.
    pub(super) fn negative_number(&mut self) -> Step {
        match self.next() {
            '0'..='9' => {}
            '.' => return Err(SyntaxError::FloatStart),
            other => return Err(SyntaxError::Digit(other)),
        }
        loop {
            match self.next() {
                '0'..='9' => {}
                '.' => return self.float(),
                c if is_size_suffix(c) => return self.sized_number(),
                _ => {
                    self.back();
                    self.emit(ItemKind::Integer);
                    return self.resume();
                }
            }
        }
    }

    /// The first letter of a size suffix was taken; it may turn out to be a word (`30ms`).
    pub(super) fn sized_number(&mut self) -> Step {
        loop {
            match self.next() {
                'b' | 'B' | 'i' | 'I' => {}
                c if ends_number(c) => {
                    self.back();
                    self.emit(ItemKind::Integer);
                    return self.resume();
                }
                _ => {
                    self.back();
                    return self.string(StringForm::Bare);
                }
            }
        }
    }

    /// The dot was taken. A second dot makes it an address.
    pub(super) fn float(&mut self) -> Step {
        match self.next() {
            '0'..='9' => {}
            other => return Err(SyntaxError::FloatEnd(other)),
        }
        loop {
            match self.next() {
                '0'..='9' => {}
                '.' => break,
                _ => {
                    self.back();
                    self.emit(ItemKind::Float);
                    return self.resume();
                }
            }
        }
        while matches!(self.next(), '0'..='9' | '.' | ':' | '-') {}
        self.back();
        self.emit(ItemKind::String);
        self.resume()
    }

    /// `2006-` was taken.
    pub(super) fn datetime(&mut self) -> Step {
        for wanted in "00-00T00:00:00Z".chars() {
            let found = self.next();
            if wanted == '0' && !found.is_ascii_digit() {
                return Err(SyntaxError::DateDigit(found));
            }
            if wanted != '0' && wanted != found {
                return Err(SyntaxError::DateLetter { wanted, found });
            }
        }
        self.emit(ItemKind::Datetime);
        self.resume()
    }
}

/// The boolean a bare word stands for (CFG-5).
pub fn boolean(word: &[u8]) -> Option<bool> {
    let is = |text: &str| word.eq_ignore_ascii_case(text.as_bytes());
    if is("true") || is("yes") || is("on") {
        Some(true)
    } else if is("false") || is("no") || is("off") {
        Some(false)
    } else {
        None
    }
}

fn is_size_suffix(character: char) -> bool {
    matches!(
        character.to_ascii_lowercase(),
        'k' | 'm' | 'g' | 't' | 'p' | 'e'
    )
}

/// A closing bracket is not among these: stock reads `1]` as the beginning of a word.
fn ends_number(character: char) -> bool {
    matches!(character, '\n' | '\r' | END | '}' | ';' | ',' | ' ' | '\t')
}

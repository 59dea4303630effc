//! Bytes of a configuration file -> items, with the line and position stock reports (CFG-1..10).
//!
//! The grammar is more lenient in some corners than it looks, and stricter in others: an integer
//! may not stand directly before `]`, a NUL byte counts as the end of the input, and a wrapped top
//! level need not be closed. Files in the wild lean on these corners, and the digest (CFG-86) and
//! the error lines show them, so they are kept; tables in the tests name them.
//!
//! A position counts bytes from the newline that began the line, so the first column is 1, except
//! on the first line, where it is 0.

use std::collections::VecDeque;

use super::error::SyntaxError;

/// Nested maps, arrays and wrapping braces at most. Real files stay below ten; the bound keeps
/// recursion over the finished tree within any thread's stack.
pub const DEPTH_MAX: usize = 100;

/// What the lexer found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    /// End of the input.
    End,
    /// A key of the map that is open.
    Key,
    /// A string, escapes resolved.
    String,
    /// `true`, `false`, `yes`, `no`, `on`, `off` in any case.
    Bool,
    /// Digits and an optional size suffix.
    Integer,
    /// Digits, dot, digits.
    Float,
    /// `2006-01-02T15:04:05Z`.
    Datetime,
    /// `[`.
    ArrayStart,
    /// `]`.
    ArrayEnd,
    /// `{` of a value.
    MapStart,
    /// `}` of a value.
    MapEnd,
    /// Name behind a `$`.
    Variable,
    /// Path behind `include`.
    Include,
    /// A comment; its text is of no interest.
    Comment,
}

/// One item and where it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// Its bytes.
    pub text: Vec<u8>,
    /// Line, from 1.
    pub line: u32,
    /// Position in the line, see the module's text. Escapes shorten the text and move it.
    pub column: i64,
}

/// Where in the grammar the lexer stands between two items.
#[derive(Debug, Clone, Copy)]
enum State {
    Top,
    TopEnd,
    Wrapped,
    WrappedEnd,
    WrappedClose,
    Key,
    KeyEnd,
    Value,
    ArrayValue,
    ArrayNext,
    MapKey,
    MapKeyEnd,
    MapValue,
    MapNext,
    Finished,
}

/// How an escapable string ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StringForm {
    Bare,
    DoubleQuoted,
}

/// End of the input, as stock sees it: a NUL byte is the same.
const END: char = '\0';

/// Takes the items off the front of a file, one at a time.
pub struct Lexer<'a> {
    input: &'a [u8],
    /// First byte of the item being read.
    start: usize,
    pos: usize,
    /// Bytes of the character read last.
    width: usize,
    line: u32,
    /// Where the current line began, and where it had begun when the item did.
    line_start: usize,
    item_line_start: usize,
    state: State,
    /// States to return to after a value or a comment.
    returns: Vec<State>,
    /// Resolved beginning of a string with escapes.
    resolved: Option<Vec<u8>>,
    ready: VecDeque<Item>,
    depth: usize,
}

type Step = Result<State, SyntaxError>;

impl<'a> Lexer<'a> {
    /// Starts at the top level of a file.
    pub fn new(input: &'a [u8]) -> Self {
        Self {
            input,
            start: 0,
            pos: 0,
            width: 0,
            line: 1,
            line_start: 0,
            item_line_start: 0,
            state: State::Top,
            returns: Vec::new(),
            resolved: None,
            ready: VecDeque::new(),
            depth: 0,
        }
    }

    /// The next item; `End` for ever after the last.
    ///
    /// # Errors
    /// The line and what is wrong there; nothing may be taken after that.
    pub fn next_item(&mut self) -> Result<Item, (u32, SyntaxError)> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(item);
            }
            match self.step() {
                Ok(state) => self.state = state,
                Err(error) => return Err((self.line, error)),
            }
        }
    }

    fn step(&mut self) -> Step {
        match self.state {
            State::Top => self.top(),
            State::TopEnd => self.top_end(),
            State::Wrapped => self.wrapped(),
            State::WrappedEnd => self.wrapped_end(),
            State::WrappedClose => self.wrapped_close(),
            State::Key => self.key(),
            State::KeyEnd => self.key_end(),
            State::Value => self.value(),
            State::ArrayValue => self.array_value(),
            State::ArrayNext => self.array_next(),
            State::MapKey => self.map_key(),
            State::MapKeyEnd => self.map_key_end(),
            State::MapValue => self.map_value(),
            State::MapNext => self.map_next(),
            State::Finished => {
                self.emit(ItemKind::End);
                Ok(State::Finished)
            }
        }
    }

    // Characters.

    fn next(&mut self) -> char {
        let Some(&byte) = self.input.get(self.pos) else {
            self.width = 0;
            return END;
        };
        if byte == b'\n' {
            self.line += 1;
            self.line_start = self.pos;
        }
        let (character, width) = decode(&self.input[self.pos..]);
        self.width = width;
        self.pos += width;
        character
    }

    fn back(&mut self) {
        self.pos -= self.width;
        if self.input.get(self.pos) == Some(&b'\n') {
            self.line -= 1;
        }
    }

    fn peek(&mut self) -> char {
        let character = self.next();
        self.back();
        character
    }

    fn ignore(&mut self) {
        self.start = self.pos;
        self.item_line_start = self.line_start;
    }

    fn emit(&mut self, kind: ItemKind) {
        let mut text = self.resolved.take().unwrap_or_default();
        text.extend_from_slice(&self.input[self.start..self.pos]);
        self.ready.push_back(Item {
            kind,
            column: self.pos as i64 - self.item_line_start as i64 - text.len() as i64,
            line: self.line,
            text,
        });
        self.ignore();
    }

    fn finish(&mut self) -> Step {
        if self.pos > self.start {
            return Err(SyntaxError::UnexpectedEof);
        }
        self.emit(ItemKind::End);
        Ok(State::Finished)
    }

    fn resume(&mut self) -> Step {
        self.returns.pop().ok_or(SyntaxError::UnexpectedEof)
    }

    fn descend(&mut self) -> Result<(), SyntaxError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(SyntaxError::TooDeep);
        }
        Ok(())
    }

    /// Skips to the end of the line; the newline stays.
    fn comment(&mut self, next: State) -> Step {
        self.ignore();
        while !matches!(self.peek(), '\n' | '\r' | END) {
            self.next();
        }
        self.emit(ItemKind::Comment);
        Ok(next)
    }

    /// After a `/`: takes the second one, if it is there.
    fn second_slash(&mut self) -> bool {
        if self.next() == '/' {
            return true;
        }
        self.back();
        false
    }

    // Top level, plain and wrapped in braces.

    fn top(&mut self) -> Step {
        match self.next() {
            c if c.is_whitespace() => {
                self.ignore();
                Ok(State::Top)
            }
            '{' => {
                self.descend()?;
                self.returns.push(State::Top);
                self.ignore();
                Ok(State::Wrapped)
            }
            '#' => self.comment(State::Top),
            '/' if self.second_slash() => self.comment(State::Top),
            '/' => Err(SyntaxError::UnexpectedEof),
            END => self.finish(),
            _ => {
                self.back();
                self.returns.push(State::TopEnd);
                Ok(State::Key)
            }
        }
    }

    fn top_end(&mut self) -> Step {
        match self.next() {
            '#' => self.comment(State::Top),
            '/' if self.second_slash() => self.comment(State::Top),
            // A lone slash is skipped like a blank.
            '/' | ' ' | '\t' => Ok(State::TopEnd),
            '\n' | '\r' | END | ';' | ',' | '}' => {
                self.ignore();
                Ok(State::Top)
            }
            other => Err(SyntaxError::TopLevelEnd(other)),
        }
    }

    fn wrapped(&mut self) -> Step {
        match self.next() {
            c if c.is_whitespace() => {
                self.ignore();
                Ok(State::Wrapped)
            }
            '{' => {
                self.descend()?;
                self.returns.push(State::WrappedClose);
                self.ignore();
                Ok(State::Wrapped)
            }
            '}' => {
                self.depth -= 1;
                self.ignore();
                self.resume()
            }
            '#' => self.comment(State::Wrapped),
            '/' if self.second_slash() => self.comment(State::Wrapped),
            '/' => Err(SyntaxError::UnexpectedEof),
            END => self.finish(),
            _ => {
                self.back();
                self.returns.push(State::WrappedEnd);
                Ok(State::Key)
            }
        }
    }

    fn wrapped_end(&mut self) -> Step {
        match self.next() {
            '#' => self.comment(State::WrappedEnd),
            '/' if self.second_slash() => self.comment(State::WrappedEnd),
            '/' | ' ' | '\t' => Ok(State::WrappedEnd),
            '\n' | '\r' | ';' | ',' => {
                self.ignore();
                Ok(State::Wrapped)
            }
            '}' => {
                self.back();
                Ok(State::WrappedClose)
            }
            other => Err(SyntaxError::BlockValueEnd(other)),
        }
    }

    fn wrapped_close(&mut self) -> Step {
        match self.next() {
            '#' => self.comment(State::Wrapped),
            '/' if self.second_slash() => self.comment(State::Wrapped),
            '/' | ' ' | '\t' | '\n' | '\r' => Ok(State::WrappedClose),
            ';' | ',' => {
                self.ignore();
                Ok(State::Wrapped)
            }
            '}' => {
                self.depth -= 1;
                self.ignore();
                self.resume()
            }
            other => Err(SyntaxError::BlockEnd(other)),
        }
    }

    fn key(&mut self) -> Step {
        match self.peek() {
            c @ ('=' | ':') => Err(SyntaxError::KeySeparator(c)),
            c if c.is_whitespace() => {
                self.next();
                self.ignore();
                Ok(State::Key)
            }
            quote @ ('"' | '\'') => {
                self.next();
                self.ignore();
                loop {
                    match self.peek() {
                        c if c == quote => break,
                        END => return self.finish(),
                        _ => _ = self.next(),
                    }
                }
                self.quoted_key_end(State::KeyEnd)
            }
            _ => {
                self.ignore();
                self.next();
                self.bare_key(State::KeyEnd)
            }
        }
    }

    fn quoted_key_end(&mut self, next: State) -> Step {
        self.emit(ItemKind::Key);
        self.next();
        self.ignore();
        Ok(next)
    }

    fn bare_key(&mut self, next: State) -> Step {
        let in_map = matches!(next, State::MapKeyEnd);
        loop {
            match self.peek() {
                END if in_map => return Err(SyntaxError::EofInMapKey),
                c if c.is_whitespace() => {
                    let key = &self.input[self.start..self.pos];
                    if key.eq_ignore_ascii_case(b"include") {
                        self.ignore();
                        if in_map {
                            self.returns.push(State::MapNext);
                        }
                        return self.include();
                    }
                    break;
                }
                '=' | ':' | END => break,
                _ => _ = self.next(),
            }
        }
        self.emit(ItemKind::Key);
        Ok(next)
    }

    fn key_end(&mut self) -> Step {
        match self.next() {
            c if c.is_whitespace() => {
                self.ignore();
                Ok(State::KeyEnd)
            }
            '=' | ':' => {
                self.ignore();
                Ok(State::Value)
            }
            END => {
                self.emit(ItemKind::End);
                Ok(State::Finished)
            }
            _ => {
                self.back();
                Ok(State::Value)
            }
        }
    }

    // Includes.

    fn include(&mut self) -> Step {
        let first = loop {
            match self.next() {
                ' ' | '\t' => self.ignore(),
                other => break other,
            }
        };
        let wrong = match first {
            quote @ ('"' | '\'') => return self.quoted_include(quote),
            '[' => "start of an array",
            '{' => "start of a map",
            '(' => "start of a block",
            '-' | '0'..='9' => "start of a number",
            '\\' => "escape sequence",
            '\n' | '\r' => "new line",
            _ => {
                self.back();
                return self.bare_include();
            }
        };
        Err(SyntaxError::IncludeValue(wrong))
    }

    fn quoted_include(&mut self, quote: char) -> Step {
        self.ignore();
        loop {
            match self.next() {
                c if c == quote => break,
                END if quote == '"' => return Err(SyntaxError::EofInDoubleQuotedInclude),
                END => return Err(SyntaxError::EofInQuotedInclude),
                _ => {}
            }
        }
        self.close_quote(ItemKind::Include)
    }

    fn bare_include(&mut self) -> Step {
        loop {
            match self.next() {
                '\n' | '\r' | END | ';' | '}' | ' ' | '\t' => {
                    self.back();
                    self.emit(ItemKind::Include);
                    return self.resume();
                }
                '\'' => return self.close_quote(ItemKind::Include),
                _ => {}
            }
        }
    }

    /// The quote was just taken: emits what stands before it.
    fn close_quote(&mut self, kind: ItemKind) -> Step {
        self.back();
        self.emit(kind);
        self.next();
        self.ignore();
        self.resume()
    }

    // Values.

    fn value(&mut self) -> Step {
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

    fn string(&mut self, form: StringForm) -> Step {
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
    fn emit_bare(&mut self) {
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
    fn escape(&mut self) -> Result<(), SyntaxError> {
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

    fn hexadecimal(&mut self) -> Result<u8, SyntaxError> {
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
    fn block_string(&mut self) -> Step {
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
    fn close_block(&mut self) -> Step {
        self.pos -= 1;
        self.emit(ItemKind::String);
        self.next();
        self.ignore();
        self.resume()
    }

    // Numbers, and what begins like one.

    /// The first digit was taken.
    fn number(&mut self) -> Step {
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
    fn negative_number(&mut self) -> Step {
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
    fn sized_number(&mut self) -> Step {
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
    fn float(&mut self) -> Step {
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
    fn datetime(&mut self) -> Step {
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

    // Arrays.

    fn array_value(&mut self) -> Step {
        match self.next() {
            c if c.is_whitespace() => {
                self.ignore();
                Ok(State::ArrayValue)
            }
            '#' => self.comment(State::ArrayValue),
            '/' if self.second_slash() => self.comment(State::ArrayValue),
            '/' | ',' => Err(SyntaxError::ArrayTerminator),
            ']' => self.array_end(),
            _ => {
                self.back();
                self.returns.push(State::ArrayNext);
                Ok(State::Value)
            }
        }
    }

    fn array_next(&mut self) -> Step {
        match self.next() {
            ' ' | '\t' => {
                self.ignore();
                Ok(State::ArrayNext)
            }
            '#' => self.comment(State::ArrayNext),
            '/' if self.second_slash() => self.comment(State::ArrayNext),
            '/' | ',' | '\n' | '\r' => {
                self.ignore();
                Ok(State::ArrayValue)
            }
            ']' => self.array_end(),
            other => Err(SyntaxError::ArrayNext(other)),
        }
    }

    fn array_end(&mut self) -> Step {
        self.depth -= 1;
        self.ignore();
        self.emit(ItemKind::ArrayEnd);
        self.resume()
    }

    // Maps.

    fn map_key(&mut self) -> Step {
        match self.peek() {
            c @ ('=' | ':') => return Err(SyntaxError::MapKeySeparator(c)),
            ']' => return Err(SyntaxError::MapArrayEnd),
            c if c.is_whitespace() => {
                self.next();
                self.ignore();
                return Ok(State::MapKey);
            }
            '}' => {
                self.next();
                return self.map_end();
            }
            '#' => {
                self.next();
                return self.comment(State::MapKey);
            }
            '/' => {
                self.next();
                if self.second_slash() {
                    return self.comment(State::MapKey);
                }
                // A lone slash before a key is dropped.
            }
            quote @ ('"' | '\'') => {
                self.next();
                self.ignore();
                loop {
                    match self.peek() {
                        END if quote == '"' => return Err(SyntaxError::EofInDoubleQuotedMapKey),
                        END => return Err(SyntaxError::EofInQuotedMapKey),
                        c if c == quote => break,
                        _ => _ = self.next(),
                    }
                }
                return self.quoted_key_end(State::MapKeyEnd);
            }
            END => return Err(SyntaxError::EofInMap),
            _ => {}
        }
        self.ignore();
        self.next();
        self.bare_key(State::MapKeyEnd)
    }

    fn map_key_end(&mut self) -> Step {
        match self.next() {
            c if c.is_whitespace() => {
                self.ignore();
                Ok(State::MapKeyEnd)
            }
            '=' | ':' => {
                self.ignore();
                Ok(State::MapValue)
            }
            _ => {
                self.back();
                Ok(State::MapValue)
            }
        }
    }

    fn map_value(&mut self) -> Step {
        match self.next() {
            c if c.is_whitespace() => {
                self.ignore();
                Ok(State::MapValue)
            }
            ',' => Err(SyntaxError::MapTerminator),
            '}' => self.map_end(),
            _ => {
                self.back();
                self.returns.push(State::MapNext);
                Ok(State::Value)
            }
        }
    }

    fn map_next(&mut self) -> Step {
        match self.next() {
            ' ' | '\t' => {
                self.ignore();
                Ok(State::MapNext)
            }
            '#' => self.comment(State::MapNext),
            '/' if self.second_slash() => self.comment(State::MapNext),
            '/' | ';' | ',' | '\n' | '\r' => {
                self.ignore();
                Ok(State::MapKey)
            }
            '}' => self.map_end(),
            other => Err(SyntaxError::MapNext(other)),
        }
    }

    fn map_end(&mut self) -> Step {
        self.depth -= 1;
        self.ignore();
        self.emit(ItemKind::MapEnd);
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

/// First character of `input`, which is not empty, and its bytes; U+FFFD and 1 where they are not
/// UTF-8.
fn decode(input: &[u8]) -> (char, usize) {
    let width = match input[0] {
        first @ 0..0x80 => return (char::from(first), 1),
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    input
        .get(..width)
        .and_then(|bytes| str::from_utf8(bytes).ok())
        .and_then(|text| text.chars().next())
        .map_or((char::REPLACEMENT_CHARACTER, 1), |found| (found, width))
}

//! Bytes of a configuration file -> items, with the line and position stock reports (CFG-1..10).
//!
//! The grammar is more lenient in some corners than it looks, and stricter in others: an integer
//! may not stand directly before `]`, a NUL byte counts as the end of the input, and a wrapped top
//! level need not be closed. Files in the wild lean on these corners, and the digest (CFG-86) and
//! the error lines show them, so they are kept; tables in the tests name them.
//!
//! A position counts bytes from the newline that began the line, so the first column is 1, except
//! on the first line, where it is 0.

mod structure;
mod values;

use std::collections::VecDeque;

pub use values::boolean;

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

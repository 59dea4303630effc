//! Keys, separators and brackets: what stands around values.

use super::super::error::SyntaxError;
use super::{END, ItemKind, Lexer, State, Step};

impl Lexer<'_> {
    // Top level, plain and wrapped in braces.

    pub(super) fn top(&mut self) -> Step {
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

    pub(super) fn top_end(&mut self) -> Step {
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

    pub(super) fn wrapped(&mut self) -> Step {
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

    pub(super) fn wrapped_end(&mut self) -> Step {
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

    pub(super) fn wrapped_close(&mut self) -> Step {
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

    pub(super) fn key(&mut self) -> Step {
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

    pub(super) fn quoted_key_end(&mut self, next: State) -> Step {
        self.emit(ItemKind::Key);
        self.next();
        self.ignore();
        Ok(next)
    }

    pub(super) fn bare_key(&mut self, next: State) -> Step {
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

    pub(super) fn key_end(&mut self) -> Step {
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

    pub(super) fn include(&mut self) -> Step {
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

    pub(super) fn quoted_include(&mut self, quote: char) -> Step {
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

    pub(super) fn bare_include(&mut self) -> Step {
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
    pub(super) fn close_quote(&mut self, kind: ItemKind) -> Step {
        self.back();
        self.emit(kind);
        self.next();
        self.ignore();
        self.resume()
    }

    // Arrays.

    pub(super) fn array_value(&mut self) -> Step {
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

    pub(super) fn array_next(&mut self) -> Step {
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

    pub(super) fn array_end(&mut self) -> Step {
        self.depth -= 1;
        self.ignore();
        self.emit(ItemKind::ArrayEnd);
        self.resume()
    }

    // Maps.

    pub(super) fn map_key(&mut self) -> Step {
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

    pub(super) fn map_key_end(&mut self) -> Step {
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

    pub(super) fn map_value(&mut self) -> Step {
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

    pub(super) fn map_next(&mut self) -> Step {
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

    pub(super) fn map_end(&mut self) -> Step {
        self.depth -= 1;
        self.ignore();
        self.emit(ItemKind::MapEnd);
        self.resume()
    }
}

//! What is wrong with a configuration: where, what, and how to cure it.
//!
//! Texts are stock's wherever stock has one, because operators and scripts match them; texts of
//! our own say what to do in the same line.

use std::fmt;
use std::rc::Rc;

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// File as it was named: on the command line, or joined from an include.
    pub file: Rc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Bytes from the newline before it: 1 is the first column, on the first line 0.
    pub column: i64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Why the lexer stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// The input ends inside something.
    #[error("Unexpected EOF.")]
    UnexpectedEof,
    /// Inside a map.
    #[error("Unexpected EOF processing map.")]
    EofInMap,
    /// Inside the bare key of a map.
    #[error("Unexpected EOF processing map key.")]
    EofInMapKey,
    /// Inside a single-quoted key of a map.
    #[error("Unexpected EOF processing quoted map key.")]
    EofInQuotedMapKey,
    /// Inside a double-quoted key of a map.
    #[error("Unexpected EOF processing double quoted map key.")]
    EofInDoubleQuotedMapKey,
    /// Inside `include '...`.
    #[error("Unexpected EOF in quoted include")]
    EofInQuotedInclude,
    /// Inside `include "...`.
    #[error("Unexpected EOF in double quoted include")]
    EofInDoubleQuotedInclude,
    /// Inside a block string.
    #[error("Unexpected EOF processing block.")]
    EofInBlock,
    /// Something follows a value on its line (CFG-2).
    #[error(
        "Expected a top-level value to end with a new line, comment or EOF, but got '{}' instead.",
        Shown(*.0)
    )]
    TopLevelEnd(char),
    /// The same inside the braces around a whole file.
    #[error(
        "Expected a block-level value to end with a new line, comment or EOF, but got '{}' instead.",
        Shown(*.0)
    )]
    BlockValueEnd(char),
    /// Only `}` may come here.
    #[error("Expected a block-level to end with a '}}', but got '{}' instead.", Shown(*.0))]
    BlockEnd(char),
    /// `=` or `:` without a key.
    #[error("Unexpected key separator '{0}'")]
    KeySeparator(char),
    /// The same inside a map.
    #[error("Unexpected key separator '{0}'.")]
    MapKeySeparator(char),
    /// `]` where a key should be.
    #[error("Unexpected array end ']' processing map.")]
    MapArrayEnd,
    /// `include` without a path.
    #[error("Expected include value but found {0}")]
    IncludeValue(&'static str),
    /// `.5`
    #[error("Floats must start with a digit")]
    FloatWithoutDigit,
    /// `-.5`
    #[error("Floats must start with a digit, not '.'.")]
    FloatStart,
    /// `5.`
    #[error("Floats must have a digit after the '.', but got '{}' instead.", Shown(*.0))]
    FloatEnd(char),
    /// `-x`
    #[error("Expected a digit but got '{}'.", Shown(*.0))]
    Digit(char),
    /// The value is not on the line of its key.
    #[error("Expected value but found new line")]
    ValueOnNextLine,
    /// A comma without a value before it.
    #[error("Unexpected array value terminator ','.")]
    ArrayTerminator,
    /// Two elements without a separator.
    #[error(
        "Expected an array value terminator \",\" or an array terminator \"]\", but got '{}' instead.",
        Shown(*.0)
    )]
    ArrayNext(char),
    /// A comma where a value should be.
    #[error("Unexpected map value terminator \",\".")]
    MapTerminator,
    /// Two entries without a separator.
    #[error(
        "Expected a map value terminator \",\" or a map terminator \"}}\", but got '{}' instead.",
        Shown(*.0)
    )]
    MapNext(char),
    /// An escape that does not exist (CFG-6).
    #[error(
        "Invalid escape character '{}'. Only the following escape characters are allowed: \
         \\xXX, \\t, \\n, \\r, \\\", \\\\.",
        Shown(*.0)
    )]
    Escape(char),
    /// `\x` at the end of a line.
    #[error("Expected two hexadecimal digits after '\\x', but hit end of line")]
    HexEndOfLine,
    /// `\x` and something else.
    #[error("Expected two hexadecimal digits after '\\x', but got '{0}'")]
    HexDigits(String),
    /// A dash in a number that is no date.
    #[error("All ISO8601 dates must be in full Zulu form.")]
    DateForm,
    /// A digit is missing in a date.
    #[error("Expected digit in ISO8601 datetime, but found '{}' instead.", Shown(*.0))]
    DateDigit(char),
    /// Punctuation is missing in a date.
    #[error("Expected '{wanted}' in ISO8601 datetime, but found '{}' instead.", Shown(*.found))]
    DateLetter {
        /// What must stand there.
        wanted: char,
        /// What does.
        found: char,
    },
    /// More nesting than [`super::lexer::DEPTH_MAX`]; no stock text.
    #[error("Maps and arrays are nested more than 100 deep; flatten them.")]
    TooDeep,
}

/// A character inside an error: only the newline is escaped.
struct Shown(char);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            '\n' => f.write_str("\\n"),
            other => write!(f, "{other}"),
        }
    }
}

/// Why a file gave no tree of values. Ends the reading at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The file could not be read; `cause` in the words of the system.
    #[error("{call} {path}: {cause}")]
    Read {
        /// `open` or `read`.
        call: &'static str,
        /// As named.
        path: String,
        /// Lower case, as stock shows it.
        cause: String,
    },
    /// The file is larger than [`super::parser::FILE_SIZE_MAX`]; no stock text.
    #[error(
        "{path}: file is larger than {max} bytes; split it, or keep JWTs in a resolver directory"
    )]
    FileTooLarge {
        /// As named.
        path: String,
        /// The bound.
        max: u64,
    },
    /// Against the grammar.
    #[error("Parse error on line {line}: '{error}'")]
    Syntax {
        /// Line, from 1.
        line: u32,
        /// What.
        error: SyntaxError,
    },
    /// The file ends behind a key.
    #[error("config is invalid ({0})")]
    KeyWithoutValue(Origin),
    /// Beyond 64 bits, or a suffix takes it there (CFG-8).
    #[error("integer '{0}' is out of the range")]
    IntegerRange(String),
    /// No integer after all.
    #[error("expected integer, but got '{0}'")]
    Integer(String),
    /// Beyond what a float holds.
    #[error("float '{0}' is out of the range")]
    FloatRange(String),
    /// A day or time that does not exist.
    #[error("expected Zulu formatted DateTime, but got '{0}'")]
    Datetime(String),
    /// Neither in the file before it nor in the environment (CFG-12).
    #[error("variable reference for '{name}' on line {line} can not be found")]
    VariableNotFound {
        /// Without the `$`.
        name: String,
        /// Line, from 1.
        line: u32,
    },
    /// The environment's text is no value.
    #[error("variable reference for '{name}' on line {line} could not be parsed: {error}")]
    Variable {
        /// Without the `$`.
        name: String,
        /// Line, from 1.
        line: u32,
        /// Why.
        error: Box<ParseError>,
    },
    /// Environment variables that name each other.
    #[error("variable reference cycle for '{0}'")]
    VariableCycle(String),
    /// In an included file (CFG-15).
    #[error("error parsing include file '{path}', {error}")]
    Include {
        /// As written.
        path: String,
        /// Why.
        error: Box<ParseError>,
    },
    /// Files including files, or variables naming variables, deeper than
    /// [`super::parser::INCLUDE_DEPTH_MAX`]; no stock text.
    #[error("includes are nested more than 16 deep; look for a file that includes itself")]
    IncludeDepth,
    /// Variables unfold to more than [`super::parser::TREE_SIZE_MAX`]; no stock text.
    #[error("variables unfold to more than 256 MiB; look for variables that contain each other")]
    TreeTooLarge,
}

/// One thing wrong with a value, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Place in a file; `None` for the command line and for what concerns several keys.
    pub origin: Option<Origin>,
    /// What.
    pub kind: ProblemKind,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        write!(f, "{}", self.kind)
    }
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    /// Not a key of this block (CFG-14).
    #[error("unknown field {}", Quoted(.0))]
    UnknownField(String),
    /// Not a key of this block, in the words of that block. Holds the text before and after.
    #[error("{before}{}{after}", Quoted(.key))]
    UnknownFieldIn {
        /// Text before the key.
        before: &'static str,
        /// The key.
        key: String,
        /// Text after the key.
        after: &'static str,
    },
    /// A value of another type than the key has (CFG-17).
    #[error("interface conversion: interface {{}} is {found}, not {wanted}")]
    Type {
        /// What stands there, in Go's words as stock prints them.
        found: &'static str,
        /// What should.
        wanted: &'static str,
    },
    /// The same, in the words of a block.
    #[error("{text}{found}")]
    TypeIn {
        /// All but the type.
        text: &'static str,
        /// The type, or the value where stock shows that.
        found: String,
    },
    /// A fixed text of stock.
    #[error("{0}")]
    Stock(&'static str),
    /// A fixed text of stock around a quoted value.
    #[error("{before}{}{after}", Quoted(.value))]
    Value {
        /// Text before the value.
        before: &'static str,
        /// The value.
        value: String,
        /// Text after the value.
        after: &'static str,
    },
    /// Not a duration (CFG-11).
    #[error("{context}{error}")]
    Duration {
        /// `error parsing <field>: ` and the like.
        context: String,
        /// What is wrong with it.
        error: crate::time::duration::DurationError,
    },
    /// A number over its bound.
    #[error("{0} value is too big")]
    TooBig(String),
    /// `max_subscription_tokens` of zero or less.
    #[error("{0} value can not be negative")]
    NotPositive(String),
    /// A number outside what can be served; stock takes it and fails later, or never works.
    #[error("{key} is {value}: use a value from {min} to {max}")]
    OutOfRange {
        /// The key.
        key: String,
        /// What stands there.
        value: i64,
        /// Least.
        min: i64,
        /// Most.
        max: i64,
    },
    /// Below the least that stock takes (CFG-45).
    #[error("invalid lame_duck_duration of {0}, minimum is 30 seconds")]
    LameDuckDuration(crate::time::duration::Shown),
    /// CORE-95.
    #[error(
        "lame duck grace period ({grace}) should be strictly lower than lame duck duration ({duration})"
    )]
    LameDuckGrace {
        /// `lame_duck_grace_period`.
        grace: crate::time::duration::Shown,
        /// `lame_duck_duration`.
        duration: crate::time::duration::Shown,
    },
    /// CORE-54.
    #[error("max_payload ({max_payload}) cannot be higher than max_pending ({max_pending})")]
    PayloadOverPending {
        /// Bytes.
        max_payload: i64,
        /// Bytes.
        max_pending: i64,
    },
    /// AUTH-5, no users at all.
    #[error("no_auth_user: \"{0}\" present, but users/nkeys are not defined")]
    NoAuthUserWithoutUsers(String),
    /// AUTH-5.
    #[error(
        "no_auth_user: \"{0}\" not present as user or nkey in authorization block or account configuration"
    )]
    NoAuthUserUnknown(String),
    /// AUTH-8.
    #[error("invalid connection types [{}]", QuotedList(.0))]
    ConnectionTypes(Vec<String>),
    /// A value that must be text holds bytes that are not; no stock text.
    #[error("value is not valid UTF-8: save the file as UTF-8, and let escapes spell UTF-8")]
    NotUtf8,
    /// The file holds nothing (CFG-17).
    #[error("{0}: config has no values or is empty")]
    Empty(String),
    /// A number where a duration belongs (CFG-11). A warning.
    #[error("invalid use of field {}: {reason}", Quoted(.field))]
    InvalidUse {
        /// The key.
        field: String,
        /// What to write instead.
        reason: String,
    },
}

/// A string in quotes as stock prints it.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for character in self.0.chars() {
            match character {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\x07' => f.write_str("\\a")?,
                '\x08' => f.write_str("\\b")?,
                '\t' => f.write_str("\\t")?,
                '\n' => f.write_str("\\n")?,
                '\x0b' => f.write_str("\\v")?,
                '\x0c' => f.write_str("\\f")?,
                '\r' => f.write_str("\\r")?,
                control @ ('\0'..=' ' | '\x7f') if control != ' ' => {
                    write!(f, "\\x{:02x}", control as u32)?;
                }
                // Blanks of other scripts, line separators and the like are not printable.
                hidden if !hidden.is_ascii() && hidden.escape_debug().len() > 1 => {
                    write!(f, "\\u{:04x}", hidden as u32)?;
                }
                other => write!(f, "{other}")?,
            }
        }
        f.write_str("\"")
    }
}

/// Quoted strings with blanks between them.
struct QuotedList<'a>(&'a [String]);

impl fmt::Display for QuotedList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{}", Quoted(entry))?;
        }
        Ok(())
    }
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigErrors {
    /// No tree of values.
    Parse(ParseError),
    /// Values that do not fit. All that were found, in the order of the file.
    Values {
        /// What alone would not have stopped the start; shown first.
        warnings: Vec<Problem>,
        /// What stops it.
        errors: Vec<Problem>,
    },
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parse(error) => write!(f, "{error}"),
            Self::Values { warnings, errors } => warnings
                .iter()
                .chain(errors)
                .try_for_each(|problem| writeln!(f, "{problem}")),
        }
    }
}

impl std::error::Error for ConfigErrors {}

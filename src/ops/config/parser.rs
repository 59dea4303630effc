//! Items -> tree: scopes, variables, the environment, includes, numbers (CFG-8..16).
//!
//! Everything a hostile file could grow without end is bounded: file size, nesting, includes, and
//! what variables unfold to.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use super::error::{Origin, ParseError};
use super::lexer::{Item, ItemKind, Lexer, boolean};
use super::value::{Map, Node, Value};

/// Bytes of one file. A resolver preload of ten thousand accounts is about 20 MB.
pub const FILE_SIZE_MAX: u64 = 64 * 1024 * 1024;

/// Files including files; also environment variables naming environment variables.
pub const INCLUDE_DEPTH_MAX: usize = 16;

/// Bytes of all values together, each variable counted as often as it is used.
pub const TREE_SIZE_MAX: usize = 256 * 1024 * 1024;

/// Memory of a value beside its bytes, for [`TREE_SIZE_MAX`].
const VALUE_SIZE: usize = 128;

/// Beginning of a bcrypt hash behind the `$` that would make it a variable (CFG-13).
const BCRYPT_PREFIX: &[u8] = b"2a$";

/// Key under which the text of an environment variable is parsed.
const ENVIRONMENT_KEY: &str = "pk";

/// Looks up a variable of the environment.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Reads and parses a file.
///
/// # Errors
/// [`ParseError`]: the first thing that keeps this from being a tree.
pub fn parse_file(path: &Path, environment: Environment<'_>) -> Result<Map, ParseError> {
    Session::new(environment).file(&path.to_string_lossy())
}

/// Parses text as if it were the file `name`; includes are relative to its folder.
///
/// # Errors
/// As [`parse_file`].
pub fn parse_bytes(
    text: &[u8],
    name: &str,
    environment: Environment<'_>,
) -> Result<Map, ParseError> {
    Session::new(environment).bytes(text, name)
}

/// What all files of one configuration share.
struct Session<'e> {
    environment: Environment<'e>,
    include_depth: usize,
    size: usize,
}

impl<'e> Session<'e> {
    fn new(environment: Environment<'e>) -> Self {
        Self {
            environment,
            include_depth: 0,
            size: 0,
        }
    }

    fn file(&mut self, name: &str) -> Result<Map, ParseError> {
        let text = read(name)?;
        self.bytes(&text, name)
    }

    fn bytes(&mut self, text: &[u8], name: &str) -> Result<Map, ParseError> {
        Parser::new(self, text, name, &mut HashSet::new()).parse()
    }

    fn descend<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        if self.include_depth == INCLUDE_DEPTH_MAX {
            return Err(ParseError::IncludeDepth);
        }
        self.include_depth += 1;
        let result = inner(self);
        self.include_depth -= 1;
        result
    }

    fn charge(&mut self, bytes: usize) -> Result<(), ParseError> {
        self.size = self.size.saturating_add(bytes).saturating_add(VALUE_SIZE);
        if self.size > TREE_SIZE_MAX {
            return Err(ParseError::TreeTooLarge);
        }
        Ok(())
    }

    /// Charges for a copy of `node`, before it is made.
    fn charge_copy(&mut self, node: &Node) -> Result<(), ParseError> {
        match node {
            Node::String(bytes) => self.charge(bytes.len()),
            Node::Array(values) => {
                self.charge(0)?;
                values.iter().try_for_each(|it| self.charge_copy(&it.node))
            }
            Node::Map(map) => {
                self.charge(0)?;
                map.iter().try_for_each(|(key, value)| {
                    self.charge(2 * key.len())?;
                    self.charge_copy(&value.node)
                })
            }
            _ => self.charge(0),
        }
    }
}

/// A map or an array that is still open.
enum Scope {
    Map(Map),
    Array(Vec<Value>),
}

/// A key that has no value yet.
struct Key {
    text: Vec<u8>,
    line: u32,
    column: i64,
}

struct Parser<'p, 'e> {
    session: &'p mut Session<'e>,
    lexer: Lexer<'p>,
    /// Name of the file, for errors and for the folder of its includes.
    file: Rc<str>,
    root: Map,
    /// Open scopes inside the root.
    scopes: Vec<Scope>,
    /// Keys without a value, innermost last. A value goes to the last of them, whichever scope it
    /// was found in, as in stock: `cluster { port }` sets `port` in the root.
    keys: Vec<Key>,
    /// Environment variables being looked up.
    pending: &'p mut HashSet<Vec<u8>>,
}

impl<'p, 'e> Parser<'p, 'e> {
    fn new(
        session: &'p mut Session<'e>,
        text: &'p [u8],
        file: &str,
        pending: &'p mut HashSet<Vec<u8>>,
    ) -> Self {
        Self {
            session,
            lexer: Lexer::new(text),
            file: file.into(),
            root: Map::default(),
            scopes: Vec::new(),
            keys: Vec::new(),
            pending,
        }
    }

    fn parse(mut self) -> Result<Map, ParseError> {
        let mut behind_key = false;
        loop {
            let item = self
                .lexer
                .next_item()
                .map_err(|(line, error)| ParseError::Syntax { line, error })?;
            if item.kind == ItemKind::End {
                if behind_key {
                    return Err(ParseError::KeyWithoutValue(self.origin(&item)));
                }
                return Ok(self.root);
            }
            // A last brace reads as a key: files wrapped in braces may close once more.
            behind_key = item.kind == ItemKind::Key && item.text != b"}";
            self.item(item)?;
        }
    }

    fn origin(&self, item: &Item) -> Origin {
        Origin {
            file: Rc::clone(&self.file),
            line: item.line,
            column: item.column,
        }
    }

    fn item(&mut self, item: Item) -> Result<(), ParseError> {
        let text = |item: &Item| String::from_utf8_lossy(&item.text).into_owned();
        let node = match item.kind {
            ItemKind::End | ItemKind::Comment => return Ok(()),
            ItemKind::Key => {
                self.session.charge(2 * item.text.len())?;
                self.keys.push(Key {
                    text: item.text,
                    line: item.line,
                    column: item.column,
                });
                return Ok(());
            }
            ItemKind::MapStart => {
                self.scopes.push(Scope::Map(Map::default()));
                return Ok(());
            }
            ItemKind::ArrayStart => {
                self.scopes.push(Scope::Array(Vec::new()));
                return Ok(());
            }
            // The lexer pairs the brackets, so the scope that ends is of the right kind.
            ItemKind::MapEnd | ItemKind::ArrayEnd => match self.scopes.pop() {
                Some(Scope::Map(map)) => Node::Map(map),
                Some(Scope::Array(values)) => Node::Array(values),
                None => return Ok(()),
            },
            ItemKind::String => Node::String(item.text.clone()),
            ItemKind::Bool => match boolean(&item.text) {
                Some(flag) => Node::Bool(flag),
                None => return Ok(()),
            },
            ItemKind::Integer => match integer(&text(&item))? {
                Some(number) => Node::Integer(number),
                // An unknown suffix of known letters (`1kbb`): no value, and the key stays open.
                None => return Ok(()),
            },
            ItemKind::Float => Node::Float(float(&text(&item))?),
            ItemKind::Datetime => {
                let text = text(&item);
                if !is_datetime(&text) {
                    return Err(ParseError::Datetime(text));
                }
                Node::Datetime(text)
            }
            ItemKind::Variable => self.variable(&item)?,
            ItemKind::Include => return self.include(&text(&item)),
        };
        self.session.charge(item.text.len())?;
        let origin = self.origin(&item);
        self.set(node, origin);
        Ok(())
    }

    /// Hands a value to the innermost scope.
    fn set(&mut self, node: Node, mut origin: Origin) {
        let is_variable = false;
        if let Some(Scope::Array(values)) = self.scopes.last_mut() {
            values.push(Value {
                node,
                origin,
                is_variable,
            });
            return;
        }
        let Some(key) = self.keys.pop() else { return };
        origin.line = key.line;
        origin.column = key.column;
        let value = Value {
            node,
            origin,
            is_variable,
        };
        self.map_mut().insert(key.text, value);
    }

    /// The innermost scope, which is a map.
    fn map_mut(&mut self) -> &mut Map {
        match self.scopes.last_mut() {
            Some(Scope::Map(map)) => map,
            _ => &mut self.root,
        }
    }

    fn variable(&mut self, item: &Item) -> Result<Node, ParseError> {
        if item.text.starts_with(BCRYPT_PREFIX) {
            let mut hash = vec![b'$'];
            hash.extend_from_slice(&item.text);
            return Ok(Node::String(hash));
        }
        let open = self
            .scopes
            .iter_mut()
            .rev()
            .filter_map(|scope| match scope {
                Scope::Map(map) => Some(map),
                Scope::Array(_) => None,
            });
        for map in open.chain([&mut self.root]) {
            if let Some(value) = map.find_mut(&item.text) {
                value.is_variable = true;
                self.session.charge_copy(&value.node)?;
                return Ok(value.node.clone());
            }
        }
        let name = String::from_utf8_lossy(&item.text).into_owned();
        let line = item.line;
        match self.environment(&item.text, &name) {
            Ok(Some(node)) => Ok(node),
            Ok(None) => Err(ParseError::VariableNotFound { name, line }),
            Err(error) => Err(ParseError::Variable {
                name,
                line,
                error: Box::new(error),
            }),
        }
    }

    /// The value of an environment variable, which is text of the same grammar (CFG-12).
    fn environment(&mut self, key: &[u8], name: &str) -> Result<Option<Node>, ParseError> {
        if self.pending.contains(key) {
            return Err(ParseError::VariableCycle(name.to_owned()));
        }
        let Some(text) = (self.session.environment)(name) else {
            return Ok(None);
        };
        let text = format!("{ENVIRONMENT_KEY}={text}");
        let pending = &mut *self.pending;
        pending.insert(key.to_owned());
        let result = self
            .session
            .descend(|session| Parser::new(session, text.as_bytes(), "", pending).parse());
        pending.remove(key);
        let mut map = result?;
        Ok(map
            .find_mut(ENVIRONMENT_KEY.as_bytes())
            .map(|it| it.node.clone()))
    }

    /// The keys of another file, as if they stood here (CFG-15).
    fn include(&mut self, path: &str) -> Result<(), ParseError> {
        let target = joined(folder(&self.file), path);
        let map = self
            .session
            .descend(|session| session.file(&target))
            .map_err(|error| ParseError::Include {
                path: path.to_owned(),
                error: Box::new(error),
            })?;
        let scope = self.map_mut();
        for (key, value) in map.into_entries() {
            scope.insert(key, value);
        }
        Ok(())
    }
}

/// Number and size suffix (CFG-8). Stock lets a large number with a suffix wrap around; here it is
/// out of range like one without.
fn integer(text: &str) -> Result<Option<i64>, ParseError> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '-')
        .unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let out_of_range = || ParseError::IntegerRange(text.to_owned());
    let number: i64 = digits.parse().map_err(|error: std::num::ParseIntError| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        match error.kind() {
            PosOverflow | NegOverflow => out_of_range(),
            _ => ParseError::Integer(text.to_owned()),
        }
    })?;
    let suffix = suffix.to_ascii_lowercase();
    let (base, power) = match suffix.split_at(suffix.len().min(1)) {
        ("", _) => return Ok(Some(number)),
        (letter, rest) => {
            let base: i64 = match rest {
                "" => 1000,
                "b" | "i" | "ib" => 1024,
                _ => return Ok(None),
            };
            let power = match letter {
                "k" => 1,
                "m" => 2,
                "g" => 3,
                "t" => 4,
                "p" => 5,
                _ => 6,
            };
            (base, power)
        }
    };
    number
        .checked_mul(base.pow(power))
        .map(Some)
        .ok_or_else(out_of_range)
}

fn float(text: &str) -> Result<f64, ParseError> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) => Err(ParseError::FloatRange(text.to_owned())),
        // The lexer lets only digits and one dot through.
        Err(_) => Err(ParseError::Integer(text.to_owned())),
    }
}

/// Whether day and time exist; the lexer has checked the form. No leap seconds, as in Go.
fn is_datetime(text: &str) -> bool {
    text.strip_suffix('Z')
        .is_some_and(|it| !it.ends_with("60") && it.parse::<jiff::civil::DateTime>().is_ok())
}

fn read(name: &str) -> Result<Vec<u8>, ParseError> {
    let failed = |call, error: &io::Error| ParseError::Read {
        call,
        path: name.to_owned(),
        cause: cause(error),
    };
    let file = File::open(name).map_err(|error| failed("open", &error))?;
    let mut text = Vec::new();
    file.take(FILE_SIZE_MAX + 1)
        .read_to_end(&mut text)
        .map_err(|error| failed("read", &error))?;
    if text.len() as u64 > FILE_SIZE_MAX {
        return Err(ParseError::FileTooLarge {
            path: name.to_owned(),
            max: FILE_SIZE_MAX,
        });
    }
    Ok(text)
}

/// The system's words in lower case and without the number, as stock shows them.
fn cause(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

fn folder(file: &str) -> &str {
    match file.rfind('/') {
        Some(0) => "/",
        Some(at) => &file[..at],
        None => "",
    }
}

/// `folder/path` without `.`, `..` and doubled slashes. An absolute `path` counts from the folder
/// too, as in stock.
fn joined(folder: &str, path: &str) -> String {
    let absolute = folder.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                None if absolute => {}
                None | Some(&"..") => parts.push(".."),
                Some(_) => _ = parts.pop(),
            },
            name => parts.push(name),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

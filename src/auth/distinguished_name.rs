//! Distinguished names, as they stand in certificates and as people write them (AUTH-24).

/// A name: its parts from the most specific to the root, each a set of attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DistinguishedName {
    parts: Vec<Vec<Attribute>>,
}

/// `CN=x`. The type in upper case, because it does not tell cases apart; the value as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attribute {
    kind: String,
    value: String,
}

impl Attribute {
    /// One attribute.
    pub fn new(kind: &str, value: &str) -> Self {
        Self {
            kind: kind.to_ascii_uppercase(),
            value: value.to_owned(),
        }
    }
}

impl DistinguishedName {
    /// From the parts, most specific first.
    pub fn new(parts: Vec<Vec<Attribute>>) -> Self {
        let mut this = Self { parts };
        for part in &mut this.parts {
            part.sort(); // a set: its order says nothing
        }
        this
    }

    /// Reads `CN=x+UID=y,O=z` with the escapes of RFC 4514; `None` for anything else. Values in
    /// hexadecimal (`#...`) are not read, as in stock.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut part = Vec::new();
        let mut kind: Option<String> = None;
        // Characters are bytes: an escape may spell one byte of several.
        let (mut buffer, mut trailing) = (Vec::new(), 0);
        let take = |buffer: &mut Vec<u8>, trailing: &mut usize| {
            buffer.truncate(buffer.len() - std::mem::take(trailing));
            String::from_utf8(std::mem::take(buffer)).ok()
        };
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'\\' => {
                    trailing = 0;
                    let &escaped = bytes.get(at)?;
                    if b" \"#+,;<=>\\".contains(&escaped) {
                        buffer.push(escaped);
                        at += 1;
                    } else {
                        let digits = bytes.get(at..at + 2)?;
                        buffer.extend(data_encoding::HEXLOWER_PERMISSIVE.decode(digits).ok()?);
                        at += 2;
                    }
                }
                b'=' if kind.is_none() => {
                    kind = Some(take(&mut buffer, &mut trailing)?);
                    if bytes.get(at) == Some(&b'#') {
                        return None;
                    }
                }
                b',' | b'+' => {
                    let kind = kind.take().filter(|it| !it.is_empty())?;
                    let value = take(&mut buffer, &mut trailing)?;
                    part.push(Attribute::new(&kind, &value));
                    if byte == b',' {
                        parts.push(std::mem::take(&mut part));
                    }
                }
                b' ' if buffer.is_empty() => {}
                byte => {
                    trailing = if byte == b' ' { trailing + 1 } else { 0 };
                    buffer.push(byte);
                }
            }
        }
        if !buffer.is_empty() {
            let kind = kind.take().filter(|it| !it.is_empty())?;
            let value = take(&mut buffer, &mut trailing)?;
            part.push(Attribute::new(&kind, &value));
            parts.push(part);
        }
        Some(Self::new(parts))
    }

    /// Has it no parts?
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The same parts in whatever order, each as often as in the other: a name that repeats a part
    /// does not stand for one that has another in its place (T28).
    pub fn has_same_parts(&self, other: &Self) -> bool {
        let sorted = |name: &Self| {
            let mut parts = name.parts.clone();
            parts.sort();
            parts
        };
        sorted(self) == sorted(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> DistinguishedName {
        DistinguishedName::parse(text).unwrap_or_else(|| panic!("{text} is a name"))
    }

    #[test]
    fn t28_escapes_blanks_and_sets() {
        assert_eq!(parse("CN=a,O=b"), parse(" cn = a , o =b"));
        assert_eq!(parse("CN=a+OU=x,O=b"), parse("OU=x+CN=a,O=b"));
        assert_ne!(parse("CN=a+OU=x,O=b"), parse("CN=a,OU=x,O=b"));
        assert_ne!(parse("CN=A"), parse("CN=a"));
        assert_eq!(parse(r"CN=a\,b\ "), parse(r"CN=a\2cb\20"));
        assert_ne!(parse(r"CN=a\,O=b"), parse("CN=a,O=b"));
        assert_eq!(parse(r"CN=\C3\A9"), parse("CN=é"));
        for wrong in [
            "a", "=a", "CN=a,b", r"CN=a\", r"CN=\zz", "CN=#0401", r"CN=\ff",
        ] {
            assert_eq!(DistinguishedName::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn t28_order_matters_not_but_number_does() {
        let same = |a: &str, b: &str| parse(a).has_same_parts(&parse(b));
        assert!(same("CN=a,O=b,DC=c", "DC=c,CN=a,O=b"));
        assert!(!same("CN=a,CN=a", "CN=a,CN=b"));
        assert!(!same("CN=a,CN=b", "CN=a,CN=a"));
        assert!(!same("CN=a,O=b", "CN=a+O=b"));
        assert!(!same("CN=a", "CN=a,O=b"));
    }
}

//! The archive that copies were before 2.15: files of a stream's directory, in the tar format.

/// Bytes files and their heads are padded to.
const BLOCK: usize = 512;
/// Bytes of what stands in front of a file's head and tells more of it, at most.
const EXTENDED_MAX: u64 = 64 * 1024;

/// Not such an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("archive/tar: invalid tar header")]
pub struct TarError;

/// What has come of an archive.
#[derive(Debug, Default)]
pub struct TarReader {
    held: Vec<u8>,
    at: usize,
    /// Bytes of the file at hand that have not been taken.
    left: u64,
    padding: usize,
    /// Its name, told in front of its head.
    name: Option<String>,
    ended: bool,
}

/// One file's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path.
    pub name: String,
    /// Its bytes.
    pub size: u64,
}

impl TarReader {
    /// Takes bytes of the archive.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.at > self.held.len() / 2 {
            self.held.drain(..self.at);
            self.at = 0;
        }
        if !self.ended {
            self.held.extend_from_slice(bytes);
        }
    }

    /// Has its end come?
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// The next file, once the one before has been taken; none while its head is not whole.
    ///
    /// # Errors
    /// What has come is no archive, or holds something else than files.
    pub fn next_file(&mut self) -> Result<Option<File>, TarError> {
        while !self.ended {
            debug_assert_eq!(self.left, 0, "the file before has been taken");
            let rest = self.held.get(self.at..).unwrap_or_default();
            let Some(head) = rest.get(self.padding..self.padding + BLOCK) else {
                return Ok(None);
            };
            if head.iter().all(|&byte| byte == 0) {
                self.ended = true;
                (self.held, self.at) = (Vec::new(), 0);
                return Ok(None);
            }
            let size = checked_size(head).ok_or(TarError)?;
            let padded = size.next_multiple_of(BLOCK as u64) - size;
            match head[156] {
                b'x' | b'g' => {
                    if size > EXTENDED_MAX {
                        return Err(TarError);
                    }
                    let begin = self.padding + BLOCK;
                    let Some(records) = rest.get(begin..begin + size as usize) else {
                        return Ok(None);
                    };
                    if head[156] == b'x' {
                        self.name = path(records).or(self.name.take());
                    }
                    self.at += begin + size as usize;
                    self.padding = padded as usize;
                }
                b'0' | 0 => {
                    let own = || {
                        let [prefix, name] = [text(&head[345..500]), text(&head[..100])];
                        match prefix.is_empty() {
                            true => name,
                            false => format!("{prefix}/{name}"),
                        }
                    };
                    let name = self.name.take().unwrap_or_else(own);
                    self.at += self.padding + BLOCK;
                    (self.left, self.padding) = (size, padded as usize);
                    return Ok(Some(File { name, size }));
                }
                _ => return Err(TarError),
            }
        }
        Ok(None)
    }

    /// Bytes of the file at hand that are here, and whether they are its last.
    pub fn content(&self) -> (&[u8], bool) {
        let rest = self.held.get(self.at..).unwrap_or_default();
        let here = usize::try_from(self.left).map_or(rest.len(), |left| left.min(rest.len()));
        (&rest[..here], here as u64 == self.left)
    }

    /// Takes bytes of [`TarReader::content`] off its front.
    pub fn take(&mut self, len: usize) {
        debug_assert!(len <= self.content().0.len(), "no more than there is");
        self.at += len;
        self.left -= len as u64;
    }
}

/// The size a head tells, if its sum is right.
fn checked_size(head: &[u8]) -> Option<u64> {
    let sum = octal(&head[148..156])?;
    let counted = head.iter().enumerate().map(|(at, &byte)| match at {
        148..156 => u64::from(b' '),
        _ => u64::from(byte),
    });
    (counted.sum::<u64>() == sum).then_some(())?;
    let size = &head[124..136];
    match size[0] & 0x80 {
        0 => octal(size),
        // A number of bytes itself.
        _ => {
            let (high, low) = size.split_first_chunk::<4>()?;
            (*high == [0x80, 0, 0, 0]).then_some(())?;
            Some(u64::from_be_bytes(low.try_into().ok()?))
        }
    }
    .filter(|size| *size <= i64::MAX as u64)
}

fn octal(digits: &[u8]) -> Option<u64> {
    let text = text(digits);
    u64::from_str_radix(text.trim(), 8).ok()
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|&byte| byte == 0);
    String::from_utf8_lossy(&field[..end.unwrap_or(field.len())]).into_owned()
}

/// The record `path` of what stands in front of a head: lines of `<length> <key>=<value>`.
fn path(mut records: &[u8]) -> Option<String> {
    while !records.is_empty() {
        let blank = records.iter().position(|&byte| byte == b' ')?;
        let len: usize = std::str::from_utf8(&records[..blank]).ok()?.parse().ok()?;
        let record = records.get(blank + 1..len)?;
        if let Some(value) = record.strip_prefix(b"path=") {
            let value = value.strip_suffix(b"\n").unwrap_or(value);
            return Some(String::from_utf8_lossy(value).into_owned());
        }
        records = &records[len..];
    }
    None
}

//! Who reads on: places in the log are asked for before they are needed.

use crate::jetstream::store::buffer::PAGE;

/// Bytes read at once: who reads one message mostly wants the next ones, too.
pub(super) const READ: u64 = 64 * 1024;
/// The same, at most, for who has read on so far: long reads are what disks are good at.
const LONG_READ: u64 = 512 * 1024;
/// Readers told apart.
const RUNS: usize = 4;
/// What the cache must have room for, in pieces of a run.
const PIECES: u64 = 6;

/// A file of the log: segment number and version.
type File = (u32, u32);

/// Somebody who reads one thing after the other.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    file: File,
    /// What was asked for ends here.
    end: u64,
    /// Length of the next read.
    len: u64,
}

/// Those who read on, as far as their reads tell.
#[derive(Debug)]
pub(super) struct Ahead {
    runs: [Run; RUNS],
    /// The one that gives way to the next.
    oldest: usize,
    longest: u64,
    /// A long read failed: nothing is read any more that nobody asked for.
    careful: bool,
}

impl Ahead {
    /// For a cache of that many bytes.
    pub(super) fn new(cache_size: usize) -> Self {
        let longest = (cache_size as u64 / PIECES).clamp(READ, LONG_READ);
        Self {
            runs: [Run::default(); RUNS],
            oldest: 0,
            longest: longest - longest % READ,
            careful: false,
        }
    }

    /// How many bytes to read at `from`, a page's begin, where `need` of them are needed now.
    /// `written` is where the file ends.
    pub(super) fn needed(&mut self, file: File, from: u64, need: u64, written: u64) -> u64 {
        if self.careful {
            return need.min(written - from);
        }
        let goes_on = |it: &&mut Run| it.file == file && it.end >= from && it.end < from + need;
        let run = match self.runs.iter_mut().find(goes_on) {
            Some(run) => {
                run.len = (2 * run.len).min(self.longest);
                run
            }
            None => {
                self.oldest = (self.oldest + 1) % RUNS;
                let run = &mut self.runs[self.oldest];
                (run.file, run.len) = (file, READ);
                run
            }
        };
        let len = need.max(run.len).min(written - from);
        // The rest of the page the log ends in is written later: whoever reads on needs it again.
        run.end = from + len - len % PAGE as u64;
        len
    }

    /// What to read besides, as offset and length, now that what ends at `end` was found.
    pub(super) fn besides(&mut self, file: File, end: u64, written: u64) -> Option<(u64, u64)> {
        let longest = self.longest;
        if self.careful || longest < 2 * READ {
            return None;
        }
        let is_near = |it: &&mut Run| {
            it.file == file && it.len > READ && it.end >= end && it.end - end < 2 * it.len
        };
        let run = self.runs.iter_mut().find(is_near)?;
        // Only whole pieces: what is written next would not be in them.
        if run.end + longest > written {
            return None;
        }
        run.len = longest;
        let from = run.end;
        run.end += longest;
        Some((from, longest))
    }

    /// A read failed that was longer than it had to be.
    pub(super) fn be_careful(&mut self) {
        self.careful = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: File = (1, 0);
    const END: u64 = 10 * LONG_READ;

    #[test]
    fn who_reads_on_is_read_for() {
        let mut ahead = Ahead::new(8 * LONG_READ as usize);
        assert_eq!(ahead.needed(FILE, 4096, 100, END), READ);
        assert_eq!(
            ahead.besides(FILE, 4196, END),
            None,
            "one read says nothing"
        );
        // Somebody else reads here and there.
        assert_eq!(ahead.needed((2, 0), 0, 100, END), READ);
        let from = READ;
        assert_eq!(ahead.needed(FILE, from, 8192, END), 2 * READ);
        let end = from + 2 * READ;
        assert_eq!(ahead.besides(FILE, from, END), Some((end, LONG_READ)));
        let end = end + LONG_READ;
        assert_eq!(ahead.besides(FILE, from, END), Some((end, LONG_READ)));
        assert_eq!(ahead.besides(FILE, from, END), None, "enough is under way");
        assert_eq!(ahead.besides((2, 0), 100, END), None);
    }

    #[test]
    fn nothing_is_read_that_is_not_written_or_does_not_fit() {
        let mut ahead = Ahead::new(8 * LONG_READ as usize);
        assert_eq!(ahead.needed(FILE, 0, 100, 5000), 5000);
        assert_eq!(ahead.needed(FILE, 4096, 1000, 200_000), 2 * READ);
        assert_eq!(ahead.besides(FILE, 5000, 200_000), None);
        let mut small = Ahead::new(READ as usize);
        small.needed(FILE, 0, 100, END);
        assert_eq!(small.needed(FILE, READ, 100, END), READ);
        assert_eq!(small.besides(FILE, READ, END), None);
    }

    #[test]
    fn reads_begin_at_pages_where_the_log_has_grown() {
        let mut ahead = Ahead::new(8 * LONG_READ as usize);
        ahead.needed(FILE, 0, 100, END);
        let written = READ + 5000;
        assert_eq!(ahead.needed(FILE, READ, 4096, written), 5000);
        assert_eq!(
            ahead.besides(FILE, READ, END),
            Some((READ + 4096, LONG_READ))
        );
    }

    #[test]
    fn after_a_failure_only_what_is_needed_is_read() {
        let mut ahead = Ahead::new(8 * LONG_READ as usize);
        ahead.needed(FILE, 0, 100, END);
        ahead.be_careful();
        assert_eq!(ahead.needed(FILE, 0, 4096, END), 4096);
        assert_eq!(ahead.besides(FILE, 100, END), None);
    }
}

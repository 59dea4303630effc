//! `GOMEMLIMIT`: charts and operators set it for the stock server, so it is our budget too
//! (PROC-14). What it bounds here is said in `shard::budget`.

/// Name of the variable.
pub const VARIABLE: &str = "GOMEMLIMIT";

/// Not a number of bytes. Stock's runtime ends the process for it, before it reads anything else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{VARIABLE}={0}\nfatal error: malformed {VARIABLE}; \
     write a number of bytes, one with B, KiB, MiB, GiB or TiB behind it, or off"
)]
pub struct MemoryLimitError(String);

/// Exit code for it: that of a Go program whose runtime gives up.
pub const EXIT_CODE: u8 = 2;

/// Bytes of the budget; `None` without one, which is also what `off` and an empty text say.
///
/// # Errors
/// Another syntax than Go's.
pub fn parse(text: Option<&str>) -> Result<Option<u64>, MemoryLimitError> {
    let text = match text {
        None | Some("" | "off") => return Ok(None),
        Some(text) => text,
    };
    let units = [
        ("TiB", 40),
        ("GiB", 30),
        ("MiB", 20),
        ("KiB", 10),
        ("B", 0),
        ("", 0),
    ];
    let bytes = units.into_iter().find_map(|(unit, shift)| {
        let digits = text.strip_suffix(unit)?;
        let fine = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
        let number: i64 = digits.parse().ok().filter(|_| fine)?;
        number.checked_mul(1 << shift)
    });
    match bytes.and_then(|bytes| u64::try_from(bytes).ok()) {
        // The largest number is Go's way to say that there is no limit.
        Some(bytes) if bytes == i64::MAX as u64 => Ok(None),
        Some(bytes) => Ok(Some(bytes)),
        None => Err(MemoryLimitError(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As stock's `/varz` showed for each.
    #[test]
    fn proc_14_syntax() {
        for (text, bytes) in [
            ("512MiB", 536_870_912),
            ("1GiB", 1_073_741_824),
            ("1TiB", 1_099_511_627_776),
            ("2KiB", 2048),
            ("100", 100),
            ("100B", 100),
        ] {
            assert_eq!(parse(Some(text)), Ok(Some(bytes)), "{text}");
        }
        for none in [None, Some(""), Some("off"), Some("9223372036854775807")] {
            assert_eq!(parse(none), Ok(None), "{none:?}");
        }
        for bad in [
            "bogus",
            "1.5GiB",
            "-5",
            "5KB",
            "+5",
            " 5",
            "5 MiB",
            "MiB",
            "B",
            "9999999TiB",
        ] {
            assert!(parse(Some(bad)).is_err(), "{bad}");
        }
    }
}

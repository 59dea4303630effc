//! Versions of servers (TOPO-15).

/// `major.minor.patch` as numbers, whatever follows.
pub fn parts(text: &str) -> Option<[u32; 3]> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let text = text.split(['-', '+']).next()?;
    let mut numbers = text.split('.').map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some([next()?, next()?, next()?])
}

/// Is `version` at least `least`? Never if one of them is none.
pub fn is_at_least(version: &str, least: &str) -> bool {
    match (parts(version), parts(least)) {
        (Some(version), Some(least)) => version >= least,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topo_015_versions_are_compared_by_their_numbers() {
        for version in ["2.8.0", "2.10.0", "v3.0.0", "2.8.0-beta.1"] {
            assert!(is_at_least(version, "2.8.0"), "{version}");
        }
        for version in ["2.7.9", "", "1", "x.y.z"] {
            assert!(!is_at_least(version, "2.8.0"), "{version}");
        }
    }
}

//! How hard a link is compressed, and who decides it (TOPO-41..44).

use std::time::Duration;

/// Compression of a link as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// As servers that know of none.
    NotSupported,
    /// None.
    Off,
    /// As the other side wants it.
    Accept,
    /// As far as the round trip takes long: up to the first of these times not at all, then more
    /// with each.
    Auto(Vec<Duration>),
    /// Always so.
    Fixed(Level),
}

/// How hard blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Not at all, but in chunks.
    Uncompressed,
    /// Little.
    Fast,
    /// More.
    Better,
    /// As hard as possible.
    Best,
}

/// The other side names a mode that does not exist.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unsupported route compression mode {0:?}")]
pub struct UnknownMode(String);

/// Round trips above which `s2_auto` does more.
const THRESHOLDS: [Duration; 3] = [
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

impl Default for Mode {
    fn default() -> Self {
        Self::Auto(THRESHOLDS.to_vec())
    }
}

impl Mode {
    /// Reads a mode with its round trips, if it is given any.
    ///
    /// # Errors
    /// What is wrong with it, in stock's words.
    pub fn parse(text: &str, thresholds: &[Duration]) -> Result<Self, String> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "not supported" | "not_supported" => Self::NotSupported,
            "disabled" | "off" | "false" => Self::Off,
            "accept" => Self::Accept,
            "fast" | "s2_fast" => Self::Fixed(Level::Fast),
            "better" | "s2_better" => Self::Fixed(Level::Better),
            "best" | "s2_best" => Self::Fixed(Level::Best),
            "on" | "enabled" | "true" | "auto" | "s2_auto" => {
                Self::Auto(checked(text, thresholds)?)
            }
            _ => return Err(format!("unsupported compression mode {text:?}")),
        })
    }

    /// The name that INFO shows; empty where that says nothing of it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotSupported => "",
            Self::Off => "off",
            Self::Accept => "accept",
            Self::Auto(_) => "s2_auto",
            Self::Fixed(level) => level.name(),
        }
    }

    /// May there be compression at all?
    pub fn is_on(&self) -> bool {
        !matches!(self, Self::NotSupported | Self::Off)
    }

    /// What we do with the other side's mode; `None` is no compression. `Accept` never is the
    /// answer.
    ///
    /// # Errors
    /// [`UnknownMode`].
    pub fn agree(&self, theirs: &str) -> Result<Option<Self>, UnknownMode> {
        let fixed = match theirs {
            "" | "not supported" | "off" => return Ok(None),
            "accept" if *self == Self::Accept => return Ok(None),
            "accept" | "s2_auto" => Level::Fast,
            _ => Level::named(theirs).ok_or_else(|| UnknownMode(theirs.to_owned()))?,
        };
        Ok(match self {
            Self::NotSupported | Self::Off => None,
            Self::Accept => Some(Self::Fixed(fixed)),
            own => Some(own.clone()),
        })
    }

    /// How hard to compress where a round trip takes so long; `None` where that depends on the
    /// other side.
    pub fn level(&self, round_trip: Duration) -> Option<Level> {
        const LEVELS: [Level; 4] = [Level::Uncompressed, Level::Fast, Level::Better, Level::Best];
        match self {
            Self::Fixed(level) => Some(*level),
            Self::Auto(thresholds) => {
                let found = thresholds.iter().position(|it| round_trip <= *it);
                let above = match thresholds.len() {
                    3.. => 3,
                    count => count.saturating_sub(1),
                };
                LEVELS.get(found.unwrap_or(above)).copied()
            }
            _ => None,
        }
    }
}

/// Round trips in order, without zeros at the end; a zero in between leaves a level out.
fn checked(mode: &str, given: &[Duration]) -> Result<Vec<Duration>, String> {
    if given.is_empty() {
        return Ok(THRESHOLDS.to_vec());
    }
    let used = given.iter().rposition(|it| !it.is_zero());
    let Some(used) = used.and_then(|last| given.get(..=last)) else {
        return Err(format!(
            "compression mode {mode:?} requires at least one RTT threshold"
        ));
    };
    if used.len() > LEVELS_MAX {
        return Err(format!(
            "compression mode {mode:?} should have no more than 4 RTT thresholds: {given:?}"
        ));
    }
    let above_zero = used.iter().filter(|it| !it.is_zero());
    if !above_zero.is_sorted() {
        return Err(format!(
            "RTT threshold values {given:?} should be in ascending order"
        ));
    }
    Ok(used.to_vec())
}

/// Thresholds there may be: one for each level.
const LEVELS_MAX: usize = 4;

impl Level {
    /// As monitoring and INFO show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uncompressed => "s2_uncompressed",
            Self::Fast => "s2_fast",
            Self::Better => "s2_better",
            Self::Best => "s2_best",
        }
    }

    fn named(name: &str) -> Option<Self> {
        let all = [Self::Uncompressed, Self::Fast, Self::Better, Self::Best];
        all.into_iter().find(|it| it.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(times: &[u64]) -> Vec<Duration> {
        times.iter().map(|it| Duration::from_millis(*it)).collect()
    }

    #[test]
    fn topo_041_modes_and_their_names() {
        let check = |text: &str, expected| assert_eq!(Mode::parse(text, &[]), Ok(expected));
        check("ON", Mode::default());
        check("s2_auto", Mode::default());
        check("off", Mode::Off);
        check("accept", Mode::Accept);
        check("fast", Mode::Fixed(Level::Fast));
        check("s2_best", Mode::Fixed(Level::Best));
        check("not_supported", Mode::NotSupported);
        let wrong = Mode::parse("zip", &[]);
        assert_eq!(wrong, Err("unsupported compression mode \"zip\"".into()));
        assert!(Mode::parse("auto", &ms(&[5, 3])).is_err());
        assert!(Mode::parse("auto", &ms(&[0, 0])).is_err());
        assert!(Mode::parse("auto", &ms(&[1, 2, 3, 4, 5])).is_err());
        let trimmed = Mode::parse("auto", &ms(&[0, 3, 0]));
        assert_eq!(trimmed, Ok(Mode::Auto(ms(&[0, 3]))));
    }

    #[test]
    fn topo_042_043_what_both_sides_agree_on() {
        let fast = || Mode::Fixed(Level::Fast);
        for (ours, theirs, expected) in [
            (fast(), "", None),
            (fast(), "off", None),
            (Mode::Off, "s2_fast", None),
            (Mode::Accept, "accept", None),
            (Mode::Accept, "s2_auto", Some(fast())),
            (Mode::Accept, "s2_best", Some(Mode::Fixed(Level::Best))),
            (Mode::default(), "accept", Some(Mode::default())),
            (Mode::default(), "s2_best", Some(Mode::default())),
        ] {
            assert_eq!(ours.agree(theirs), Ok(expected), "{ours:?} {theirs}");
        }
        let error = fast().agree("zip").expect_err("no mode");
        let text = "unsupported route compression mode \"zip\"";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn topo_044_round_trips_decide() {
        let level = |mode: &Mode, time| mode.level(Duration::from_millis(time));
        let auto = Mode::default();
        for (time, expected) in [
            (0, Level::Uncompressed),
            (10, Level::Uncompressed),
            (11, Level::Fast),
            (51, Level::Better),
            (101, Level::Best),
        ] {
            assert_eq!(level(&auto, time), Some(expected), "{time}");
        }
        let two = Mode::Auto(ms(&[0, 20]));
        assert_eq!(level(&two, 0), Some(Level::Uncompressed));
        assert_eq!(level(&two, 5), Some(Level::Fast));
        assert_eq!(level(&two, 500), Some(Level::Fast));
        assert_eq!(level(&Mode::Accept, 5), None);
    }
}

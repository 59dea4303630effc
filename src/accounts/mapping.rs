//! Where messages of an account's clients go instead (AUTH-41..43).

use std::fmt;

use super::transform::{Transform, TransformError, is_function, numbered};
use crate::options::{DestinationOptions, MappingOptions};
use crate::routing::subject::{is_literal, pattern_matches};

/// Why a mapping cannot be made; texts are stock's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MappingError {
    /// The same destination twice.
    Duplicate(String),
    /// More than 100 per cent of one cluster's messages.
    TotalWeight,
    /// A destination.
    Transform(TransformError),
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate(destination) => write!(f, "duplicate entry for {destination:?}"),
            Self::TotalWeight => f.write_str("total weight needs to be <= 100"),
            Self::Transform(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for MappingError {}

/// An account's mappings, in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mappings(Vec<Mapping>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mapping {
    source: Box<[u8]>,
    literal: bool,
    /// With the per cent of messages that go to it or one before it. What is beyond the last is
    /// lost, as its owner wishes.
    destinations: Vec<(u8, Option<Transform>)>,
}

impl Mappings {
    /// The mappings of an account on a server of `cluster` (AUTH-43).
    ///
    /// # Errors
    /// The first that cannot be made.
    pub fn new(options: &[MappingOptions], cluster: Option<&str>) -> Result<Self, MappingError> {
        let all = options.iter().map(|it| Mapping::new(it, cluster));
        all.collect::<Result<_, _>>().map(Self)
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is mapped: subjects and patterns.
    pub fn sources(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|it| &*it.source)
    }

    /// Writes what a subject becomes to `out`; false if nothing maps it. A lost message has an
    /// empty subject. The first mapping that matches decides.
    pub fn map(&self, subject: &[u8], out: &mut Vec<u8>, mut random: impl FnMut() -> u64) -> bool {
        let matches = |it: &&Mapping| match it.literal {
            true => *it.source == *subject,
            false => pattern_matches(&it.source, subject),
        };
        let Some(at) = self.0.iter().position(|it| matches(&it)) else {
            return false;
        };
        let mapping = &self.0[at];
        // Stock has not taken the subject apart if the first mapping is this very subject: a
        // partition by the whole of it is then one by nothing.
        let subject = if at == 0 && mapping.literal {
            b""
        } else {
            subject
        };
        out.clear();
        let chosen = match &mapping.destinations[..] {
            [(100, only)] => only.as_ref(),
            all => {
                let at = (random() % 100) as u8;
                let found = all.iter().find(|(below, _)| at < *below);
                found.and_then(|(_, transform)| transform.as_ref())
            }
        };
        if let Some(transform) = chosen {
            transform.apply(subject, out, random);
        }
        true
    }
}

impl Mapping {
    fn new(options: &MappingOptions, cluster: Option<&str>) -> Result<Self, MappingError> {
        check(options)?;
        let of = |cluster: Option<&str>| {
            let all = options.destinations.iter();
            all.filter(move |it| it.cluster.as_deref() == cluster)
                .collect::<Vec<_>>()
        };
        let mut chosen = cluster.map(|it| of(Some(it))).unwrap_or_default();
        if chosen.is_empty() {
            chosen = of(None);
        }
        let mut destinations = Vec::with_capacity(chosen.len() + 1);
        for destination in &chosen {
            let transform = match destination.subject.as_str() {
                "" => None,
                subject => Some(transform(&options.source, subject)?),
            };
            destinations.push((destination.weight, transform));
        }
        let total: u8 = destinations.iter().map(|(weight, _)| weight).sum();
        // The rest stays where it is, unless the source is a destination: then it is lost.
        let named = |it: &DestinationOptions| it.subject == options.source;
        if total != 100 && !options.destinations.iter().any(named) {
            let same = transform(&options.source, &numbered(&options.source))?;
            destinations.push((100 - total, Some(same)));
        }
        destinations.sort_by_key(|(weight, _)| *weight);
        let mut below = 0;
        for (weight, _) in &mut destinations {
            below += *weight;
            *weight = below;
        }
        Ok(Self {
            source: options.source.as_bytes().into(),
            literal: is_literal(options.source.as_bytes()),
            destinations,
        })
    }
}

/// All destinations of a mapping with the per cent of messages that go to it or to one before it,
/// as monitoring shows them: those of every cluster after those of none.
pub fn cumulative(options: &MappingOptions) -> Vec<DestinationOptions> {
    let mut clusters: Vec<Option<&str>> = vec![None];
    for destination in &options.destinations {
        if !clusters.contains(&destination.cluster.as_deref()) {
            clusters.push(destination.cluster.as_deref());
        }
    }
    let mut all = Vec::new();
    for cluster in clusters {
        let of = options.destinations.iter();
        let mut those: Vec<DestinationOptions> = of
            .filter(|it| it.cluster.as_deref() == cluster)
            .cloned()
            .collect();
        let total: u8 = those.iter().map(|it| it.weight).sum();
        let named = |it: &DestinationOptions| it.subject == options.source;
        if total != 100 && !options.destinations.iter().any(named) {
            those.push(DestinationOptions {
                subject: numbered(&options.source),
                weight: 100 - total,
                cluster: cluster.map(str::to_owned),
            });
        }
        those.sort_by_key(|it| it.weight);
        let mut below = 0;
        for destination in &mut those {
            below += destination.weight;
            destination.weight = below;
        }
        all.append(&mut those);
    }
    all
}

/// Everything about a mapping, that of other clusters too, in stock's order.
fn check(options: &MappingOptions) -> Result<(), MappingError> {
    let mut seen: Vec<&DestinationOptions> = Vec::new();
    for destination in &options.destinations {
        if seen.iter().any(|it| it.subject == destination.subject) {
            return Err(MappingError::Duplicate(destination.subject.clone()));
        }
        seen.push(destination);
        let same_cluster = seen.iter().filter(|it| it.cluster == destination.cluster);
        if same_cluster.map(|it| u32::from(it.weight)).sum::<u32>() > 100 {
            return Err(MappingError::TotalWeight);
        }
        if !destination.subject.is_empty() {
            look_over(&destination.subject).map_err(MappingError::Transform)?;
            transform(&options.source, &destination.subject)?;
        }
    }
    Ok(())
}

fn transform(source: &str, destination: &str) -> Result<Transform, MappingError> {
    Transform::new(source, destination).map_err(MappingError::Transform)
}

/// What stock finds before it looks at what a destination means.
///
/// # Errors
/// What is wrong with the destination.
pub fn look_over(destination: &str) -> Result<(), TransformError> {
    let mut ended = false;
    for token in destination.split('.') {
        if token.is_empty() || ended {
            return Err(TransformError::token(TransformError::INVALID, token));
        }
        if is_function(token) {
            continue; // one that is unknown is found when the transform is made
        }
        ended = token == ">";
        if !ended && token.contains(['\t', '\n', '\x0c', '\r', ' ']) {
            return Err(TransformError::token(TransformError::INVALID, ""));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(source: &str, destinations: &[(&str, u8, Option<&str>)]) -> MappingOptions {
        MappingOptions {
            source: source.to_owned(),
            destinations: destinations
                .iter()
                .map(|&(subject, weight, cluster)| DestinationOptions {
                    subject: subject.to_owned(),
                    weight,
                    cluster: cluster.map(str::to_owned),
                })
                .collect(),
        }
    }

    fn map(mappings: &Mappings, subject: &str, at: u64) -> Option<String> {
        let mut out = b"old".to_vec();
        let mapped = mappings.map(subject.as_bytes(), &mut out, || at);
        mapped.then(|| String::from_utf8(out).expect("text"))
    }

    /// AUTH-42: messages by the hundred, counted.
    #[track_caller]
    fn check(options: &MappingOptions, cluster: Option<&str>, expected: &[(&str, usize)]) {
        let mappings = Mappings::new(std::slice::from_ref(options), cluster).expect("valid");
        let subject = options.source.replace('*', "x");
        let mut found: Vec<String> = (0..100)
            .map(|at| map(&mappings, &subject, at).expect("mapped"))
            .collect();
        found.sort();
        let counted: Vec<(&str, usize)> = found
            .chunk_by(|a, b| a == b)
            .map(|same| (same[0].as_str(), same.len()))
            .collect();
        assert_eq!(counted, expected);
    }

    #[test]
    fn weights_and_what_is_left() {
        check(&mapping("a", &[("b", 100, None)]), None, &[("b", 100)]);
        check(
            &mapping("a", &[("b", 30, None)]),
            None,
            &[("a", 70), ("b", 30)],
        );
        check(
            &mapping("a.*", &[("b.$1", 30, None), ("c", 30, None)]),
            None,
            &[("a.x", 40), ("b.x", 30), ("c", 30)],
        );
        // The source among the destinations: the rest is lost.
        check(
            &mapping("a", &[("b", 20, None), ("a", 30, None)]),
            None,
            &[("", 50), ("a", 30), ("b", 20)],
        );
        check(&mapping("a", &[("b", 0, None)]), None, &[("a", 100)]);
        check(&mapping("a", &[]), None, &[("a", 100)]);
        check(
            &mapping("a", &[("", 40, None)]),
            None,
            &[("", 40), ("a", 60)],
        );
    }

    #[test]
    fn clusters_have_their_own_destinations() {
        let options = mapping("a", &[("b", 100, None), ("c", 50, Some("east"))]);
        check(&options, None, &[("b", 100)]);
        check(&options, Some("west"), &[("b", 100)]);
        check(&options, Some("east"), &[("a", 50), ("c", 50)]);
    }

    #[test]
    fn the_first_that_matches_decides() {
        let options = [
            mapping("a.*", &[("one", 100, None)]),
            mapping("a.b", &[("two", 100, None)]),
            mapping("*", &[("three.$1", 100, None)]),
        ];
        let mappings = Mappings::new(&options, None).expect("valid");
        assert_eq!(map(&mappings, "a.b", 0).as_deref(), Some("one"));
        assert_eq!(map(&mappings, "x", 0).as_deref(), Some("three.x"));
        assert_eq!(map(&mappings, "x.y", 0), None);
        assert_eq!(map(&mappings, "a.", 0), None);
    }
}

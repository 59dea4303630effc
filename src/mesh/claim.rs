//! Finding out that nobody on any shard received a request, without a word about those that
//! somebody did.
//!
//! A request carries a claim of weight [`WHOLE`]. Handed to several shards it is split among
//! them; one that passes the message on splits its part again. Who delivers the message keeps
//! the part, who delivers it to nobody gives it back to the requester's shard. When all of it is
//! back, nobody has the message: in whatever order the parts arrive.

/// The weight of a request. It can be split 31 times in two, or among all shards five times.
pub const WHOLE: u32 = 1 << 31;

/// Requests of which parts may be back at once. The newest win: an older one that shares the
/// place is forgotten, and its requester waits for its time-out. 64 KiB a shard, once used.
const PLACES: usize = 4096;
const _: () = assert!(PLACES.is_power_of_two(), "numbers are masked");

/// Part of a request that is to be given back if nobody receives it (CORE-71).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Number of the request, unique on the requester's shard.
    pub request: u64,
    /// How much of [`WHOLE`].
    pub share: u32,
}

impl Claim {
    /// Part number `at` of `parts`, which together are the whole of it. `None` where it is too
    /// small to be split: then nobody has to give anything back.
    pub fn part(self, at: u32, parts: u32) -> Option<Self> {
        let even = self.share.checked_div(parts).filter(|&share| share > 0)?;
        let rest = if at == 0 { self.share % parts } else { 0 };
        Some(Self {
            share: even + rest,
            ..self
        })
    }
}

/// What has come back to the requester's shard. Requests that one shard alone was asked for, and
/// those that somebody received, never take a place.
#[derive(Debug, Default)]
pub struct Claims {
    issued: u64,
    returned: Vec<Returned>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Returned {
    request: u64,
    share: u32,
}

impl Claims {
    /// The claim of a new request.
    pub fn issue(&mut self) -> Claim {
        self.issued += 1;
        Claim {
            request: self.issued,
            share: WHOLE,
        }
    }

    /// Takes a part back. True if that was the last: nobody has received the request.
    pub fn give_back(&mut self, part: Claim) -> bool {
        if part.share == WHOLE {
            return true;
        }
        if self.returned.is_empty() {
            self.returned.resize(PLACES, Returned::default());
        }
        let at = part.request as usize & (PLACES - 1);
        let Some(place) = self.returned.get_mut(at) else {
            return false;
        };
        if place.request > part.request {
            return false; // a newer one has taken its place
        }
        if place.request < part.request {
            *place = Returned {
                request: part.request,
                share: 0,
            };
        }
        place.share = place.share.saturating_add(part.share);
        place.share == WHOLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_undelivered_when_all_parts_are_back_in_any_order() {
        let mut claims = Claims::default();
        let whole = claims.issue();
        let parts: Vec<Claim> = (0..3).filter_map(|at| whole.part(at, 3)).collect();
        assert_eq!(parts.iter().map(|part| part.share).sum::<u32>(), WHOLE);
        // The second shard passes its part on to two others.
        let [left, right] = [0, 1].map(|at| parts[1].part(at, 2).expect("large enough"));
        let back = [right, parts[2], left, parts[0]].map(|part| claims.give_back(part));
        assert_eq!(back, [false, false, false, true]);
    }

    #[test]
    fn parts_of_different_requests_are_not_added_up() {
        let mut claims = Claims::default();
        let [one, two] = [claims.issue(), claims.issue()];
        let half = |claim: Claim, at| claim.part(at, 2).expect("large enough");
        assert!(!claims.give_back(half(one, 0)));
        assert!(!claims.give_back(half(two, 0)));
        assert!(claims.give_back(half(two, 1)));
        assert!(claims.give_back(half(one, 1)));
        assert!(claims.give_back(claims_of_one_shard()));
    }

    fn claims_of_one_shard() -> Claim {
        Claims::default().issue()
    }

    #[test]
    fn an_older_request_gives_its_place_to_a_newer_one() {
        let mut claims = Claims::default();
        let old = claims.issue();
        assert!(!claims.give_back(old.part(0, 2).expect("large enough")));
        let new = Claim {
            request: old.request + PLACES as u64,
            share: WHOLE,
        };
        assert!(!claims.give_back(new.part(0, 2).expect("large enough")));
        assert!(
            !claims.give_back(old.part(1, 2).expect("large enough")),
            "forgotten"
        );
        assert!(claims.give_back(new.part(1, 2).expect("large enough")));
    }

    #[test]
    fn a_part_too_small_to_split_is_given_up() {
        let crumb = Claim {
            request: 1,
            share: 2,
        };
        assert_eq!(crumb.part(0, 3), None);
        assert_eq!(crumb.part(0, 0), None);
    }
}

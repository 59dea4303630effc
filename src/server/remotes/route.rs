//! Where to connect next: the configured places, and those that the hub names (TOPO-17, TOPO-21).

use super::place::{Place, Scheme};
use crate::options::RemoteOptions;

/// The places of one remote, in the order in which they are tried.
pub(super) struct Route {
    configured: Vec<Place>,
    places: Vec<Place>,
    /// The last one that was tried.
    current: Option<Place>,
    /// Whose certificate a place must show that is named by an address only.
    tls_name: Option<String>,
}

impl Route {
    /// Those of the configuration, in any order if it allows that.
    pub fn new(options: &RemoteOptions, mut random: impl FnMut() -> f64) -> Self {
        let configured: Vec<_> = options
            .urls
            .iter()
            .filter_map(|it| Place::parse(it))
            .collect();
        let mut places = configured.clone();
        if !options.no_randomize {
            shuffle(&mut places, &mut random);
        }
        // Places without a user get the one that is there (a hub names places only).
        let user = configured.iter().find_map(|it| it.user.clone());
        for place in &mut places {
            place.user = place.user.take().or_else(|| user.clone());
        }
        let named = places.iter().find(|it| it.is_named());
        Self {
            tls_name: named.map(|it| it.host.clone()),
            configured: places.clone(),
            places,
            current: None,
        }
    }

    /// The next place; `None` if there is none at all.
    pub fn next(&mut self) -> Option<Place> {
        if self.places.len() > 1 && self.current.as_ref() == self.places.first() {
            self.places.rotate_left(1);
        }
        self.current = self.places.first().cloned();
        self.current.clone()
    }

    /// The hub names these: they are tried first, the configured ones stay.
    pub fn learn(&mut self, addresses: &[String]) {
        let Some(like) = self.configured.first() else {
            return;
        };
        let found = addresses.iter();
        let found = found.filter_map(|it| Place::named_by_hub(it, like));
        let is_new = |place: &Place| !self.configured.iter().any(|it| it.is_at(place));
        let mut places: Vec<_> = found.filter(is_new).collect();
        places.extend_from_slice(&self.configured);
        self.places = places;
    }

    /// Whether all goes over WebSockets: a remote has either those or none.
    pub fn is_websocket(&self) -> bool {
        let first = self.configured.first();
        first.is_some_and(|it| it.scheme != Scheme::Tcp)
    }

    /// Whose certificate must be shown at a place.
    pub fn tls_name(&self, place: &Place) -> String {
        match &self.tls_name {
            Some(name) if !place.is_named() => name.clone(),
            _ => place.host.clone(),
        }
    }

    /// That was somebody else's: from now on it is the address that counts.
    pub fn forget_tls_name(&mut self) {
        self.tls_name = None;
    }
}

/// Any order.
pub(super) fn shuffle<T>(list: &mut [T], random: &mut impl FnMut() -> f64) {
    for last in (1..list.len()).rev() {
        let at = (random() * (last + 1) as f64) as usize;
        list.swap(last, at.min(last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(urls: &[&str]) -> Route {
        let options = RemoteOptions {
            urls: urls.iter().map(|it| (*it).to_owned()).collect(),
            no_randomize: true,
            ..RemoteOptions::default()
        };
        Route::new(&options, || 0.0)
    }

    fn hosts(route: &mut Route, count: usize) -> Vec<String> {
        let next = || route.next().map_or_else(String::new, |it| it.host);
        std::iter::repeat_with(next).take(count).collect()
    }

    #[test]
    fn topo_021_places_take_turns() {
        assert_eq!(hosts(&mut route(&["a", "b", "c"]), 4), ["a", "b", "c", "a"]);
        assert_eq!(hosts(&mut route(&["a"]), 2), ["a", "a"]);
        assert_eq!(hosts(&mut route(&[]), 1), [""]);
    }

    #[test]
    fn topo_017_places_of_the_hub_come_first_and_configured_ones_stay() {
        let mut route = route(&["u:p@a:1", "b:1"]);
        assert_eq!(hosts(&mut route, 1), ["a"]);
        route.learn(&["c:1".into(), "a:1".into(), "0.0.0.0:1".into(), "d:1".into()]);
        assert_eq!(hosts(&mut route, 5), ["c", "d", "a", "b", "c"]);
        let user = Some(("u".to_owned(), "p".to_owned()));
        assert_eq!(route.next().and_then(|it| it.user), user);
        route.learn(&["e:1".into()]);
        assert_eq!(hosts(&mut route, 3), ["e", "a", "b"]);
    }

    #[test]
    fn topo_045_addresses_show_the_certificate_of_a_name() {
        let mut route = route(&["10.0.0.1:1", "hub.example:1"]);
        let address = route.next().expect("a place");
        assert_eq!(route.tls_name(&address), "hub.example");
        route.forget_tls_name();
        assert_eq!(route.tls_name(&address), "10.0.0.1");
    }

    #[test]
    fn every_order_is_possible() {
        let mut list = [1, 2, 3];
        shuffle(&mut list, &mut || 0.0);
        assert_eq!(list, [2, 3, 1]);
        shuffle(&mut list, &mut || 0.999);
        assert_eq!(list, [2, 3, 1]);
    }
}

//! The addresses of this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

/// Addresses of all interfaces that are up, loopback first.
pub fn addresses() -> Vec<IpAddr> {
    let mut head = ptr::null_mut();
    // SAFETY: the pointer is to a list head the call fills in; checked below.
    if unsafe { libc::getifaddrs(&raw mut head) } != 0 {
        return vec![Ipv4Addr::LOCALHOST.into()];
    }
    let mut all = Vec::new();
    let mut next = head;
    while !next.is_null() {
        // SAFETY: a node of the list, which lives until `freeifaddrs`.
        let entry = unsafe { &*next };
        next = entry.ifa_next;
        let up = entry.ifa_flags & libc::IFF_UP as libc::c_uint != 0;
        if up && !entry.ifa_addr.is_null() {
            all.extend(address(entry.ifa_addr));
        }
    }
    // SAFETY: what `getifaddrs` gave us, freed once; nothing of it is kept.
    unsafe { libc::freeifaddrs(head) };
    all.sort_by_key(|address| !address.is_loopback());
    all
}

fn address(of: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: not null by the caller; the family says how long the structure is.
    match i32::from(unsafe { (*of).sa_family }) {
        libc::AF_INET => {
            // SAFETY: of that family, so it is this structure.
            let v4 = unsafe { ptr::read_unaligned(of.cast::<libc::sockaddr_in>()) };
            Some(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: of that family, so it is this structure.
            let v6 = unsafe { ptr::read_unaligned(of.cast::<libc::sockaddr_in6>()) };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

//! The order in which ipvsadm lists services and their dests.
//!
//! Pure.

use std::cmp::Ordering;
use std::net::IpAddr;

use crate::base::{Endpoint, Family, Proto};
use crate::control::protocol::ServiceEntry;
use crate::service::command::ServiceKey;

/// Sorts services, and the dests of each, as ipvsadm does.
pub fn sort(services: &mut Vec<ServiceEntry>) {
    for service in services.iter_mut() {
        merge_sort(&mut service.dests, |a, b| by_endpoint(a.real, b.real));
    }
    merge_sort(services, |a, b| by_key(a.key, b.key));
}

fn by_key(a: ServiceKey, b: ServiceKey) -> Ordering {
    let parts = |key| match key {
        ServiceKey::Mark(family, mark) => (mark, family, Proto::IP, Endpoint::UNSPECIFIED),
        ServiceKey::Address(proto, vip) => (0, Family::of(vip.addr), proto, vip),
    };
    let (a, b) = (parts(a), parts(b));
    by_difference(a.0, b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)).then_with(|| by_endpoint(a.3, b.3))
}

fn by_endpoint(a: Endpoint, b: Endpoint) -> Ordering {
    let by_address = match (a.addr, b.addr) {
        (IpAddr::V4(a), IpAddr::V4(b)) => by_difference(u32::from(a), u32::from(b)),
        (a, b) => a.cmp(&b),
    };
    by_address.then(a.port.cmp(&b.port))
}

/// The sign of a difference of 32 bits: numbers further apart than half of all come in the wrong order, as in ipvsadm.
fn by_difference(a: u32, b: u32) -> Ordering {
    (a.wrapping_sub(b) as i32).cmp(&0)
}

/// The C library's `qsort`: halves sorted and merged. That order is no total one, so the way decides the result.
fn merge_sort<T>(items: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering + Copy) {
    if items.len() < 2 {
        return;
    }
    let mut right = items.split_off(items.len() / 2);
    merge_sort(items, compare);
    merge_sort(&mut right, compare);
    let (mut left, mut right) = (std::mem::take(items).into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        items.extend(if compare(a, b) == Ordering::Greater { right.next() } else { left.next() });
    }
    items.extend(left);
    items.extend(right);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_far_apart_are_sorted_as_their_difference_says() {
        let mut ends =
            ["10.0.0.2", "10.0.0.1", "192.168.10.100"].map(|addr| Endpoint::new(addr.parse().unwrap(), 1)).to_vec();
        merge_sort(&mut ends, |a, b| by_endpoint(*a, *b));
        let sorted: Vec<String> = ends.iter().map(|end| end.addr.to_string()).collect();
        assert_eq!(sorted, ["192.168.10.100", "10.0.0.1", "10.0.0.2"]);
    }
}

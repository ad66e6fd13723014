//! How loaded a server is, and who of several is loaded least: the arithmetic of lc, wlc, sed, nq, lblc(r), twos.
//!
//! Never divides: a quotient rounded down would make unequal loads a tie.

use std::cmp::Ordering;

use super::{Overhead, Server, Servers};
use crate::base::DestId;

impl Overhead {
    /// The load of a server; below 2^41, for the counts have 32 bits.
    #[inline]
    pub fn of(self, server: &Server) -> u64 {
        let counted = match self {
            Overhead::Classic => u64::from(server.inactive),
            Overhead::Current => server.total(),
        };
        256 * u64::from(server.active) + counted
    }
}

/// The order of two loads per unit of weight, `a.load/a.weight` against `b.load/b.weight`.
///
/// Weights below 2^31 and 16 million conns a server fit 64 bits; beyond that the order ends in ties.
#[inline]
pub(super) fn per_weight(a: (u64, u32), b: (u64, u32)) -> Ordering {
    let left = a.0.saturating_mul(u64::from(b.1));
    let right = b.0.saturating_mul(u64::from(a.1));
    left.cmp(&right)
}

/// The eligible server with the least `load` per unit of weight; of equals, the first listed.
#[inline]
pub(super) fn least(servers: &Servers, load: impl Fn(&Server) -> u64) -> Option<DestId> {
    servers
        .iter()
        .filter(|(_, server)| server.eligible())
        .map(|(id, server)| (id, (load(server), server.weight)))
        .min_by(|(_, a), (_, b)| per_weight(*a, *b))
        .map(|(id, _)| id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Endpoint;

    #[test]
    fn the_two_formulas_differ_in_near_ties_only() {
        let server = |active, inactive| Server { active, inactive, ..Server::new(Endpoint::UNSPECIFIED, 1) };
        let (busy, waiting) = (server(1, 0), server(0, 256));
        assert_eq!(Overhead::Classic.of(&busy), Overhead::Classic.of(&waiting));
        assert_eq!((Overhead::Current.of(&busy), Overhead::Current.of(&waiting)), (257, 256));
    }

    #[test]
    fn loads_are_compared_without_rounding() {
        assert_eq!(per_weight((10, 3), (7, 2)), Ordering::Less);
        assert_eq!(per_weight((2, 4), (1, 2)), Ordering::Equal);
        assert_eq!(per_weight((u64::MAX, 1), (1, u32::MAX)), Ordering::Greater);
    }
}

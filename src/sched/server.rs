//! The live state of one server as schedulers see it, and the ordered list of a service's servers.
//!
//! Never knows packets; counts are moved by the flow table through the service.

use crate::base::{Counted, DestId, Endpoint};

/// Why a server takes no new conns, whatever its weight: its place in the tables of hash schedulers stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mask {
    /// It takes them.
    #[default]
    None,
    /// By the operator's will: what it has goes on, persistent clients too.
    Drained,
    /// No check has said anything of it, and others are known to be up.
    Unchecked,
    /// Its checks say that it is down.
    Failed,
}

/// Weight, load and limits of one server of one service.
#[derive(Clone, Debug)]
pub struct Server {
    /// Address and port of the real server; a hash scheduler's key.
    pub endpoint: Endpoint,
    /// Present weight; 0 means quiesced: no new conns by choice.
    pub weight: u32,
    /// The latest weight that was not 0, or 0 if it never had one.
    pub last_weight: u32,
    /// Conns in an active state.
    pub active: u32,
    /// All other conns.
    pub inactive: u32,
    /// Upper threshold of active + inactive; 0: none.
    pub upper: u32,
    /// Lower threshold as configured; 0: three quarters of `upper`.
    pub lower: u32,
    /// Why it is left out, if it is.
    pub mask: Mask,
    /// The overload mark: set and cleared by conns that come and go.
    pub overloaded: bool,
    /// False once the server was taken out of its service.
    pub available: bool,
}

impl Server {
    /// A server that was just added to a service and has no conns.
    pub fn new(endpoint: Endpoint, weight: u32) -> Server {
        Server {
            endpoint,
            weight,
            last_weight: weight,
            active: 0,
            inactive: 0,
            upper: 0,
            lower: 0,
            mask: Mask::None,
            overloaded: false,
            available: true,
        }
    }

    /// Back in its service with the conns it still had.
    pub fn revive(&mut self, weight: u32, upper: u32, lower: u32) {
        self.weight = weight;
        self.last_weight = weight;
        self.set_thresholds(upper, lower);
        self.available = true;
    }

    /// Edits the weight; 0 quiesces and leaves `last_weight`, by which mh keeps everyone's place.
    pub fn set_weight(&mut self, weight: u32) {
        self.weight = weight;
        if weight != 0 {
            self.last_weight = weight;
        }
    }

    /// Edits the limits. A mark goes at once if the limit was raised or taken away.
    ///
    /// Neither set nor cleared otherwise: a limit lowered below the present count is noticed by the next
    /// conn that comes, and so lets one more through.
    pub fn set_thresholds(&mut self, upper: u32, lower: u32) {
        if upper == 0 || upper > self.upper {
            self.overloaded = false;
        }
        self.upper = upper;
        self.lower = lower;
    }

    /// May be chosen for a new conn: neither quiesced nor masked nor overloaded.
    #[inline]
    pub fn eligible(&self) -> bool {
        self.present_weight() > 0 && !self.overloaded
    }

    /// The weight for schedulers without tables, to which a masked server is one of weight 0.
    #[inline]
    pub fn present_weight(&self) -> u32 {
        if self.mask == Mask::None { self.weight } else { 0 }
    }

    /// True if checks took it out: its clients go elsewhere, whether or not the scheduler falls back by itself.
    #[inline]
    pub fn is_out(&self) -> bool {
        matches!(self.mask, Mask::Failed | Mask::Unchecked)
    }

    /// All conns; 64 bits, for what follows multiplies it.
    #[inline]
    pub fn total(&self) -> u64 {
        u64::from(self.active) + u64::from(self.inactive)
    }

    /// A conn was given to this server.
    pub fn bind(&mut self, counted: Counted) {
        *self.count(counted) += 1;
        self.mark();
    }

    /// The same for many at once.
    pub fn bind_all(&mut self, active: u32, inactive: u32) {
        *self.count(Counted::Active) += active;
        *self.count(Counted::Inactive) += inactive;
        self.mark();
    }

    /// No further conn can reach this server: its local ports are used up. The mark goes as that of a threshold does, with a
    /// conn that ends.
    pub fn exhausted(&mut self) {
        self.overloaded = true;
    }

    /// It would be chosen but for that.
    pub fn is_exhausted(&self) -> bool {
        self.overloaded && self.upper == 0 && self.present_weight() > 0
    }

    /// There are ports again. A mark that a threshold has set stays.
    pub fn has_ports(&mut self) {
        self.overloaded &= self.upper != 0;
    }

    /// A conn of this server ended; `counted` is what it counted as last.
    pub fn unbind(&mut self, counted: Counted) {
        let count = self.count(counted);
        debug_assert!(*count > 0, "a conn ended that was never counted");
        *count = count.saturating_sub(1);
        self.unmark();
    }

    /// A persistence template was bound: not counted, but the limit is looked at as by any bind.
    pub fn bind_template(&mut self) {
        self.mark();
    }

    /// A persistence template ended: not counted, but the limit is looked at.
    pub fn unbind_template(&mut self) {
        self.unmark();
    }

    /// A conn's state changed what it counts as; the total, and so the mark, stays.
    pub fn recount(&mut self, from: Counted, to: Counted) {
        if from == to {
            return;
        }
        let count = self.count(from);
        debug_assert!(*count > 0, "a conn changed state that was never counted");
        *count = count.saturating_sub(1);
        *self.count(to) += 1;
    }

    fn count(&mut self, counted: Counted) -> &mut u32 {
        match counted {
            Counted::Active => &mut self.active,
            Counted::Inactive => &mut self.inactive,
        }
    }

    /// Overloaded as soon as the limit is reached, not when it is passed.
    fn mark(&mut self) {
        if self.upper != 0 && self.total() >= u64::from(self.upper) {
            self.overloaded = true;
        }
    }

    /// Takes conns again below the lower limit, or below three quarters of the upper one.
    fn unmark(&mut self) {
        let relieved = match (self.lower, self.upper) {
            (0, 0) => true,
            (0, upper) => 4 * self.total() < 3 * u64::from(upper),
            (lower, _) => self.total() < u64::from(lower),
        };
        if relieved {
            self.overloaded = false;
        }
    }
}

/// A service's servers in the kernel's list order: the one added last comes first.
#[derive(Clone, Copy)]
pub struct Servers<'a> {
    order: &'a [DestId],
    slab: &'a [Server],
}

impl<'a> Servers<'a> {
    /// `slab` is indexed by `DestId`, `order` names those of one service.
    pub fn new(order: &'a [DestId], slab: &'a [Server]) -> Servers<'a> {
        Servers { order, slab }
    }

    /// How many servers the service has.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// The server at a position of the list.
    pub fn at(&self, position: usize) -> (DestId, &'a Server) {
        let id = self.order[position];
        (id, &self.slab[id.index()])
    }

    /// The server behind an id, in the list or not any more.
    pub fn get(&self, id: DestId) -> &'a Server {
        &self.slab[id.index()]
    }

    /// All servers in list order.
    pub fn iter(&self) -> impl Iterator<Item = (DestId, &'a Server)> + use<'a> {
        let slab = self.slab;
        self.order.iter().map(move |id| (*id, &slab[id.index()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(upper: u32, lower: u32) -> Server {
        let mut server = Server::new(Endpoint::UNSPECIFIED, 1);
        server.set_thresholds(upper, lower);
        server
    }

    #[test]
    fn the_mark_comes_when_the_limit_is_reached_and_counts_both_kinds() {
        let mut server = server(3, 0);
        server.bind(Counted::Active);
        server.bind(Counted::Inactive);
        assert!(server.eligible());
        server.bind(Counted::Inactive);
        assert!(!server.eligible());
    }

    #[test]
    fn the_mark_goes_below_three_quarters_or_the_lower_limit() {
        for (upper, lower, last_marked) in
            [(4, 0, 3), (8, 0, 6), (10, 0, 8), (1, 0, 1), (4, 2, 2), (4, 4, 4), (5, 1, 1)]
        {
            let mut server = server(upper, lower);
            for _ in 0..upper {
                server.bind(Counted::Active);
            }
            let mut marked_at = upper;
            while server.overloaded {
                marked_at = server.active;
                server.unbind(Counted::Active);
            }
            assert_eq!(marked_at, last_marked, "upper {upper}, lower {lower}");
        }
    }

    #[test]
    fn a_lowered_limit_lets_one_more_through_and_a_raised_one_takes_the_mark_at_once() {
        let mut server = server(5, 0);
        (0..4).for_each(|_| server.bind(Counted::Active));
        server.set_thresholds(2, 0);
        assert!(server.eligible());
        server.bind(Counted::Active);
        assert!(!server.eligible());
        server.set_thresholds(2, 1);
        assert!(!server.eligible(), "the same limit again changes nothing");
        server.set_thresholds(3, 0);
        assert!(server.eligible(), "raised, even to less than there are");
        server.bind_template();
        assert!(!server.eligible(), "a template looks at the limit");
        server.set_thresholds(0, 0);
        assert!(server.eligible());
    }

    #[test]
    fn a_state_change_moves_a_conn_between_the_counts() {
        let mut server = server(2, 0);
        server.bind(Counted::Inactive);
        server.recount(Counted::Inactive, Counted::Active);
        assert_eq!((server.active, server.inactive), (1, 0));
        server.recount(Counted::Active, Counted::Active);
        assert_eq!((server.active, server.inactive), (1, 0));
    }

    #[test]
    fn the_last_weight_survives_quiescing_but_not_coming_back_with_none() {
        let mut server = Server::new(Endpoint::UNSPECIFIED, 5);
        server.set_weight(0);
        assert_eq!((server.weight, server.last_weight), (0, 5));
        server.available = false;
        server.revive(0, 0, 0);
        assert_eq!((server.weight, server.last_weight, server.available), (0, 0, true));
    }
}

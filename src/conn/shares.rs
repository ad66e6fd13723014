//! How many conns each service and each net of clients has, so that under pressure none takes all.
//!
//! Counted by hash: a service (virtual endpoint) or net (/24, /64) shares its count with few others, by a secret that no
//! client knows.

use super::key::Secret;
use super::record::Conn;

const SERVICES: usize = 1 << 10;
const NETS: usize = 1 << 12;
/// A net has more than its share from this part of all conns on.
const PART_OF_NET: usize = 8;

/// Counts of one kind of owner.
struct Counts {
    counts: Box<[u32]>,
    /// Counts that are not 0.
    owners: usize,
    multiplier: u64,
}

/// All counts.
pub(super) struct Shares {
    services: Counts,
    nets: Counts,
}

impl Counts {
    fn new(size: usize, secret: u64) -> Counts {
        Counts { counts: vec![0; size].into(), owners: 0, multiplier: secret | 1 }
    }

    /// Multiply and fold, as in multilinear hashing: equal for two owners as seldom as chance has it.
    #[inline]
    fn place(&self, owner: [u64; 2]) -> usize {
        let mixed =
            owner.map(|half| u128::from(half ^ self.multiplier) * u128::from(self.multiplier.rotate_left(29) | 1));
        let folded = mixed.map(|product| (product >> 64) as u64 ^ product as u64);
        let hash = (folded[0].rotate_left(23) ^ folded[1]).wrapping_mul(self.multiplier);
        (hash >> 40) as usize % self.counts.len()
    }

    #[inline]
    fn add(&mut self, owner: [u64; 2]) {
        let count = &mut self.counts[self.place(owner)];
        self.owners += usize::from(*count == 0);
        *count += 1;
    }

    #[inline]
    fn remove(&mut self, owner: [u64; 2]) {
        let count = &mut self.counts[self.place(owner)];
        *count -= 1;
        self.owners -= usize::from(*count == 0);
    }

    fn of(&self, owner: [u64; 2]) -> usize {
        self.counts[self.place(owner)] as usize
    }
}

impl Shares {
    pub(super) fn new(secret: Secret) -> Shares {
        Shares { services: Counts::new(SERVICES, secret[0]), nets: Counts::new(NETS, secret[1]) }
    }

    /// All counts, for tests.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (Vec<u32>, Vec<u32>, [usize; 2]) {
        let (services, nets) = (&self.services, &self.nets);
        (services.counts.to_vec(), nets.counts.to_vec(), [services.owners, nets.owners])
    }

    #[inline]
    pub(super) fn add(&mut self, conn: &Conn) {
        self.services.add(service_of(conn));
        self.nets.add(net_of(conn));
    }

    #[inline]
    pub(super) fn remove(&mut self, conn: &Conn) {
        self.services.remove(service_of(conn));
        self.nets.remove(net_of(conn));
    }

    /// True if a conn's service has more than its part of all `live` conns, or its client's net has.
    pub(super) fn exceeds(&self, conn: &Conn, live: usize) -> bool {
        let service = self.services.owners > 1 && self.services.of(service_of(conn)) > live / self.services.owners;
        let net = self.nets.owners > 1 && self.nets.of(net_of(conn)) > live / PART_OF_NET;
        service || net
    }
}

fn service_of(conn: &Conn) -> [u64; 2] {
    let virt = conn.packed_virt();
    let [upper, lower] = virt.addr.halves();
    [upper ^ u64::from(virt.port) << 32, lower]
}

/// The client's /24 or /64.
fn net_of(conn: &Conn) -> [u64; 2] {
    let client = conn.packed_client().addr;
    match (client.ipv4_bits(), client.halves()) {
        (Some(addr), _) => [1, u64::from(addr >> 8)],
        (None, [upper, _]) => [2, upper],
    }
}

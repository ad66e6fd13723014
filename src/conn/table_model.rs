//! The flow table against a plain list, over many random operations.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::flags as flag;
use super::memory::Memory;
use crate::base::{Array, Chance, ConnId, DestId, Endpoint, Instant, Method, Plain, Proto, Rng, Tuple};
use crate::conn::{AddressLine, CLIENT_PLACES, Conn, ConnTable, Draft, Due, Generation, Kind, NewConn, Side};

pub(super) const ROOM: usize = 200;

/// A conn as the model knows it.
#[derive(Clone, Debug)]
struct Known {
    id: ConnId,
    request: Tuple,
    reply: Option<Tuple>,
    ends: Instant,
}

fn endpoint(net: u8, rng: &mut Rng, few: u64) -> Endpoint {
    let addr = IpAddr::V4(Ipv4Addr::new(10, net, 0, rng.below(few) as u8));
    Endpoint::new(addr, 1 + rng.below(40) as u16)
}

struct Model {
    table: ConnTable,
    known: Vec<Known>,
    /// Clients' addresses and virtual ones. A single client crowds its home.
    addresses: (u64, u64),
    rng: Rng,
    now: Instant,
}

impl Model {
    fn insert(&mut self) {
        let (rng, (clients, virtuals)) = (&mut self.rng, self.addresses);
        let (mut client, virt, real) = (endpoint(1, rng, clients), endpoint(2, rng, virtuals), endpoint(3, rng, 3));
        if clients == 1 {
            client.port = 1;
        }
        let proto = if rng.below(2) == 0 { Proto::TCP } else { Proto::UDP };
        let method = [Method::Nat, Method::Direct, Method::FullNat][rng.below(3) as usize];
        let local = Endpoint::new(IpAddr::V4(Ipv4Addr::new(10, 4, 0, 1)), 1 + rng.below(4000) as u16);
        let request = Tuple { proto, src: client, dst: virt };
        let reply = match method {
            Method::Nat => Some(Tuple { proto, src: real, dst: client }),
            Method::FullNat => Some(Tuple { proto, src: real, dst: local }),
            Method::Direct | Method::Tunnel(_) | Method::Bypass => None,
        };
        // The director never makes a conn that a packet would already find, from either side.
        let taken =
            |tuple: &Tuple| self.known.iter().any(|known| known.request == *tuple || known.reply == Some(*tuple));
        if taken(&request) || reply.is_some_and(|reply| taken(&reply)) {
            return;
        }
        let real_id = self.table.intern(real.addr).unwrap();
        let local_id = self.table.intern(local.addr).unwrap();
        let new = NewConn {
            proto,
            client,
            virt,
            real: real_id,
            dport: real.port,
            local: (method == Method::FullNat).then_some((local_id, local.port)),
            dest: DestId(0),
            method,
            kind: Kind::Flow,
        };
        let timeout = Duration::from_secs(1 + self.rng.below(5000));
        match self.table.insert(&new, self.now, timeout) {
            Ok(id) => self.known.push(Known { id, request, reply, ends: self.now + timeout }),
            Err(_) => assert_eq!(self.known.len(), ROOM, "refused while there is room"),
        }
    }

    fn any(&mut self) -> Option<usize> {
        let count = self.known.len() as u64;
        (count > 0).then(|| self.rng.below(count) as usize)
    }

    fn step(&mut self) {
        match self.rng.below(10) {
            0..=4 => self.insert(),
            5 => {
                if let Some(index) = self.any() {
                    let known = self.known.swap_remove(index);
                    self.table.remove(known.id);
                }
            }
            6 | 7 => {
                if let Some(index) = self.any() {
                    let timeout = Duration::from_secs(1 + self.rng.below(9000));
                    self.known[index].ends = self.now + timeout;
                    self.table.rearm(self.known[index].id, self.now, timeout);
                }
            }
            _ => self.let_time_pass(),
        }
    }

    /// A conn ends within the wheel's resolution of its time: never before, and not a quarter of a second after.
    fn let_time_pass(&mut self) {
        self.now = self.now + Duration::from_secs(self.rng.below(300));
        while let Some(due) = self.table.expire_one(self.now, 0) {
            let Due::Over(id, _) = due else { panic!("no conn controls another here") };
            let index = self.known.iter().position(|known| known.id == id).expect("the end of a conn we know");
            let known = self.known.swap_remove(index);
            assert!(known.ends <= self.now, "ended early: {known:?} at {:?}", self.now);
        }
        for known in &self.known {
            assert!(known.ends + Duration::from_millis(300) > self.now, "still there: {known:?} at {:?}", self.now);
        }
    }

    fn check(&self) {
        assert_eq!(self.table.len(), self.known.len());
        for known in &self.known {
            assert_eq!(self.table.lookup(&known.request), Some((known.id, Side::Request)), "{known:?}");
            if let Some(reply) = &known.reply {
                assert_eq!(self.table.lookup(reply), Some((known.id, Side::Reply)), "{known:?}");
            }
        }
        let stranger = Tuple { proto: Proto::SCTP, ..Tuple { src: Endpoint::UNSPECIFIED, ..self.known_or_nobody() } };
        assert_eq!(self.table.lookup(&stranger), None);
    }

    fn known_or_nobody(&self) -> Tuple {
        let nobody = Tuple { proto: Proto::TCP, src: Endpoint::UNSPECIFIED, dst: Endpoint::UNSPECIFIED };
        self.known.first().map_or(nobody, |known| known.request)
    }
}

#[test]
fn the_table_finds_and_forgets_what_a_plain_list_does() {
    for addresses in [(6, 2), (1, 100)] {
        let table = ConnTable::new(ROOM, Chance::KNOWN.key);
        let mut model = Model { table, known: Vec::new(), addresses, rng: Rng::seeded(3), now: Instant(5) };
        for step in 0..40_000 {
            if step == 10_000 {
                model.table.count_clients(Array::zeroed(CLIENT_PLACES));
            }
            model.step();
            if step % 20 == 0 {
                model.check();
            }
            if step >= 10_000 && step % 2000 == 0 {
                let clients = model.known.iter().map(|known| &known.request);
                let tcp = clients.filter(|request| request.proto == Proto::TCP).map(|request| request.src);
                assert!(model.table.clients.as_ref().is_some_and(|clients| clients.are(tcp)));
            }
        }
    }
}

pub(super) const SECRET: [u64; 2] = [7, 8];

/// What a table leaves in memory, or a copy of it.
pub(super) struct Image {
    records: Vec<Conn>,
    checks: Vec<u32>,
    addresses: Vec<AddressLine>,
}

impl Image {
    pub(super) fn of(table: &ConnTable) -> Image {
        let (records, checks, addresses) = table.records.parts();
        Image { records: records.to_vec(), checks: checks.to_vec(), addresses: addresses.to_vec() }
    }

    /// As if it had been copied while the other process went on: some records are of then, some of later.
    pub(super) fn torn(mut self, later: &Image, rng: &mut Rng) -> Image {
        self.records.resize(self.records.len().max(later.records.len()), Conn::vacant(super::record::NIL));
        for (slot, record) in self.records.iter_mut().enumerate() {
            if rng.below(4) == 0
                && let Some(later) = later.records.get(slot)
            {
                *record = *later;
            }
        }
        self
    }

    pub(super) fn memory(&self, generation: u64) -> Memory {
        fn array<T: Plain>(values: &[T], len: usize) -> Array<T> {
            let mut array = Array::zeroed(len);
            array[..values.len()].copy_from_slice(values);
            array
        }
        Memory {
            records: array(&self.records, ROOM),
            checks: array(&self.checks, ROOM),
            shifts: Array::zeroed(ROOM),
            addresses: array(&self.addresses, self.addresses.len()),
            used: array(&[self.records.len() as u32], 1),
            secret: SECRET,
            generation,
        }
    }
}

#[test]
fn a_table_taken_over_with_a_draft_or_without_goes_on_as_a_plain_list_does() {
    for addresses in [(6, 2), (1, 100)] {
        let table = ConnTable::over(Memory::new(ROOM, SECRET), Instant(5));
        let mut model = Model { table, known: Vec::new(), addresses, rng: Rng::seeded(4), now: Instant(5) };
        let mut generation = 0;
        for round in 1..600 {
            for _ in 0..model.rng.below(150) {
                model.step();
            }
            let (then, before) = (model.now, Image::of(&model.table));
            for _ in 0..model.rng.below(40) {
                model.step();
            }
            let mut left = Image::of(&model.table);
            let mut torn = before.torn(&left, &mut model.rng);
            // What the kernel forwards is flagged, and nothing is after a start.
            for (then, left) in torn.records.iter_mut().zip(&mut left.records) {
                let is_fast = model.rng.below(3) == 0;
                [then, left].into_iter().filter(|conn| conn.is_live()).for_each(|conn| conn.set(flag::FAST, is_fast));
            }
            let mut draft = (round % 4 > 0).then(|| Draft::of(torn.memory(generation), ROOM, then));
            let dests = [(0, DestId(0))].into_iter().collect();
            let earlier = [Generation { number: generation, dests }];
            // Half of the processes go on with the generation that there was.
            generation += model.rng.below(2);
            let (table, restored) = ConnTable::restore(left.memory(generation), model.now, &earlier, draft.as_mut());
            assert_eq!((restored.taken, restored.refused), (model.known.len(), 0));
            model.table = table;
            assert!(model.table.iter().all(|(_, conn)| conn.flags & flag::FAST == 0));
            model.check();
        }
    }
}

//! A flow table over the memory that another process has left: what can be trusted is taken, the rest is vacated.
//!
//! Buckets, overflow index, timers and free slots are made anew. Never trusts a number that it has not checked.

use super::draft::Draft;
use super::flags as flag;
use super::memory::Memory;
use super::record::{Conn, NIL};
use super::restored::{Generation, Restored, Trust, clamped, dest_now};
use super::table::ConnTable;
use crate::base::{ConnId, DestId, Instant};

/// Buckets are prefetched for the conn that is so many slots away.
const AHEAD: usize = 16;
/// What controls what: a data conn, its control conn, a template.
const DEEPEST: usize = 4;

impl ConnTable {
    /// The conns in `memory` whose records are sound, of all `earlier` generations. A draft of the same memory makes it quick; it is
    /// used up, and takes its time to be freed.
    pub fn restore(
        memory: Memory,
        now: Instant,
        earlier: &[Generation],
        draft: Option<&mut Draft>,
    ) -> (ConnTable, Restored) {
        let mut table = ConnTable::over(memory, now);
        let trust = Trust::seals(&table.records, earlier);
        let by_draft = draft.and_then(|draft| table.take_over_by(draft, now, &trust));
        let restored = by_draft.unwrap_or_else(|| table.take_over_all(now, earlier));
        (table, restored)
    }

    fn take_over_all(&mut self, now: Instant, earlier: &[Generation]) -> Restored {
        let used = self.slots();
        let all = move || (0..used).map(|slot| ConnId(slot as u32));
        let mut restored = Restored::default();
        for id in all() {
            match dest_now(&self.records, id, earlier) {
                Some(dest) => {
                    self.take_over(id, dest, now);
                    restored.bind(&self.records[id]);
                }
                None => {
                    restored.refused += usize::from(self.records[id].is_live());
                    self.records[id] = Conn::vacant(NIL);
                }
            }
        }
        all().for_each(|id| self.check_control(id));
        // From the end, so that the first free slot is the next to be used.
        for id in all().rev() {
            if !self.records[id].is_live() {
                self.records.vacate(id);
            }
        }
        self.link_all(used);
        restored.taken = self.live;
        restored
    }

    /// A record that is sound: it is a conn of this dest from now on.
    pub(super) fn take_over(&mut self, id: ConnId, dest: DestId, now: Instant) {
        let conn = &mut self.records[id];
        conn.dest = dest;
        conn.set(flag::SHADOWED, false);
        conn.set(flag::CONTROLS, false);
        conn.set(flag::FAST, false);
        conn.deadline = clamped(conn.deadline, now);
        let conn = *conn;
        conn.named().for_each(|addr| self.records.addresses.hold(addr));
        self.records.seal(id);
        self.count_in(&conn);
    }

    /// A conn whose control is gone stands alone; nothing controls itself, however long the way.
    pub(super) fn check_control(&mut self, id: ConnId) {
        if !self.records[id].is_live() {
            return;
        }
        let Some(control) = self.records[id].control() else { return };
        let used = self.records.all().len();
        let above = |id: ConnId| self.records.all()[id.index()].control().filter(|control| control.index() < used);
        let is_there = control.index() < used && self.records[control].is_live();
        let depth = if is_there {
            std::iter::successors(Some(control), |id| above(*id)).take(DEEPEST).count()
        } else {
            DEEPEST
        };
        if depth == DEEPEST {
            return self.records[id].set_control(None);
        }
        self.records.count_controlled(control, 1);
    }

    /// Makes all conns findable, each under its timer. Of two with the same reply key the one made last takes the replies;
    /// which that was is not known any more, so it is the one in the later slot.
    pub(super) fn link_all(&mut self, used: usize) {
        let is_linked = |conn: &&Conn| conn.is_live() && !conn.is_hidden();
        let linked = self.records.all()[..used].iter().filter(is_linked);
        self.index.expect(linked.map(|conn| 1 + usize::from(conn.local().is_some())).sum());
        for slot in 0..used {
            let (id, later) = (ConnId(slot as u32), ConnId((slot + AHEAD) as u32));
            if self.live(later).is_some() {
                self.index.prefetch(&self.records, later);
            }
            if self.records[id].is_live() {
                self.enter(id);
            }
        }
    }

    /// Files a record under its timer, and makes it findable if it is not hidden.
    pub(super) fn enter(&mut self, id: ConnId) {
        let conn = &self.records[id];
        let (deadline, is_hidden) = (conn.deadline, conn.is_hidden());
        self.wheel.insert(id, deadline);
        if !is_hidden {
            self.link(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;
    use crate::base::{Array, Endpoint, Packed, Plain, Proto, Rng, Tuple};
    use crate::base::{Method, Tunnel};
    use crate::conn::addresses::AddrId;
    use crate::conn::restored::LONGEST;
    use crate::conn::{AddressLine, Kind, NewConn, Side};

    const MAX: usize = 64;
    const SECRET: [u64; 2] = [3, 4];

    /// The contents of a table's memory.
    #[derive(Clone)]
    struct Image {
        records: Vec<Conn>,
        checks: Vec<u32>,
        addresses: Vec<AddressLine>,
        used: u32,
    }

    fn array<T: Plain>(values: &[T], len: usize) -> Array<T> {
        let mut array = Array::zeroed(len);
        array[..values.len()].copy_from_slice(values);
        array
    }

    impl Image {
        fn of(table: &ConnTable) -> Image {
            let (records, checks, addresses) = table.records.parts();
            Image {
                records: records.to_vec(),
                checks: checks.to_vec(),
                addresses: addresses[..64].to_vec(),
                used: records.len() as u32,
            }
        }

        fn memory(&self) -> Memory {
            Memory {
                records: array(&self.records, MAX),
                checks: array(&self.checks, MAX),
                shifts: Array::zeroed(MAX),
                addresses: array(&self.addresses, Memory::ADDRESSES),
                used: array(&[self.used], 1),
                secret: SECRET,
                generation: 1,
            }
        }
    }

    fn end(last: u8, port: u16) -> Endpoint {
        Endpoint::new(IpAddr::from([10, 0, 0, last]), port)
    }

    /// A conn of each method, a template that controls one, and some slots given back.
    fn filled() -> ConnTable {
        let mut table = ConnTable::over(Memory::new(MAX, SECRET), Instant::START);
        let (real, local) = (table.intern(end(21, 0).addr).unwrap(), table.intern(end(9, 0).addr).unwrap());
        let mut ids = Vec::new();
        for number in 0..40_u16 {
            let method = [Method::Nat, Method::FullNat, Method::Direct, Method::Tunnel(Tunnel::default())]
                [usize::from(number % 4)];
            let new = NewConn {
                proto: Proto::TCP,
                client: end(1, 1000 + number),
                virt: end(100, 80),
                real,
                dport: 8080,
                local: (method == Method::FullNat).then_some((local, 5000 + number)),
                dest: DestId(u32::from(number % 3)),
                method,
                kind: if number == 0 { Kind::Template { timeout: 300 } } else { Kind::Flow },
            };
            ids.push(table.insert(&new, Instant(1000), Duration::from_secs(60 + u64::from(number))).unwrap());
        }
        table.set_control(ids[4], ids[0]);
        for number in [7, 8, 30] {
            table.remove(ids[number]);
        }
        table
    }

    /// The first one, with three dests.
    fn generation(dest_of: impl Fn(DestId) -> Option<DestId>) -> Generation {
        let dests = (0..3).filter_map(|slot| Some((slot, dest_of(DestId(slot))?)));
        Generation { number: 0, dests: dests.collect() }
    }

    fn key(conn: &Conn, table: &ConnTable) -> impl PartialEq + std::fmt::Debug + use<> {
        (
            conn.client(),
            conn.virt(),
            table.real(conn),
            table.local(conn),
            conn.method(Tunnel::default),
            conn.is_template(),
            table.deadline(conn),
        )
    }

    #[test]
    fn a_table_comes_back_as_it_was() {
        let before = filled();
        let (table, restored) =
            ConnTable::restore(Image::of(&before).memory(), Instant(5000), &[generation(Some)], None);
        assert_eq!((restored.taken, restored.refused), (37, 0));
        let bound =
            |dest| before.iter().filter(move |(_, conn)| conn.dest == DestId(dest) && !conn.is_template()).count();
        assert_eq!(restored.bound.iter().map(|bound| bound.templates).sum::<u32>(), 1);
        assert_eq!([0, 1, 2].map(|dest| restored.bound[dest].inactive as usize), [0, 1, 2].map(bound));
        for (id, conn) in before.iter() {
            assert_eq!(key(table.get(id), &table), key(conn, &before));
            assert_eq!((table.get(id).control(), table.get(id).controls()), (conn.control(), conn.controls()));
            let request = Tuple { proto: conn.proto(), src: conn.client(), dst: conn.virt() };
            if !conn.is_template() {
                assert_eq!(table.lookup(&request), Some((id, Side::Request)));
            }
            if let Some(local) = table.local(conn) {
                let reply = Tuple { proto: conn.proto(), src: table.real(conn), dst: local };
                assert_eq!(table.lookup(&reply), Some((id, Side::Reply)));
            }
        }
        assert!(table.next_deadline().is_some());
    }

    #[test]
    fn conns_end_when_they_would_have_ended_and_slots_are_used_again() {
        let (mut table, _) =
            ConnTable::restore(Image::of(&filled()).memory(), Instant(5000), &[generation(Some)], None);
        let mut ended = 0;
        while let Some(due) = table.expire_one(Instant(1_000_000), 0) {
            ended += usize::from(matches!(due, crate::conn::Due::Over(..)));
        }
        // The template controls a conn that may end after it.
        assert!(ended >= 36, "{ended}");
        let new = |port| NewConn {
            proto: Proto::UDP,
            client: end(2, port),
            virt: end(100, 53),
            real: AddrId(0),
            dport: 53,
            local: None,
            dest: DestId(0),
            method: Method::Nat,
            kind: Kind::Flow,
        };
        let room = MAX - table.len();
        let made =
            (0..MAX as u16).filter(|port| table.insert(&new(*port), Instant(1_000_000), LONGEST).is_ok()).count();
        assert_eq!(made, room);
    }

    #[test]
    fn conns_of_dests_that_are_gone_are_not_taken() {
        let only = |dest: DestId| (dest == DestId(1)).then_some(DestId(7));
        let (table, restored) =
            ConnTable::restore(Image::of(&filled()).memory(), Instant(5000), &[generation(only)], None);
        assert_eq!((restored.taken, restored.refused), (12, 25));
        assert!(table.iter().all(|(_, conn)| conn.dest == DestId(7)));
    }

    /// Whatever is damaged: every conn that is taken goes where it went before.
    #[test]
    fn a_damaged_image_never_leads_a_packet_elsewhere() {
        let before = filled();
        let whole = Image::of(&before);
        let known: Vec<_> = before
            .iter()
            .map(|(_, conn)| (conn.client(), conn.virt(), before.real(conn), conn.method(Tunnel::default)))
            .collect();
        let mut rng = Rng::seeded(16);
        for _ in 0..2_000 {
            let mut image = whole.clone();
            for _ in 0..1 + rng.below(4) {
                damage(&mut image, &mut rng);
            }
            let (mut table, restored) = ConnTable::restore(image.memory(), Instant(5000), &[generation(Some)], None);
            assert!(restored.taken <= 37);
            for (_, conn) in table.iter() {
                let found = (conn.client(), conn.virt(), table.real(conn), conn.method(Tunnel::default));
                assert!(known.contains(&found), "{found:?}");
            }
            while table.expire_one(Instant(LONGEST.as_millis() as u64 * 2), 0).is_some() && table.len() > 2 {}
        }
    }

    fn damage(image: &mut Image, rng: &mut Rng) {
        let bit = 1 << rng.below(32);
        let slot = rng.below(image.records.len() as u64) as usize;
        match rng.below(8) {
            0 => image.checks[slot] ^= bit,
            1 => image.addresses[rng.below(3) as usize][rng.below(3) as usize] ^= u64::from(bit) << (rng.below(2) * 32),
            2 => image.used = image.used.wrapping_add(bit),
            3 => image.used = rng.below(64) as u32,
            // Another slot's record, as if pages were exchanged.
            4 => image.records[slot] = image.records[rng.below(40) as usize],
            _ => image.records[slot].turn_bit(rng.below(512) as usize),
        }
    }

    impl Conn {
        /// As a fault of memory would.
        fn turn_bit(&mut self, bit: usize) {
            let ([a, b], [c, d]) = (self.packed_client().addr.halves(), self.packed_virt().addr.halves());
            let (half, by) = (bit / 64, 1_u64 << (bit % 64));
            let turned = |word: u64, place| if half == place { word ^ by } else { word };
            let client = Packed::from_halves([turned(a, 0), turned(b, 1)]);
            let virt = Packed::from_halves([turned(c, 2), turned(d, 3)]);
            self.turn(client, virt, half, by);
        }
    }
}

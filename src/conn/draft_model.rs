//! A table taken over by a draft against the same taken over without one, over many random lives.

use std::net::IpAddr;
use std::time::Duration;

use super::flags as flag;
use super::memory::Memory;
use super::table_model::{Image, ROOM, SECRET};
use crate::base::{ConnId, Counted, DestId, Endpoint, Instant, Method, Proto, Rng, Tuple};
use crate::conn::{Conn, ConnTable, Draft, Due, Generation, Kind, NewConn, Restored, Side};

/// Dests that conns have, by slot.
const DESTS: u32 = 4;

/// A table whose conns have templates, states, dests and what else a director gives them.
struct Life {
    table: ConnTable,
    rng: Rng,
    now: Instant,
}

impl Life {
    fn endpoint(&mut self, net: u8) -> Endpoint {
        let addr = IpAddr::from([10, net, 0, self.rng.below(8) as u8]);
        Endpoint::new(addr, 1 + self.rng.below(60) as u16)
    }

    /// One of the live conns.
    fn any(&mut self) -> Option<ConnId> {
        let skipped = self.rng.below(self.table.len().max(1) as u64) as usize;
        self.table.iter().nth(skipped).map(|(id, _)| id)
    }

    fn insert(&mut self, kind: Kind) -> Option<ConnId> {
        let (client, virt, real) = (self.endpoint(1), self.endpoint(2), self.endpoint(3));
        let method = [Method::Nat, Method::Direct, Method::FullNat][self.rng.below(3) as usize];
        let local = IpAddr::from([10, 4, 0, self.rng.below(3) as u8]);
        let (real_id, local_id) = (self.table.intern(real.addr)?, self.table.intern(local)?);
        let is_full = method == Method::FullNat && kind == Kind::Flow;
        let new = NewConn {
            proto: Proto::TCP,
            client: Endpoint { port: if self.rng.below(20) == 0 { 0 } else { client.port }, ..client },
            virt,
            real: real_id,
            dport: real.port,
            local: is_full.then_some((local_id, 1 + self.rng.below(60_000) as u16)),
            dest: DestId(self.rng.below(DESTS.into()) as u32),
            method,
            kind,
        };
        self.table.insert(&new, self.now, Duration::from_secs(1 + self.rng.below(900))).ok()
    }

    /// A conn, under a template or conn if there is a fit one.
    fn open(&mut self) {
        let above = self.any().filter(|id| self.table.get(*id).control().is_none());
        let Some(id) = self.insert(Kind::Flow) else { return };
        if let Some(above) = above.filter(|above| *above != id) {
            self.table.set_control(id, above);
        }
    }

    fn change(&mut self, id: ConnId) {
        let seconds = Duration::from_secs(1 + self.rng.below(900));
        let is_template = self.table.get(id).is_template();
        match self.rng.below(8) {
            0 if !self.table.get(id).controls() => self.table.remove(id),
            1 | 2 => self.table.rearm(id, self.now, seconds),
            3 if !is_template => self.table.set_state(id, self.rng.below(11) as u8),
            4 if is_template => self.table.set_template_timeout(id, 1 + self.rng.below(500) as u32),
            5 => self.table.get_mut(id).set_counted(Counted::active_if(self.rng.below(2) == 0)),
            6 if self.table.get(id).is_without_client_port() && !self.table.get(id).is_hidden() => {
                self.table.learn_port(id, Side::Request, 100 + self.rng.below(100) as u16);
            }
            7 if self.rng.below(5) == 0 => self.table.hide(id),
            _ => self.table.get_mut(id).set_synced(self.rng.below(2) == 0),
        }
    }

    fn step(&mut self) {
        match self.rng.below(10) {
            0..=3 => self.open(),
            4 => _ = self.insert(Kind::Template { timeout: 300 }),
            5..=8 => {
                if let Some(id) = self.any() {
                    self.change(id);
                }
            }
            _ => {
                self.now = self.now + Duration::from_secs(self.rng.below(100));
                while let Some(due) = self.table.expire_one(self.now, 0) {
                    assert!(!matches!(due, Due::Fast(_)));
                }
            }
        }
        while self.table.next_event().is_some() {}
    }

    fn steps(&mut self, most: u64) {
        (0..self.rng.below(most)).for_each(|_| self.step());
    }
}

/// All that is counted of a table's conns, and each record but for what only an order says.
fn counted(table: &ConnTable, restored: &Restored) -> impl PartialEq + std::fmt::Debug + use<> {
    let record = |conn: &Conn| {
        (conn.is_live().then(|| (conn.identity(), conn.flags & !flag::SHADOWED)), conn.control(), conn.deadline)
    };
    let records: Vec<_> = table.records.all().iter().map(record).collect();
    let numbers = [table.live, table.half_open, table.one_way, table.without_port, restored.taken, restored.refused];
    let bound: Vec<_> = restored.bound.iter().map(|bound| (bound.active, bound.inactive, bound.templates)).collect();
    (records, numbers, table.records.counts(), bound, restored.synced, restored.with_local, table.shares.counts())
}

/// What packets find of each conn.
fn found(table: &ConnTable) -> Vec<Option<(ConnId, Side)>> {
    let request = |conn: &Conn| Tuple { proto: conn.proto(), src: conn.client(), dst: conn.virt() };
    table
        .iter()
        .filter(|(_, conn)| !conn.is_template() && !conn.is_hidden())
        .map(|(_, conn)| table.lookup(&request(conn)))
        .collect()
}

#[test]
fn a_draft_changes_nothing_but_the_time_that_it_takes() {
    let mut rng = Rng::seeded(12);
    let table = ConnTable::over(Memory::new(ROOM, SECRET), Instant(5));
    let mut life = Life { table, rng: Rng::seeded(8), now: Instant(5) };
    let mut generation = 0;
    for number in 0..1500 {
        life.steps(60);
        let mut draft: Option<Draft> = None;
        // Once, or looked at again as the other worker goes on.
        for _ in 0..1 + rng.below(3) {
            let (then, before) = (life.now, Image::of(&life.table));
            life.steps(30);
            let copy = before.torn(&Image::of(&life.table), &mut rng).memory(generation);
            draft = Some(match draft {
                Some(draft) => draft.again(copy, then).0,
                None => Draft::of(copy, ROOM, then),
            });
        }
        let left = Image::of(&life.table);
        let mut draft = draft.unwrap();
        let dests = (0..DESTS).filter(|_| rng.below(30) > 0).map(|slot| (slot, DestId(slot))).collect();
        let earlier = [Generation { number: generation, dests }];
        // Half of the processes go on with the generation that there was.
        generation += rng.below(2);
        let memory = || left.memory(generation);
        let (plain, of_plain) = ConnTable::restore(memory(), life.now, &earlier, None);
        let (table, restored) = ConnTable::restore(memory(), life.now, &earlier, Some(&mut draft));
        assert!(restored.since.is_some(), "the draft was of use");
        assert_eq!(counted(&table, &restored), counted(&plain, &of_plain), "round {number}");
        let clashes = |table: &ConnTable| table.iter().any(|(_, conn)| conn.is_shadowed());
        assert!(found(&table) == found(&plain) || clashes(&plain), "round {number}");
        assert_eq!(table.next_deadline().is_some(), plain.next_deadline().is_some());
        life.table = table;
    }
}

//! A kernel for laboratories: the maps of the fast path, in which each frame's entry is found.
//!
//! Frames are taken or not, counted, and sent on as entries say; no SYN is answered. Beside it the real program may stand, which
//! must do the same to every frame, byte for byte.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::kernel_program::{count, forward, is_plain, is_unsummed, without_outer_id};
use super::shadow::Shadow;
use super::wire::Frame;
use crate::base::{Array, Instant, LinkId, Mac, Prefix};
use crate::fastpath::abi::{Counters, Entry, Key, Method, Neighbour, Passed, Proxied, Reach, Station, Totals};
use crate::fastpath::{Kernel, NotAdded};
use crate::wire::{Packet, PacketBuf, Parsed, Vnet, parse};

/// Number of the device of the first link.
const FIRST_DEVICE: u32 = 10;

#[derive(Default)]
struct Maps {
    flows: BTreeMap<Place, (Key, Entry)>,
    neighbours: BTreeMap<u32, Neighbour>,
    stations: BTreeMap<u8, Station>,
    room: usize,
    shadow: Option<Shadow>,
}

/// The maps; all clones have the same.
#[derive(Clone, Default)]
pub struct KernelModel(Rc<RefCell<Maps>>);

impl KernelModel {
    /// With room for so many entries.
    pub fn new(room: usize) -> KernelModel {
        KernelModel(Rc::new(RefCell::new(Maps { room, ..Maps::default() })))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.borrow().flows.len()
    }

    /// The same, with the real program beside it.
    pub fn with_shadow(room: usize, shadow: Option<Shadow>) -> KernelModel {
        KernelModel(Rc::new(RefCell::new(Maps { room, shadow, ..Maps::default() })))
    }

    /// A worker that does not understand the entries has the program forward nothing any more, and takes them away.
    pub fn silence(&self) {
        let mut kernel = self.clone();
        kernel.set_station(LinkId(0), &Station::default());
        let keys: Vec<Key> = self.0.borrow().flows.values().map(|(key, _)| *key).collect();
        keys.iter().for_each(|key| _ = kernel.take(key));
    }

    /// What the program makes of a frame that a link's device is about to give to the director: the frame that goes back
    /// instead, or `None` if it is left alone.
    pub fn egress(&self, link: LinkId, bytes: &[u8], vnet: Vnet, now: Instant) -> Option<Frame> {
        let frame = self.forwarded(link, bytes, vnet, now);
        if let Some(shadow) = &self.0.borrow().shadow {
            let by_program = shadow.run(link, bytes).map(without_outer_id);
            let bytes_out = frame.as_ref().map(|frame| without_outer_id(frame.bytes.clone()));
            assert_eq!(by_program, bytes_out, "the program, and the model, of {bytes:02x?}");
        }
        frame
    }

    fn forwarded(&self, link: LinkId, bytes: &[u8], vnet: Vnet, now: Instant) -> Option<Frame> {
        let mut buf = PacketBuf::new();
        buf.set(bytes);
        buf.vnet = vnet;
        let Ok(Parsed::Ip(mut ip)) = parse(&buf) else { return None };
        buf.truncate(ip.end);
        let mut packet = Packet::new(&mut buf, &mut ip);
        let mut maps = self.0.borrow_mut();
        maps.stations.get(&link.0).filter(|station| station.mac == Some(Mac(bytes[..6].try_into().unwrap())))?;
        if !is_plain(&packet) {
            return None;
        }
        let tuple = packet.ip.tuple()?;
        let [from_client, to_client] = [tuple.src, tuple.dst].map(|endpoint| Key { proto: tuple.proto, endpoint });
        let request = |entry: &Entry| entry.request.neighbour != 0 && entry.virt == tuple.dst;
        let reply = |entry: &Entry| entry.reply.neighbour != 0 && entry.server == tuple.src;
        let is = |key: &Key, wanted: &dyn Fn(&Entry) -> bool| {
            maps.flows.get(&place_of(key)).is_some_and(|(_, entry)| wanted(entry))
        };
        let (key, is_request) = match () {
            () if is(&from_client, &request) => (from_client, true),
            () if is(&to_client, &reply) => (to_client, false),
            () => return None,
        };
        let (_, mut entry) = maps.flows[&place_of(&key)];
        let way = if is_request { &mut entry.request } else { &mut entry.reply };
        let neighbour = *maps.neighbours.get(&way.neighbour)?;
        let mac = neighbour.mac?;
        let is_too_large = packet.ip.wire_len(packet.buf) > usize::from(way.largest);
        if is_too_large || entry.method == Method::Nat && is_unsummed(&packet) {
            return None;
        }
        count(way, &packet, now);
        let forwarded = forward(&mut packet, &entry, is_request, mac, neighbour.link_mac);
        maps.flows.insert(place_of(&key), (key, entry));
        Some(Frame { link: LinkId((neighbour.ifindex - FIRST_DEVICE) as u8), bytes: forwarded, vnet: buf.vnet })
    }
}

/// Where an entry is read: by bucket, as in the kernel, so that taking others away moves none.
type Place = (u32, Vec<u8>);
const BUCKETS: u32 = 16;

fn place_of(key: &Key) -> Place {
    let bytes = key.to_bytes().to_vec();
    (bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>() % BUCKETS, bytes)
}

/// Without times, which are of two clocks.
fn counted(entry: Entry) -> [Counters; 2] {
    [entry.request, entry.reply].map(|way| Counters { seen: 0, ..way.counters })
}

impl Kernel for KernelModel {
    fn add(&mut self, key: &Key, entry: &Entry) -> Result<(), NotAdded> {
        let mut maps = self.0.borrow_mut();
        let place = place_of(key);
        if maps.flows.contains_key(&place) {
            return Err(NotAdded::Exists);
        }
        if maps.flows.len() >= maps.room {
            return Err(NotAdded::Full);
        }
        maps.flows.insert(place, (*key, *entry));
        if let Some(shadow) = &mut maps.shadow {
            shadow.add(key, entry).unwrap();
        }
        Ok(())
    }

    fn take(&mut self, key: &Key) -> Option<Entry> {
        let mut maps = self.0.borrow_mut();
        let entry = maps.flows.remove(&place_of(key)).map(|(_, entry)| entry);
        if let Some(shadow) = &mut maps.shadow {
            assert_eq!(shadow.counted(key).map(counted), entry.map(counted), "counted of {key:?}");
            shadow.take(key);
        }
        entry
    }

    fn get(&mut self, key: &Key) -> Option<Entry> {
        self.0.borrow().flows.get(&place_of(key)).map(|(_, entry)| *entry)
    }

    fn read(&mut self, place: Option<u32>, each: &mut dyn FnMut(Key, Entry)) -> Option<u32> {
        const AT_ONCE: usize = 16;
        let maps = self.0.borrow();
        let mut count = 0;
        for bucket in place.unwrap_or(0)..BUCKETS {
            for ((of, _), (key, entry)) in &maps.flows {
                if *of == bucket {
                    each(*key, *entry);
                    count += 1;
                }
            }
            if count >= AT_ONCE {
                return (bucket + 1 < BUCKETS).then_some(bucket + 1);
            }
        }
        None
    }

    fn set_neighbour(&mut self, place: u32, neighbour: &Neighbour) {
        let mut maps = self.0.borrow_mut();
        maps.neighbours.insert(place, *neighbour);
        if let Some(shadow) = &mut maps.shadow {
            shadow.set_neighbour(place, neighbour);
        }
    }

    fn set_station(&mut self, link: LinkId, station: &Station) {
        let mut maps = self.0.borrow_mut();
        maps.stations.insert(link.0, *station);
        if let Some(shadow) = &mut maps.shadow {
            shadow.set_station(link, station);
        }
    }

    fn device(&self, link: LinkId) -> u32 {
        FIRST_DEVICE + u32::from(link.0)
    }

    fn totals(&self) -> Totals {
        [0; Passed::ALL.len()]
    }

    fn clients(&mut self) -> Option<Array<u8>> {
        None
    }

    fn answer(&mut self, _key: &Key, _proxied: &Proxied) -> bool {
        false
    }

    fn leave_syns(&mut self, _key: &Key) {}

    fn leave_all_syns(&mut self) {}

    fn answered_of(&self, _key: &Key) -> u64 {
        0
    }

    fn answered(&self) -> u64 {
        0
    }

    fn set_reach(&mut self, _to: &Prefix, _reach: Option<Reach>) -> bool {
        false
    }

    fn words(&self) -> &str {
        "by a model"
    }
}

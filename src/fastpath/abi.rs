//! What the director and the program in the kernel share: keys, entries, neighbours and stations, as bytes.
//!
//! The structures of the same names in `program.c` have the same layouts; numbers are of the machine's order, ports and
//! addresses of the network's. Never looks at a packet.

use super::bytes::{In, Out};
pub use super::passed::{Passed, TOTALS_LEN, Totals, answered, totals};
pub use super::proxied::{Proxied, Reach};
use crate::base::{Endpoint, Mac, Proto};

/// The number of this layout: it changes with the bytes below, with what they mean to the program, and with the order of the
/// maps. In every layout the maps of entries, neighbours, stations and totals come first, and a station of zeros has the program
/// leave all packets alone: so a worker stops the program of a keeper of another version.
pub const LAYOUT: u32 = 3;
/// Bytes of a key.
pub const KEY_LEN: usize = 20;
/// Bytes of an entry.
pub const ENTRY_LEN: usize = 160;
/// Bytes of a neighbour.
pub const NEIGHBOUR_LEN: usize = 24;
/// Bytes of a station.
pub const STATION_LEN: usize = 72;

/// By what an entry is found: the source of a packet one way, the destination of one the other way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    /// TCP or UDP.
    pub proto: Proto,
    /// The client; of the second entry of a FULL-NAT conn, what the server sees as its client.
    pub endpoint: Endpoint,
}

/// What becomes of the packets of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Method {
    /// NAT and FULL-NAT: requests go from `other` to `server`, replies from `virt` to `other`.
    Nat = 1,
    /// Another station, nothing else.
    Direct = 2,
    /// IP in IP from `other` to `server`.
    Ipip = 3,
    /// GRE without checksum from `other` to `server`.
    Gre = 4,
    /// GUE without checksum from `other` to `server`, with their UDP ports.
    Gue = 5,
}

/// What the kernel counts of one way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Packets, a superframe being one.
    pub packets: u64,
    /// Bytes of IP packets.
    pub bytes: u64,
    /// When the last one came, in nanoseconds of the monotonic clock; 0 if none has.
    pub seen: u64,
    /// What the last segment acknowledged, before it was rewritten; 0 of UDP and if none has come.
    pub acknowledged: u32,
}

impl Counters {
    /// Both together.
    pub fn and(&self, other: &Counters) -> Counters {
        let newer = if other.seen >= self.seen { other } else { self };
        Counters { packets: self.packets + other.packets, bytes: self.bytes + other.bytes, ..*newer }
    }
}

/// One way of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Way {
    /// Place of the next hop among the neighbours; 0 if packets of this way are left to user space.
    pub neighbour: u32,
    /// The largest packet (of a superframe: each of its segments), before a tunnel is put around it.
    pub largest: u16,
    /// The change of the sum of the addresses, folded, as a number.
    pub addresses: u16,
    /// The change of the sum of the ports.
    pub ports: u16,
    /// What was counted.
    pub counters: Counters,
}

/// What lies between the ends of a conn whose handshake the director has made (`flows::Join`); zeros of all others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Joined {
    /// Added to the server's numbers.
    pub back: u32,
    /// Added to the client's clock, and to the server's.
    pub clocks: [u32; 2],
    /// By how many bits the client's windows are shifted up, and the server's.
    pub windows: [i8; 2],
}

/// What the kernel does to the packets of a conn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What the client addresses.
    pub virt: Endpoint,
    /// The real server; in GUE with the port of the tunnel.
    pub server: Endpoint,
    /// In NAT the client. In FULL-NAT the local endpoint where the key is the client, and the client where the key is the
    /// local endpoint. In tunnels the director, in GUE with the port of the flow.
    pub other: Endpoint,
    /// Method.
    pub method: Method,
    /// A tunnel's outer header has the inner one's DF.
    pub keeps_df: bool,
    /// By how much sequence numbers of the client are moved (FULL-NAT).
    pub shift: u32,
    /// Packets of the client that the director had counted when it made the entry; for a later process, the program does
    /// not look at it.
    pub born: u32,
    /// A handshake that the director has made.
    pub joined: Joined,
    /// Packets whose source the key is.
    pub request: Way,
    /// Packets whose destination the key is.
    pub reply: Way,
}

/// A next hop. A change of its MAC or validity is seen by packets at once and as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Neighbour {
    /// Its MAC; `None`: packets for it are left to user space.
    pub mac: Option<Mac>,
    /// It is the host behind a TUN: there are no MACs. `mac` is to be zero.
    pub is_host: bool,
    /// The MAC of the link that it is on.
    pub link_mac: Mac,
    /// The device of that link.
    pub ifindex: u32,
}

/// The director on one of its links.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Station {
    /// Its MAC; `None`: all packets are left to user space.
    pub mac: Option<Mac>,
    /// Virtual routers that it is, of IPv4: a bit of each number.
    pub routers4: [u64; 4],
    /// The same of IPv6.
    pub routers6: [u64; 4],
}

impl Key {
    /// As the kernel has it.
    pub fn to_bytes(self) -> [u8; KEY_LEN] {
        let mut out = Out::<KEY_LEN>::new();
        out.address(self.endpoint.addr);
        out.put(&self.endpoint.port.to_be_bytes());
        out.put(&[self.proto.0]);
        out.bytes
    }

    /// Of the kernel's bytes.
    pub fn from_bytes(bytes: &[u8; KEY_LEN]) -> Key {
        let mut from = In(bytes);
        let (addr, port) = (from.address(), from.port());
        Key { proto: Proto(from.byte()), endpoint: Endpoint::new(addr, port) }
    }
}

impl Entry {
    /// As the kernel has it.
    pub fn to_bytes(self) -> [u8; ENTRY_LEN] {
        let mut out = Out::<ENTRY_LEN>::new();
        let ends = [self.virt, self.server, self.other];
        ends.iter().for_each(|end| out.address(end.addr));
        ends.iter().for_each(|end| out.put(&end.port.to_be_bytes()));
        out.put(&[self.method as u8, u8::from(self.keeps_df)]);
        out.put(&self.shift.to_ne_bytes());
        out.put(&self.born.to_ne_bytes());
        let Joined { back, clocks: [client, server], windows } = self.joined;
        [back, client, server].iter().for_each(|number| out.put(&number.to_ne_bytes()));
        out.put(&windows.map(|bits| bits as u8));
        out.put(&[0; 2]);
        for way in [&self.request, &self.reply] {
            let Counters { packets, bytes, seen, acknowledged } = way.counters;
            out.put(&way.neighbour.to_ne_bytes());
            out.put(&acknowledged.to_ne_bytes());
            out.put(&way.largest.to_ne_bytes());
            out.put(&way.addresses.to_be_bytes());
            out.put(&way.ports.to_be_bytes());
            out.put(&[0; 2]);
            [packets, bytes, seen].iter().for_each(|count| out.put(&count.to_ne_bytes()));
        }
        out.bytes
    }

    /// Of the kernel's bytes; `None` if this program did not write them.
    pub fn from_bytes(bytes: &[u8; ENTRY_LEN]) -> Option<Entry> {
        let mut from = In(bytes);
        let addrs = [from.address(), from.address(), from.address()];
        let [virt, server, other] = addrs.map(|addr| Endpoint::new(addr, from.port()));
        let method = Method::of_number(from.byte())?;
        let keeps_df = from.byte() != 0;
        let [shift, born] = [(); 2].map(|()| u32::from_ne_bytes(from.take()));
        let [back, mine, its] = [(); 3].map(|()| u32::from_ne_bytes(from.take()));
        let joined = Joined { back, clocks: [mine, its], windows: from.take::<2>().map(|bits| bits as i8) };
        from.take::<2>();
        let [request, reply] = [(); 2].map(|()| from.way());
        Some(Entry { virt, server, other, method, keeps_df, shift, born, joined, request, reply })
    }

    /// True if both tell the kernel to do the same, whatever was counted.
    pub fn does_as(&self, other: &Entry) -> bool {
        let uncounted = |way: Way| Way { counters: Counters::default(), ..way };
        let bare = |entry: &Entry| Entry { request: uncounted(entry.request), reply: uncounted(entry.reply), ..*entry };
        bare(self) == bare(other)
    }
}

impl Method {
    fn of_number(number: u8) -> Option<Method> {
        let all = [Method::Nat, Method::Direct, Method::Ipip, Method::Gre, Method::Gue];
        all.into_iter().find(|method| *method as u8 == number)
    }
}

impl Neighbour {
    const VALID: u8 = 1;
    const HOST: u8 = 2;

    /// As the kernel has it: what may change while packets pass is in the first eight bytes.
    pub fn to_bytes(self) -> [u8; NEIGHBOUR_LEN] {
        let mut out = Out::<NEIGHBOUR_LEN>::new();
        out.put(&self.mac.unwrap_or_default().0);
        let valid = if self.mac.is_some() { Neighbour::VALID } else { 0 };
        out.put(&[valid | if self.is_host { Neighbour::HOST } else { 0 }, 0]);
        out.put(&self.link_mac.0);
        out.put(&[0; 2]);
        out.put(&self.ifindex.to_ne_bytes());
        out.bytes
    }
}

impl Station {
    /// As the kernel has it.
    pub fn to_bytes(self) -> [u8; STATION_LEN] {
        let mut out = Out::<STATION_LEN>::new();
        out.put(&self.mac.unwrap_or_default().0);
        out.put(&[u8::from(self.mac.is_some()), 0]);
        self.routers4.iter().chain(&self.routers6).for_each(|bits| out.put(&bits.to_ne_bytes()));
        out.bytes
    }
}

impl In<'_> {
    fn way(&mut self) -> Way {
        let neighbour = u32::from_ne_bytes(self.take());
        let acknowledged = u32::from_ne_bytes(self.take());
        let largest = u16::from_ne_bytes(self.take());
        let (addresses, ports) = (u16::from_be_bytes(self.take()), u16::from_be_bytes(self.take()));
        self.take::<2>();
        let [packets, bytes, seen] = [(); 3].map(|()| u64::from_ne_bytes(self.take()));
        Way { neighbour, largest, addresses, ports, counters: Counters { packets, bytes, seen, acknowledged } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        crate::testing::endpoint(text)
    }

    #[test]
    fn what_was_written_is_read() {
        let counters = Counters { packets: 1 << 40, bytes: 1 << 50, seen: 1 << 60, acknowledged: 0xdead_beef };
        let way = Way { neighbour: 70_000, largest: 1480, addresses: 0x1234, ports: 0x5678, counters };
        for method in [Method::Nat, Method::Direct, Method::Ipip, Method::Gre, Method::Gue] {
            let entry = Entry {
                virt: endpoint("198.51.100.1:80"),
                server: endpoint("[2001:db8::21]:8080"),
                other: endpoint("10.0.0.30:5000"),
                method,
                keeps_df: true,
                shift: 0xffff_fff0,
                born: 77,
                joined: Joined { back: 0xdead_0001, clocks: [3, 0xdead_0004], windows: [-14, 7] },
                request: way,
                reply: Way { neighbour: 2, ..way },
            };
            assert_eq!(Entry::from_bytes(&entry.to_bytes()), Some(entry));
            let counted = Entry { reply: Way { counters: Counters::default(), ..entry.reply }, ..entry };
            assert!(entry.does_as(&counted) && !entry.does_as(&Entry { shift: 1, ..entry }));
        }
        assert_eq!(Entry::from_bytes(&[0; ENTRY_LEN]), None, "no method");
        for text in ["192.0.2.7:4000", "[2001:db8:c::7]:4000"] {
            let key = Key { proto: Proto::UDP, endpoint: endpoint(text) };
            assert_eq!(Key::from_bytes(&key.to_bytes()), key);
        }
    }

    /// Whoever makes other bytes than these raises `LAYOUT`: keepers live longer than workers.
    #[test]
    fn these_bytes_are_layout_3() {
        let counters = Counters { packets: 0x21, bytes: 0x22, seen: 0x23, acknowledged: 0x24 };
        let way = Way { neighbour: 0x25, largest: 0x26, addresses: 0x27, ports: 0x28, counters };
        let [virt, server, other] = ["1.2.3.4:5", "6.7.8.9:10", "11.12.13.14:15"].map(endpoint);
        let (method, request, reply) = (Method::Gue, way, Way::default());
        let joined = Joined { back: 0x2c, clocks: [0x2d, 0x2e], windows: [-2, 3] };
        let entry =
            Entry { virt, server, other, method, keeps_df: true, shift: 0x29, born: 0x2a, joined, request, reply };
        let four = |tail: &str| format!("{}ffff{tail}", "0".repeat(20));
        let native = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let ends = [four("01020304"), four("06070809"), four("0b0c0d0e"), "0005000a000f0501".into()].concat();
        let shift = native(&[0x29_u32, 0x2a, 0x2c, 0x2d, 0x2e].map(u32::to_ne_bytes).concat()) + "fe030000";
        let words = native(&[0x25_u32.to_ne_bytes(), 0x24_u32.to_ne_bytes()].concat());
        let way = words + &native(&0x26_u16.to_ne_bytes()) + "002700280000";
        let counts = native(&[0x21_u64, 0x22, 0x23].map(u64::to_ne_bytes).concat());
        assert_eq!(native(&entry.to_bytes()), ends + &shift + &way + &counts + &"0".repeat(80));
        let key = Key { proto: Proto::UDP, endpoint: virt };
        assert_eq!(native(&key.to_bytes()), four("01020304") + "00051100");
        let (mac, link_mac) = (Some(Mac([1, 2, 3, 4, 5, 6])), Mac([7; 6]));
        let neighbour = Neighbour { mac, is_host: true, link_mac, ifindex: 0x2b };
        let ifindex = native(&0x2b_u32.to_ne_bytes());
        assert_eq!(native(&neighbour.to_bytes()), format!("01020304050603000707070707070000{ifindex}00000000"));
        let station = Station { mac, routers4: [1, 0, 0, 0], routers6: [0; 4] };
        let router = native(&1_u64.to_ne_bytes());
        assert_eq!(native(&station.to_bytes()), format!("0102030405060100{router}{}", "0".repeat(112)));
        let proxied = Proxied {
            cookie_key: [0x31, 0x32],
            client_key: [0x33, 0x34],
            epoch: 0x35,
            reserved: 0x36,
            timestamps: true,
        };
        let words = native(&[0x31_u64, 0x32, 0x33, 0x34, 0x35, 0].map(u64::to_ne_bytes).concat());
        assert_eq!(native(&proxied.to_bytes()), words + &native(&0x36_u16.to_ne_bytes()) + "010000000000");
        let reach = native(&0x37_u32.to_ne_bytes()) + &native(&0x38_u16.to_ne_bytes()) + "0000";
        assert_eq!(native(&Reach { neighbour: 0x37, mtu: 0x38 }.to_bytes()), reach);
        assert_eq!(LAYOUT, 3);
    }

    #[test]
    fn totals_are_in_the_order_of_their_numbers() {
        let numbers: [u64; Passed::ALL.len() + 1] = std::array::from_fn(|number| number as u64);
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        let bytes = bytes.as_slice().try_into().unwrap();
        assert_eq!(totals(bytes), numbers[..Passed::ALL.len()]);
        assert_eq!(answered(bytes), Passed::ALL.len() as u64);
        for (number, passed) in Passed::ALL.into_iter().enumerate() {
            assert_eq!(passed as usize, number, "{}", passed.name());
        }
    }
}

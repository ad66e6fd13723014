//! The director on one link, with a clock that is moved by hand.
//!
//! ```text
//! clients 192.0.2.x -- router 10.0.0.1 --+-- director 10.0.0.2 -- servers 10.0.0.21 ...
//! ```
//! and the same of IPv6: 2001:db8:c::x, 2001:db8::1, 2001:db8::2, 2001:db8::21.
//! After every step the ledger must balance. Never a device, never the real time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::kernel::KernelModel;
use super::packet::{Kind, Packet, endpoint};
use super::wire::{Frame, Wire};
use crate::base::{Chance, ConnId, Counted, Instant, LinkId, Mac, Proto, Tuple};
use crate::director::{Batch, Director, Settings};
use crate::ipvsadm;
use crate::router::{Link, Turn};
use crate::wire::{PacketBuf, Vnet};

/// The director's MAC.
pub const DIRECTOR: Mac = Mac([2, 0, 0, 0, 0, 1]);
/// The router's, which all clients' packets come from.
pub const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 0xfe]);
/// The only link.
pub const LINK: LinkId = LinkId(0);

/// A director, its time, and where its frames leave.
pub struct Lab {
    /// Everything that is under test.
    pub director: Director,
    /// Its time, which moves by `advance` only; where frames leave; the ledger.
    pub turn: Turn<Wire>,
    /// The fast path's kernel, if it is on.
    pub kernel: Option<KernelModel>,
    buf: PacketBuf,
    before: BTreeMap<String, u64>,
}

impl Lab {
    /// A director with rules as `ipvsadm` takes them, one a line; the neighbours are known. Sequence numbers stay as they are.
    pub fn new(rules: &str) -> Lab {
        Lab::with(Settings { icmp_rate: 0, fullnat_sequence: false, ..Settings::default() }, rules)
    }

    /// The same with settings.
    pub fn with(settings: Settings, rules: &str) -> Lab {
        let mut lab = Lab::without_neighbours(settings, rules);
        let neighbours = &mut lab.director.router.neighbours;
        neighbours.add_permanent(LINK, "10.0.0.1".parse().unwrap(), ROUTER);
        neighbours.add_permanent(LINK, "2001:db8::1".parse().unwrap(), ROUTER);
        for last in 21..=29 {
            let six = format!("2001:db8::{last}").parse().unwrap();
            for addr in [IpAddr::from([10, 0, 0, last]), six] {
                neighbours.add_permanent(LINK, addr, mac_of(addr));
            }
        }
        lab
    }

    /// The same, where nobody is known yet.
    pub fn without_neighbours(settings: Settings, rules: &str) -> Lab {
        Lab::keyed(settings, rules, Chance::KNOWN.key)
    }

    /// The same with another key of the flow table.
    pub fn keyed(settings: Settings, rules: &str, key: [u64; 2]) -> Lab {
        let mut director = Director::new(settings, Chance { key, ..Chance::KNOWN });
        let addresses = vec!["10.0.0.2/24".parse().unwrap(), "2001:db8::2/64".parse().unwrap()];
        let link = director.router.add_link(Link { addresses, ..link() });
        director.router.routes.add("0.0.0.0/0".parse().unwrap(), Some("10.0.0.1".parse().unwrap()), link);
        director.router.routes.add("::/0".parse().unwrap(), Some("2001:db8::1".parse().unwrap()), link);
        let mut lab = Lab::of(director);
        lab.rules(rules);
        lab.advance(Duration::from_secs(3));
        lab.take_moved();
        lab
    }

    /// Any director, without a word to its links.
    pub fn of(director: Director) -> Lab {
        let mut turn = Turn::new(Wire::default());
        turn.now = Instant(1_000);
        Lab { director, turn, kernel: None, buf: PacketBuf::new(), before: BTreeMap::new() }
    }

    /// From now on established flows are forwarded by a kernel with room for so many entries.
    pub fn use_kernel(&mut self, room: usize) {
        let kernel = KernelModel::new(room);
        self.director.fast().start(Box::new(kernel.clone()), 0);
        self.kernel = Some(kernel);
    }

    /// Applies rules, which must be accepted.
    pub fn rules(&mut self, rules: &str) {
        for (_, command) in ipvsadm::parse_rules(rules).unwrap() {
            self.director.apply(&command, self.turn.now).unwrap();
        }
    }

    /// A packet from a client; the frames that leave.
    pub fn client(&mut self, packet: &Packet) -> Vec<Frame> {
        self.frame(&packet.frame(ROUTER, DIRECTOR))
    }

    /// A packet from a real server.
    pub fn real(&mut self, packet: &Packet) -> Vec<Frame> {
        self.frame(&packet.frame(mac_of(packet.src.addr), DIRECTOR))
    }

    /// Any bytes.
    pub fn frame(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.frame_with(bytes, Vnet::default())
    }

    /// Any bytes with a virtio header.
    pub fn frame_with(&mut self, bytes: &[u8], vnet: Vnet) -> Vec<Frame> {
        self.arrive(LINK, bytes, vnet)
    }

    /// Any bytes with a virtio header, on any link.
    pub fn arrive(&mut self, link: LinkId, bytes: &[u8], vnet: Vnet) -> Vec<Frame> {
        let now = self.turn.now;
        if let Some(frame) = self.kernel.as_ref().and_then(|kernel| kernel.egress(link, bytes, vnet, now)) {
            return vec![frame];
        }
        self.buf.set(bytes);
        self.buf.vnet = vnet;
        self.director.ingress(link, &mut self.buf, &mut self.turn);
        self.done()
    }

    /// Frames that the daemon would read together, which are no more than it takes.
    pub fn together(&mut self, batch: &mut Batch, frames: &[Vec<u8>]) -> Vec<Frame> {
        for bytes in frames {
            batch.room().expect("room for a frame").set(bytes);
            batch.add();
        }
        let handled = batch.handle(&mut self.director, LINK, &mut self.turn);
        assert_eq!(handled, frames.len());
        self.done()
    }

    /// Lets time pass as the daemon does, from deadline to deadline; the frames that leave.
    pub fn advance(&mut self, time: Duration) -> Vec<Frame> {
        let until = self.turn.now + time;
        while let Some(due) = self.director.next_deadline().filter(|due| *due <= until) {
            // A deadline may be early, never in the past for ever: the wheel's resolution is the least step.
            self.turn.now = due.max(self.turn.now + Duration::from_millis(1)).min(until);
            self.director.tick(&mut self.turn);
            if self.turn.now == until {
                break;
            }
        }
        self.turn.now = until;
        self.director.tick(&mut self.turn);
        self.done()
    }

    /// The counters of every dest equal what the table holds.
    pub fn recount(&self) -> Result<(), String> {
        let mut counted: BTreeMap<u32, [u32; 3]> = BTreeMap::new();
        for (_, conn) in self.director.flows.conns.iter() {
            let place = match (conn.is_template(), conn.counted()) {
                (true, _) => 2,
                (false, Counted::Active) => 0,
                (false, Counted::Inactive) => 1,
            };
            counted.entry(conn.dest.0).or_default()[place] += 1;
        }
        let services = &self.director.flows.services;
        for id in services.iter().flat_map(|service| &service.dests) {
            let (server, dest) = (services.server(*id), services.dest(*id));
            let (said, there) =
                ([server.active, server.inactive, dest.persistent], counted.get(&id.0).copied().unwrap_or_default());
            if said != there {
                return Err(format!(
                    "{}: counts active, inactive, templates as {said:?}, the table holds {there:?}",
                    server.endpoint
                ));
            }
        }
        Ok(())
    }

    fn done(&mut self) -> Vec<Frame> {
        assert!(self.turn.ledger().balances(), "{}", self.turn.ledger());
        self.director.fast().admit(self.turn.now);
        self.turn.out.take()
    }

    /// The counters that moved since the last time, `name=count`, without rx, tx and generated.
    pub fn take_moved(&mut self) -> String {
        let text = self.turn.ledger().to_string();
        let words = text.lines().filter_map(|line| line.strip_prefix("ledger: ")?.split_once(' '));
        let now: BTreeMap<String, u64> = words.map(|(name, count)| (name.to_owned(), count.parse().unwrap())).collect();
        let moved = now.iter().filter(|(name, _)| !["rx", "tx", "generated"].contains(&name.as_str()));
        let moved = moved.filter_map(|(name, count)| {
            let by = *count as i64 - self.before.get(name).copied().unwrap_or_default() as i64;
            (by != 0).then(|| format!("{name}={by}"))
        });
        let moved = moved.collect::<Vec<_>>().join(" ");
        self.before = now;
        moved
    }

    /// The state of the only conn of a flow, as listings name it.
    pub fn state_of(&self, packet: &Packet) -> &'static str {
        let id = self.conn_of(packet).expect("a conn");
        self.director.flows.state_name(self.director.flows.conns.get(id))
    }

    /// The conn that takes a packet.
    pub fn conn_of(&self, packet: &Packet) -> Option<ConnId> {
        let proto = match packet.kind {
            Kind::Tcp(_) => Proto::TCP,
            _ => Proto::UDP,
        };
        self.director.conn_of(&Tuple { proto, src: packet.src, dst: packet.dst })
    }

    /// Active and inactive conns of the dest at this endpoint, in the only service.
    pub fn counts(&self, real: &str) -> (u32, u32) {
        let service = self.director.flows.services.iter().next().expect("a service");
        let mut servers = service.dests.iter().map(|dest| self.director.flows.services.server(*dest));
        let server = servers.find(|server| server.endpoint == endpoint(real)).expect("a dest");
        (server.active, server.inactive)
    }
}

/// The link without addresses.
pub fn link() -> Link {
    Link { name: "tap0".into(), mac: DIRECTOR, mtu: 1500, addresses: Vec::new() }
}

/// The MAC of a real server, made of its address.
pub fn mac_of(addr: IpAddr) -> Mac {
    match addr {
        IpAddr::V4(addr) => {
            let [a, b, c, d] = addr.octets();
            Mac([2, 4, a, b, c, d])
        }
        IpAddr::V6(addr) => {
            let bytes = addr.octets();
            Mac([2, 6, bytes[12], bytes[13], bytes[14], bytes[15]])
        }
    }
}

/// The packets that left are exactly these, each to its station.
#[track_caller]
pub fn expect(sent: &[Frame], wanted: &[(Mac, Packet)]) {
    let wanted: Vec<Vec<u8>> = wanted.iter().map(|(to, packet)| packet.frame(DIRECTOR, *to)).collect();
    let sent: Vec<&[u8]> = sent.iter().map(|frame| frame.bytes.as_slice()).collect();
    assert_eq!(sent.len(), wanted.len(), "frames sent: {sent:02x?}");
    for (sent, wanted) in sent.iter().zip(&wanted) {
        assert_eq!(sent, wanted, "\n sent   {sent:02x?}\n wanted {wanted:02x?}");
    }
}

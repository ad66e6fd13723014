//! Links, addresses and routes of this network namespace, asked for and changed over rtnetlink (rtnetlink(7)).
//!
//! Never caches: every answer is the kernel's of that moment. Never runs `ip`.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use crate::base::{Mac, Prefix};
use crate::wire::netlink::{Address, Attributes, Message, Writer, flag, kind};

/// Attributes of a TUN or TAP's `IFLA_INFO_DATA` (`linux/if_link.h`).
const IFLA_TUN_TYPE: u16 = 3;
const IFLA_TUN_MULTI_QUEUE: u16 = 7;
const NEW: u16 = flag::ACK | flag::CREATE | flag::EXCL;
/// Length of `struct ifinfomsg` and of `struct ifaddrmsg`.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
/// Length of `struct tcmsg`.
const TRAFFIC_HEADER: usize = 20;
/// `TC_H_CLSACT`, and its end for packets that leave (`linux/pkt_sched.h`).
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_EGRESS: u32 = 0xffff_fff3;
/// Of the one filter that is ours: rather late, behind those of others.
const FILTER_PRIORITY: u32 = 0x7a70;
/// Attributes of a filter that is a program (`linux/pkt_cls.h`).
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;

/// What kind of device a link is, as far as tapvs cares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkKind {
    /// A TAP with one queue.
    Tap,
    /// A TUN with one queue.
    Tun,
    /// A TAP or TUN made with `multi_queue`.
    MultiQueue,
    /// A bridge.
    Bridge,
    /// Anything else, by the kernel's name; empty for hardware and loopback.
    Other(String),
}

/// A network device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkInfo {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: LinkKind,
    /// Whether it is administratively up.
    pub up: bool,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Its Ethernet address; zero if it has none.
    pub mac: Mac,
    /// The bridge (or bond) that it is a port of.
    pub master: Option<u32>,
}

/// How far an address reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Valid everywhere.
    Global,
    /// Never picked as the source of the host's own traffic to others. IPv6 has no such scope for these addresses, so
    /// they are deprecated from the start (RFC 4862 5.5.4).
    Host,
}

/// A conversation with the kernel.
pub struct Netlink {
    fd: OwnedFd,
    seq: u32,
}

impl Netlink {
    /// Opens it for the network namespace we are in; needs no privilege.
    pub fn open() -> io::Result<Netlink> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
        Ok(Netlink { fd, seq: 0 })
    }

    /// The device of that name, if there is one.
    pub fn link(&mut self, name: &str) -> io::Result<Option<LinkInfo>> {
        self.link_where(0, |writer| writer.put_text(libc::IFLA_IFNAME, name))
    }

    /// The device of that number, if there is one.
    pub fn link_by_index(&mut self, index: u32) -> io::Result<Option<LinkInfo>> {
        self.link_where(index, |_| ())
    }

    fn link_where(&mut self, index: u32, attributes: impl FnOnce(&mut Writer)) -> io::Result<Option<LinkInfo>> {
        let mut found = None;
        let asked = self.ask((libc::RTM_GETLINK, 0), &link_header(index, 0, 0), attributes, |answer| {
            found = found.take().or_else(|| read_link(answer));
        });
        match asked {
            Ok(()) => Ok(found),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes a device up.
    pub fn set_up(&mut self, index: u32) -> io::Result<()> {
        self.set_flag_up(index, libc::IFF_UP as u32)
    }

    /// Takes a device down.
    pub fn set_down(&mut self, index: u32) -> io::Result<()> {
        self.set_flag_up(index, 0)
    }

    fn set_flag_up(&mut self, index: u32, flags: u32) -> io::Result<()> {
        let header = link_header(index, flags, libc::IFF_UP as u32);
        self.tell((libc::RTM_NEWLINK, flag::ACK), &header, |_| ())
    }

    /// Sets the largest packet.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> io::Result<()> {
        self.change_link(index, |writer| writer.put_word(libc::IFLA_MTU, mtu))
    }

    /// Sets the Ethernet address.
    pub fn set_mac(&mut self, index: u32, mac: Mac) -> io::Result<()> {
        self.change_link(index, |writer| writer.put(libc::IFLA_ADDRESS, &mac.0))
    }

    /// Makes a device a port of the bridge `master`, or of none.
    pub fn set_master(&mut self, index: u32, master: Option<u32>) -> io::Result<()> {
        self.change_link(index, |writer| writer.put_word(libc::IFLA_MASTER, master.unwrap_or(0)))
    }

    fn change_link(&mut self, index: u32, attribute: impl FnOnce(&mut Writer)) -> io::Result<()> {
        self.tell((libc::RTM_NEWLINK, flag::ACK), &link_header(index, 0, 0), attribute)
    }

    /// Creates a device of a kind that needs no further data.
    pub fn add_link(&mut self, name: &str, kind: &str) -> io::Result<()> {
        self.tell((libc::RTM_NEWLINK, NEW), &link_header(0, 0, 0), |writer| {
            writer.put_text(libc::IFLA_IFNAME, name);
            writer.nest(libc::IFLA_LINKINFO, |writer| writer.put_text(libc::IFLA_INFO_KIND, kind));
        })
    }

    /// Deletes a device.
    pub fn delete_link(&mut self, index: u32) -> io::Result<()> {
        self.tell((libc::RTM_DELLINK, flag::ACK), &link_header(index, 0, 0), |_| ())
    }

    /// The addresses of a device.
    pub fn addresses(&mut self, index: u32) -> io::Result<Vec<Prefix>> {
        let all = self.all_addresses()?;
        Ok(all.into_iter().filter(|(at, _)| *at == index).map(|(_, prefix)| prefix).collect())
    }

    /// The addresses of all devices, each with the number of its device.
    pub fn all_addresses(&mut self) -> io::Result<Vec<(u32, Prefix)>> {
        let mut all = Vec::new();
        let every = [0; ADDRESS_HEADER];
        self.ask((libc::RTM_GETADDR, flag::DUMP), &every, |_| (), |answer| all.extend(read_address(answer)))?;
        Ok(all)
    }

    /// Gives a device an address; `EEXIST` if it has it.
    pub fn add_address(&mut self, index: u32, prefix: Prefix, scope: Scope) -> io::Result<()> {
        self.tell_address((libc::RTM_NEWADDR, NEW), index, prefix, scope)
    }

    /// Takes an address from a device; `EADDRNOTAVAIL` if it does not have it.
    pub fn delete_address(&mut self, index: u32, prefix: Prefix) -> io::Result<()> {
        self.tell_address((libc::RTM_DELADDR, flag::ACK), index, prefix, Scope::Global)
    }

    fn tell_address(&mut self, what: (u16, u16), index: u32, prefix: Prefix, scope: Scope) -> io::Result<()> {
        let reach = if scope == Scope::Host { libc::RT_SCOPE_HOST } else { libc::RT_SCOPE_UNIVERSE };
        let mut header = [family(prefix.addr), prefix.len, 0, reach, 0, 0, 0, 0];
        header[4..].copy_from_slice(&index.to_ne_bytes());
        self.tell(what, &header, |writer| {
            put_ip(writer, libc::IFA_LOCAL, prefix.addr);
            put_ip(writer, libc::IFA_ADDRESS, prefix.addr);
            if scope == Scope::Host && prefix.addr.is_ipv6() {
                // `struct ifa_cacheinfo`: preferred for no second, valid for ever, two times that the kernel fills in.
                writer.put(libc::IFA_CACHEINFO, &[[0; 4], [0xff; 4], [0; 4], [0; 4]].concat());
            }
        })
    }

    /// Routes a prefix to a device, in the main table.
    pub fn add_route(&mut self, to: Prefix, index: u32) -> io::Result<()> {
        self.tell_route((libc::RTM_NEWROUTE, NEW), to, index)
    }

    /// Takes such a route away.
    pub fn remove_route(&mut self, to: Prefix, index: u32) -> io::Result<()> {
        self.tell_route((libc::RTM_DELROUTE, flag::ACK), to, index)
    }

    /// Puts a program at the egress of a device, as a filter of `clsact` that returns what becomes of a packet.
    pub fn set_egress_filter(&mut self, index: u32, program: BorrowedFd) -> io::Result<()> {
        let clsact = traffic_header(index, CLSACT, 0);
        let made = self.tell((libc::RTM_NEWQDISC, NEW), &clsact, |writer| writer.put_text(libc::TCA_KIND, "clsact"));
        // Somebody may have made it already, for filters of theirs.
        made.or_else(|error| if error.raw_os_error() == Some(libc::EEXIST) { Ok(()) } else { Err(error) })?;
        let fd = program.as_raw_fd().cast_unsigned();
        self.tell((libc::RTM_NEWTFILTER, flag::ACK | flag::CREATE), &egress_filter(index), |writer| {
            writer.put_text(libc::TCA_KIND, "bpf");
            writer.nest(libc::TCA_OPTIONS, |writer| {
                writer.put_word(TCA_BPF_FD, fd);
                writer.put_text(TCA_BPF_NAME, "tapvs");
                writer.put_word(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
            });
        })
    }

    /// Takes such a filter away.
    pub fn remove_egress_filter(&mut self, index: u32) -> io::Result<()> {
        self.tell((libc::RTM_DELTFILTER, flag::ACK), &egress_filter(index), |writer| {
            writer.put_text(libc::TCA_KIND, "bpf");
        })
    }

    /// The header is `struct rtmsg`.
    fn tell_route(&mut self, what: (u16, u16), to: Prefix, index: u32) -> io::Result<()> {
        let scope = if to.addr.is_ipv4() { libc::RT_SCOPE_LINK } else { libc::RT_SCOPE_UNIVERSE };
        let (table, protocol) = (libc::RT_TABLE_MAIN, libc::RTPROT_STATIC);
        let header = [family(to.addr), to.len, 0, 0, table, protocol, scope, libc::RTN_UNICAST, 0, 0, 0, 0];
        self.tell(what, &header, |writer| {
            put_ip(writer, libc::RTA_DST, to.addr);
            writer.put_word(libc::RTA_OIF, index);
        })
    }

    fn tell(&mut self, what: (u16, u16), header: &[u8], attributes: impl FnOnce(&mut Writer)) -> io::Result<()> {
        self.ask(what, header, attributes, |_| ())
    }

    /// Sends a request of that kind with those flags, and reads until its answer is complete.
    fn ask(
        &mut self,
        (kind, flags): (u16, u16),
        header: &[u8],
        attributes: impl FnOnce(&mut Writer),
        mut each: impl FnMut(&Message),
    ) -> io::Result<()> {
        self.seq = self.seq.wrapping_add(1);
        let mut writer = Writer::default();
        let to = Address { seq: self.seq, port: 0 };
        writer.message_of((kind, flag::REQUEST | flags, to), header, attributes);
        send(self.fd.as_raw_fd(), &writer.into_bytes(), MsgFlags::empty())?;
        // The kernel never sends more than 32 KiB in one datagram.
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let len = recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            for message in Message::all(&buffer[..len]).filter(|message| message.seq == self.seq) {
                match message.kind {
                    kind::ERROR => return verdict(&message),
                    kind::DONE => return Ok(()),
                    _ => each(&message),
                }
                // One device asked for without DUMP or ACK: nothing follows its description.
                if flags == 0 {
                    return Ok(());
                }
            }
        }
    }
}

/// What an error or acknowledgement says.
fn verdict(message: &Message) -> io::Result<()> {
    match message.header().map(|code| i32::from_ne_bytes(*code)) {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// `struct ifinfomsg`; of the flags those in `change` are set.
fn link_header(index: u32, flags: u32, change: u32) -> [u8; LINK_HEADER] {
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&change.to_ne_bytes());
    header
}

/// The only filter with that handle and priority.
fn egress_filter(index: u32) -> [u8; TRAFFIC_HEADER] {
    traffic_header(index, CLSACT_EGRESS, FILTER_PRIORITY << 16 | u32::from((libc::ETH_P_ALL as u16).to_be()))
}

/// `struct tcmsg`; of a filter, `info` has its priority and protocol.
fn traffic_header(index: u32, parent: u32, info: u32) -> [u8; TRAFFIC_HEADER] {
    let mut header = [0; TRAFFIC_HEADER];
    let handle = if info == 0 { 0xffff_0000 } else { 1_u32 };
    for (place, word) in [index, handle, parent, info].into_iter().enumerate() {
        header[4 + 4 * place..8 + 4 * place].copy_from_slice(&word.to_ne_bytes());
    }
    header
}

fn family(addr: IpAddr) -> u8 {
    (if addr.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }) as u8
}

fn put_ip(writer: &mut Writer, kind: u16, addr: IpAddr) {
    match addr {
        IpAddr::V4(addr) => writer.put(kind, &addr.octets()),
        IpAddr::V6(addr) => writer.put(kind, &addr.octets()),
    }
}

/// The device that a message of `RTM_NEWLINK` or `RTM_DELLINK` describes.
pub(super) fn read_link(message: &Message) -> Option<LinkInfo> {
    let [_, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3] = *message.header()?;
    let all = message.attributes_behind(LINK_HEADER);
    Some(LinkInfo {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        name: text(&all, libc::IFLA_IFNAME),
        kind: all.nested(libc::IFLA_LINKINFO).map_or(LinkKind::Other(String::new()), |info| read_kind(&info)),
        up: u32::from_ne_bytes([f0, f1, f2, f3]) & libc::IFF_UP as u32 != 0,
        mtu: all.word(libc::IFLA_MTU).ok().flatten().unwrap_or(0),
        mac: all.get(libc::IFLA_ADDRESS).and_then(|mac| mac.try_into().ok()).map_or(Mac::ZERO, Mac),
        master: all.word(libc::IFLA_MASTER).ok().flatten(),
    })
}

fn text(all: &Attributes, kind: u16) -> String {
    all.text(kind, libc::IFNAMSIZ).ok().flatten().unwrap_or_default()
}

fn read_kind(info: &Attributes) -> LinkKind {
    let data = info.nested(libc::IFLA_INFO_DATA);
    let byte = |kind| data.and_then(|data| data.byte(kind).ok().flatten()).unwrap_or(0);
    match text(info, libc::IFLA_INFO_KIND) {
        kind if kind == "bridge" => LinkKind::Bridge,
        kind if kind != "tun" => LinkKind::Other(kind),
        _ if byte(IFLA_TUN_MULTI_QUEUE) != 0 => LinkKind::MultiQueue,
        _ if i32::from(byte(IFLA_TUN_TYPE)) == libc::IFF_TAP => LinkKind::Tap,
        _ => LinkKind::Tun,
    }
}

/// The address that a message of `RTM_NEWADDR` or `RTM_DELADDR` describes, and the number of its device.
pub(super) fn read_address(message: &Message) -> Option<(u32, Prefix)> {
    let [family, len, _, _, i0, i1, i2, i3] = *message.header()?;
    let all = message.attributes_behind(ADDRESS_HEADER);
    // IPv4 names the host's own address LOCAL; IPv6 has ADDRESS only.
    let own = all.get(libc::IFA_LOCAL).or_else(|| all.get(libc::IFA_ADDRESS))?;
    let addr = match i32::from(family) {
        libc::AF_INET => IpAddr::from(*own.first_chunk::<4>()?),
        libc::AF_INET6 => IpAddr::from(*own.first_chunk::<16>()?),
        _ => return None,
    };
    Some((u32::from_ne_bytes([i0, i1, i2, i3]), Prefix { addr, len }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_by_name_and_by_number() {
        let mut netlink = Netlink::open().unwrap();
        let lo = netlink.link("lo").unwrap().unwrap();
        assert_eq!((lo.name.as_str(), lo.mac, lo.master), ("lo", Mac::ZERO, None));
        assert_eq!(lo.kind, LinkKind::Other(String::new()));
        assert_eq!(netlink.link_by_index(lo.index).unwrap(), Some(lo));
        assert_eq!(netlink.link("no-such-link").unwrap(), None);
    }

    #[test]
    fn addresses_of_loopback_are_loopback_addresses() {
        let mut netlink = Netlink::open().unwrap();
        let lo = netlink.link("lo").unwrap().unwrap();
        let all = netlink.all_addresses().unwrap();
        assert!(all.iter().filter(|(at, _)| *at == lo.index).all(|(_, prefix)| prefix.addr.is_loopback()), "{all:?}");
        assert!(all.contains(&(lo.index, Prefix { addr: "127.0.0.1".parse().unwrap(), len: 8 })), "{all:?}");
    }

    #[test]
    fn the_kind_of_a_tap_depends_on_its_data() {
        let described = |name: &str, data: &[(u16, u8)]| {
            let mut writer = Writer::default();
            let head = (libc::RTM_NEWLINK, 0, Address { seq: 0, port: 0 });
            writer.message_of(head, &link_header(7, libc::IFF_UP as u32, 0), |writer| {
                writer.nest(libc::IFLA_LINKINFO, |writer| {
                    writer.put_text(libc::IFLA_INFO_KIND, name);
                    writer.nest(libc::IFLA_INFO_DATA, |writer| {
                        data.iter().for_each(|(kind, value)| writer.put_byte(*kind, *value));
                    });
                });
                writer.put(libc::IFLA_ADDRESS, &[2, 0, 0, 0, 0, 9]);
                writer.put_word(libc::IFLA_MASTER, 3);
            });
            let bytes = writer.into_bytes();
            let (message, _) = Message::first(&bytes).unwrap();
            let link = read_link(&message).unwrap();
            assert_eq!((link.index, link.up, link.mac, link.master), (7, true, Mac([2, 0, 0, 0, 0, 9]), Some(3)));
            link.kind
        };
        assert_eq!(described("tun", &[(IFLA_TUN_TYPE, 2), (IFLA_TUN_MULTI_QUEUE, 0)]), LinkKind::Tap);
        assert_eq!(described("tun", &[(IFLA_TUN_TYPE, 1)]), LinkKind::Tun);
        assert_eq!(described("tun", &[(IFLA_TUN_TYPE, 2), (IFLA_TUN_MULTI_QUEUE, 1)]), LinkKind::MultiQueue);
        assert_eq!(described("bridge", &[]), LinkKind::Bridge);
        assert_eq!(described("veth", &[]), LinkKind::Other("veth".into()));
    }

    #[test]
    fn a_request_is_answered_once() {
        let mut netlink = Netlink::open().unwrap();
        for _ in 0..3 {
            netlink.addresses(1).unwrap();
            assert_eq!(netlink.set_up(u32::MAX >> 1).unwrap_err().raw_os_error(), Some(libc::ENODEV));
        }
    }
}

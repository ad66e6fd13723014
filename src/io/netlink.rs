//! Links, addresses and routes of this network namespace, asked for and changed over rtnetlink; the messages are those of
//! the crate `netlink-packet-route`.
//!
//! Never caches: every answer is the kernel's of that moment. Never runs `ip`.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, Nla,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope, CacheInfo};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoTun, LinkAttribute, LinkFlags, LinkInfo as Info, LinkMessage,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType};
use netlink_packet_route::{AddressFamily as Af, RouteNetlinkMessage as Route};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use crate::base::{Mac, Prefix};

/// Attributes of a TUN or TAP's `IFLA_INFO_DATA`, which the crate leaves as bytes.
const IFLA_TUN_TYPE: u16 = 3;
const IFLA_TUN_MULTI_QUEUE: u16 = 7;
const NEW: u16 = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;

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
        self.link_where(link_message(0, [LinkAttribute::IfName(name.to_owned())]))
    }

    /// The device of that number, if there is one.
    pub fn link_by_index(&mut self, index: u32) -> io::Result<Option<LinkInfo>> {
        self.link_where(link_message(index, []))
    }

    fn link_where(&mut self, wanted: LinkMessage) -> io::Result<Option<LinkInfo>> {
        match self.ask(0, Route::GetLink(wanted)) {
            Ok(found) => Ok(found.into_iter().find_map(read_link)),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes a device up.
    pub fn set_up(&mut self, index: u32) -> io::Result<()> {
        self.set_flag_up(index, LinkFlags::Up)
    }

    /// Takes a device down.
    pub fn set_down(&mut self, index: u32) -> io::Result<()> {
        self.set_flag_up(index, LinkFlags::empty())
    }

    fn set_flag_up(&mut self, index: u32, flags: LinkFlags) -> io::Result<()> {
        let mut message = link_message(index, []);
        (message.header.flags, message.header.change_mask) = (flags, LinkFlags::Up);
        self.tell(NLM_F_ACK, Route::NewLink(message))
    }

    /// Sets the largest packet.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> io::Result<()> {
        self.change_link(index, LinkAttribute::Mtu(mtu))
    }

    /// Sets the Ethernet address.
    pub fn set_mac(&mut self, index: u32, mac: Mac) -> io::Result<()> {
        self.change_link(index, LinkAttribute::Address(mac.0.to_vec()))
    }

    /// Makes a device a port of the bridge `master`, or of none.
    pub fn set_master(&mut self, index: u32, master: Option<u32>) -> io::Result<()> {
        self.change_link(index, LinkAttribute::Controller(master.unwrap_or(0)))
    }

    fn change_link(&mut self, index: u32, attribute: LinkAttribute) -> io::Result<()> {
        self.tell(NLM_F_ACK, Route::NewLink(link_message(index, [attribute])))
    }

    /// Creates a device of a kind that needs no further data.
    pub fn add_link(&mut self, name: &str, kind: &str) -> io::Result<()> {
        let kind = LinkAttribute::LinkInfo(vec![Info::Kind(InfoKind::Other(kind.to_owned()))]);
        self.tell(NEW, Route::NewLink(link_message(0, [LinkAttribute::IfName(name.to_owned()), kind])))
    }

    /// Deletes a device.
    pub fn delete_link(&mut self, index: u32) -> io::Result<()> {
        self.tell(NLM_F_ACK, Route::DelLink(link_message(index, [])))
    }

    /// The addresses of a device.
    pub fn addresses(&mut self, index: u32) -> io::Result<Vec<Prefix>> {
        let all = self.all_addresses()?;
        Ok(all.into_iter().filter(|(at, _)| *at == index).map(|(_, prefix)| prefix).collect())
    }

    /// The addresses of all devices, each with the number of its device.
    pub fn all_addresses(&mut self) -> io::Result<Vec<(u32, Prefix)>> {
        let all = self.ask(NLM_F_DUMP, Route::GetAddress(AddressMessage::default()))?;
        Ok(all.into_iter().filter_map(read_address).collect())
    }

    /// Gives a device an address; `EEXIST` if it has it.
    pub fn add_address(&mut self, index: u32, prefix: Prefix, scope: Scope) -> io::Result<()> {
        self.tell(NEW, Route::NewAddress(address_message(index, prefix, scope)))
    }

    /// Takes an address from a device; `EADDRNOTAVAIL` if it does not have it.
    pub fn delete_address(&mut self, index: u32, prefix: Prefix) -> io::Result<()> {
        self.tell(NLM_F_ACK, Route::DelAddress(address_message(index, prefix, Scope::Global)))
    }

    /// Routes a prefix to a device, in the main table.
    pub fn add_route(&mut self, to: Prefix, index: u32) -> io::Result<()> {
        self.tell(NEW, Route::NewRoute(route_message(to, index)))
    }

    /// Takes such a route away.
    pub fn remove_route(&mut self, to: Prefix, index: u32) -> io::Result<()> {
        self.tell(NLM_F_ACK, Route::DelRoute(route_message(to, index)))
    }

    fn tell(&mut self, flags: u16, request: Route) -> io::Result<()> {
        self.ask(flags, request).map(drop)
    }

    /// Sends a request and reads until its answer is complete.
    fn ask(&mut self, flags: u16, request: Route) -> io::Result<Vec<Route>> {
        self.seq = self.seq.wrapping_add(1);
        let mut message = NetlinkMessage::from(request);
        (message.header.flags, message.header.sequence_number) = (NLM_F_REQUEST | flags, self.seq);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty())?;
        let mut found = Vec::new();
        // The kernel never sends more than 32 KiB in one datagram.
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let len = recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            for message in messages(&buffer[..len])? {
                if message.header.sequence_number != self.seq {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::Error(error) => {
                        return error.code.map_or(Ok(found), |_| Err(error.to_io()));
                    }
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::InnerMessage(inner) => found.push(inner),
                    _ => {}
                }
            }
            // One device asked for without DUMP or ACK: nothing follows its description.
            if flags == 0 && !found.is_empty() {
                return Ok(found);
            }
        }
    }
}

/// The messages of one datagram.
pub(super) fn messages(mut datagram: &[u8]) -> io::Result<Vec<NetlinkMessage<Route>>> {
    let mut found = Vec::new();
    while !datagram.is_empty() {
        let message = NetlinkMessage::<Route>::deserialize(datagram).map_err(io::Error::other)?;
        datagram = datagram.get((message.header.length as usize).next_multiple_of(4)..).unwrap_or(&[]);
        found.push(message);
    }
    Ok(found)
}

fn link_message(index: u32, attributes: impl IntoIterator<Item = LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.extend(attributes);
    message
}

fn family(addr: IpAddr) -> Af {
    if addr.is_ipv4() { Af::Inet } else { Af::Inet6 }
}

fn address_message(index: u32, prefix: Prefix, scope: Scope) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(prefix.addr);
    message.header.prefix_len = prefix.len;
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(prefix.addr), AddressAttribute::Address(prefix.addr)];
    if scope == Scope::Host {
        message.header.scope = AddressScope::Host;
        if prefix.addr.is_ipv6() {
            let mut deprecated = CacheInfo::default();
            (deprecated.ifa_preferred, deprecated.ifa_valid) = (0, u32::MAX);
            message.attributes.push(AddressAttribute::CacheInfo(deprecated));
        }
    }
    message
}

fn route_message(to: Prefix, index: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(to.addr);
    message.header.destination_prefix_length = to.len;
    message.header.table = libc::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = if to.addr.is_ipv4() { RouteScope::Link } else { RouteScope::Universe };
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![RouteAttribute::Destination(RouteAddress::from(to.addr)), RouteAttribute::Oif(index)];
    message
}

pub(super) fn read_link(message: Route) -> Option<LinkInfo> {
    let Route::NewLink(message) = message else { return None };
    let up = message.header.flags.contains(LinkFlags::Up);
    let kind = LinkKind::Other(String::new());
    let mut link =
        LinkInfo { index: message.header.index, name: String::new(), kind, up, mtu: 0, mac: Mac::ZERO, master: None };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Address(mac) => link.mac = Mac(mac.try_into().unwrap_or_default()),
            LinkAttribute::Controller(master) => link.master = Some(master),
            LinkAttribute::LinkInfo(info) => link.kind = read_kind(&info),
            _ => {}
        }
    }
    Some(link)
}

fn read_kind(info: &[Info]) -> LinkKind {
    let kind = info.iter().find_map(|info| if let Info::Kind(kind) = info { Some(kind) } else { None });
    let data = info.iter().find_map(|info| if let Info::Data(InfoData::Tun(data)) = info { Some(data) } else { None });
    match kind {
        Some(InfoKind::Bridge) => LinkKind::Bridge,
        Some(InfoKind::Tun) if tun_byte(data, IFLA_TUN_MULTI_QUEUE) != 0 => LinkKind::MultiQueue,
        Some(InfoKind::Tun) if i32::from(tun_byte(data, IFLA_TUN_TYPE)) == libc::IFF_TAP => LinkKind::Tap,
        Some(InfoKind::Tun) => LinkKind::Tun,
        other => LinkKind::Other(other.map(ToString::to_string).unwrap_or_default()),
    }
}

/// The value of one of a TUN's attributes, which are a byte each; 0 if it has none of that kind.
fn tun_byte(data: Option<&Vec<InfoTun>>, kind: u16) -> u8 {
    let found = data.into_iter().flatten().find(|attribute| attribute.kind() == kind);
    let Some(attribute) = found.filter(|attribute| attribute.value_len() > 0) else { return 0 };
    let mut value = vec![0; attribute.value_len()];
    attribute.emit_value(&mut value);
    value[0]
}

pub(super) fn read_address(message: Route) -> Option<(u32, Prefix)> {
    let Route::NewAddress(message) = message else { return None };
    // IPv4 names the host's own address LOCAL; IPv6 has ADDRESS only.
    let local =
        message.attributes.iter().find_map(|it| if let AddressAttribute::Local(a) = it { Some(*a) } else { None });
    let address =
        message.attributes.iter().find_map(|it| if let AddressAttribute::Address(a) = it { Some(*a) } else { None });
    let prefix = Prefix { addr: local.or(address)?, len: message.header.prefix_len };
    Some((message.header.index, prefix))
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
    fn a_request_is_answered_once() {
        let mut netlink = Netlink::open().unwrap();
        for _ in 0..3 {
            netlink.addresses(1).unwrap();
            assert_eq!(netlink.set_up(u32::MAX >> 1).unwrap_err().raw_os_error(), Some(libc::ENODEV));
        }
    }
}

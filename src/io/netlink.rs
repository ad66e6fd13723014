//! Links and addresses of this network namespace, asked for and changed over rtnetlink.
//!
//! Never caches: every answer is the kernel's of that moment. Never runs `ip`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use super::nlmsg::{Message, Request, attr, messages, text, u32_at};
use crate::base::{Family, Mac, Prefix};

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;

const MSG_ERROR: u16 = 2;
const MSG_DONE: u16 = 3;

const IFINFO_LEN: usize = 16;
const IFADDR_LEN: usize = 8;
const IFF_UP: u32 = 1;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_TUN_TYPE: u16 = 3;
const IFLA_TUN_MULTI_QUEUE: u16 = 7;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
/// struct ifa_cacheinfo: preferred for 0 seconds, valid for ever, and two times that the kernel fills in.
const DEPRECATED: [u8; 16] = [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];

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
        self.link_where(Request::new(libc::RTM_GETLINK, REQUEST, &ifinfo(0, 0, 0)).text(IFLA_IFNAME, name))
    }

    /// The device of that number, if there is one.
    pub fn link_by_index(&mut self, index: u32) -> io::Result<Option<LinkInfo>> {
        self.link_where(Request::new(libc::RTM_GETLINK, REQUEST, &ifinfo(index, 0, 0)))
    }

    fn link_where(&mut self, request: Request) -> io::Result<Option<LinkInfo>> {
        match self.ask(request, read_link) {
            Ok(mut links) => Ok(links.pop()),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes a device up.
    pub fn set_up(&mut self, index: u32) -> io::Result<()> {
        self.tell(Request::new(libc::RTM_NEWLINK, REQUEST | ACK, &ifinfo(index, IFF_UP, IFF_UP)))
    }

    /// Takes a device down.
    pub fn set_down(&mut self, index: u32) -> io::Result<()> {
        self.tell(Request::new(libc::RTM_NEWLINK, REQUEST | ACK, &ifinfo(index, 0, IFF_UP)))
    }

    /// Sets the largest packet.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> io::Result<()> {
        let request = Request::new(libc::RTM_NEWLINK, REQUEST | ACK, &ifinfo(index, 0, 0));
        self.tell(request.attr(IFLA_MTU, &mtu.to_ne_bytes()))
    }

    /// Sets the Ethernet address.
    pub fn set_mac(&mut self, index: u32, mac: Mac) -> io::Result<()> {
        let request = Request::new(libc::RTM_NEWLINK, REQUEST | ACK, &ifinfo(index, 0, 0));
        self.tell(request.attr(IFLA_ADDRESS, &mac.0))
    }

    /// Makes a device a port of the bridge `master`, or of none.
    pub fn set_master(&mut self, index: u32, master: Option<u32>) -> io::Result<()> {
        let request = Request::new(libc::RTM_NEWLINK, REQUEST | ACK, &ifinfo(index, 0, 0));
        self.tell(request.attr(IFLA_MASTER, &master.unwrap_or(0).to_ne_bytes()))
    }

    /// Creates a device of a kind that needs no further data.
    pub fn add_link(&mut self, name: &str, kind: &str) -> io::Result<()> {
        let request = Request::new(libc::RTM_NEWLINK, REQUEST | ACK | CREATE | EXCLUSIVE, &ifinfo(0, 0, 0));
        self.tell(request.text(IFLA_IFNAME, name).nested_text(IFLA_LINKINFO, IFLA_INFO_KIND, kind))
    }

    /// Deletes a device.
    pub fn delete_link(&mut self, index: u32) -> io::Result<()> {
        self.tell(Request::new(libc::RTM_DELLINK, REQUEST | ACK, &ifinfo(index, 0, 0)))
    }

    /// The addresses of a device.
    pub fn addresses(&mut self, index: u32) -> io::Result<Vec<Prefix>> {
        let request = Request::new(libc::RTM_GETADDR, REQUEST | DUMP, &[0; IFADDR_LEN]);
        let all = self.ask(request, read_address)?;
        Ok(all.into_iter().filter(|(at, _)| *at == index).map(|(_, prefix)| prefix).collect())
    }

    /// Gives a device an address; `EEXIST` if it has it.
    pub fn add_address(&mut self, index: u32, prefix: Prefix, scope: Scope) -> io::Result<()> {
        let flags = REQUEST | ACK | CREATE | EXCLUSIVE;
        self.tell(address_request(libc::RTM_NEWADDR, flags, index, prefix, scope))
    }

    /// Takes an address from a device; `EADDRNOTAVAIL` if it does not have it.
    pub fn delete_address(&mut self, index: u32, prefix: Prefix) -> io::Result<()> {
        self.tell(address_request(libc::RTM_DELADDR, REQUEST | ACK, index, prefix, Scope::Global))
    }

    /// Routes a prefix to a device, in the main table.
    pub fn add_route(&mut self, to: Prefix, index: u32) -> io::Result<()> {
        self.tell(route_request(libc::RTM_NEWROUTE, REQUEST | ACK | CREATE | EXCLUSIVE, to, index))
    }

    /// Takes such a route away.
    pub fn remove_route(&mut self, to: Prefix, index: u32) -> io::Result<()> {
        self.tell(route_request(libc::RTM_DELROUTE, REQUEST | ACK, to, index))
    }

    fn tell(&mut self, request: Request) -> io::Result<()> {
        self.ask(request, |_| None::<()>).map(drop)
    }

    /// Sends a request and reads until its answer is complete.
    fn ask<T>(&mut self, request: Request, read: impl Fn(&Message) -> Option<T>) -> io::Result<Vec<T>> {
        self.seq = self.seq.wrapping_add(1);
        send(self.fd.as_raw_fd(), &request.finish(self.seq), MsgFlags::empty())?;
        let mut found = Vec::new();
        // The kernel never sends more than 32 KiB in one datagram.
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let len = recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            for message in messages(&buffer[..len]).filter(|message| message.seq == self.seq) {
                match message.kind {
                    MSG_ERROR => return error_of(&message).map(|()| found),
                    MSG_DONE => return Ok(found),
                    _ => found.extend(read(&message)),
                }
                // One device asked for without DUMP or ACK: nothing follows its description.
                if !found.is_empty() && message.kind == libc::RTM_NEWLINK {
                    return Ok(found);
                }
            }
        }
    }
}

/// `struct ifinfomsg`: family, pad, type, index, flags, and which flags are meant.
fn ifinfo(index: u32, flags: u32, mask: u32) -> [u8; IFINFO_LEN] {
    let mut fixed = [0; IFINFO_LEN];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
    fixed[12..16].copy_from_slice(&mask.to_ne_bytes());
    fixed
}

fn address_request(kind: u16, flags: u16, index: u32, prefix: Prefix, scope: Scope) -> Request {
    let family = match Family::of(prefix.addr) {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    } as u8;
    let scope = match scope {
        Scope::Global => 0,
        Scope::Host => libc::RT_SCOPE_HOST,
    };
    // struct ifaddrmsg: family, prefix length, flags, scope, index.
    let mut fixed = [family, prefix.len, 0, scope, 0, 0, 0, 0];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    let addr = match prefix.addr {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    };
    let request = Request::new(kind, flags, &fixed).attr(IFA_LOCAL, &addr).attr(IFA_ADDRESS, &addr);
    match prefix.addr {
        IpAddr::V6(_) if scope == libc::RT_SCOPE_HOST => request.attr(IFA_CACHEINFO, &DEPRECATED),
        IpAddr::V4(_) | IpAddr::V6(_) => request,
    }
}

fn route_request(kind: u16, flags: u16, to: Prefix, index: u32) -> Request {
    const STATIC: u8 = 4;
    let (family, dst, scope) = match to.addr {
        IpAddr::V4(addr) => (libc::AF_INET, addr.octets().to_vec(), libc::RT_SCOPE_LINK),
        IpAddr::V6(addr) => (libc::AF_INET6, addr.octets().to_vec(), libc::RT_SCOPE_UNIVERSE),
    };
    // struct rtmsg: family, two prefix lengths, TOS, table, protocol, scope, type, flags.
    let fixed = [family as u8, to.len, 0, 0, libc::RT_TABLE_MAIN, STATIC, scope, libc::RTN_UNICAST, 0, 0, 0, 0];
    Request::new(kind, flags, &fixed).attr(libc::RTA_DST, &dst).attr(libc::RTA_OIF, &index.to_ne_bytes())
}

fn error_of(message: &Message) -> io::Result<()> {
    match u32_at(message.body, 0).map(|code| code as i32) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::Error::from_raw_os_error(libc::EBADMSG)),
    }
}

fn read_link(message: &Message) -> Option<LinkInfo> {
    let attrs = message.body.get(IFINFO_LEN..).filter(|_| message.kind == libc::RTM_NEWLINK)?;
    let number = |kind| attr(attrs, kind).and_then(|value| u32_at(value, 0));
    let mac = attr(attrs, IFLA_ADDRESS).and_then(|value| value.try_into().ok()).unwrap_or_default();
    Some(LinkInfo {
        index: u32_at(message.body, 4)?,
        name: text(attr(attrs, IFLA_IFNAME)?),
        kind: read_kind(attr(attrs, IFLA_LINKINFO).unwrap_or(&[])),
        up: u32_at(message.body, 8)? & IFF_UP != 0,
        mtu: number(IFLA_MTU)?,
        mac: Mac(mac),
        master: number(IFLA_MASTER),
    })
}

fn read_kind(info: &[u8]) -> LinkKind {
    let kind = attr(info, IFLA_INFO_KIND).map(text).unwrap_or_default();
    let data = attr(info, IFLA_INFO_DATA).unwrap_or(&[]);
    let byte = |kind| attr(data, kind).and_then(|value| value.first().copied()).unwrap_or(0);
    match kind.as_str() {
        "bridge" => LinkKind::Bridge,
        "tun" if byte(IFLA_TUN_MULTI_QUEUE) != 0 => LinkKind::MultiQueue,
        "tun" if i32::from(byte(IFLA_TUN_TYPE)) == libc::IFF_TAP => LinkKind::Tap,
        "tun" => LinkKind::Tun,
        _ => LinkKind::Other(kind),
    }
}

fn read_address(message: &Message) -> Option<(u32, Prefix)> {
    let attrs = message.body.get(IFADDR_LEN..).filter(|_| message.kind == libc::RTM_NEWADDR)?;
    let len = *message.body.get(1)?;
    // IPv4 names the host's own address LOCAL; IPv6 has ADDRESS only.
    let bytes = attr(attrs, IFA_LOCAL).or_else(|| attr(attrs, IFA_ADDRESS))?;
    let addr = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some((u32_at(message.body, 4)?, Prefix { addr, len }))
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

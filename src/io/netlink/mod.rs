//! Links, addresses and routes of this network namespace, asked for and changed over rtnetlink (rtnetlink(7)).
//!
//! Never caches: every answer is the kernel's of that moment. Never runs `ip`.

mod read;
mod traffic;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use crate::base::{Mac, Prefix};
use crate::wire::netlink::{Address, Message, Writer, flag, kind};
pub use read::{LinkInfo, LinkKind};
pub(super) use read::{read_address, read_link};

const NEW: u16 = flag::ACK | flag::CREATE | flag::EXCL;
/// Length of `struct ifinfomsg` and of `struct ifaddrmsg`.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;

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

    /// All devices.
    pub fn all_links(&mut self) -> io::Result<Vec<LinkInfo>> {
        let mut all = Vec::new();
        let what = (libc::RTM_GETLINK, flag::DUMP);
        self.ask(what, &link_header(0, 0, 0), |_| (), |answer| all.extend(read_link(answer)))?;
        Ok(all)
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
        self.exchange(flags, &writer.into_bytes(), &mut each)
    }

    fn exchange(&mut self, flags: u16, request: &[u8], each: &mut dyn FnMut(&Message)) -> io::Result<()> {
        send(self.fd.as_raw_fd(), request, MsgFlags::empty())?;
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

fn family(addr: IpAddr) -> u8 {
    (if addr.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }) as u8
}

fn put_ip(writer: &mut Writer, kind: u16, addr: IpAddr) {
    match addr {
        IpAddr::V4(addr) => writer.put(kind, &addr.octets()),
        IpAddr::V6(addr) => writer.put(kind, &addr.octets()),
    }
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
    fn a_request_is_answered_once() {
        let mut netlink = Netlink::open().unwrap();
        for _ in 0..3 {
            netlink.addresses(1).unwrap();
            assert_eq!(netlink.set_up(u32::MAX >> 1).unwrap_err().raw_os_error(), Some(libc::ENODEV));
        }
    }
}

//! Links and addresses as messages of rtnetlink describe them.
//!
//! Pure: bytes in.

use std::net::IpAddr;

use crate::base::{Mac, Prefix};
use crate::wire::netlink::{Attributes, Message};

use super::{ADDRESS_HEADER, LINK_HEADER};

/// The driver signals layer 1 (`linux/if.h`).
const IFF_LOWER_UP: u32 = 1 << 16;
/// Attributes of a TUN or TAP's `IFLA_INFO_DATA` (`linux/if_link.h`).
const IFLA_TUN_TYPE: u16 = 3;
const IFLA_TUN_MULTI_QUEUE: u16 = 7;

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
    /// Whether there is somebody at its other end.
    pub carrier: bool,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Its Ethernet address; zero if it has none.
    pub mac: Mac,
    /// The bridge (or bond) that it is a port of.
    pub master: Option<u32>,
}

/// The device that a message of `RTM_NEWLINK` or `RTM_DELLINK` describes.
pub(in crate::io) fn read_link(message: &Message) -> Option<LinkInfo> {
    let [_, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3] = *message.header()?;
    let all = message.attributes_behind(LINK_HEADER);
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    Some(LinkInfo {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        name: text(&all, libc::IFLA_IFNAME),
        kind: all.nested(libc::IFLA_LINKINFO).map_or(LinkKind::Other(String::new()), |info| read_kind(&info)),
        up: flags & libc::IFF_UP as u32 != 0,
        carrier: flags & IFF_LOWER_UP != 0,
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
pub(in crate::io) fn read_address(message: &Message) -> Option<(u32, Prefix)> {
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
    use super::super::link_header;
    use super::*;
    use crate::wire::netlink::{Address, Writer};

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
}

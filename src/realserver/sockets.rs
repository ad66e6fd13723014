//! Where tunnel packets arrive: a raw socket for each kind that the kernel does not unpack, a UDP socket for GUE.
//!
//! An open socket also keeps the kernel from answering "protocol unreachable". Never reads a packet.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::OwnedFd;

use log::info;
use nix::sys::socket::{setsockopt, sockopt};

use super::inner::Origin;
use super::{Error, Kind};
use crate::base::{Family, Proto};
use crate::io::sys;

/// Room for a burst while we do not run.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A kind of tunnel packet: outer family and protocol, and the kernel's device that unpacks it where it exists.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    kind: Kind,
    family: Family,
    proto: Proto,
    /// The kernel's device.
    pub device: &'static str,
}

const ARRIVALS: [Arrival; 6] = [
    Arrival { kind: Kind::Ipip, family: Family::V4, proto: Proto::IPIP, device: "tunl0" },
    Arrival { kind: Kind::Ipip, family: Family::V4, proto: Proto::IPV6, device: "sit0" },
    Arrival { kind: Kind::Ipip, family: Family::V6, proto: Proto::IPIP, device: "ip6tnl0" },
    Arrival { kind: Kind::Ipip, family: Family::V6, proto: Proto::IPV6, device: "ip6tnl0" },
    Arrival { kind: Kind::Gre, family: Family::V4, proto: Proto::GRE, device: "gre0" },
    Arrival { kind: Kind::Gre, family: Family::V6, proto: Proto::GRE, device: "ip6gre0" },
];

/// What arrives without UDP, of these kinds.
pub fn arrivals(kinds: &[Kind]) -> impl Iterator<Item = Arrival> + use<'_> {
    ARRIVALS.into_iter().filter(|arrival| kinds.contains(&arrival.kind))
}

/// An open socket, and what it brings.
pub struct Socket {
    /// To be read from.
    pub file: File,
    /// With which header its packets begin.
    pub origin: Origin,
}

/// Opens a socket for each kind but those that devices of the kernel unpack.
pub fn open(kinds: &[Kind], gue_port: u16, by_kernel: &[&str]) -> Result<Vec<Socket>, Error> {
    let mut sockets = Vec::new();
    for arrival in arrivals(kinds).filter(|arrival| !by_kernel.contains(&arrival.device)) {
        sockets.extend(raw(arrival)?);
    }
    if kinds.contains(&Kind::Gue) {
        sockets.extend(gue(gue_port)?);
    }
    for socket in &sockets {
        if setsockopt(&socket.file, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            // Without the privilege up to the system's limit.
            let _ = setsockopt(&socket.file, sockopt::RcvBuf, &RECEIVE_BUFFER);
        }
    }
    Ok(sockets)
}

fn raw(arrival: Arrival) -> Result<Option<Socket>, Error> {
    let Arrival { family, proto, .. } = arrival;
    let origin = match family {
        Family::V4 => Origin::Raw4(proto),
        Family::V6 => Origin::Raw6(proto),
    };
    match sys::raw_socket(family, proto) {
        Ok(socket) => Ok(Some(Socket { file: File::from(socket), origin })),
        // A host without IPv6 gets none of its packets.
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => Ok(None),
        Err(error) => Err(Error::refused(format!("open a raw socket for {proto} in {family:?}"))(error)),
    }
}

/// One socket for both families, or for IPv4 alone where there is no IPv6.
fn gue(port: u16) -> Result<Option<Socket>, Error> {
    let both = (IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    let alone = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    let bound = UdpSocket::bind(both).or_else(|error| match error.raw_os_error() {
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL) => UdpSocket::bind(alone),
        _ => Err(error),
    });
    let socket = match bound {
        Ok(socket) => socket,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            info!("UDP port {port} is taken: GUE is left to whoever has it");
            return Ok(None);
        }
        Err(error) => return Err(Error::refused(format!("bind UDP port {port} for GUE"))(error)),
    };
    socket.set_nonblocking(true).map_err(Error::refused("set up the UDP socket for GUE"))?;
    // An IPv4 socket refuses the option, and needs it not.
    let _ = sys::accept_unsummed_udp6(&socket);
    Ok(Some(Socket { file: File::from(OwnedFd::from(socket)), origin: Origin::Gue }))
}

//! A bridge with three TAPs in a network namespace of this thread: the client's side, the director's with the program of the
//! fast path at its egress, and the server's.
//!
//! What this thread starts, and no other one, is in that namespace. Needs rights.

use std::path::Path;
use std::time::{Duration, Instant};

use super::fast::Fast;
use super::wire::Frame;
use crate::base::{Mac, Medium};
use crate::io::{Device, Link, LinkConfig, Netlink, ReadOutcome, bpf, sysctl};
use crate::testing::LINK;
use crate::wire::{PacketBuf, Vnet};

/// How the program comes to the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// A link of TCX.
    Tcx,
    /// A filter of clsact.
    Clsact,
}

/// The bridge's ports.
pub struct Taps {
    client: Port,
    director: Port,
    server: Port,
    attached: Option<bpf::Attached>,
}

struct Port {
    link: Link,
    ifindex: u32,
    _device: Device,
}

/// Whose port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// The client's, and its router's.
    Client,
    /// The director's.
    Director,
    /// The server's.
    Server,
}

/// A packet that is lost is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(20);

impl Taps {
    /// In a new namespace; call it in a thread of its own. `None`, with a word about it, where there are no such things.
    pub fn open() -> Option<Taps> {
        if !Path::new("/dev/net/tun").exists() {
            crate::io::print_error("not tested: there is no /dev/net/tun");
            return None;
        }
        if let Err(error) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
            crate::io::print_error(&format!("not tested: no network namespace: {error}"));
            return None;
        }
        sysctl::write("net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        sysctl::write("net/ipv6/conf/all/disable_ipv6", "1").unwrap();
        let mut netlink = Netlink::open().unwrap();
        netlink.add_link("br0", "bridge").unwrap();
        let bridge = netlink.link("br0").unwrap().unwrap();
        netlink.set_up(bridge.index).unwrap();
        let mut port = |name: &str| {
            let (tap, bridge) = (Some(name.to_owned()), Some("br0".to_owned()));
            let config =
                LinkConfig { tap, bridge, mtu: None, offload: true, mac: Mac([2; 6]), medium: Medium::Ethernet };
            let device = Device::open(&config).unwrap_or_else(|error| panic!("{error}"));
            let ifindex = netlink.link(name).unwrap().unwrap().index;
            Port { link: device.link().unwrap(), ifindex, _device: device }
        };
        Some(Taps { client: port("client"), director: port("director"), server: port("server"), attached: None })
    }

    /// Puts the program at the egress of the director's port, where all next hops are from now on.
    pub fn attach(&mut self, fast: &mut Fast, way: Way) {
        let ifindex = self.director.ifindex;
        fast.move_to(ifindex);
        let program = fast.maps.program(LINK, Medium::Ethernet).unwrap();
        let attached = match way {
            Way::Tcx => program.attach_by_tcx(ifindex),
            Way::Clsact => program.attach_by_clsact(ifindex),
        };
        self.attached = Some(attached.unwrap_or_else(|error| panic!("{way:?}: {error}")));
    }

    /// Takes the program away.
    pub fn detach(&mut self) {
        self.attached = None;
    }

    /// The ports take superframes inside UDP tunnels.
    pub fn takes_tunnels(&self) -> bool {
        self.server.link.offloads().tunnel
    }

    fn link(&mut self, at: At) -> &mut Link {
        match at {
            At::Client => &mut self.client.link,
            At::Director => &mut self.director.link,
            At::Server => &mut self.server.link,
        }
    }

    /// Sends a frame from a port.
    pub fn send(&mut self, at: At, bytes: &[u8], vnet: Vnet) {
        let link = self.link(at);
        let mut buf = PacketBuf::new();
        buf.set(bytes);
        buf.vnet = vnet;
        link.enclose(&mut buf);
        link.write(&buf).unwrap();
    }

    /// The next frame to this station that comes to a port; `None` if there is none by now.
    pub fn receive_now(&mut self, at: At, to: Mac) -> Option<Frame> {
        let link = self.link(at);
        let mut buf = PacketBuf::new();
        loop {
            match link.read(&mut buf).unwrap() {
                ReadOutcome::Frame if buf.frame().starts_with(&to.0) => {
                    return Some(Frame { link: LINK, bytes: buf.frame().to_vec(), vnet: buf.vnet });
                }
                ReadOutcome::Frame => {}
                ReadOutcome::Empty => return None,
                ReadOutcome::Gone => panic!("{at:?}: the device is gone"),
            }
        }
    }

    /// The same, after it has come.
    pub fn receive(&mut self, at: At, to: Mac) -> Frame {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(frame) = self.receive_now(at, to) {
                return frame;
            }
            assert!(Instant::now() < until, "no frame to {to} comes to the port of {at:?}");
            std::thread::yield_now();
        }
    }
}

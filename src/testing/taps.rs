//! A bridge with three TAPs in a network namespace of this thread: the client's side, the director's with the program of the
//! fast path at its egress, and the server's.
//!
//! What this thread starts, and no other one, is in that namespace. Needs rights.

use std::path::Path;
use std::process::Command;
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

/// A director behind a TUN: the host routes between a TAP with client and server, and the TUN with the program at its egress.
pub struct BehindTun {
    near: Port,
    _tun: Device,
    /// Where the host itself is on the TAP.
    pub host: Mac,
    _attached: bpf::Attached,
}

impl BehindTun {
    /// In a new namespace, where `setup` are arguments of `ip`; the TAP is `near`, the TUN `tun0`.
    pub fn open(fast: &mut Fast, setup: &str) -> Option<BehindTun> {
        if Command::new("ip").arg("-V").output().is_err() {
            crate::io::print_error("not tested: there is no ip (iproute2)");
            return None;
        }
        if !enter_namespace() {
            return None;
        }
        let mut netlink = Netlink::open().unwrap();
        let near = port(&mut netlink, "near", None, Medium::Ethernet);
        let tun = port(&mut netlink, "tun0", None, Medium::Ip);
        sysctl::write("net/ipv4/ip_forward", "1").unwrap();
        for line in setup.lines() {
            let done = Command::new("ip").args(line.split_whitespace()).status().unwrap();
            assert!(done.success(), "ip {line}");
        }
        fast.move_behind(tun.ifindex);
        let program = fast.maps.program(LINK, Medium::Ip).unwrap();
        let attached = program.attach(tun.ifindex).unwrap();
        let host = netlink.link("near").unwrap().unwrap().mac;
        Some(BehindTun { near, _tun: tun._device, host, _attached: attached })
    }

    /// Sends a frame to the host, and waits for one to this station.
    pub fn exchange(&mut self, (bytes, vnet): (&[u8], Vnet), to: Mac) -> Frame {
        send(&mut self.near.link, bytes, vnet);
        receive(&mut self.near.link, to)
    }
}

/// A packet that is lost is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(20);

impl Taps {
    /// In a new namespace; call it in a thread of its own. `None`, with a word about it, where there are no such things.
    pub fn open() -> Option<Taps> {
        if !enter_namespace() {
            return None;
        }
        let mut netlink = Netlink::open().unwrap();
        netlink.add_link("br0", "bridge").unwrap();
        let bridge = netlink.link("br0").unwrap().unwrap();
        netlink.set_up(bridge.index).unwrap();
        let mut port = |name| port(&mut netlink, name, Some("br0".to_owned()), Medium::Ethernet);
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
        send(self.link(at), bytes, vnet);
    }

    /// The next frame to this station that comes to a port; `None` if there is none by now.
    pub fn receive_now(&mut self, at: At, to: Mac) -> Option<Frame> {
        receive_now(self.link(at), to)
    }

    /// The same, after it has come.
    pub fn receive(&mut self, at: At, to: Mac) -> Frame {
        receive(self.link(at), to)
    }
}

/// This thread is in a network namespace of its own from now on; false, with a word about it, where there are no such things.
fn enter_namespace() -> bool {
    if !Path::new("/dev/net/tun").exists() {
        crate::io::print_error("not tested: there is no /dev/net/tun");
        return false;
    }
    if let Err(error) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
        crate::io::print_error(&format!("not tested: no network namespace: {error}"));
        return false;
    }
    sysctl::write("net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    sysctl::write("net/ipv6/conf/all/disable_ipv6", "1").unwrap();
    true
}

fn port(netlink: &mut Netlink, name: &str, bridge: Option<String>, medium: Medium) -> Port {
    let mac = if medium == Medium::Ethernet { Mac([2; 6]) } else { Mac::ZERO };
    let config = LinkConfig { tap: Some(name.to_owned()), bridge, mtu: None, offload: true, mac, medium };
    let device = Device::open(&config).unwrap_or_else(|error| panic!("{error}"));
    let ifindex = netlink.link(name).unwrap().unwrap().index;
    Port { link: device.link().unwrap(), ifindex, _device: device }
}

fn send(link: &mut Link, bytes: &[u8], vnet: Vnet) {
    let mut buf = PacketBuf::new();
    buf.set(bytes);
    buf.vnet = vnet;
    link.enclose(&mut buf);
    link.write(&buf).unwrap();
}

fn receive_now(link: &mut Link, to: Mac) -> Option<Frame> {
    let mut buf = PacketBuf::new();
    loop {
        match link.read(&mut buf).unwrap() {
            ReadOutcome::Frame if buf.frame().starts_with(&to.0) => {
                return Some(Frame { link: LINK, bytes: buf.frame().to_vec(), vnet: buf.vnet });
            }
            ReadOutcome::Frame => {}
            ReadOutcome::Empty => return None,
            ReadOutcome::Gone => panic!("{}: the device is gone", link.name()),
        }
    }
}

fn receive(link: &mut Link, to: Mac) -> Frame {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(frame) = receive_now(link, to) {
            return frame;
        }
        assert!(Instant::now() < until, "{}: no frame to {to} comes", link.name());
        std::thread::yield_now();
    }
}

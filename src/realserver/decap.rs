//! Tunnels without the kernel's devices: sockets take the packets, a TUN gives the host what is inside.
//!
//! Never sends to the network.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use log::info;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::Error;
use super::host::vips;
use super::inner::{Refusal, unpack};
use super::sockets::Socket;
use super::state::State;
use crate::base::Medium;
use crate::io::netlink::Netlink;
use crate::io::tun::open;
use crate::io::{Signal, Signals, sys, sysctl};
use crate::wire::{ETH_LEN, VNET_LEN};

const DEVICE: &str = "tapvs-rs0";
/// Sockets have their places in the list as tokens.
const SIGNALS: Token = Token(usize::MAX - 1);
/// Packets in a row before signals get a turn.
const BUDGET: usize = 256;
/// Free bytes in front of what is read: for a virtio header, or for the parser's Ethernet header.
const BEFORE: usize = if ETH_LEN > VNET_LEN { ETH_LEN } else { VNET_LEN };

/// What became of the packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Given to the host.
    pub delivered: u64,
    /// No whole packet in a whole packet.
    pub malformed: u64,
    /// For an address that is no VIP here.
    pub not_ours: u64,
    /// Congestion marks on a packet whose ends do not know them.
    pub congested: u64,
    /// The TUN did not take it.
    pub refused: u64,
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counters { delivered, malformed, not_ours, congested, refused } = self;
        write!(
            f,
            "delivered {delivered}, dropped: malformed {malformed}, not ours {not_ours}, congested {congested}, \
             refused {refused}"
        )
    }
}

/// The open sockets and the device.
pub struct Decapsulator {
    sockets: Vec<Socket>,
    tun: tun::Device,
    signals: Signals,
    vips: Vec<IpAddr>,
    counters: Counters,
}

impl Decapsulator {
    /// Opens the device, which vanishes with us.
    pub fn open(vips: Vec<IpAddr>, sockets: Vec<Socket>) -> Result<Decapsulator, Error> {
        let signals = Signals::open().map_err(Error::refused("listen to signals"))?;
        let tun = open_tun().map_err(Error::refused(format!("set up TUN {DEVICE}")))?;
        Ok(Decapsulator { sockets, tun, signals, vips, counters: Counters::default() })
    }

    /// Decapsulates until SIGTERM or SIGINT; SIGHUP reads the VIPs from the record again.
    pub fn run(&mut self) -> Result<(), Error> {
        let failed = || Error::refused("wait for packets");
        let mut poll = Poll::new().map_err(failed())?;
        let registry = poll.registry();
        for (place, socket) in self.sockets.iter().enumerate() {
            let fd = socket.file.as_raw_fd();
            registry.register(&mut SourceFd(&fd), Token(place), Interest::READABLE).map_err(failed())?;
        }
        registry.register(&mut self.signals, SIGNALS, Interest::READABLE).map_err(failed())?;
        info!("ready: {DEVICE} takes tunnel packets for {:?}", self.vips);
        let mut events = Events::with_capacity(16);
        let mut buffer = vec![0; BEFORE + (1 << 16)];
        loop {
            // Events come on edges: what the budget left in a socket raises no new one.
            let more = self.drain_all(&mut buffer)?;
            match poll.poll(&mut events, more.then_some(Duration::ZERO)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(failed()(error)),
                _ => {}
            }
            if events.iter().any(|event| event.token() == SIGNALS) && self.heed_signals()? {
                info!("ends: {}", self.counters);
                return Ok(());
            }
        }
    }

    /// True if it is time to end.
    fn heed_signals(&mut self) -> Result<bool, Error> {
        while let Some(signal) = self.signals.next_signal().map_err(Error::refused("read a signal"))? {
            match signal {
                Signal::Stop => return Ok(true),
                Signal::Child => {}
                Signal::Report => info!("{}", self.counters),
                Signal::Reload => {
                    self.vips = vips(&State::peek()?.unwrap_or_default());
                    info!("takes tunnel packets for {:?} now", self.vips);
                }
            }
        }
        Ok(false)
    }

    /// Handles what has arrived; true if a budget ended it.
    fn drain_all(&mut self, buffer: &mut [u8]) -> Result<bool, Error> {
        let mut more = false;
        for place in 0..self.sockets.len() {
            more |= self.drain(place, buffer)?;
        }
        Ok(more)
    }

    fn drain(&mut self, place: usize, buffer: &mut [u8]) -> Result<bool, Error> {
        for _ in 0..BUDGET {
            match self.sockets[place].file.read(&mut buffer[BEFORE..]) {
                Ok(len) => self.handle(place, &mut buffer[..BEFORE + len])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::refused("receive tunnel packets")(error)),
            }
        }
        Ok(true)
    }

    fn handle(&mut self, place: usize, packet: &mut [u8]) -> Result<(), Error> {
        let inner = match unpack(packet, BEFORE, self.sockets[place].origin, &self.vips) {
            Ok(inner) => inner,
            Err(refusal) => {
                *match refusal {
                    Refusal::Malformed => &mut self.counters.malformed,
                    Refusal::NotOurs => &mut self.counters.not_ours,
                    Refusal::Congested => &mut self.counters.congested,
                } += 1;
                return Ok(());
            }
        };
        // The virtio header takes the place of what stood in front, so nothing is copied.
        let from = inner.at.start - VNET_LEN;
        packet[from..inner.at.start].copy_from_slice(&inner.vnet.encode(0));
        match self.tun.write(&packet[from..inner.at.end]) {
            Ok(_) => self.counters.delivered += 1,
            Err(error) if error.raw_os_error() == Some(libc::EBADFD) => return Err(Error::DeviceGone),
            Err(_) => self.counters.refused += 1,
        }
        Ok(())
    }
}

fn open_tun() -> io::Result<tun::Device> {
    let tun = open(Medium::Ip, DEVICE, true)?;
    sys::set_vnet_header_len(&tun, VNET_LEN as i32)?;
    sys::set_vnet_little_endian(&tun, 1)?;
    sys::set_offloads(&tun, 0)?;
    // Sources are clients anywhere, and the way back to them leads through another device.
    sysctl::write(&format!("net/ipv4/conf/{DEVICE}/rp_filter"), "0")?;
    // IPv6 without chatter: no address of its own, no router wanted. A kernel without IPv6 has no such files.
    for (name, value) in
        [("disable_ipv6", "0"), ("addr_gen_mode", "1"), ("accept_ra", "0"), ("router_solicitations", "0")]
    {
        let _ = sysctl::write(&format!("net/ipv6/conf/{DEVICE}/{name}"), value);
    }
    let mut netlink = Netlink::open()?;
    let link = netlink.link(DEVICE)?.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?;
    netlink.set_up(link.index)?;
    Ok(tun)
}

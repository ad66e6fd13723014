//! What the director says itself: echo replies, resets, ICMP errors.
//!
//! Never an error about an error, never about a group's packet, never more than the limit per second.

use std::net::IpAddr;

use super::Director;
use crate::base::{ConnId, Consumed, DropReason, Family, Instant, Proto};
use crate::conn::Event;
use crate::router::Egress;
use crate::wire::extension;
use crate::wire::icmp::{self, IcmpError};
use crate::wire::{ETH_LEN, Fragment, Ip, L4, PacketBuf, TcpFlags, ip_packet, tcp};

/// A token bucket: `rate` a second, bursts of 50 (the kernel's `icmp_msgs_burst`).
pub(super) struct Limiter {
    rate: u32,
    tokens: f64,
    last: Instant,
}

impl Limiter {
    const BURST: f64 = 50.0;

    pub(super) fn new(rate: u32) -> Limiter {
        Limiter { rate, tokens: Limiter::BURST, last: Instant::START }
    }

    fn allows(&mut self, now: Instant) -> bool {
        if self.rate == 0 {
            return true;
        }
        let earned = now.since(self.last).as_secs_f64() * f64::from(self.rate);
        self.last = now;
        self.tokens = (self.tokens + earned).min(Limiter::BURST);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

impl Director {
    /// A packet to an address of ours that no service wants: what a host's own stack would say.
    pub(super) fn answer(
        &mut self,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        self.abide(extension::at_the_end(buf.frame(), ip), buf, ip, now, out)?;
        match ip.l4 {
            L4::Icmp { icmp_type, .. } if icmp::is_echo_request(ip, icmp_type) => self.echo(buf, ip, now, out),
            L4::Icmp { .. } => Err(DropReason::LocalIcmp),
            L4::Tcp { .. } => {
                let mut reset = self.scratch.take().unwrap_or_default();
                if tcp::reset_for(&mut reset, buf.frame(), ip) {
                    self.send_back(&mut reset, ip.src, now, out);
                }
                self.scratch = Some(reset);
                Err(DropReason::LocalClosed)
            }
            L4::Udp { .. } => {
                self.complain(IcmpError::PortUnreachable, buf, ip, now, out);
                Err(DropReason::LocalClosed)
            }
            L4::Sctp { .. } | L4::Other | L4::Truncated => {
                // Hosts with tunnel handlers answer "port" for a tunnel that is not configured.
                match ip.proto {
                    Proto::IPIP | Proto::IPV6 | Proto::GRE => {
                        self.complain(IcmpError::PortUnreachable, buf, ip, now, out);
                    }
                    _ if ip.family() == Family::V6 => {
                        self.abide(extension::unknown_protocol(buf.frame(), ip), buf, ip, now, out)?;
                    }
                    _ => self.complain(IcmpError::ProtocolUnreachable, buf, ip, now, out),
                }
                Err(DropReason::LocalClosed)
            }
        }
    }

    /// A packet of a conn whose real server is the director itself: nobody listens here, and its own stack says so.
    pub(super) fn deliver_here(
        &mut self,
        id: ConnId,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        now: Instant,
        out: &mut impl Egress,
    ) -> Result<(), DropReason> {
        if self.conns.real(self.conns.get(id)).addr.is_loopback() {
            return Err(DropReason::Martian);
        }
        if let L4::Tcp { sport, dport, flags } = ip.l4
            && !flags.rst()
        {
            let reset = L4::Tcp { sport: dport, dport: sport, flags: TcpFlags::RST };
            self.advance(id, Event::Output, &reset, now);
        }
        self.answer(buf, ip, now, out)
    }

    fn echo(&mut self, buf: &PacketBuf, ip: &Ip, now: Instant, out: &mut impl Egress) -> Result<(), DropReason> {
        if !icmp::checksum_is_right(buf.frame(), ip) {
            return Err(DropReason::BadIcmp);
        }
        let id = self.fresh_id();
        let mut reply = self.scratch.take().unwrap_or_default();
        icmp::echo_reply(&mut reply, buf.frame(), ip, id);
        self.send_back(&mut reply, ip.src, now, out);
        self.scratch = Some(reply);
        self.router.ledger.consume(Consumed::Echo);
        Ok(())
    }

    /// Tells the sender of a packet why it went no further; the packet itself is the caller's to count.
    pub(super) fn complain(
        &mut self,
        complaint: IcmpError,
        buf: &PacketBuf,
        ip: &Ip,
        now: Instant,
        out: &mut impl Egress,
    ) {
        let about_error = matches!(ip.l4, L4::Icmp { icmp_type, .. } if icmp::is_error(ip, icmp_type));
        // Of IPv4 only the first fragment is told of (RFC 1122 3.2.2).
        let later = ip.fragment == Fragment::Later && ip.family() == Family::V4;
        if later || about_error {
            return;
        }
        self.complain_as(complaint, &buf.frame()[ETH_LEN..ip.end], ip.dst, ip.src, now, out);
    }

    /// Writes an error about `about`; it seems to come from `about_dst` if that is ours.
    pub(super) fn complain_as(
        &mut self,
        complaint: IcmpError,
        about: &[u8],
        about_dst: IpAddr,
        to: IpAddr,
        now: Instant,
        out: &mut impl Egress,
    ) {
        let limited = !matches!(complaint, IcmpError::TooBig(_) | IcmpError::Raw(3, 4, _));
        let Ok(route) = self.router.route(to) else { return };
        let own = self.router.source(route.link, route.next_hop, to);
        let Some(source) = Some(about_dst).filter(|addr| self.may_speak_as(*addr)).or(own) else { return };
        if limited && !self.icmp_limit.allows(now) {
            return;
        }
        let id = self.fresh_id();
        let mut error = self.scratch.take().unwrap_or_default();
        icmp::error(&mut error, complaint, about, source, to, id);
        self.router.send_own(&mut error, &route, now, out);
        self.scratch = Some(error);
    }

    /// False when too many errors were sent of late.
    pub(super) fn may_complain(&mut self, now: Instant) -> bool {
        self.icmp_limit.allows(now)
    }

    /// An error comes from the address that the packet was for, if that is one of ours. An IPv6 host does not count
    /// addresses that are merely routed to it, a whole prefix at once; an IPv4 host does.
    fn may_speak_as(&self, addr: IpAddr) -> bool {
        let routed = self.locals.iter().any(|prefix| prefix.contains(addr));
        self.owns(addr) && (addr.is_ipv4() || !routed)
    }

    pub(super) fn send_back(&mut self, buf: &mut PacketBuf, to: IpAddr, now: Instant, out: &mut impl Egress) {
        let (Ok(route), Ok(ip)) = (self.router.route(to), ip_packet(buf.frame())) else { return };
        self.router.ledger.generated += 1;
        if let Err(reason) = self.transmit(buf, &ip, &route, now, out) {
            self.router.ledger.drop(reason);
        }
    }
}

//! What helpers keep beside conns, for a later process: FTP's shifted sequence numbers, headers of the PROXY
//! protocol, TOA options, the conns of the SYN proxy, the calls of SIP.
//!
//! Never looks at a packet.

use serde::{Deserialize, Serialize};

use super::Director;
use crate::alg::{FtpControl, ProxyHeader, SipConn, ToaOption};
use crate::base::{ConnId, Endpoint, Packed, Proto, siphash13};
use crate::conn::{Conn, TcpState};
use crate::flows::{Splice, TemplateKey};
use crate::service::Service;
use crate::service::command::{ClientAddress, SynProxy};

/// What is kept beside a conn.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// The client's endpoint of the conn: its slot may have another one later.
    client: Endpoint,
    /// The virtual one.
    virt: Endpoint,
    what: What,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
enum What {
    Ftp(FtpControl),
    Proxy(ProxyHeader),
    Toa(ToaOption),
    Sip(Box<[u8]>),
    Splice(Splice),
    Call(Box<[u8]>),
}

/// Bits for what is put in two numbers; 0 is nothing.
const KINDS: u64 = 7;

impl What {
    /// What can be put in the number of the client's first byte and one of few kinds.
    fn young(&self) -> Option<(u64, u32)> {
        let first = match self {
            What::Proxy(header) => header.first(),
            What::Toa(option) => option.first(),
            What::Ftp(_) | What::Sip(_) | What::Splice(_) | What::Call(_) => return None,
        };
        let kind = (1..=4).find(|kind| What::of_young(*kind, first).as_ref() == Some(self))?;
        Some((kind, first))
    }

    fn of_young(kind: u64, first: u32) -> Option<What> {
        Some(match kind {
            1 => What::Proxy(ProxyHeader::plain(first, ClientAddress::ProxyV1)),
            2 => What::Proxy(ProxyHeader::plain(first, ClientAddress::ProxyV2)),
            3 => What::Toa(ToaOption::plain(first, false)),
            4 => What::Toa(ToaOption::plain(first, true)),
            _ => return None,
        })
    }
}

impl Kept {
    /// In two numbers, if it is no more than that: the conn's slot and its client's first byte; a check of its ends, and what it is.
    pub fn young(&self, slot: u32) -> Option<[u64; 2]> {
        let (kind, first) = self.what.young()?;
        let place = u64::from(slot) << 32 | u64::from(first);
        let [[a, b], [c, d]] = [self.client.addr, self.virt.addr].map(|addr| Packed::from(addr).halves());
        let ports = u64::from(self.client.port) << 16 | u64::from(self.virt.port);
        let check = siphash13([0; 2], [a, b, c, d, place, 48 << 56 | kind << 32 | ports]);
        Some([place, check & !KINDS | kind])
    }
}

impl Director {
    /// Conns of which something new is kept since this was asked last, or nothing any more.
    pub fn take_kept(&mut self) -> Vec<(ConnId, Option<Kept>)> {
        let controls = self.ftp.take_changed().into_iter().map(|(id, control)| (id, control.map(What::Ftp)));
        let headers = self.proxy.take_changed().into_iter().map(|(id, header)| (id, header.map(What::Proxy)));
        let options = self.toa.take_changed().into_iter().map(|(id, option)| (id, option.map(What::Toa)));
        let messages = self
            .sip
            .take_changed()
            .into_iter()
            .map(|(id, conn)| (id, conn.map(|conn| What::Sip(conn.bytes(usize::MAX).into()))));
        let splices = self.flows.splices.take_changed().into_iter().map(|(id, splice)| (id, splice.map(What::Splice)));
        let calls = self.flows.calls.take_changed().into_iter().map(|(id, call)| (id, call.map(What::Call)));
        let conn = |id: ConnId| (self.flows.conns.get(id).client(), self.flows.conns.get(id).virt());
        let kept = |(id, what): (ConnId, Option<What>)| {
            let (client, virt) = conn(id);
            (id, what.map(|what| Kept { client, virt, what }))
        };
        controls.chain(headers).chain(options).chain(messages).chain(splices).chain(calls).map(kept).collect()
    }

    /// Goes on with what an earlier process kept beside a conn, if it is that conn still.
    pub fn recall_kept(&mut self, id: ConnId, kept: &Kept) -> bool {
        let Some(conn) = self.flows.conns.live(id) else { return false };
        let is_that = (conn.client(), conn.virt()) == (kept.client, kept.virt);
        match &kept.what {
            What::Ftp(control) if is_that && conn.is_helped() => self.ftp.recall(id, *control),
            What::Proxy(header) if is_that && conn.is_helped() => self.proxy.recall(id, *header),
            What::Toa(option) if is_that && conn.is_full_nat() => self.toa.recall(id, *option),
            What::Sip(bytes) if is_that && conn.is_helped() => match SipConn::of_bytes(bytes) {
                Some(known) => self.sip.recall(id, known),
                None => return false,
            },
            What::Splice(splice) if is_that && conn.is_helped() => self.flows.splices.recall(id, *splice),
            What::Call(call) if is_that && conn.is_template() => {
                // A call is found by whom it is of, not by the port that its template binds to.
                let key = TemplateKey { proto: conn.proto(), client: kept.client, virt: kept.virt, of_one_port: false };
                self.flows.calls.remember(&key, call, id);
            }
            What::Ftp(_) | What::Proxy(_) | What::Toa(_) | What::Sip(_) | What::Splice(_) | What::Call(_) => {
                return false;
            }
        }
        true
    }
}

/// What is kept beside a conn that has just begun, and may be put in two numbers.
pub fn kept_of(director: &Director, id: ConnId) -> Option<Kept> {
    let header = director.proxy.header(id).map(What::Proxy);
    let what = header.or_else(|| director.toa.option(id).map(What::Toa))?;
    let conn = director.flows.conns.get(id);
    Some(Kept { client: conn.client(), virt: conn.virt(), what })
}

/// Goes on with what an earlier process kept beside a conn in two numbers, if it is that conn still.
pub fn recall_young(director: &mut Director, young: [u64; 2]) -> bool {
    let (id, first) = (ConnId((young[0] >> 32) as u32), young[0] as u32);
    let Some(conn) = director.flows.conns.live(id) else { return false };
    let Some(what) = What::of_young(young[1] & KINDS, first) else { return false };
    let kept = Kept { client: conn.client(), virt: conn.virt(), what };
    kept.young(id.0) == Some(young) && director.recall_kept(id, &kept)
}

/// Ends conns whose servers were about to be told of their client, or whose client waits for the director to ask the server, when
/// an earlier process died in the moment before it had written down how: their SYN, which has not gone on, comes again, or what
/// proves their client does. Call it when all that was kept is known.
pub fn end_untold(director: &mut Director) {
    let Director { flows, proxy, toa, .. } = director;
    // Frames wait, and to look at all conns takes long.
    if !flows.services.any_told() && !flows.services.any_syn_proxy() {
        return;
    }
    let needs = |conn: &Conn| {
        let services = &flows.services;
        let dest = services.dest(conn.dest);
        let is_told = conn.is_full_nat() && dest.client_address != ClientAddress::None;
        let is_on = |service: &Service| service.options.syn_proxy == SynProxy::On;
        let is_proxied = || services.by_key(&dest.service).is_some_and(is_on);
        conn.proto() == Proto::TCP && !conn.is_template() && (is_told || is_proxied())
    };
    // Those that another conn has announced are no clients'.
    let is_clients = |conn: &Conn| conn.control().is_none_or(|id| flows.conns.get(id).is_template());
    let opens = |conn: &Conn| {
        let state = TcpState::from_number(conn.state());
        matches!(state, TcpState::None | TcpState::SynAck | TcpState::SynRecv) && is_clients(conn)
    };
    let is_begun = |conn: &Conn| conn.is_helped() || opens(conn);
    let is_known = |id: ConnId| proxy.has(id) || toa.option(id).is_some() || flows.splices.get(id).is_some();
    let untold = flows.conns.iter().filter(|(id, conn)| is_begun(conn) && needs(conn) && !is_known(*id));
    let ids: Vec<ConnId> = untold.map(|(id, _)| id).filter(|id| !flows.announces(*id)).collect();
    ids.into_iter().for_each(|id| flows.replace(id));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::base::{Chance, DestId, Instant, Method, Proto};
    use crate::conn::{Kind, NewConn};
    use crate::testing::{Lab, Packet};

    #[test]
    fn a_call_is_found_again_by_the_template_that_it_had() {
        let settings = crate::director::Settings { max_flows: 4, ..Default::default() };
        let mut director = Director::new(settings, Chance::KNOWN);
        let at = |last, port| Endpoint::new([10, 0, 0, last].into(), port);
        let (proto, client, virt) = (Proto::UDP, at(1, 0), at(100, 5060));
        let new = NewConn {
            proto,
            client,
            virt,
            real: director.flows.conns.intern(at(21, 0).addr).unwrap(),
            dport: 5060,
            local: None,
            dest: DestId(0),
            method: Method::Nat,
            kind: Kind::Template { timeout: 300 },
        };
        let id = director.flows.conns.insert(&new, Instant::START, Duration::from_secs(300)).unwrap();
        let key = TemplateKey { proto, client, virt, of_one_port: true };
        director.flows.calls.remember(&key, b"call", id);
        let [(of, Some(kept))] = &director.take_kept()[..] else { panic!("one call") };
        director.flows.calls.forget(id);
        assert_eq!(director.take_kept(), [(id, None)]);
        let text = serde_json::to_vec(kept).unwrap();
        assert!(director.recall_kept(*of, &serde_json::from_slice(&text).unwrap()));
        assert_eq!(director.flows.calls.find(&key, b"call"), Some(id));
        assert_eq!(director.flows.calls.find(&key, b"another"), None);
    }

    #[test]
    fn what_was_kept_of_another_conn_is_not_heeded() {
        let mut director =
            Director::new(crate::director::Settings { max_flows: 4, ..Default::default() }, Chance::KNOWN);
        let at = |port| Endpoint::new([10, 0, 0, 1].into(), port);
        let kept = |what| Kept { client: at(1), virt: at(2), what };
        for id in [0, 3, 77] {
            assert!(!director.recall_kept(ConnId(id), &kept(What::Ftp(FtpControl::default()))));
            assert!(!director.recall_kept(ConnId(id), &kept(What::Call(Box::from(*b"call")))));
        }
        assert_eq!(director.take_kept(), []);
    }

    #[test]
    fn a_conn_of_which_a_dead_process_wrote_down_nothing_begins_anew() {
        let (virt, client) = ("198.51.100.1:80", "192.0.2.7:4000");
        let rules = format!(
            "-A -t {virt} -s rr\n-a -t {virt} -r 10.0.0.21:80 --fullnat --client-address proxy-v2\n-P -t {virt} -z 10.0.0.30"
        );
        let conns = |lab: &Lab| lab.director.flows.conns.len();
        // It died before it had marked the conn, or after; the last one's handshake is over.
        for (is_marked, is_over, left) in [(false, false, 0), (true, false, 0), (true, true, 0), (false, true, 1)] {
            let mut lab = Lab::new(&rules);
            lab.client(&Packet::tcp(client, virt, "S"));
            end_untold(&mut lab.director);
            assert_eq!(conns(&lab), 1, "its header is known");
            if is_over {
                let local = lab.director.flows.conns.iter().find_map(|(_, conn)| lab.director.flows.conns.local(conn));
                let mut answer = Packet::tcp("10.0.0.21:80", client, "SA");
                (answer.dst, answer.ack) = (local.unwrap(), 1);
                lab.real(&answer);
                lab.client(&Packet::tcp(client, virt, "A"));
            }
            let (id, _) = lab.director.flows.conns.iter().next().unwrap();
            lab.director.proxy = Default::default();
            lab.director.flows.conns.get_mut(id).set_helped(is_marked);
            end_untold(&mut lab.director);
            assert_eq!(conns(&lab), left, "{is_marked} {is_over}");
        }
    }
}

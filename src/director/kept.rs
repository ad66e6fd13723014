//! What helpers keep beside conns, for a later process: FTP's shifted sequence numbers, headers of the PROXY
//! protocol, TOA options, the conns of the SYN proxy, the calls of SIP.
//!
//! Never looks at a packet.

use serde::{Deserialize, Serialize};

use super::Director;
use crate::alg::{FtpControl, ProxyHeader, SipConn, ToaOption};
use crate::base::{ConnId, Endpoint};
use crate::flows::{Splice, TemplateKey};

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::base::{Chance, DestId, Instant, Method, Proto};
    use crate::conn::{Kind, NewConn};

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
}

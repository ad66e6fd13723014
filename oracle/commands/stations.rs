//! All stations of a bridge in one: a TAP that answers for every address that is asked for, and sends what it is told.
//!
//! Never reads what else it is sent: a recording's clients and servers do not exist.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tapvs::inside::base::Mac;
use tapvs::inside::wire::arp::{self, Arp, ArpOp};
use tapvs::inside::wire::ndp::{self, Ndp, Speaker};
use tapvs::inside::wire::{PacketBuf, Parsed, parse};
use tun::Layer;

const MAC: Mac = Mac([2, 0, 0, 0, 0x0c, 0xfe]);
/// What a director may take to be heard.
const PATIENCE: Duration = Duration::from_secs(10);
/// Until then a question may have been lost: the link was not up.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A TAP on a bridge.
pub struct Stations {
    tap: Arc<tun::Device>,
    /// The director's address there.
    director: Ipv4Addr,
    /// Whom the director has answered.
    answers: Receiver<Mac>,
    /// Questions so far: each is asked by a station of its own, so that a late answer is not taken for another's.
    asked: Cell<u16>,
}

impl Stations {
    /// Makes the TAP; it answers from here on.
    pub fn new(name: &str, director: Ipv4Addr) -> Result<Stations, String> {
        let mut config = tun::Configuration::default();
        config.tun_name(name).layer(Layer::L2).up();
        let tap = Arc::new(tun::create(&config).map_err(|error| format!("{name}: {error}"))?);
        let (heard, answers) = channel();
        let stations = Stations { tap: tap.clone(), director, answers, asked: Cell::new(0) };
        std::thread::spawn(move || listen(&tap, &heard));
        Ok(stations)
    }

    /// Sends a frame and waits until the director has dealt with it.
    pub fn send(&self, frame: &[u8]) -> Result<(), String> {
        self.put(frame)?;
        self.await_director()
    }

    /// Asks for the director's address until it answers: then it has seen all that was sent before.
    pub fn await_director(&self) -> Result<(), String> {
        self.asked.set(self.asked.get().wrapping_add(1));
        let [high, low] = self.asked.get().to_be_bytes();
        let asker = Mac([2, 0, 0, 1, high, low]);
        let question =
            Arp { op: ArpOp::Request, sender: (asker, Ipv4Addr::UNSPECIFIED), target: (Mac::ZERO, self.director) };
        let mut buf = PacketBuf::new();
        arp::build(&mut buf, Mac::BROADCAST, &question);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.put(buf.frame())?;
            while let Ok(answered) = self.answers.recv_timeout(ASK_AGAIN) {
                if answered == asker {
                    return Ok(());
                }
            }
        }
        Err(format!("the director does not answer for {}", self.director))
    }

    fn put(&self, frame: &[u8]) -> Result<(), String> {
        self.tap.send(frame).map(|_| ()).map_err(|error| format!("cannot send: {error}"))
    }
}

/// Until the TAP goes, which is when the process ends.
fn listen(tap: &tun::Device, heard: &Sender<Mac>) {
    let mut frame = vec![0; 1 << 16];
    let (mut question, mut answer) = (PacketBuf::new(), PacketBuf::new());
    while let Ok(len) = tap.recv(&mut frame) {
        question.set(&frame[..len]);
        match parse(&question) {
            Ok(Parsed::Arp(Arp { op: ArpOp::Reply, target, .. })) => {
                if heard.send(target.0).is_err() {
                    return;
                }
                continue;
            }
            // Who asks for its own address says that it has it.
            Ok(Parsed::Arp(Arp { op: ArpOp::Request, sender, target })) if sender.1 != target.1 => {
                let reply = Arp { op: ArpOp::Reply, sender: (MAC, target.1), target: sender };
                arp::build(&mut answer, sender.0, &reply);
            }
            Ok(Parsed::Ndp(Ndp::Solicitation { sender, mac, target })) if !IpAddr::V6(sender).is_unspecified() => {
                ndp::advertisement(&mut answer, Speaker { mac: MAC, addr: target }, Some((mac, sender)));
            }
            _ => continue,
        }
        // Lost if the TAP has no room: it will be asked again.
        _ = tap.send(answer.frame());
    }
}

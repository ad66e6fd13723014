//! Established flows are forwarded by a kernel: which, what is counted of them, and all that takes them back.

mod back;
mod counted;
mod taken;

use super::VIP;
use super::steps::establish;
use crate::base::Mac;
use crate::director::Settings;
use crate::testing::{DIRECTOR, Lab, Packet};

/// Entries that the kernel has room for.
const ROOM: usize = 64;

pub(super) fn lab(rules: &str) -> Lab {
    with(Settings::default(), rules)
}

pub(super) fn with(settings: Settings, rules: &str) -> Lab {
    let mut lab = Lab::with(Settings { icmp_rate: 0, fullnat_sequence: false, ..settings }, rules);
    lab.use_kernel(ROOM);
    lab
}

pub(super) fn entries(lab: &Lab) -> usize {
    lab.kernel.as_ref().unwrap().len()
}

/// The frames that the director, not the kernel, has read so far.
pub(super) fn read_here(lab: &mut Lab) -> u64 {
    lab.director.fast().account(&mut lab.turn);
    let ledger = lab.turn.ledger();
    ledger.rx() - ledger.fast()
}

/// Packets of a conn until it has been offered.
pub(super) fn talk(lab: &mut Lab, packet: &Packet) {
    (0..16).for_each(|_| _ = lab.client(packet));
}

/// A conn from this port to the last server, which the kernel has.
pub(super) fn taken(lab: &mut Lab, port: u16) -> Packet {
    assert_eq!(establish(lab, port), 22);
    let data = Packet::tcp(&format!("192.0.2.7:{port}"), VIP, "AP").carrying("data");
    let before = entries(lab);
    talk(lab, &data);
    assert_eq!(entries(lab), before + 1);
    data
}

/// An ARP announcement of the server.
pub(super) fn arp_from(server: [u8; 4], mac: Mac) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(DIRECTOR.0);
    frame.extend(mac.0);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    frame.extend(mac.0);
    frame.extend(server);
    frame.extend(DIRECTOR.0);
    frame.extend([10, 0, 0, 2]);
    frame.resize(60, 0);
    frame
}

//! State files with every kind of damage: whatever a start takes over of them is what was there before.
//!
//! An input is a list of edits to a sound file: bits turned, bytes set, pages exchanged or emptied, the file cut. Some have a
//! draft made of other damage. Never makes up a check that fits.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use argh::FromArgs;
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::base::Endpoint;
use crate::config::{Plan, RunArgs, rules_of};
use crate::daemon::try_restore;
use crate::ipvsadm;
use crate::service::command::Command;
use crate::state::{Draft, State};
use crate::testing::{LINK, Lab, Packet, ROUTER};

const MAX: usize = 128;
const PAGE: usize = 4096;
/// Bytes of one edit.
const EDIT: usize = 6;
/// More change nothing that fewer do not.
const EDITS: usize = 64;
/// More than a block of slots that a draft knows again by one sum.
const CLIENTS: std::ops::Range<u16> = 4000..4100;

/// Where a conn leads, and the state it is in.
type Lead = (Endpoint, Endpoint, Endpoint, Option<Endpoint>, String);

/// A sound file: its length, the pages that are not empty, and what it holds.
struct Image {
    len: u64,
    pages: Vec<(u64, Vec<u8>)>,
    leads: Vec<Lead>,
    rules: Vec<Command>,
}

fn plan() -> Plan {
    let words = "--bridge br0 --address 10.0.0.2/24 --service tcp/198.51.100.1:80 --server 10.0.0.21:8080,nat \
                 --server 10.0.0.22:8080,nat --server 10.0.0.23:8080,fullnat";
    let words: Vec<&str> = words.split_whitespace().collect();
    Plan::from_args(&RunArgs::from_args(&["run"], &words).unwrap()).unwrap()
}

fn memory() -> File {
    File::from(memfd_create("tapvs-fuzz", MFdFlags::MFD_CLOEXEC).unwrap())
}

/// A director that goes on with the file, and the state; why not, if it cannot.
fn go_on(file: File, draft: Option<Draft>) -> Result<(Lab, State), String> {
    let plan = plan();
    let mut director = plan.rehearse().unwrap();
    try_restore(&mut director, &plan, file, MAX, draft).map(|state| (Lab::of(director), state))
}

fn leads(lab: &Lab) -> Vec<Lead> {
    let conns = &lab.director.flows.conns;
    let lead = |conn: &crate::conn::Conn| {
        (conn.client(), conn.virt(), conns.real(conn), conns.local(conn), format!("{}", conn.is_template()))
    };
    conns.iter().map(|(_, conn)| lead(conn)).collect()
}

/// A client's segment, to the director's MAC, which follows from its address.
fn send(lab: &mut Lab, port: u16, flags: &'static str) {
    let segment = Packet::tcp(&format!("192.0.2.7:{port}"), "198.51.100.1:80", flags);
    let mac = lab.director.router.link(LINK).mac;
    lab.frame(&segment.frame(ROUTER, mac));
}

impl Image {
    /// Conns of two methods and a template, and rules made by hand.
    fn make() -> Image {
        let file = memory();
        let (mut lab, mut state) = go_on(file.try_clone().unwrap(), None).unwrap();
        let by_hand = "-A -u 198.51.100.2:53 -s wlc -p 60\n-a -u 198.51.100.2:53 -r 10.0.0.21:53 -m\n";
        for (_, command) in ipvsadm::parse_rules(by_hand).unwrap() {
            lab.director.apply(&command, lab.turn.now).unwrap();
            state.note(&command, &lab.director, Vec::new);
        }
        for port in CLIENTS {
            send(&mut lab, port, "S");
        }
        let mac = lab.director.router.link(LINK).mac;
        lab.frame(&Packet::udp("192.0.2.8:5000", "198.51.100.2:53").frame(ROUTER, mac));
        state.save_counters(&lab.director);
        let (leads, rules) = (leads(&lab), rules_of(&lab.director));
        assert_eq!(leads.len(), CLIENTS.len() + 2, "a conn of each client, and a template");
        drop((lab, state));
        let len = file.metadata().unwrap().len();
        let page = |at: u64| {
            let mut bytes = vec![0; PAGE];
            file.read_exact_at(&mut bytes, at).unwrap();
            bytes.iter().any(|byte| *byte != 0).then_some((at, bytes))
        };
        let pages = (0..len / PAGE as u64).filter_map(|number| page(number * PAGE as u64)).collect();
        Image { len, pages, leads, rules }
    }

    /// The last edit in words: how, and which page.
    fn last_damage(&self, input: &[u8]) -> String {
        let last = input.chunks_exact(EDIT).take(EDITS).next_back();
        last.map_or("sound".into(), |edit| {
            format!("edit {} of page {}", edit[0] % 8, usize::from(edit[1]) % self.pages.len())
        })
    }

    /// A file with these edits.
    fn damaged(&self, input: &[u8]) -> File {
        let file = memory();
        file.set_len(self.len).unwrap();
        let mut pages = self.pages.clone();
        for edit in input.chunks_exact(EDIT).take(EDITS) {
            let [how, page, high, low, other, value] = *edit else { continue };
            let (page, other) = (usize::from(page) % pages.len(), usize::from(other) % pages.len());
            let at = usize::from(u16::from_be_bytes([high, low])) % PAGE;
            match how % 8 {
                0..=2 => pages[page].1[at] ^= 1 << (value % 8),
                3 => pages[page].1[at] = value,
                4 => pages[page].1 = pages[other].1.clone(),
                5 => pages[page].1[at..].fill(value),
                6 => pages[page].1.fill(0),
                _ => file.set_len(pages[page].0 + at as u64).unwrap(),
            }
        }
        let len = file.metadata().unwrap().len();
        for (at, bytes) in pages.iter().filter(|(at, _)| *at < len) {
            let count = bytes.len().min((len - at) as usize);
            file.write_all_at(&bytes[..count], *at).unwrap();
        }
        file
    }
}

/// Starts with a damaged file.
pub fn state(input: &[u8]) -> Result<String, String> {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    let image = IMAGE.get_or_init(Image::make);
    let kind = image.last_damage(input);
    // Of a file with other damage, as if much had changed since.
    let has_draft = input.first().is_some_and(|byte| byte & 0x80 != 0);
    let draft = has_draft
        .then(|| State::draft(&image.damaged(&input[input.len() / 2..]), &plan().rehearse().unwrap()))
        .flatten();
    let (mut lab, _state) = match go_on(image.damaged(input), draft) {
        Ok(begun) => begun,
        // Numbers make no other place of it.
        Err(why) => return Ok(format!("{kind}, set aside: {}", why.replace(|c: char| c.is_ascii_digit(), ""))),
    };
    if let Some(lead) = leads(&lab).iter().find(|lead| !image.leads.contains(lead)) {
        return Err(format!("a conn that was not there: {lead:?}"));
    }
    let rules = rules_of(&lab.director);
    if let Some(rule) = rules.iter().find(|rule| !image.rules.contains(rule)) {
        return Err(format!("a rule that was not there: {rule:?}"));
    }
    lab.recount()?;
    let (conns, count) = (lab.director.flows.conns.len(), rules.len());
    for port in CLIENTS {
        send(&mut lab, port, "A");
    }
    lab.recount()?;
    Ok(format!("{kind}, {conns} conns, {count} rules"))
}

/// The sound file, and one with each kind of damage.
pub fn state_seeds() -> Vec<Vec<u8>> {
    let edits = (0..8).chain(0x80..0x88).map(|how| vec![how, 3, 0, 40, 1, 0xff]);
    std::iter::once(Vec::new()).chain(edits).collect()
}

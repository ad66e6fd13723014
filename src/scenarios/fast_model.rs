//! The same conversation with and without a kernel that forwards: the same frames leave, and the same is known afterwards.

use std::time::Duration;

use super::VIP;
use super::steps::NAT;
use crate::base::{Instant, Rng};
use crate::director::Settings;
use crate::service::Stats;
use crate::testing::{Frame, Lab, Packet};

/// Conversations, and steps of each.
const SEEDS: u64 = 200;
const STEPS: usize = 150;
const ROOM: usize = 4;

/// What is known of a conn at the end.
type Known = (String, u8, u32, Instant);

fn known(lab: &mut Lab) -> (Vec<Known>, Stats) {
    lab.director.fast().read_all();
    let flows = &lab.director.flows;
    let of = |conn: &crate::conn::Conn| {
        let ends = format!("{} {} {}", conn.client(), conn.virt(), flows.conns.real(conn));
        (ends, conn.state(), conn.in_pkts, flows.conns.deadline(conn))
    };
    let mut conns: Vec<Known> = flows.conns.iter().map(|(_, conn)| of(conn)).collect();
    conns.sort();
    (conns, flows.services.total)
}

/// Errors that the director makes are numbered, and a packet through NAT takes a number too where the director forwards it.
fn without_id(frame: &mut Frame) {
    const ICMP: u8 = 1;
    if frame.bytes.len() > 26 && frame.bytes[12..14] == [8, 0] && frame.bytes[23] == ICMP {
        frame.bytes[18..20].fill(0);
        frame.bytes[24..26].fill(0);
    }
}

/// The same servers by direct routing, to which clients' packets go as they are.
fn direct() -> String {
    NAT.replace(":8080 -m", ":80 -g")
}

/// One step in both laboratories, which must answer alike. `method` is that of all servers, `-m` or `-g`.
fn step(rng: &mut Rng, method: &str, labs: &mut [Lab; 2]) {
    let port = 4000 + rng.below(5);
    let client = format!("192.0.2.7:{port}");
    let server = ["10.0.0.21", "10.0.0.22"][rng.below(2) as usize];
    let server = &format!("{server}:{}", if method == "-m" { 8080 } else { 80 });
    let flags = ["S", "A", "AP", "AP", "AP", "AP", "AP", "FA", "RA"][rng.below(9) as usize];
    let (mut what, count) = (String::new(), 1 + rng.below(20));
    let draw = rng.below(16);
    for lab in labs {
        let mut said = Vec::new();
        match draw {
            0..=8 => {
                let packet = Packet::tcp(&client, VIP, flags).carrying("data");
                (0..count).for_each(|_| said.extend(lab.client(&packet)));
            }
            9..=11 => {
                let flags = if flags == "S" { "SA" } else { flags };
                (0..count).for_each(|_| said.extend(lab.real(&Packet::tcp(server, &client, flags))));
            }
            12 => said.extend(lab.advance(Duration::from_millis(count * 777))),
            13 => said.extend(lab.advance(Duration::from_secs(count * 60))),
            14 => lab.rules(&format!("-e -t {VIP} -r {server} {method} -w {}", count % 3)),
            _ => {
                lab.rules(&format!("-d -t {VIP} -r {server}"));
                if count % 2 == 0 {
                    said.extend(lab.client(&Packet::tcp(&client, VIP, "AP")));
                }
                lab.rules(&format!("-a -t {VIP} -r {server} {method}"));
            }
        }
        said.iter_mut().for_each(without_id);
        let said = format!("{draw} {flags} {client} {server}: {said:02x?}");
        assert!(what.is_empty() || what == said, "\nwithout {what}\nwith    {said}");
        what = said;
    }
}

#[test]
fn with_and_without_a_kernel_the_same_leaves_and_the_same_is_known() {
    let mut forwarded = 0;
    for seed in 0..SEEDS {
        let mut rng = Rng::seeded(seed);
        let expire = rng.below(2) == 0;
        let settings = Settings { icmp_rate: 0, expire_nodest_conn: expire, ..Settings::default() };
        let (method, rules) = if seed % 3 == 0 { ("-g", direct()) } else { ("-m", NAT.to_owned()) };
        let mut labs = [(); 2].map(|()| Lab::with(settings.clone(), &rules));
        labs[1].use_kernel(ROOM);
        for _ in 0..STEPS {
            step(&mut rng, method, &mut labs);
        }
        let [without, with] = &mut labs;
        assert_eq!(known(without), known(with), "seed {seed}");
        forwarded += with.director.fast.report.frames;
        with.recount().unwrap();
        assert!(with.turn.ledger().balances());
    }
    assert!(forwarded > SEEDS * 10, "the kernel had little to do: {forwarded} frames");
}

//! The fast path's maps and program in this kernel: `cargo bench --bench fast`, as root.
//!
//! What an entry costs whoever makes, reads and takes it away, one by one and many at a time, and what the program costs a
//! packet. Times are this machine's.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant as Clock;

use tapvs::inside::base::{Endpoint, LinkId, Mac, Medium, Proto};
use tapvs::inside::fastpath::abi::{Entry, Joined, Key, Method, Neighbour, Station, Way};
use tapvs::inside::io::FastMaps;
use tapvs::inside::io::bpf::Run;
use tapvs::inside::testing::Packet;

const CONNS: u32 = 1 << 20;
const BATCH: usize = 1000;
/// The same frame is rewritten again and again: so often its TTL lasts.
const HOPS: u32 = 250;
const RUNS: u32 = 1000;
const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);

fn main() {
    let maps = FastMaps::create(CONNS, 16, true).expect("maps, as root");
    let all: Vec<(Key, Entry)> = (0..CONNS).map(entry).collect();
    let each = |what: &str, did: &dyn Fn()| {
        let began = Clock::now();
        did();
        println!("{what:<36} {:.2} us", began.elapsed().as_secs_f64() * 1e6 / f64::from(CONNS));
    };
    each("an entry is added", &|| all.iter().for_each(|(key, entry)| maps.add(key, entry).expect("room")));
    each("read", &|| all.iter().for_each(|(key, _)| _ = maps.get(key).expect("an entry")));
    each("read, 4,096 at a time", &|| {
        let mut place = None;
        loop {
            place = maps.read(place, 4096, &mut |_, _| ()).expect("entries");
            if place.is_none() {
                break;
            }
        }
    });
    each("taken away, and read the last time", &|| {
        all.iter().for_each(|(key, _)| _ = maps.take(key).expect("an entry"));
    });
    each("set, 1,000 at a time", &|| all.chunks(BATCH).for_each(|part| maps.set_all(part).expect("room")));
    packets(&maps);
    each("taken away, 1,000 at a time", &|| {
        for part in all.chunks(BATCH) {
            maps.remove_all(&part.iter().map(|(key, _)| *key).collect::<Vec<Key>>()).expect("entries");
        }
    });
}

/// What a packet costs, the redirection and the bridge left out.
fn packets(maps: &FastMaps) {
    let neighbour = Neighbour { mac: Some(OWN), is_host: false, link_mac: OWN, ifindex: 1 };
    maps.set_neighbour(1, &neighbour).expect("a place");
    maps.set_station(LinkId(0), &Station { mac: Some(OWN), ..Station::default() }).expect("a place");
    let program = maps.program(LinkId(0), Medium::Ethernet).expect("a program");
    let packet = |client: &str, flags| Packet { ttl: 255, ..Packet::tcp(client, "198.51.100.1:80", flags) };
    for (what, packet) in [
        ("a segment that is forwarded", packet("192.0.2.1:7", "A")),
        ("one without an entry", packet("198.51.99.1:7", "A")),
        ("one that ends a conn", packet("192.0.2.1:7", "FA")),
    ] {
        let frame = packet.frame(OTHER, OWN);
        let run = Run { frame: &frame, repeat: HOPS, ..Run::default() };
        let nanos: u32 = (0..RUNS).map(|_| program.run(&run).expect("a run").nanos).sum();
        println!("{what:<36} {} ns", nanos / RUNS);
    }
}

fn entry(number: u32) -> (Key, Entry) {
    let endpoint = |addr: u32, port| Endpoint::new(IpAddr::V4(Ipv4Addr::from_bits(addr)), port);
    let client = endpoint(0xc000_0201 + (number >> 16), number as u16);
    let (virt, server) = (endpoint(0xc633_6401, 80), endpoint(0x0a00_0015, 8080));
    // The frame that is rewritten again and again has to stay a packet of this conn.
    let server = if number == 7 { virt } else { server };
    let way = Way { neighbour: 1, largest: 1500, addresses: 0xffff, ports: 0, ..Way::default() };
    let (method, keeps_df, shift, born, other) = (Method::Nat, true, 0, 0, client);
    let joined = Joined::default();
    let entry = Entry { virt, server, other, method, keeps_df, shift, born, joined, request: way, reply: way };
    (Key { proto: Proto::TCP, endpoint: client }, entry)
}

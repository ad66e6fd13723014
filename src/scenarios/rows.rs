//! More of what people get wrong about IPVS: persistence, lookup, leaving servers, errors, FTP, SCTP, limits.

use super::steps::{NAT, establish, secs, served_by, syn_from};
use super::{CLIENT, RS1, RS2, VIP};
use crate::base::ConnId;
use crate::conn::Conn;
use crate::director::Settings;
use crate::testing::{DIRECTOR, Kind, Lab, Packet, ROUTER, endpoint, expect, mac_of};

const FTP: &str = "-A -t 198.51.100.1:21 -s rr\n-a -t 198.51.100.1:21 -r 10.0.0.21:21 -m\n";

fn persistent() -> String {
    NAT.replace("-s rr", "-s rr -p 100")
}

fn find(lab: &Lab, wanted: impl Fn(&Conn) -> bool) -> Vec<ConnId> {
    let (mut found, mut cursor) = (Vec::new(), Some(0));
    while let Some(from) = cursor {
        let (id, next) = lab.director.conns.scan(from, usize::MAX / 2, &wanted);
        found.extend(id);
        cursor = next;
    }
    found
}

// ---- persistence -----------------------------------------------------------------------------------------------

#[test]
fn a_template_ignores_the_limit() {
    let mut lab = Lab::new(&persistent().replace("-m", "-m -x 1"));
    assert_eq!(served_by(&mut lab, &syn_from(4000)), 22);
    assert_eq!(served_by(&mut lab, &syn_from(4001)), 22, "though its one conn is taken");
    assert_eq!(lab.counts(RS2), (2, 0));
    let other = Packet::tcp("192.0.2.8:4000", VIP, "S");
    assert_eq!(served_by(&mut lab, &other), 21, "another client is not sent there");
}

#[test]
fn a_template_that_outlived_its_time_has_a_minute_from_then_on() {
    let mut lab = Lab::new(&persistent().replace("-t", "-u"));
    let datagram = |port: u16| Packet::udp(&format!("192.0.2.7:{port}"), VIP);
    let left = |lab: &Lab| {
        let templates = find(lab, Conn::is_template);
        let conn = lab.director.conns.get(templates[0]);
        lab.director.conns.deadline(conn).since(lab.now).as_secs_f64().round()
    };
    lab.client(&datagram(4000));
    assert_eq!(left(&lab), 100.0);
    lab.advance(secs(50));
    lab.client(&datagram(4000));
    assert_eq!(left(&lab), 50.0, "traffic of its conns does not restart it");
    lab.advance(secs(70));
    lab.client(&datagram(4001));
    assert_eq!(left(&lab), 60.0, "a new conn restarts it, with a minute now");
}

#[test]
fn a_conn_of_a_template_is_not_replaced_by_a_syn() {
    let settings = Settings { expire_quiescent_template: true, ..Settings::default() };
    for (rules, wanted) in [(persistent(), 22), (NAT.to_owned(), 21)] {
        let mut lab = Lab::with(settings.clone(), &rules);
        assert_eq!(establish(&mut lab, 4000), 22);
        lab.real(&Packet::tcp(RS2, CLIENT, "R"));
        // Were it scheduled anew, it could not go there again.
        lab.rules("-e -t 198.51.100.1:80 -r 10.0.0.22:8080 -m -w 0");
        assert_eq!(served_by(&mut lab, &syn_from(4000)), wanted, "{rules}");
    }
}

// ---- lookup ----------------------------------------------------------------------------------------------------

#[test]
fn the_exact_service_comes_before_ftps_and_that_before_the_one_of_all_ports() {
    let mut rules = String::new();
    for (port, server) in [("80", "21"), ("21", "22"), ("0", "23")] {
        rules += &format!("-A -t 198.51.100.1:{port} -s rr -p 60\n-a -t 198.51.100.1:{port} -r 10.0.0.{server} -g\n");
    }
    let mut lab = Lab::new(&rules);
    for (port, wanted) in [(80, 21), (21, 22), (20, 22), (2000, 22), (443, 23)] {
        // A client of its own for each: FTP's service and that of all ports have their templates in common.
        let syn = Packet::tcp(&format!("192.0.2.{}:4000", port % 250), &format!("198.51.100.1:{port}"), "S");
        assert_eq!(served_by(&mut lab, &syn), wanted, "port {port}");
    }
}

#[test]
fn an_address_without_service_is_not_ours_and_is_routed() {
    let mut lab = Lab::new(NAT);
    let past = Packet::tcp(CLIENT, "203.0.113.5:80", "S");
    expect(&lab.client(&past), &[(ROUTER, past.clone().one_hop_on())]);
    assert_eq!(lab.director.conns.len(), 0);
}

#[test]
fn replies_without_a_conn_leave_as_they_came() {
    let mut lab = Lab::new(NAT);
    let reply = Packet::tcp(RS1, CLIENT, "SA");
    expect(&lab.real(&reply), &[(ROUTER, reply.clone().one_hop_on())]);
}

// ---- servers that leave ----------------------------------------------------------------------------------------

#[test]
fn a_server_of_weight_0_keeps_its_conns_and_gets_no_new_ones() {
    let mut lab = Lab::new(NAT);
    assert_eq!(establish(&mut lab, 4000), 22);
    lab.rules("-e -t 198.51.100.1:80 -r 10.0.0.22:8080 -m -w 0");
    let data = Packet::tcp(CLIENT, VIP, "AP").carrying("GET");
    expect(&lab.client(&data), &[(mac_of(endpoint(RS2).addr), data.clone().to(RS2).one_hop_on())]);
    for port in 4001..4004 {
        assert_eq!(served_by(&mut lab, &syn_from(port)), 21);
    }
    lab.rules("-e -t 198.51.100.1:80 -r 10.0.0.21:8080 -m -w 0");
    lab.client(&syn_from(4005));
    assert_eq!(lab.take_moved(), "dropped.no-server=1");
}

#[test]
fn a_syn_to_a_server_of_weight_0_is_scheduled_anew_where_that_is_set() {
    for (expire, wanted) in [(false, 22), (true, 21)] {
        let settings = Settings { expire_nodest_conn: expire, ..Settings::default() };
        let mut lab = Lab::with(settings, NAT);
        assert_eq!(establish(&mut lab, 4000), 22);
        lab.rules("-e -t 198.51.100.1:80 -r 10.0.0.22:8080 -m -w 0");
        assert_eq!(served_by(&mut lab, &syn_from(4000)), wanted, "expire_nodest_conn {expire}");
    }
}

#[test]
fn conns_of_a_removed_service_are_dropped_in_silence_and_revived_with_it() {
    // With the last service of a family IPVS is out of the way altogether, so there is another.
    let mut lab = Lab::new(&format!("{NAT}-A -t 198.51.100.1:81 -s rr"));
    establish(&mut lab, 4000);
    lab.rules("-D -t 198.51.100.1:80");
    let data = Packet::tcp(CLIENT, VIP, "AP").carrying("GET");
    assert!(lab.client(&data).is_empty());
    assert_eq!(lab.take_moved(), "dropped.dest-gone=1");
    lab.rules(NAT);
    expect(&lab.client(&data), &[(mac_of(endpoint(RS2).addr), data.clone().to(RS2).one_hop_on())]);
}

#[test]
fn a_removed_server_is_forgotten_two_minutes_after_its_last_conn() {
    let mut lab = Lab::new(&NAT.replace("-t", "-u"));
    let datagram = |port: u16| Packet::udp(&format!("192.0.2.7:{port}"), VIP);
    lab.client(&datagram(4000));
    lab.rules("-d -u 198.51.100.1:80 -r 10.0.0.22:8080");
    // The conn ends after 300 s; what is removed is looked at once a minute, and must be idle for two.
    for (seconds, conns, what) in [(300, 1, "revived"), (300 + 60 + 120 + 60 + 1, 0, "a new one")] {
        lab.advance(secs(seconds));
        lab.rules("-a -u 198.51.100.1:80 -r 10.0.0.22:8080 -m");
        let dest = lab.director.services.iter().next().unwrap().dests[0];
        assert_eq!(lab.director.services.dest(dest).stats.conns, conns, "{what}");
        lab.rules("-d -u 198.51.100.1:80 -r 10.0.0.22:8080");
    }
    lab.advance(secs(300));
    assert_eq!(lab.director.services.trash_due(), None, "nobody is woken for nothing");
}

// ---- defence ---------------------------------------------------------------------------------------------------

#[test]
fn drop_entry_ends_half_open_conns_early_and_no_busy_ones() {
    for (mode, left) in [(0, 2), (3, 1)] {
        let mut lab = Lab::with(Settings { drop_entry: mode, ..Settings::default() }, NAT);
        establish(&mut lab, 4000);
        lab.client(&syn_from(4001));
        for _ in 0..35 {
            lab.advance(secs(1));
            lab.client(&Packet::tcp(CLIENT, VIP, "A"));
        }
        assert_eq!((lab.director.conns.len(), lab.state_of(&syn_from(4000))), (left, "ESTABLISHED"), "mode {mode}");
    }
}

#[test]
fn a_local_address_without_a_free_port_is_said_and_no_wrong_packet_leaves() {
    let rules = format!("-A -u {VIP} -s rr\n-a -u {VIP} -r {RS1} --fullnat\n-P -u {VIP} -z 10.0.0.30\n");
    let mut lab = Lab::with(Settings { max_flows: 100_000, ..Settings::default() }, &rules);
    let datagram = |n: u32| Packet::udp(&format!("192.0.{}.7:{}", 2 + n / 50_000, 1000 + n % 50_000), VIP);
    let mut ports = std::collections::HashSet::new();
    let mut number = 0;
    loop {
        let sent = lab.client(&datagram(number));
        let Some(frame) = sent.first() else { break };
        assert_eq!(frame.bytes[26..30], [10, 0, 0, 30]);
        assert!(ports.insert([frame.bytes[34], frame.bytes[35]]), "a port is given to two conns");
        number += 1;
    }
    assert_eq!(lab.take_moved(), "dropped.no-local-port=1");
    assert!(ports.len() > 50_000, "{} ports", ports.len());
    // The conns end, and there is room again.
    lab.advance(secs(400));
    assert_eq!(lab.client(&datagram(number)).len(), 1);
}

// ---- states ----------------------------------------------------------------------------------------------------

#[test]
fn a_segment_without_flags_closes() {
    let mut lab = Lab::new(NAT);
    establish(&mut lab, 4000);
    lab.client(&Packet::tcp(CLIENT, VIP, ""));
    assert_eq!(lab.state_of(&syn_from(4000)), "CLOSE");
    lab.advance(secs(11));
    assert_eq!(lab.director.conns.len(), 0);
}

#[test]
fn sequence_numbers_are_not_looked_at() {
    let mut lab = Lab::new(NAT);
    establish(&mut lab, 4000);
    lab.client(&Packet { seq: 0xdead_beef, ..Packet::tcp(CLIENT, VIP, "R") });
    assert_eq!(lab.state_of(&syn_from(4000)), "CLOSE");
}

// ---- tunnels and direct routing --------------------------------------------------------------------------------

#[test]
fn direct_routing_and_tunnels_cannot_change_the_port() {
    for method in ["-g", "-i"] {
        let mut lab = Lab::new(&format!("-A -t {VIP} -s rr\n-a -t {VIP} -r 10.0.0.21:8080 {method}"));
        let sent = lab.client(&syn_from(4000));
        let tcp = sent[0].bytes.len() - 20;
        assert_eq!(sent[0].bytes[tcp + 2..tcp + 4], 80u16.to_be_bytes(), "{method}");
    }
}

#[test]
fn a_packet_that_may_be_cut_gets_a_tunnel_header_that_may_be_cut() {
    let mut lab = Lab::new(&format!("-A -t {VIP} -s rr\n-a -t {VIP} -r 10.0.0.21 -i"));
    let sent = lab.client(&Packet { dont_fragment: false, ..syn_from(4000) });
    let outer = &sent[0].bytes[14..34];
    assert_eq!(outer[6] & 0x40, 0, "DF is the inner one");
    assert_ne!(outer[4..6], [0, 0], "an identification, for it may be cut");
}

#[test]
fn gue_leaves_its_udp_checksum_out_unless_told() {
    for (flag, there) in [("--tun-nocsum", false), ("--tun-csum", true), ("--tun-remcsum", true)] {
        let rules =
            format!("-A -t {VIP} -s rr\n-a -t {VIP} -r [2001:db8::21]:80 -i --tun-type gue --tun-port 6080 {flag}");
        let mut lab = Lab::new(&rules);
        let sent = lab.client(&syn_from(4000));
        let gue = &sent[0].bytes[14 + 40..];
        assert_eq!(gue[6..8] != [0, 0], there, "{flag}");
        // The packet's own checksum is finished, so there is nothing to leave to the other end: no option.
        assert_eq!(gue[8..12], [0, 4, 0, 0], "{flag}: no private flags, IPv4 inside");
        assert_eq!(gue.len(), 12 + 40, "{flag}");
    }
}

// ---- errors ----------------------------------------------------------------------------------------------------

#[test]
fn an_error_of_a_router_behind_the_director_comes_from_the_virtual_address() {
    let mut lab = Lab::new(NAT);
    lab.client(&syn_from(4000));
    let about = syn_from(4000).to(RS2).one_hop_on();
    let sent = lab.real(&Packet::icmp_about("10.0.0.29", "192.0.2.7", (3, 4, 1300), &about));
    assert_eq!(sent[0].bytes[26..34], [198, 51, 100, 1, 192, 0, 2, 7]);
}

#[test]
fn only_unreachable_quench_and_time_exceeded_are_translated() {
    for (kind, translated) in [(3, true), (4, true), (11, true), (12, false)] {
        let mut lab = Lab::new(NAT);
        lab.client(&syn_from(4000));
        let about = syn_from(4000).to(RS2).one_hop_on();
        let error = Packet::icmp_about("10.0.0.22", "192.0.2.7", (kind, 0, 0), &about);
        let sent = lab.real(&error);
        if translated {
            assert_eq!(sent[0].bytes[26..30], [198, 51, 100, 1], "type {kind}");
            continue;
        }
        expect(&sent, &[(ROUTER, error.clone().one_hop_on())]);
    }
}

// ---- FTP -------------------------------------------------------------------------------------------------------

const CONTROL: &str = "198.51.100.1:21";
const FTP_SERVER: &str = "10.0.0.21:21";

fn ftp() -> Lab {
    let mut lab = Lab::new(FTP);
    lab.client(&Packet::tcp(CLIENT, CONTROL, "S"));
    lab.real(&Packet::tcp(FTP_SERVER, CLIENT, "SA"));
    lab.client(&Packet::tcp(CLIENT, CONTROL, "A"));
    lab
}

#[test]
fn what_a_client_announces_is_read_and_not_rewritten() {
    for text in ["PORT 192,0,2,7,10,1\r\n", "EPRT |1|192.0.2.7|2561|\r\n"] {
        let mut lab = ftp();
        let said = Packet::tcp(CLIENT, CONTROL, "AP").carrying(text);
        expect(&lab.client(&said), &[(mac_of(endpoint(RS1).addr), said.clone().to(FTP_SERVER).one_hop_on())]);
        let data = Packet::tcp("10.0.0.21:20", "192.0.2.7:2561", "S");
        expect(&lab.real(&data), &[(ROUTER, data.clone().from("198.51.100.1:20").one_hop_on())]);
    }
}

#[test]
fn what_a_server_announces_gets_the_virtual_address_and_the_servers_port() {
    let mut lab = ftp();
    lab.client(&Packet::tcp(CLIENT, CONTROL, "AP").carrying("PASV\r\n"));
    let announced = Packet::tcp(FTP_SERVER, CLIENT, "AP").carrying("227 Entering Passive Mode (10,0,0,21,10,1).\r\n");
    let seen = announced.clone().from(CONTROL).carrying("227 Entering Passive Mode (198,51,100,1,10,1).\r\n");
    expect(&lab.real(&announced), &[(ROUTER, seen.clone().one_hop_on())]);
    let data = Packet::tcp("192.0.2.7:4001", "198.51.100.1:2561", "S");
    expect(&lab.client(&data), &[(mac_of(endpoint(RS1).addr), data.clone().to("10.0.0.21:2561").one_hop_on())]);

    // Three bytes were added: what the server says next is three further on, what the client has got is three less.
    let next = Packet { seq: announced.seq + announced.payload.len() as u32, ..announced.carrying("150 Here\r\n") };
    let seen = Packet { seq: next.seq + 3, ..next.clone() }.from(CONTROL);
    expect(&lab.real(&next), &[(ROUTER, seen.clone().one_hop_on())]);
    let got = Packet { ack: seen.seq + 10, ..Packet::tcp(CLIENT, CONTROL, "A") };
    let told = Packet { ack: next.seq + 10, ..got.clone() }.to(FTP_SERVER);
    expect(&lab.client(&got), &[(mac_of(endpoint(RS1).addr), told.one_hop_on())]);
}

#[test]
fn ftp_without_a_helper_is_kept_together_by_persistence_on_port_21() {
    let mut rules = "-A -t 198.51.100.1:21 -s rr -p 60\n".to_owned();
    for last in [21, 22] {
        rules += &format!("-a -t 198.51.100.1:21 -r 10.0.0.{last} -g\n");
    }
    let mut lab = Lab::new(&rules);
    let control = served_by(&mut lab, &Packet::tcp(CLIENT, CONTROL, "S"));
    let passive = Packet::tcp("192.0.2.7:4001", "198.51.100.1:2561", "S");
    assert_eq!(served_by(&mut lab, &passive), control);
    // Active: the server's SYN went past the director, the client's answer does not.
    let active = Packet::tcp("192.0.2.7:4002", "198.51.100.1:20", "SA");
    assert_eq!(served_by(&mut lab, &active), control);
    assert_eq!(served_by(&mut lab, &Packet::tcp("192.0.2.8:4000", CONTROL, "S")), 43 - control, "another client");
}

// ---- SCTP ------------------------------------------------------------------------------------------------------

/// An INIT whose checksum is `crc`; the right one with `None`.
fn sctp_init(from: u16, to: u16, crc: Option<u32>) -> Vec<u8> {
    let mut bytes = [from.to_be_bytes(), to.to_be_bytes()].concat();
    bytes.extend([0; 8]);
    bytes.extend([1, 0, 0, 20]);
    bytes.extend([7; 16]);
    let crc = crc.unwrap_or_else(|| crc32c(&bytes));
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// CRC-32C bit by bit (RFC 9260 appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

#[test]
fn an_sctp_checksum_is_made_anew_only_when_the_port_changes() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    for (port, wanted) in [(3868, sctp_init(4000, 3868, Some(0xbad))), (3869, sctp_init(4000, 3869, None))] {
        let rules = format!(
            "-A --sctp-service 198.51.100.1:3868 -s rr\n-a --sctp-service 198.51.100.1:3868 -r 10.0.0.21:{port} -m"
        );
        let mut lab = Lab::new(&rules);
        let init = Packet::new(CLIENT, "198.51.100.1:3868", Kind::Other(132));
        let sent = lab.frame(&init.carrying(sctp_init(4000, 3868, Some(0xbad))).frame(ROUTER, DIRECTOR));
        assert_eq!(sent[0].bytes[34..], wanted, "port {port}");
    }
}

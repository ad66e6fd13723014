//! FTP: the control conn is read, and rewritten where an address of the servers would be seen.

use super::steps::served_by;
use super::{CLIENT, RS1};
use crate::testing::{Lab, Packet, ROUTER, endpoint, expect, mac_of};

const FTP: &str = "-A -t 198.51.100.1:21 -s rr\n-a -t 198.51.100.1:21 -r 10.0.0.21:21 -m\n";
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
fn ports_of_ftp_are_a_setting_and_active_data_comes_from_the_port_below() {
    let rules = "-A -t 198.51.100.1:2121 -s rr\n-a -t 198.51.100.1:2121 -r 10.0.0.21:2100 -m\n";
    for (ports, is_read) in [("21", false), ("2121,21", true), ("", false)] {
        let mut lab = Lab::new(rules);
        lab.director.set("ftp_ports", ports).unwrap();
        let control = "198.51.100.1:2121";
        lab.client(&Packet::tcp(CLIENT, control, "S"));
        lab.real(&Packet::tcp("10.0.0.21:2100", CLIENT, "SA"));
        lab.client(&Packet::tcp(CLIENT, control, "AP").carrying("PORT 192,0,2,7,10,1\r\n"));
        let data = Packet::tcp("10.0.0.21:2099", "192.0.2.7:2561", "S");
        let source = if is_read { "198.51.100.1:2120" } else { "10.0.0.21:2099" };
        expect(&lab.real(&data), &[(ROUTER, data.clone().from(source).one_hop_on())]);
    }
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

//! Segments from the middle of conns that a director without state does not know (setting `unknown`), in each method.

use super::{CLIENT, CLIENT6, LIP, VIP, VIP6};
use crate::director::Settings;
use crate::settings::Unknown;
use crate::testing::{Kind, Lab, Packet};

/// A service by mh with two servers, of both families.
fn rules(method: &str) -> String {
    let port = if ["-m", "--fullnat"].contains(&method) { 8080 } else { 80 };
    let family = |vip: &str, servers: [&str; 2], local: &str| {
        let server = |real: &str| format!("-a -t {vip} -r {real}:{port} {method}\n");
        let local = if method == "--fullnat" { format!("--add-laddr -z {local} -t {vip}\n") } else { String::new() };
        format!("-A -t {vip} -s mh\n{}{}{local}", server(servers[0]), server(servers[1]))
    };
    let six = family(VIP6, ["[2001:db8::21]", "[2001:db8::22]"], "2001:db8::30");
    family(VIP, ["10.0.0.21", "10.0.0.22"], LIP) + &six
}

fn lab(unknown: Unknown, method: &str) -> Lab {
    Lab::with(Settings { unknown, ..Settings::default() }, &rules(method))
}

/// Client and virtual service of each family; the client's port is this one.
fn ends(port: u16) -> [(String, &'static str); 2] {
    let with = |client: &str| client.rsplit_once(':').map_or(String::new(), |(addr, _)| format!("{addr}:{port}"));
    [(with(CLIENT), VIP), (with(CLIENT6), VIP6)]
}

const METHODS: [&str; 4] = ["-m", "-g", "-i", "--fullnat"];

#[test]
fn a_reset_is_what_they_meet_if_nothing_is_said_and_by_name() {
    for method in METHODS {
        for (client, vip) in ends(4000) {
            for mut lab in [Lab::new(&rules(method)), lab(Unknown::Reset, method)] {
                let sent = lab.client(&Packet::tcp(&client, vip, "A"));
                assert_eq!(sent.len(), 1, "{method} {client}");
                assert_eq!(sent[0].packet().kind, Kind::Tcp("R"));
                assert_eq!(lab.take_moved(), "dropped.local-closed=1");
            }
        }
    }
}

#[test]
fn drop_leaves_the_middle_unanswered_and_the_beginning_alone() {
    for method in METHODS {
        for (client, vip) in ends(4000) {
            let mut lab = lab(Unknown::Drop, method);
            for flags in ["A", "PA", "FA", "R"] {
                assert_eq!(lab.client(&Packet::tcp(&client, vip, flags)).len(), 0, "{method} {client} {flags}");
                assert_eq!(lab.take_moved(), "dropped.unknown-conn=1");
            }
            lab.client(&Packet::tcp(&client, vip, "S"));
            assert_eq!(lab.director.flows.conns.len(), 1, "{method} {client}");
            let closed = vip.replace(":80", ":81");
            lab.take_moved();
            lab.client(&Packet::tcp(&client, &closed, "A"));
            assert_eq!(lab.take_moved(), "dropped.local-closed=1", "a port of no service is the host's");
        }
    }
}

/// A director that has just taken over may hear a server first. The client would answer the server's own address with a
/// reset, and end a conn that the director is about to be told of.
#[test]
fn a_reply_of_no_conn_is_forwarded_as_it_is_only_where_unknown_is_reset() {
    let servers = [("10.0.0.21:8080", CLIENT), ("[2001:db8::21]:8080", CLIENT6)];
    for (unknown, passes) in [(Unknown::Reset, true), (Unknown::Drop, false), (Unknown::Adopt, false)] {
        for (server, client) in servers {
            let mut lab = lab(unknown, "-m");
            for (flags, always) in [("A", false), ("PA", false), ("SA", false), ("FA", false), ("S", true), ("R", true)]
            {
                let sent = lab.real(&Packet::tcp(server, client, flags)).len();
                assert_eq!(sent, usize::from(passes || always), "{unknown:?} {server} {flags}");
                let dropped = lab.take_moved().contains("dropped.unknown-conn=1");
                assert_eq!(dropped, !passes && !always, "{unknown:?} {server} {flags}");
            }
            // What is no service's goes on.
            let other = server.replace("8080", "22");
            assert_eq!(lab.real(&Packet::tcp(&other, client, "A")).len(), 1, "{unknown:?} {other}");
        }
    }
}

#[test]
fn adopt_finds_the_server_again_that_a_director_before_had_chosen() {
    for method in ["-m", "-g", "-i"] {
        let mut seen = std::collections::BTreeSet::new();
        for port in 4000..4016 {
            for (client, vip) in ends(port) {
                let (mut before, mut after) = (lab(Unknown::Reset, method), lab(Unknown::Adopt, method));
                let server = |lab: &mut Lab, flags: &'static str| {
                    let sent = lab.client(&Packet::tcp(&client, vip, flags));
                    assert_eq!(sent.len(), 1, "{method} {client} {flags}");
                    sent[0].to()
                };
                let chosen = server(&mut before, "S");
                assert_eq!(server(&mut after, "PA"), chosen, "{method} {client}");
                assert_eq!(after.state_of(&Packet::tcp(&client, vip, "A")), "ESTABLISHED");
                after.client(&Packet::tcp(&client, vip, "R"));
                seen.insert(chosen.0);
            }
        }
        assert!(seen.len() > 1, "{method}: clients are spread: {seen:?}");
        let (mut lab, [(client, vip), _]) = (lab(Unknown::Adopt, method), ends(4000));
        lab.client(&Packet::tcp(&client, vip, "R"));
        assert_eq!(lab.director.flows.conns.len(), 0, "a reset opens nothing");
    }
}

#[test]
fn fullnat_cannot_adopt_and_resets() {
    for (client, vip) in ends(4000) {
        let mut lab = lab(Unknown::Adopt, "--fullnat");
        let sent = lab.client(&Packet::tcp(&client, vip, "A"));
        assert_eq!(sent[0].packet().kind, Kind::Tcp("R"));
        assert_eq!((lab.take_moved().as_str(), lab.director.flows.conns.len()), ("dropped.local-closed=1", 0));
    }
}

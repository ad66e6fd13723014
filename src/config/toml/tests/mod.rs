//! Files and what is said about them.

mod checks;
mod manual;
mod peers;
mod services;

use std::cell::Cell;

use super::read;
use crate::config::plan::Plan;
use crate::service::command::Command;

/// What `tapvs check /t.toml` says about a file of this text.
fn said(text: &str) -> String {
    match read("/t.toml", text).and_then(Plan::from_draft) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

thread_local! {
    /// What is read in this thread is read as by a program without TLS.
    pub(super) static WITHOUT_TLS: Cell<bool> = const { Cell::new(false) };
}

const LINK: &str = "[[link]]\nbridge = \"br0\"\naddress = \"10.0.0.2/24\"\n";

/// A file with one good link, one service, and these lines in the service from line 6 on.
fn service(lines: &str) -> String {
    said(&format!("{LINK}[[service]]\ntcp = \"10.0.0.100:80\"\n{lines}"))
}

/// As `service`, these lines in a server from line 7 on.
fn server(lines: &str) -> String {
    service(&format!("[[service.server]]\n{lines}"))
}

#[test]
fn the_example_is_good() {
    let plan = read("docs/tapvs.toml", include_str!("../../../../docs/tapvs.toml")).and_then(Plan::from_draft).unwrap();
    assert_eq!((plan.links.len(), plan.routes.len(), plan.marks.len()), (2, 2, 1));
    let services = plan.commands.iter().filter(|planned| matches!(planned.command, Command::AddService(..)));
    assert_eq!(services.count(), 5);
}

#[test]
fn a_link_alone_is_enough() {
    assert_eq!(said(LINK), "");
}

#[test]
fn what_cannot_be_read_is_named_where_it_stands() {
    for (text, wanted) in [
        ("", "/t.toml:1:1: no [[link]]; the director needs one, with bridge and address"),
        ("[[link]\n", "/t.toml:1:8: not TOML: unclosed array table, expected `]`"),
        ("[link]\nbridge = \"br0\"\n", "/t.toml:1:1: 'link' may stand several times; write [[link]]"),
        ("link = [1]\n", "/t.toml:1:8: 'link' is a section; write [[link]]"),
    ] {
        assert_eq!(said(text).lines().next().unwrap_or_default(), wanted, "{text}");
    }
    let known = "known are bridge, tap, tun, address, mac, mtu, offload, forward, masquerade";
    for (lines, wanted) in [
        ("adress = \"x\"", format!("/t.toml:4:1: 'adress' is not known in [[link]]; {known}")),
        ("mac = \"02\"", "/t.toml:4:7: mac \"02\": '02' is not a MAC address; write six hex bytes, like 02:00:00:00:00:01".into()),
        ("mac = \"03:00:00:00:00:01\"", "/t.toml:4:7: mac \"03:00:00:00:00:01\": not the address of one station; its first byte must be even, like 02".into()),
        ("forward = \"some\"", "/t.toml:4:11: forward \"some\": 'some' is not known; use all, from-servers or none".into()),
        ("masquerade = 7", "/t.toml:4:14: masquerade 7: must be a string in quotes, or a list of them in brackets".into()),
        ("mtu = 40", "/t.toml:4:7: mtu 40: must be a number from 68 to 65521".into()),
        ("tap = 5", "/t.toml:4:7: tap 5: must be a string in quotes".into()),
        ("tap = \"a/b\"", "/t.toml:4:7: tap \"a/b\": 'a/b' cannot name a network device; use 1 to 15 bytes without '/', ':' or blanks".into()),
        ("offload = 1", "/t.toml:4:11: offload 1: must be true or false".into()),
        ("[timeouts]\ntcp = -1", "/t.toml:5:7: tcp -1: must be a number from 1 to 2678400".into()),
        ("[settings]\npmtu_disc = \"x\"", "/t.toml:5:13: pmtu_disc \"x\": pmtu_disc: 'x' is not a whole number; it takes 0 (off) or 1 (on)".into()),
        ("[settings]\nsecure_tcp = 7", "/t.toml:5:14: secure_tcp 7: secure_tcp: 7 does not fit; it takes 0 (never), 1 (under pressure) or 3 (always)".into()),
        ("[[mark]]\nports = 80", "/t.toml:4:1: [[mark]]: no mark; give the number that these packets carry".into()),
        ("[[mark]]\nmark = 1\nports = \"9-8\"", "/t.toml:6:9: ports \"9-8\": not a port or a range of ports, like \"80-443\"".into()),
        ("[[mark]]\nmark = 1\nprotocol = \"icmp\"", "/t.toml:6:12: protocol \"icmp\": use tcp, udp, sctp or any".into()),
    ] {
        assert_eq!(said(&format!("{LINK}{lines}\n")), wanted);
    }
}

#[test]
fn what_does_not_fit_the_network_is_named_where_it_stands() {
    let link = |lines: &str| said(&format!("[[link]]\nbridge = \"br0\"\n{lines}\n"));
    for (lines, wanted) in [
        ("", "/t.toml:1:1: [[link]]: no address; the director needs one of its own there, like 10.0.0.2/24"),
        (
            "address = \"10.0.0.255/24\"",
            "/t.toml:3:11: address \"10.0.0.255/24\": not an address that a host can have; give one like 10.0.0.2/24",
        ),
        (
            "address = \"10.0.0.2/24\"\n[[link]]\nbridge = \"br0\"\naddress = \"10.0.0.2/24\"\nmac = \"02:74:0a:00:00:03\"",
            "/t.toml:6:11: address \"10.0.0.2/24\": another link has this address; name it once",
        ),
        (
            "address = \"10.0.0.2/24\"\ntun = \"tun0\"",
            "/t.toml:2:10: bridge \"br0\": not with a TUN, to which the host routes packets without Ethernet; leave one of them out",
        ),
        (
            "address = \"10.0.0.2/24\"\ntap = \"t\"\n[[link]]\nbridge = \"br1\"\naddress = \"10.0.1.2/24\"\ntap = \"t\"",
            "/t.toml:8:7: tap \"t\": another link has this TAP; give each link one of its own",
        ),
        (
            "address = \"10.0.0.2/24\"\n[[link]]\nbridge = \"br0\"\naddress = \"10.0.1.2/24\"\nmac = \"02:74:0a:00:00:02\"",
            "/t.toml:7:7: mac \"02:74:0a:00:00:02\": another link on the same bridge has the MAC 02:74:0a:00:00:02; give another",
        ),
        (
            "address = \"10.0.0.2/24\"\n[[route]]\nto = \"10.1.0.0/16\"\nvia = \"10.2.0.1\"",
            "/t.toml:6:7: via \"10.2.0.1\": not in the net of any address of the director; name a neighbour",
        ),
        (
            "address = \"10.0.0.2/24\"\n[[route]]\nto = \"10.1.0.0/16\"\nvia = \"10.0.0.2\"",
            "/t.toml:6:7: via \"10.0.0.2\": the director itself; name another neighbour",
        ),
        (
            "address = \"10.0.0.2/24\"\n[[route]]\nto = \"2001:db8::/32\"\nvia = \"10.0.0.1\"",
            "/t.toml:6:7: via \"10.0.0.1\": not of the family of 2001:db8::/32; name a neighbour of the same",
        ),
        (
            "address = \"10.0.0.2/24\"\n[[route]]\nvia = \"10.0.0.1\"",
            "/t.toml:4:1: [[route]]: no to; name the net that it leads to, like 192.0.2.0/24",
        ),
    ] {
        assert_eq!(link(lines), wanted);
    }
    let links = |count: usize| {
        let one = |n: usize| format!("[[link]]\nbridge = \"br0\"\naddress = \"10.{n}.0.2/16\"\n");
        let more = |n: usize| format!("[[link]]\nbridge = \"br{n}\"\naddress = \"172.16.{n}.2/24\"\n");
        said(&(0..count).map(|n| if n < 256 { one(n) } else { more(n - 256) }).collect::<String>())
    };
    assert_eq!(links(256), "");
    assert_eq!(links(257), "/t.toml:769:1: [[link]]: the director has 256 links at most; leave this one out");
    let top = |lines: &str| said(&format!("{lines}\n{LINK}"));
    assert_eq!(top("max_flows = 0"), "/t.toml:1:13: max_flows 0: max_flows: 0 does not fit; it takes 1 to 1073741824");
    assert_eq!(top("cpu = 1023"), "");
    for cpu in ["1024", "-1", "\"1\"", "[0, 1]"] {
        let wanted = format!("/t.toml:1:7: cpu {cpu}: must be a number from 0 to 1023");
        assert_eq!(top(&format!("cpu = {cpu}")), wanted);
    }
    let twice = "/t.toml:1:24: gateway \"10.0.0.3\": a second way to 0.0.0.0/0; name one";
    assert_eq!(top("gateway = [\"10.0.0.1\", \"10.0.0.3\"]"), twice);
    assert_eq!(
        top("gateway = \"gw\""),
        "/t.toml:1:11: gateway \"gw\": not an address, like 10.0.0.1; names are not resolved"
    );
    assert_eq!(
        top("gateway = \"10.0.0.1%tap0\""),
        "/t.toml:1:11: gateway \"10.0.0.1%tap0\": 10.0.0.1 is no link-local address; leave out % and the link"
    );
}

#[test]
fn a_link_local_gateway_names_its_link_where_there_are_several() {
    let link =
        |name: &str, addr: &str| format!("[[link]]\nbridge = \"{name}\"\ntap = \"{name}\"\naddress = \"{addr}\"\n");
    let links = [link("a", "2001:db8:a::2/64"), link("b", "2001:db8:b::2/64"), link("c", "10.0.0.2/24")].concat();
    let with = |gateway: &str| said(&format!("gateway = \"{gateway}\"\n{links}"));
    for (gateway, wanted) in [
        ("fe80::1", "a neighbour on any link; name the TAP too, like fe80::1%tap0"),
        ("fe80::1%c", "no link with IPv6 has the name c; name one that has"),
        ("fe80::1%d", "no link with IPv6 has the name d; name one that has"),
    ] {
        assert_eq!(with(gateway), format!("/t.toml:1:11: gateway \"{gateway}\": {wanted}"));
    }
    assert_eq!(with("fe80::1%b"), "");
    let plan = read("/t.toml", &format!("gateway = \"fe80::1%b\"\n{links}")).and_then(Plan::from_draft).unwrap();
    let director = plan.rehearse().unwrap();
    let gateway = Some((crate::base::LinkId(1), "fe80::1".parse().unwrap()));
    assert_eq!(director.router.routes.lookup("2001:db8:f::1".parse().unwrap()), gateway);
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = "gateway = 7\n[[service]]\ntcp = \"x\"\n[[service.server]]\n[[link]]\nbridge = \"br0\"\nmtu = true\n";
    let positions: Vec<String> =
        said(text).lines().map(|line| line.split(": ").next().unwrap_or_default().into()).collect();
    assert_eq!(positions, ["/t.toml:1:11", "/t.toml:3:7", "/t.toml:4:1", "/t.toml:4:1", "/t.toml:7:7"]);
}

#[test]
fn no_file_makes_the_reader_panic() {
    let text = include_str!("../../../../docs/tapvs.toml");
    let mut rng = crate::base::Rng::seeded(5);
    for _ in 0..3000 {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..3 {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = b"\"[]=.,#\n x0-\xc3"[rng.below(13) as usize];
        }
        let _ = said(&String::from_utf8_lossy(&bytes));
    }
}

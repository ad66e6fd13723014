//! Files and what is said about them.

use super::super::plan::Plan;
use super::{
    LINK as LINK_KEYS, MARK, ROUTE, SETTINGS, SYNC, TIMEOUTS, TOP, check, check_of_word, read, service as sections,
    vrrp,
};
use crate::base::{Family, LinkId};
use crate::service::command::{Command, SyncRole};

/// What `tapvs check /t.toml` says about a file of this text.
fn said(text: &str) -> String {
    match read("/t.toml", text).and_then(Plan::from_draft) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
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
    let plan = read("docs/tapvs.toml", include_str!("../../../docs/tapvs.toml")).and_then(Plan::from_draft).unwrap();
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
fn what_does_not_make_a_service_is_named_where_it_stands() {
    let known = "rr wrr lc wlc sed nq fo ovf dh sh mh lblc lblcr twos none";
    for (lines, wanted) in [
        ("scheduler = \"foo\"", format!("/t.toml:6:13: scheduler \"foo\": unknown scheduler 'foo'; known are {known}")),
        ("flags = [\"sh-port\"]", "/t.toml:6:10: flags \"sh-port\": 'sh-port' is not a flag of wlc".into()),
        ("persistent = 0", "/t.toml:6:14: persistent 0: not a time that persistence can have (1 to 2678400 seconds)".into()),
        ("pe = \"sip\"", "/t.toml:6:6: pe \"sip\": needs a persistent service; say for how many seconds".into()),
        ("netmask = \"x\"", "/t.toml:6:11: netmask \"x\": not a netmask, like \"255.255.255.0\"".into()),
        ("syn_proxy = \"maybe\"", "/t.toml:6:13: syn_proxy \"maybe\": 'maybe' is no way of a SYN proxy; use one of off, on, auto".into()),
        ("one_packet = true", "/t.toml:6:14: one_packet true: one-packet scheduling is only for UDP services".into()),
        ("family = \"ipv6\"", "/t.toml:6:10: family \"ipv6\": only a service by mark has a family; other services have their address's".into()),
        ("udp = \"10.0.0.100:80\"", "/t.toml:4:1: [[service]]: needs exactly one of tcp, udp, sctp (= \"ADDRESS:PORT\") and mark (= NUMBER)".into()),
        ("[[service]]\ntcp = \"10.0.0.101\"", "/t.toml:7:7: tcp \"10.0.0.101\": write ADDRESS:PORT, like 10.0.0.100:80".into()),
        ("[[service]]\ntcp = \"10.0.0.101:0\"", "/t.toml:7:7: service tcp \"10.0.0.101:0\": port 0 (any port) needs a persistent service; add --persistent (-p in rules, persistent in a file), or name a port".into()),
        ("[[service]]\ntcp = \"224.0.0.1:80\"", "/t.toml:7:7: service tcp \"224.0.0.1:80\": 224.0.0.1 is not an address that a service can have; use a unicast address".into()),
        ("[[service]]\ntcp = \"10.0.0.100:80\"", "/t.toml:7:7: service tcp \"10.0.0.100:80\": service tcp/10.0.0.100:80 is given twice; name it once".into()),
        ("local_address = [\"10.0.0.3\", \"10.0.0.3\"]", "/t.toml:6:30: local_address \"10.0.0.3\": local address 10.0.0.3 is given twice; name it once".into()),
    ] {
        assert_eq!(service(&format!("{lines}\n")), wanted);
    }
}

#[test]
fn what_does_not_make_a_daemon_is_named_where_it_stands() {
    let sync = |lines: &str| said(&format!("{LINK}tap = \"t\"\n[[sync]]\n{lines}\n"));
    for (lines, wanted) in [
        ("role = \"master\"\nlink = \"t\"", ""),
        ("link = \"t\"", "/t.toml:5:1: [[sync]]: no role; say master or backup"),
        (
            "role = \"master\"\nlink = \"u\"",
            "/t.toml:5:1: [[sync]]: no link has the name 'u' and an address of the group's family; name the TAP of one",
        ),
        (
            "role = \"backup\"\nlink = \"t\"\ngroup = \"10.0.0.1\"",
            "/t.toml:8:9: group \"10.0.0.1\": not a multicast group, like 224.0.0.81",
        ),
        (
            "role = \"backup\"\nlink = \"t\"\n[[sync]]\nrole = \"backup\"\nlink = \"t\"",
            "/t.toml:8:1: [[sync]]: a second backup; one is all there can be",
        ),
    ] {
        assert_eq!(sync(lines), wanted);
    }
}

#[test]
fn what_does_not_make_a_server_is_named_where_it_stands() {
    let at = |address: &str, lines: &str| server(&format!("address = \"{address}\"\n{lines}\n"));
    for (address, lines, wanted) in [
        (
            "10.0.0.21:8080",
            "method = \"direct\"",
            "/t.toml:7:11: server \"10.0.0.21:8080\": direct cannot change the port (the service's is 80); leave it out, or use nat",
        ),
        (
            "10.0.0.2",
            "method = \"nat\"",
            "/t.toml:7:11: server \"10.0.0.2\": 10.0.0.2 is the director's own address; a real server needs another one",
        ),
        (
            "10.9.0.2",
            "method = \"nat\"",
            "/t.toml:7:11: server \"10.9.0.2\": real server 10.9.0.2 is outside every route; add a gateway, or an address in its net",
        ),
        (
            "web1",
            "method = \"nat\"",
            "/t.toml:7:11: address \"web1\": write ADDRESS or ADDRESS:PORT, like 10.0.0.21:8080",
        ),
        (
            "10.0.0.21",
            "",
            "/t.toml:6:1: [[service.server]]: no method; use one of nat, direct, tunnel, gre, gue, fullnat",
        ),
        (
            "10.0.0.21",
            "method = \"natt\"",
            "/t.toml:8:10: method \"natt\": use one of nat, direct, tunnel, gre, gue, fullnat",
        ),
        (
            "10.0.0.21",
            "method = \"nat\"\nweight = 2147483648",
            "/t.toml:9:10: weight 2147483648: must be a number from 0 to 2147483647",
        ),
        (
            "10.0.0.21",
            "method = \"nat\"\nupper = 3\nlower = 4",
            "/t.toml:10:9: lower 4: the lower threshold (4) is above the upper one (3); lower it",
        ),
        (
            "10.0.0.21",
            "method = \"nat\"\ntunnel_checksum = \"full\"",
            "/t.toml:9:19: tunnel_checksum \"full\": a checksum is for gre and gue tunnels; leave it out",
        ),
        (
            "10.0.0.21",
            "method = \"gre\"\ntunnel_checksum = \"remote\"",
            "/t.toml:9:19: tunnel_checksum \"remote\": the remote checksum is for gue only; use the full one",
        ),
        (
            "10.0.0.21",
            "method = \"tunnel\"\ntunnel_port = 6080",
            "/t.toml:9:15: tunnel_port 6080: a port is for gue tunnels only; leave it out",
        ),
        (
            "10.0.0.21",
            "method = \"nat\"\n[[service.server]]\naddress = \"10.0.0.21:80\"\nmethod = \"nat\"",
            "/t.toml:10:11: server \"10.0.0.21:80\": real server 10.0.0.21:80 is given twice; name it once",
        ),
        (
            "2001:db8::21",
            "method = \"nat\"",
            "/t.toml:7:11: server \"2001:db8::21\": real server 2001:db8::21 is outside every route; add a gateway, or an address in its net",
        ),
    ] {
        assert_eq!(at(address, lines), wanted);
    }
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
    let text = include_str!("../../../docs/tapvs.toml");
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

#[test]
fn the_manual_explains_every_key_and_no_other() {
    let manual = include_str!("../../../docs/tapvs.toml.5");
    let kinds = [
        &TOP,
        &LINK_KEYS,
        &ROUTE,
        &MARK,
        &SYNC,
        &vrrp::VRRP,
        &TIMEOUTS,
        &SETTINGS,
        &sections::SERVICE,
        &sections::SERVER,
        &check::CHECK,
    ];
    let headings = ["link", "route", "mark", "service", "sync", "vrrp", "timeouts", "settings"];
    for kind in kinds {
        let heading = if kind.name.is_empty() { "top" } else { kind.name };
        let section = manual.split("\n.S").find(|section| section.starts_with(&format!("s {heading}\n")));
        let section = section.unwrap_or_else(|| panic!("docs/tapvs.toml.5 has no '.Ss {heading}'"));
        let mut explained: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix(".It Ic ")).collect();
        // Sections at the top have headings of their own.
        let mut known: Vec<&str> =
            kind.keys.iter().copied().filter(|key| heading != "top" || !headings.contains(key)).collect();
        explained.sort();
        known.sort();
        assert_eq!(explained, known, "{heading}: the manual against the keys");
    }
}

#[test]
fn virtual_routers_are_refused_where_they_stand() {
    let said = |lines: &str| {
        let service = "[[service]]\ntcp = \"10.0.0.100:80\"\n";
        let text =
            format!("[[link]]\nbridge = \"b\"\ntap = \"t\"\naddress = \"10.0.0.2/24\"\n{service}[[vrrp]]\n{lines}\n");
        read("/t.toml", &text).and_then(Plan::from_draft)
    };
    for (lines, wanted) in [
        (
            "priority = 5",
            "/t.toml:7:1: [[vrrp]]: no id; give the virtual router's number, 1 to 255; its peers have the same",
        ),
        ("id = 256", "/t.toml:8:6: id 256: must be a number from 1 to 255"),
        (
            "id = 1\nauth = \"x\"",
            "/t.toml:9:8: auth \"x\": only version 2 has a password; say version = 2, or leave it out",
        ),
        ("id = 1\nversion = 2\nauth = \"123456789\"", "/t.toml:10:8: auth \"123456789\": a password has 1 to 8 bytes"),
        (
            "id = 1\nversion = 2\ninterval = \"1500ms\"",
            "/t.toml:10:12: interval \"1500ms\": version 2 counts in whole seconds",
        ),
        ("id = 1\nlink = \"u\"", "/t.toml:9:8: link \"u\": no link on a bridge has this name; name the TAP of one"),
        (
            "id = 1\naddress = \"10.0.0.2\"",
            "/t.toml:7:1: [[vrrp]]: 10.0.0.2 is a link's own address and does not move; name another",
        ),
        (
            "id = 1\nversion = 2\naddress = \"2001:db8::1\"",
            "/t.toml:7:1: [[vrrp]]: version 2 has no IPv6 (2001:db8::1); use version 3",
        ),
        (
            "id = 1\npeers = \"2001:db8::9\"",
            "/t.toml:7:1: [[vrrp]]: no peer of the family of 10.0.0.100; name one, or leave peers out",
        ),
        (
            "id = 1\n[[vrrp]]\nid = 1\naddress = \"10.0.0.9\"",
            "/t.toml:9:1: [[vrrp]]: a second virtual router 1 on this link; give it another id",
        ),
        (
            "id = 1\n[[vrrp]]\nid = 2",
            "/t.toml:9:1: [[vrrp]]: another virtual router has the addresses of all services; name those of this one",
        ),
        (
            "id = 1\naddress = \"10.0.0.9\"\n[[vrrp]]\nid = 2\naddress = \"10.0.0.9\"",
            "/t.toml:10:1: [[vrrp]]: 10.0.0.9 belongs to another virtual router already; name it once",
        ),
        (
            "id = 1\ntrack = { weight = -3 }",
            "/t.toml:9:9: track: say what is tracked, one in each table: a service, a link, a neighbour, or a script",
        ),
        (
            "id = 1\ntrack = { link = \"tap1\", neighbour = \"10.0.0.1\" }",
            "/t.toml:9:9: track: say what is tracked, one in each table: a service, a link, a neighbour, or a script",
        ),
        (
            "id = 1\ntrack = { link = \"a/b\" }",
            "/t.toml:9:9: track: say what is tracked, one in each table: a service, a link, a neighbour, or a script\n/t.toml:9:18: link \"a/b\": no name of a network device; it has 1 to 15 characters",
        ),
        (
            "id = 1\ntrack = [{ service = \"tcp/10.0.0.100:80\", weight = -254 }]",
            "/t.toml:9:52: weight -254: must be a number from -253 to 253",
        ),
        (
            "id = 1\nsync = true\n[[vrrp]]\nid = 2\naddress = \"10.0.0.9\"\nsync = true",
            "/t.toml:13:8: sync true: a second master; one is all there can be\n/t.toml:13:8: sync true: a second backup; one is all there can be",
        ),
    ] {
        assert_eq!(said(lines).err().map(|problems| problems.to_string()).as_deref(), Some(wanted), "{lines}");
    }
    let plan = said("id = 9\npriority = 150\naddress = [\"10.0.0.100\", \"2001:db8::100\"]").unwrap();
    let told: Vec<_> = plan.vrrp.iter().map(|options| (options.name(), options.rank.priority)).collect();
    assert_eq!(told, [((LinkId(0), 9, Family::V4), 150), ((LinkId(0), 9, Family::V6), 150)]);
    let lines = "id = 9\ngroup = \"pair\"\nnotify = [\"/bin/tell\", \"me\"]\n\
                 track = [{ service = \"tcp/10.0.0.100:80\", weight = -60 }, { script = [\"/bin/true\"] },\
                 { link = \"tap1\", weight = 9 }, { neighbour = \"10.0.0.1\" }]";
    let options = said(lines).unwrap().vrrp.remove(0);
    let tracks: Vec<String> = options.tracks.iter().map(|track| format!("{} {}", track.what, track.weight)).collect();
    assert_eq!(tracks, ["service tcp/10.0.0.100:80 -60", "script /bin/true 0", "link tap1 9", "neighbour 10.0.0.1 0"]);
    assert_eq!((options.group.as_deref(), options.notify.join(" ").as_str()), (Some("pair"), "/bin/tell me"));
    let director = said("id = 9\nsync = true").unwrap().rehearse().unwrap();
    let daemons: Vec<_> =
        director.sync.daemons().map(|(role, options)| (role, options.interface.as_str(), options.syncid)).collect();
    assert_eq!(daemons, [(SyncRole::Master, "t", 9), (SyncRole::Backup, "t", 9)]);
    let followers = |lines: &str| -> Vec<_> {
        let all = said(lines).unwrap().vrrp.into_iter();
        all.map(|options| (options.family, options.follows && options.addresses.is_empty())).collect()
    };
    assert_eq!(followers("id = 9"), [(Family::V4, true), (Family::V6, true)]);
    assert_eq!(followers("id = 9\nversion = 2"), [(Family::V4, true)]);
    assert_eq!(followers("id = 9\npeers = \"10.0.0.9\""), [(Family::V4, true)]);
}

#[test]
fn what_a_check_cannot_be_is_named_where_it_stands() {
    for (lines, wanted) in [
        (
            "check = { }",
            "/t.toml:6:9: check: no kind; use one of tcp, http, https, dns, udp, smtp, agent, exec, icmp, neigh, path",
        ),
        (
            "check = { kind = \"icmp6\" }",
            "/t.toml:6:18: kind \"icmp6\": use one of tcp, http, https, dns, udp, smtp, agent, exec, icmp, neigh, path",
        ),
        (
            "check = { kind = \"tcp\", path = \"/\" }",
            "/t.toml:6:18: kind \"tcp\": 'path' is not for this kind, which has no keys of its own",
        ),
        (
            "check = { kind = \"http\", path = \"x\" }",
            "/t.toml:6:33: path \"x\": a path begins with '/' and has no blanks; write them as %20",
        ),
        (
            "check = { kind = \"http\", status = \"2xx\" }",
            "/t.toml:6:35: status \"2xx\": not codes of HTTP, like \"200-299\" or \"200,301-308\"",
        ),
        (
            "check = { kind = \"tcp\", interval = \"1ms\" }",
            "/t.toml:6:36: interval \"1ms\": must be from 100ms to 86400s",
        ),
        (
            "check = { kind = \"tcp\", timeout = \"soon\" }",
            "/t.toml:6:35: timeout \"soon\": not a time, like \"500ms\", \"2s\" or \"10m\"",
        ),
        (
            "check = { kind = \"icmp\", port = 7 }",
            "/t.toml:6:18: kind \"icmp\": 'port' is not for this kind, whose packets are the director's own",
        ),
        (
            "check = { kind = \"path\", address = \"10.0.0.9\" }",
            "/t.toml:6:18: kind \"path\": 'address' is not for this kind, whose packets are the director's own",
        ),
        (
            "check = { kind = \"exec\" }",
            "/t.toml:6:9: check: no command; give a program's path and arguments, like [\"/usr/local/bin/check\", \"-q\"]",
        ),
        (
            "check = { kind = \"exec\", command = \"check\" }",
            "/t.toml:6:36: command \"check\": not a full path; no shell looks for it",
        ),
        (
            "check = { kind = \"udp\", payload_hex = \"0g\" }",
            "/t.toml:6:39: payload_hex \"0g\": not bytes in hex, like \"00 ff\"",
        ),
        ("on_down = \"cry\"", "/t.toml:6:11: on_down \"cry\": use keep, drop or reset"),
        ("quorum = 2\nhysteresis = 2", "/t.toml:7:14: hysteresis 2: must be less than the quorum, which is 2"),
        (
            "sorry_server = { address = \"10.0.0.9:81\", method = \"direct\" }",
            "/t.toml:6:28: sorry_server \"10.0.0.9:81\": direct cannot change the port (the service's is 80); leave it out, or use nat",
        ),
        (
            "sorry_server = { address = \"224.0.0.1:80\", method = \"nat\" }",
            "/t.toml:6:28: sorry_server \"224.0.0.1:80\": real server 224.0.0.1 is outside every route",
        ),
    ] {
        let said = service(lines);
        assert!(said.starts_with(wanted), "{lines}: {said}");
    }
}

/// `scripts/check` runs this one by itself.
#[test]
#[cfg(not(feature = "tls"))]
fn a_check_by_tls_is_refused_without_tls() {
    let file = format!("{LINK}[[service]]\ntcp = \"10.0.0.100:443\"\ncheck = {{ kind = \"https\" }}\n");
    let said = read("/t.toml", &file).unwrap_err().to_string();
    assert!(said.contains("kind \"https\": this tapvs was built without TLS"), "{said}");
}

#[test]
#[cfg(feature = "tls")]
fn checks_are_read_with_all_their_words() {
    let file = format!(
        "{LINK}[[service]]\ntcp = \"10.0.0.100:443\"\ncheck = [{{ kind = \"tcp\" }}, {{ kind = \"https\", host = \"shop.example\", \
         status = \"200,301-308\", interval = \"500ms\", rise = 1 }}]\nquorum = 2\nslow_start = 30\non_down = \"reset\"\n\
         [[service.server]]\naddress = \"10.0.0.21:8443\"\nmethod = \"nat\"\ncheck = {{ kind = \"agent\", port = 9000 }}\n"
    );
    let draft = read("/t.toml", &file).unwrap();
    let plan = crate::config::Plan::from_draft(draft).unwrap();
    let [health] = &plan.health[..] else { panic!("{:?}", plan.health) };
    let names: Vec<String> = health.checks.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["tcp", "https:/"]);
    let timing = health.checks[1].timing;
    assert_eq!(
        [timing.interval, timing.fast, timing.down, timing.timeout].map(|time| time.as_millis()),
        [500, 500, 5000, 500],
        "what is not given follows the interval"
    );
    assert_eq!((timing.rise, timing.fall, health.policy.quorum.least), (1, 3, 2));
    assert_eq!(health.policy.slow_start.as_secs(), 30);
    let (server, own) = &health.own[0];
    assert_eq!((server.to_string(), own[0].to_string()), ("10.0.0.21:8443".into(), "agent@:9000".into()));
}

#[test]
fn a_flag_says_a_check_in_one_word() {
    let check = |word: &str| check_of_word(word);
    assert_eq!(check("http:/healthz,status=200-299,interval=5s").unwrap().to_string(), "http:/healthz");
    assert_eq!(check("agent:9000").unwrap().port, Some(9000));
    assert_eq!(check("tcp").unwrap().timing, crate::health::Timing::default());
    for (word, wanted) in [
        ("", "--check : kind \"\": use one of"),
        ("ftp", "--check ftp: kind \"ftp\": use one of"),
        ("http:/x,colour=red", "--check http:/x,colour=red: 'colour=red' is not KEY=VALUE of a check"),
        ("tcp,interval=never", "--check tcp,interval=never: interval \"never\": not a time"),
    ] {
        let said = check(word).unwrap_err().to_string();
        assert!(said.starts_with(wanted), "{word}: {said}");
    }
}

/// What is not said, of every kind and of what follows: the figures of the manual, not whatever the code has.
#[test]
#[cfg(feature = "tls")]
fn what_is_not_said_of_checks_is_as_the_manual_has_it() {
    let kinds = "{ kind = \"tcp\" }, { kind = \"http\" }, { kind = \"https\" }, { kind = \"dns\" }, { kind = \"udp\" }, \
                 { kind = \"smtp\" }, { kind = \"exec\", command = [\"/x\"] }";
    let server = "[[service.server]]\naddress = \"10.0.0.21:80\"\nmethod = \"nat\"\n";
    let file = format!("{LINK}[[service]]\ntcp = \"10.0.0.100:80\"\ncheck = [{kinds}]\n{server}");
    let plan = crate::config::Plan::from_draft(read("/t.toml", &file).unwrap()).unwrap();
    let health = &plan.health[0];
    for check in &health.checks {
        let crate::health::Timing { interval, fast, down, timeout, rise, fall } = check.timing;
        assert_eq!([interval, fast, down, timeout].map(|time| time.as_secs()), [2, 1, 5, 1], "{check}");
        assert_eq!((rise, fall, check.address, check.port, check.bind), (2, 3, None, None, None), "{check}");
    }
    let said: Vec<String> = health.checks.iter().map(|check| format!("{:?}", check.kind)).collect();
    let http = "method: Get, path: \"/\", host: None, status: [200..=299], contains: None })";
    assert_eq!(
        said,
        [
            "Tcp".to_owned(),
            format!("Http(Http {{ tls: None, {http}"),
            format!("Http(Http {{ tls: Some(Tls {{ verify: None, sni: None }}), {http}"),
            "Dns(Dns { name: \".\", qtype: 6, nxdomain: false, empty: false, expect: None })".into(),
            "Udp(Udp { payload: [], silence: false, contains: None })".into(),
            "Smtp(\"localhost\")".into(),
            "Exec(Exec { command: [\"/x\"], dynamic: false, user: None })".into(),
        ]
    );
    assert_eq!(
        format!("{:?}", health.policy),
        "Policy { quorum: Quorum { least: 1, hysteresis: 0 }, sorry: None, slow_start: 0ns, on_down: Drop, grace: 10s, \
         if_all_down: Sorry, passive: true, quorum_up: [], quorum_user: None, quorum_down: [] }"
    );
}

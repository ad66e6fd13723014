//! Virtual routers and synchronisation daemons.

use super::*;
use crate::base::{Family, LinkId};
use crate::service::command::SyncRole;

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

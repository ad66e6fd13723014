//! The two versions of messages.

use super::*;

fn version(sync_version: u32) -> Settings {
    Settings { sync_version, icmp_rate: 0, ..Settings::default() }
}

/// The bytes of a message, without the headers before it.
fn payload(message: &[u8]) -> &[u8] {
    &message[14 + 20 + 8..]
}

#[test]
fn version_0_is_told_and_understood() {
    let mut master = Lab::with(version(0), &[SERVICE, MASTER].concat());
    let mut backup = lab(&[SERVICE, BACKUP]);
    establish(&mut master, "192.0.2.7:3999");
    establish(&mut master, CLIENT);
    let sent = messages(&master.advance(Duration::from_secs(3)));
    // rr: the first client has the second server, the second one the first.
    let wanted = [
        &[2, 7, 0, 52][..],
        &[0, 6, 0x0f, 0x9f, 0, 80, 0x1f, 0x90, 192, 0, 2, 7, 198, 51, 100, 1, 10, 0, 0, 22, 0, 0, 0, 1],
        &[0, 6, 0x0f, 0xa0, 0, 80, 0x1f, 0x90, 192, 0, 2, 7, 198, 51, 100, 1, 10, 0, 0, 21, 0, 0, 0, 1],
    ];
    assert_eq!(sent.iter().map(|message| payload(message)).collect::<Vec<_>>(), [wanted.concat()]);
    backup.frame(&sent[0]);
    assert_eq!(backup.take_moved(), "consumed.sync-message=1");
    assert_eq!((backup.counts(RS1), backup.counts(RS2)), ((1, 0), (1, 0)));
    // No lifetime was told: it is that of the state here.
    backup.advance(Duration::from_secs(890));
    assert_eq!(backup.state_of(&packet("A")), "ESTABLISHED");
    backup.advance(Duration::from_secs(20));
    assert_eq!(backup.conn_of(&packet("A")), None);
}

#[test]
fn the_version_changes_between_two_messages() {
    let mut master = lab(&[SERVICE, MASTER]);
    establish(&mut master, CLIENT);
    master.director.set("sync_version", "0").unwrap();
    let sent = messages(&establish(&mut master, "192.0.2.8:1"));
    assert_eq!(sent.iter().map(|message| payload(message)[0]).collect::<Vec<_>>(), [0], "the old one leaves first");
    let sent = messages(&master.advance(Duration::from_secs(3)));
    assert_eq!(sent.iter().map(|message| payload(message)[0]).collect::<Vec<_>>(), [1], "one conn of version 0");
}

#[test]
fn version_0_tells_a_template_with_its_conns_alone() {
    let service = SERVICE.replace("-s rr", "-s rr -p 300");
    let mut master = Lab::with(version(0), &[&service, MASTER].concat());
    let mut backup = lab(&[&service, BACKUP]);
    // The conn is told of with its third packet, and not the template with each, as in version 1.
    establish(&mut master, CLIENT);
    let sent = messages(&master.advance(Duration::from_secs(3)));
    assert_eq!(sent.iter().map(|message| payload(message)[..4].to_vec()).collect::<Vec<_>>(), [[2, 7, 0, 52]]);
    backup.frame(&sent[0]);
    let template = backup.director.flows.conns.find_template(Proto::TCP, endpoint("192.0.2.7:0"), endpoint(VIP));
    // A template's lifetime is not told either: three minutes, as the kernel takes it.
    let deadline = |lab: &Lab| lab.director.flows.conns.deadline(lab.director.flows.conns.get(template.unwrap()));
    assert_eq!(deadline(&backup).since(backup.turn.now).as_secs(), 180);
    (0..20).for_each(|_| drop(master.client(&packet("A"))));
    assert_eq!(messages(&master.advance(Duration::from_secs(3))), [[0; 0]; 0]);
}

#[test]
fn version_0_knows_no_ipv6() {
    let service = "-A -t [2001:db8::100]:80 -s rr\n-a -t [2001:db8::100]:80 -r [2001:db8:1::21]:80 -m\n";
    for (number, told) in [(0, 0), (1, 1)] {
        let mut master = Lab::with(version(number), &[service, MASTER].concat());
        let syn = Packet::tcp("[2001:db8:2::7]:4000", "[2001:db8::100]:80", "S");
        let sent: Vec<_> = (0..4).flat_map(|_| master.client(&syn)).collect();
        assert_eq!(messages(&sent), [[0; 0]; 0]);
        master.real(&Packet::tcp("[2001:db8:1::21]:80", "[2001:db8:2::7]:4000", "SA"));
        let ack = Packet::tcp("[2001:db8:2::7]:4000", "[2001:db8::100]:80", "A");
        (0..50).for_each(|_| drop(master.client(&ack)));
        assert_eq!(messages(&master.advance(Duration::from_secs(3))).len(), told, "version {number}");
    }
}

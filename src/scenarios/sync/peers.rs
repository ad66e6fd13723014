//! Peers by name, shared keys, and what is refused.

use super::*;

/// A director with one daemon, whose options are the usual ones but for these.
fn with_daemon(role: SyncRole, options: SyncOptions) -> Lab {
    let mut lab = lab(&[SERVICE]);
    let options = SyncOptions { interface: "tap0".into(), syncid: 7, ..options };
    lab.director.apply(&Command::StartDaemon(role, options), Instant::START).unwrap();
    lab
}

fn refused(lab: &Lab) -> Vec<(String, u64)> {
    lab.director.sync.report(lab.turn.now).refused.into_iter().collect()
}

fn counted(why: &str, count: u64) -> (String, u64) {
    (why.to_owned(), count)
}

#[test]
fn what_comes_from_elsewhere_is_counted_by_its_reason() {
    let mut lab = one_of_pair(SERVICE);
    hear(&mut lab, &forged(CLIENT, RS1, 0, 900));
    let mut other_id = forged(CLIENT, RS1, 0, 900);
    other_id.payload[1] = 9;
    let mut other_address = forged(CLIENT, RS1, 0, 900);
    other_address.payload[8 + 24 + 4] = 203;
    let mut cut = forged(CLIENT, RS1, 0, 900);
    cut.payload.truncate(20);
    for packet in [&other_id, &other_address, &cut] {
        hear(&mut lab, packet);
    }
    let report = lab.director.sync.report(lab.turn.now);
    let refused: Vec<_> = report.refused.iter().map(|(why, count)| (why.as_str(), *count)).collect();
    assert_eq!((report.heard_records, refused), (1, vec![("address", 1), ("syncid", 1), ("unreadable", 1)]));
    assert_eq!(lab.director.flows.conns.len(), 1);
}

#[test]
fn peers_are_told_one_by_one_and_nobody_else_is_heard() {
    let peers: Vec<IpAddr> = ["10.0.0.1", "10.0.0.2"].map(|addr| addr.parse().unwrap()).into();
    let of_peers = || SyncOptions { peers: peers.clone(), ..SyncOptions::default() };
    let mut master = with_daemon(SyncRole::Master, of_peers());
    establish(&mut master, CLIENT);
    let sent = master.advance(Duration::from_secs(3));
    assert_eq!(messages(&sent), Vec::<Vec<u8>>::new(), "nothing for the group");
    let [frame] = &sent[..] else { panic!("one message for the one peer that is not itself: {sent:?}") };
    assert_eq!((frame.to(), frame.bytes[14 + 8]), (ROUTER, 64));
    let payload = frame.bytes[14 + 20 + 8..].to_vec();

    let mut backup = with_daemon(SyncRole::Backup, of_peers());
    let second = Link { name: "tap1".into(), mac: Mac([2, 0, 0, 0, 0, 2]), mtu: 1500, addresses: Vec::new() };
    let other = backup.director.router.add_link(second);
    let message = |from: &str| Packet::udp(from, "10.0.0.2:8848").carrying(payload.clone());
    // Another director works, as an operator has said: this one is silent, and is told all the same.
    backup.director.presence().stand_by(true, Instant::START);
    assert_eq!(backup.frame(&message("10.0.0.9:40000").frame(ROUTER, DIRECTOR)), [], "no ICMP error either");
    let elsewhere = message("10.0.0.1:40000").frame(ROUTER, Mac([2, 0, 0, 0, 0, 2]));
    backup.arrive(other, &elsewhere, Default::default());
    assert_eq!(backup.conn_of(&packet("A")), None);
    assert_eq!(refused(&backup), [counted("interface", 1), counted("peer", 1)]);
    assert_eq!(backup.frame(&message("10.0.0.1:40000").frame(ROUTER, DIRECTOR)), []);
    assert!(backup.conn_of(&packet("A")).is_some());
    backup.recount().unwrap();
}

#[test]
fn with_a_key_nobody_is_heard_who_does_not_have_it_and_nothing_twice() {
    let with_key = |role, key: Option<&str>| {
        let key = key.map(|key| SharedKey(key.to_owned()));
        with_daemon(role, SyncOptions { key, ..SyncOptions::default() })
    };
    let (own, others) = (Some("sixteen bytes or more"), Some("another key of them"));
    let mut master = with_key(SyncRole::Master, own);
    let mut backup = with_key(SyncRole::Backup, own);
    establish(&mut master, CLIENT);
    let [message] = &messages(&master.advance(Duration::from_secs(3)))[..] else { panic!("no message") };

    hear(&mut backup, &forged(CLIENT, RS1, 0, 900));
    backup.turn.clock = Duration::from_secs(100);
    assert_eq!(backup.frame(message), []);
    backup.turn.clock = Duration::ZERO;
    assert_eq!(refused(&backup), [counted("clock", 1), counted("key", 1)]);
    assert_eq!(backup.conn_of(&packet("A")), None);
    for _ in 0..3 {
        assert_eq!(backup.frame(message), []);
    }
    assert!(backup.conn_of(&packet("A")).is_some());
    assert_eq!(refused(&backup), [counted("clock", 1), counted("key", 1), counted("replay", 2)]);
    assert_eq!(backup.director.sync.report(backup.turn.now).heard_messages, 1);

    for key in [None, others] {
        let mut stranger = with_key(SyncRole::Backup, key);
        assert_eq!(stranger.frame(message), []);
        assert_eq!(refused(&stranger), [counted("key", 1)], "{key:?}");
        assert_eq!(stranger.conn_of(&packet("A")), None);
    }
}

#[test]
fn a_sealed_message_is_no_longer_than_one_may_be() {
    let key = Some(SharedKey("sixteen bytes or more".into()));
    let mut master = with_daemon(SyncRole::Master, SyncOptions { key, ..SyncOptions::default() });
    establish_many(&mut master, 200);
    let more = |port: u16| packet("A").from(&format!("192.0.2.7:{port}")).carrying("x");
    let sent: Vec<Vec<u8>> = (2000..2200).flat_map(|port| messages(&master.client(&more(port)))).collect();
    let longest = sent.iter().map(Vec::len).max().unwrap();
    assert!(sent.len() >= 4 && longest <= 1514 && longest > 1400, "{} messages, {longest} bytes", sent.len());
}

#[test]
fn what_is_refused_is_counted_by_its_reason() {
    let mut backup = lab(&[SERVICE, BACKUP, MASTER]);
    let good = forged(CLIENT, RS1, 0, 900);
    let elsewhere = [&good.frame(ROUTER, GROUP)[..]].concat();
    let payload = elsewhere[14 + 20 + 8..].to_vec();
    let with = |at: usize, byte: u8| {
        let mut bytes = payload.clone();
        bytes[at] = byte;
        Packet::udp("10.0.0.3:40000", "224.0.0.81:8848").carrying(bytes)
    };
    // Another syncid, a length that is not its own, a port that is not ours, and an address of no service.
    hear(&mut backup, &with(1, 9));
    hear(&mut backup, &with(3, 9));
    hear(&mut backup, &Packet::udp("10.0.0.3:40000", "224.0.0.81:8849").carrying(payload.clone()));
    hear(&mut backup, &with(payload.len() - 5, 77));
    let wanted = [counted("address", 1), counted("port", 1), counted("syncid", 1), counted("unreadable", 1)];
    assert_eq!(refused(&backup), wanted);
    assert_eq!(backup.director.flows.conns.len(), 0);
}

//! What is said by others than the director that has a conn: forged, meant for others, or of conns that run here.

use super::*;

const UNBOUND_DIRECT: u32 = 0x103;

#[test]
fn what_is_meant_for_others_or_broken_changes_nothing() {
    let mut master = lab(&[SERVICE, MASTER]);
    establish(&mut master, CLIENT);
    let message = messages(&master.advance(Duration::from_secs(3))).remove(0);
    let mut others = lab(&[SERVICE, "--start-daemon backup --mcast-interface tap0 --syncid 8\n"]);
    others.frame(&message);
    assert_eq!(others.take_moved(), "dropped.not-for-us=1");
    let mut nobody = lab(&[SERVICE]);
    nobody.frame(&message);
    assert_eq!(nobody.take_moved(), "dropped.not-for-us=1");
    let mut backup = lab(&[SERVICE, BACKUP]);
    let mut broken = message.clone();
    *broken.last_mut().unwrap() ^= 1;
    backup.frame(&broken);
    assert_eq!(backup.take_moved(), "dropped.bad-sync=1");
    let mut elsewhere = lab(&["-A -t 198.51.100.1:80 -s rr\n-a -t 198.51.100.1:80 -r 10.0.0.23:8080 -m\n", BACKUP]);
    elsewhere.frame(&message);
    assert_eq!(elsewhere.take_moved(), "consumed.sync-message=1");
    assert_eq!(elsewhere.director.flows.conns.len(), 1, "a server that is not one here yet");
}

#[test]
fn a_conn_whose_service_is_not_here_yet_is_kept_and_bound_later() {
    let elsewhere = "-A -t 198.51.100.2:80 -s rr\n-a -t 198.51.100.2:80 -r 10.0.0.21:9 -m\n";
    let mut backup = lab(&[elsewhere, BACKUP]);
    hear(&mut backup, &forged(CLIENT, RS1, UNBOUND_DIRECT, 900));
    let id = backup.conn_of(&packet("A")).unwrap();
    assert_eq!(backup.state_of(&packet("A")), "ESTABLISHED");
    // As in the kernel it is forwarded as the master does it.
    let on = packet("A").carrying("more");
    expect(&backup.client(&on), &[(mac_of(endpoint(RS1).addr), on.clone().one_hop_on())]);
    backup.rules(SERVICE);
    assert_eq!(backup.conn_of(&packet("A")), Some(id));
    let services = &backup.director.flows.services;
    let service = services.find_marked(0, Proto::TCP, endpoint(VIP)).unwrap();
    let dest = services.find_dest(service, endpoint(RS1)).unwrap();
    assert_eq!(services.server(dest).active, 1, "it is that server's conn now");
    // Its method is this director's own from then on, for conns that are made from then on.
    let next = packet("S").from("192.0.2.7:4001");
    expect(&backup.client(&next), &[(mac_of(endpoint(RS2).addr), next.clone().to(RS2).one_hop_on())]);
}

#[test]
fn forged_messages_neither_fill_the_table_nor_keep_it() {
    let settings = Settings { max_flows: 100, icmp_rate: 0, ..Settings::default() };
    let mut backup = Lab::with(settings, &[SERVICE, BACKUP].concat());
    for port in 1..=200 {
        hear(&mut backup, &forged(&format!("192.0.2.66:{port}"), RS1, 0, u32::MAX));
    }
    assert_eq!(backup.director.flows.conns.len(), 50, "half the table");
    backup.advance(Duration::from_secs(901));
    assert_eq!(
        (backup.director.flows.conns.len(), backup.director.flows.synced),
        (0, 0),
        "as long as a conn of its own"
    );
    for real in 1..=200 {
        hear(&mut backup, &forged("192.0.2.66:9", &format!("10.0.0.{real}:99"), UNBOUND_DIRECT, 900));
    }
    assert_eq!(backup.director.flows.conns.len(), 1, "each takes the place of the one before");
}

#[test]
fn a_running_conn_is_not_moved_by_another_directors_word() {
    let mut backup = lab(&[SERVICE, BACKUP]);
    establish(&mut backup, CLIENT);
    let on = packet("A").carrying("more");
    let before = backup.client(&on);
    hear(&mut backup, &forged(CLIENT, "10.0.0.66:80", UNBOUND_DIRECT, 900));
    hear(&mut backup, &forged(CLIENT, RS1, 0, 1));
    assert_eq!(backup.client(&on), before);
    // A conn that has been silent here goes on at the other director.
    backup.advance(Duration::from_secs(11));
    hear(&mut backup, &forged(CLIENT, RS1, 0, 900));
    let id = backup.conn_of(&packet("A")).unwrap();
    assert!(backup.director.flows.conns.get(id).is_synced());
    // And is this one's again with its first packet here.
    backup.client(&on);
    let id = backup.conn_of(&packet("A")).unwrap();
    assert!(!backup.director.flows.conns.get(id).is_synced());
}

/// Its own checks may say what they like: the director that has the conn decides, and after a takeover this one.
#[test]
fn a_conn_that_another_director_has_does_not_end_with_its_server_here() {
    let (mut master, mut backup) = (lab(&[SERVICE, MASTER]), lab(&[SERVICE, BACKUP]));
    establish(&mut master, "192.0.2.7:3999");
    establish(&mut master, CLIENT);
    told(&mut master, &mut backup);
    let key = ServiceKey::Address(Proto::TCP, endpoint(VIP));
    let failed = Judgement { mask: Mask::Failed, ending: Ending::Drop, ..Judgement::default() };
    backup.director.flows.judge(key, endpoint(RS1), failed);
    backup.advance(Duration::from_secs(1));
    assert_eq!(backup.state_of(&packet("A")), "ESTABLISHED");
    // The client's packets come here now.
    backup.client(&packet("A").carrying("more"));
    backup.advance(Duration::from_secs(1));
    assert!(backup.conn_of(&packet("A")).is_none(), "it ends as the service says");
}

#[test]
fn a_backup_listens_to_named_directors_only() {
    let mut backup = lab(&[SERVICE]);
    let interface = "tap0".to_owned();
    let peers = vec!["10.0.0.4".parse().unwrap()];
    let options = SyncOptions { interface, peers, ..SyncOptions::default() };
    backup.director.apply(&Command::StartDaemon(SyncRole::Backup, options), Instant::START).unwrap();
    let message = forged(CLIENT, RS1, 0, 900);
    hear(&mut backup, &message);
    assert_eq!(backup.conn_of(&packet("A")), None);
    hear(&mut backup, &message.from("10.0.0.4:40000"));
    assert!(backup.conn_of(&packet("A")).is_some());
}

//! What becomes of conns, templates and flows when checks say that a server has failed.

use super::steps::{NAT, establish, served_by, syn_from};
use super::{CLIENT, VIP};
use crate::base::{Endpoint, Proto};
use crate::sched::Mask;
use crate::service::command::ServiceKey;
use crate::service::{Ending, Judgement};
use crate::testing::{Lab, Packet, endpoint};

/// Checks say this of the server with that last byte.
fn judge(lab: &mut Lab, proto: Proto, last: u8, mask: Mask, ending: Ending) {
    let real: Endpoint = endpoint(&format!("10.0.0.{last}:8080"));
    let key = ServiceKey::Address(proto, endpoint(VIP));
    lab.director.flows.judge(key, real, Judgement { mask, ending, ..Judgement::default() });
}

fn failed(lab: &mut Lab, proto: Proto, last: u8) {
    judge(lab, proto, last, Mask::Failed, Ending::Reschedule);
}

#[test]
fn a_failed_server_gets_no_new_conns_and_a_syn_that_waits_goes_elsewhere() {
    let mut lab = Lab::new(NAT);
    assert_eq!(served_by(&mut lab, &syn_from(4000)), 22);
    failed(&mut lab, Proto::TCP, 22);
    assert_eq!(served_by(&mut lab, &syn_from(4000)), 21, "sent again, it is scheduled anew");
    for port in 5000..5008 {
        assert_eq!(served_by(&mut lab, &syn_from(port)), 21);
    }
    judge(&mut lab, Proto::TCP, 22, Mask::None, Ending::None);
    let served: Vec<u8> = (6000..6004).map(|port| served_by(&mut lab, &syn_from(port))).collect();
    assert_eq!(served.iter().filter(|last| **last == 22).count(), 2, "it is back in its place: {served:?}");
}

#[test]
fn an_established_conn_waits_for_its_server_and_then_ends() {
    for (ending, goes_on) in
        [(Ending::None, true), (Ending::Reschedule, true), (Ending::Drop, false), (Ending::Reset, false)]
    {
        let mut lab = Lab::new(NAT);
        lab.director.flows.prepare_resets();
        assert_eq!(establish(&mut lab, 4000), 22);
        let data = Packet::tcp(CLIENT, VIP, "A");
        judge(&mut lab, Proto::TCP, 22, Mask::Failed, ending);
        let told = lab.advance(std::time::Duration::from_millis(10));
        assert_eq!(told.len(), if ending == Ending::Reset { 2 } else { 0 }, "{ending:?}: resets");
        assert_eq!(lab.conn_of(&data).is_some(), goes_on, "{ending:?}");
    }
}

#[test]
fn datagrams_of_a_known_flow_go_elsewhere_at_once() {
    let mut lab = Lab::new(&NAT.replace("-t", "-u"));
    let datagram = Packet::udp(CLIENT, VIP);
    assert_eq!(served_by(&mut lab, &datagram), 22);
    judge(&mut lab, Proto::UDP, 22, Mask::Drained, Ending::None);
    assert_eq!(served_by(&mut lab, &datagram), 22, "a drained server keeps what it has");
    failed(&mut lab, Proto::UDP, 22);
    assert_eq!(served_by(&mut lab, &datagram), 21);
}

#[test]
fn a_persistent_client_goes_elsewhere_when_its_server_fails_but_not_when_it_is_drained() {
    let mut lab = Lab::new(&NAT.replace("-s rr", "-s rr -p 100"));
    assert_eq!(served_by(&mut lab, &syn_from(4000)), 22);
    judge(&mut lab, Proto::TCP, 22, Mask::Drained, Ending::None);
    assert_eq!(served_by(&mut lab, &syn_from(4001)), 22);
    failed(&mut lab, Proto::TCP, 22);
    assert_eq!(served_by(&mut lab, &syn_from(4002)), 21);
    assert_eq!(served_by(&mut lab, &syn_from(4003)), 21);
}

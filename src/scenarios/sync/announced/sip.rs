//! Media of calls, registrations, and messages over TCP.

use super::super::super::sip::with_session;
use super::*;

#[test]
fn media_that_were_announced_pass_through_another_director() {
    for (ends, method) in FAMILIES.iter().flat_map(|ends| [(ends, "-m"), (ends, "-b")]) {
        let port = |end: &str, port| at(end, port);
        let service = format!("-u {}", port(ends.virt, 5060));
        let [mut old, mut new] = pair(&service, ends, method);
        let (client, server) = (endpoint(ends.client).addr.to_string(), endpoint(ends.server).addr.to_string());
        let from = Packet { src: port(ends.client, 5060), dst: port(ends.virt, 5060), ..Packet::udp(CLIENT, VIP) };
        let mut sent = old.client(&from.clone().carrying(with_session("INVITE sip:b@x SIP/2.0", "a@x", &client, 4000)));
        let asked = sent.iter().find(|frame| frame.to() != GROUP).unwrap().packet();
        let back = Packet { src: asked.dst, dst: asked.src, ..Packet::udp(RS1, CLIENT) };
        sent.extend(old.real(&back.clone().carrying(with_session("SIP/2.0 200 OK", "b@x", &server, 7000))));
        sent.extend(old.advance(Duration::from_millis(5)));
        messages(&sent).iter().for_each(|message| drop(new.frame(message)));
        assert_eq!(known(&new), known(&old), "{method}");
        // Media and their control, of both ends, and what the ends say next.
        for next in [0, 1] {
            let medium =
                Packet { src: port(ends.client, 4000 + next), dst: port(ends.virt, 7000 + next), ..from.clone() };
            let passed = same(new.client(&medium), old.client(&medium));
            assert_eq!(passed.dst, port(ends.server, 7000 + next));
            let answer = Packet { src: passed.dst, dst: passed.src, ..back.clone() };
            let answered = same(new.real(&answer), old.real(&answer));
            assert_eq!((answered.src, answered.dst), (medium.dst, medium.src));
        }
        let bye = same(
            new.client(&from.clone().carrying("BYE sip:b@x SIP/2.0\r\n\r\n")),
            old.client(&from.clone().carrying("BYE sip:b@x SIP/2.0\r\n\r\n")),
        );
        assert_eq!(bye.src, asked.src);
        [&old, &new].iter().for_each(|lab| lab.recount().unwrap());
        // All of it ends there too, and the ports go back.
        new.advance(Duration::from_secs(3600));
        assert_eq!(new.director.flows.conns.len(), 0, "{method}");
        new.recount().unwrap();
    }
}

#[test]
fn a_phone_that_has_registered_is_reached_through_another_director() {
    for (ends, method) in joined() {
        let service = format!("-u {}", at(ends.virt, 5060));
        let [mut old, mut new] = pair(&service, ends, method);
        let from = Packet { src: at(ends.client, 5060), dst: at(ends.virt, 5060), ..Packet::udp(CLIENT, VIP) };
        let mut sent = old.client(&from.clone().carrying("REGISTER sip:x SIP/2.0\r\nContact: <sip:a@x>\r\n\r\n"));
        let asked = sent.iter().find(|frame| frame.to() != GROUP).unwrap().packet();
        let back = Packet { src: asked.dst, dst: asked.src, ..Packet::udp(RS1, CLIENT) };
        sent.extend(old.real(&back.clone().carrying("SIP/2.0 200 OK\r\nCSeq: 1 REGISTER\r\nExpires: 1000\r\n\r\n")));
        sent.extend(old.advance(Duration::from_millis(5)));
        messages(&sent).iter().for_each(|message| drop(new.frame(message)));
        new.advance(Duration::from_secs(900));
        let invite = back.carrying("INVITE sip:a@x SIP/2.0\r\n\r\n");
        assert_eq!(new.real(&invite)[0].packet().dst, from.src, "{method}");
        new.advance(Duration::from_secs(1300));
        assert_eq!(new.director.flows.conns.len(), 0, "{method}");
        new.recount().unwrap();
    }
}

/// The same ends for SIP over TCP.
const SIP: [Ends; 2] = [
    Ends { virt: "198.51.100.1:5060", server: "10.0.0.21:5060", ..FAMILIES[0] },
    Ends { virt: "[2001:db8:51::1]:5060", server: "[2001:db8::21]:5060", ..FAMILIES[1] },
];

#[test]
fn messages_over_tcp_go_on_through_another_director() {
    for (ends, method) in SIP.iter().flat_map(|ends| [(ends, "-m"), (ends, "-b")]) {
        let mut session = Session::new(ends, method);
        let (client, server) = (endpoint(ends.client).addr.to_string(), endpoint(ends.server).addr.to_string());
        let invite = with_session("INVITE sip:b@x SIP/2.0", "a@192.0.2.7", &client, 4000);
        let packet = Packet { seq: session.next, ..Packet::tcp(ends.client, ends.virt, "AP") }.carrying(invite.clone());
        let sent = session.old.client(&packet);
        let went = sent.iter().find(|frame| frame.to() != GROUP).unwrap().packet();
        session.tell(&sent);
        // The server has got all of it, and answers; then the client goes on.
        let (seq, ack) = (Packet::tcp(RS1, CLIENT, "SA").seq + 1, went.seq.wrapping_add(went.payload.len() as u32));
        let answer = Packet { seq, ack, dst: session.peer, ..Packet::tcp(ends.server, ends.client, "AP") };
        let heard = session.both_real(&answer.carrying(with_session("SIP/2.0 200 OK", "b@10.0.0.21", &server, 7000)));
        assert_eq!(heard.ack, session.next + invite.len() as u32, "{method}");
        let (seq, ack) = (heard.ack, heard.seq.wrapping_add(heard.payload.len() as u32));
        let bye = Packet { seq, ack, ..Packet::tcp(ends.client, ends.virt, "AP") };
        session.both(&bye.carrying("BYE sip:b@x SIP/2.0\r\nContent-Length: 0\r\n\r\n"));
        session.new.recount().unwrap();
    }
}

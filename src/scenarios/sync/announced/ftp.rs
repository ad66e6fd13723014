//! Data conns of FTP.

use super::*;

/// Every way to transfer a file: family, method, and whether the client opens the data conn.
fn ways() -> impl Iterator<Item = (&'static Ends, &'static str, bool)> {
    joined().flat_map(|(ends, method)| [(ends, method, true), (ends, method, false)])
}

/// A data conn is announced; the packet that opens it.
fn announced(session: &mut Session, is_passive: bool) -> Packet {
    let ends = session.ends;
    if is_passive {
        session.says(ends.passive[0]);
        session.answers(7, ends.passive[1]);
        return Packet { src: at(ends.client, 4001), dst: at(ends.virt, 2561), ..Packet::tcp(CLIENT, VIP, "S") };
    }
    session.says(ends.active);
    let flows = &session.old.director.flows;
    let (_, conn) = flows.conns.iter().find(|(_, conn)| conn.virt().port == 20).unwrap();
    let (src, dst) = match flows.conns.local(conn) {
        Some(local) => (at(ends.server, 41_234), local),
        None => (at(ends.server, 20), at(ends.client, 2561)),
    };
    Packet { src, dst, ..Packet::tcp(RS1, CLIENT, "S") }
}

fn opened_by(session: &mut Session, is_passive: bool, packet: &Packet) -> Packet {
    if is_passive { session.both(packet) } else { session.both_real(packet) }
}

#[test]
fn data_conns_that_were_announced_are_opened_through_another_director() {
    for (ends, method, is_passive) in ways() {
        let mut session = Session::new(ends, method);
        let open = announced(&mut session, is_passive);
        assert_eq!(known(&session.new), known(&session.old), "{method} {is_passive}");
        let opened = opened_by(&mut session, is_passive, &open);
        let wanted = if is_passive { at(ends.server, 2561) } else { at(ends.client, 2561) };
        assert_eq!(opened.dst, wanted, "{method}");
        // Who was asked answers: the other end gets it from where it has asked.
        let answer = Packet { src: opened.dst, dst: opened.src, ..Packet::tcp(CLIENT, VIP, "SA") };
        let answered = match is_passive {
            true => {
                let by_new = session.new.real(&Packet { ack: opened.seq.wrapping_add(1), ..answer.clone() });
                by_new[0].packet()
            }
            false => session.new.client(&answer)[0].packet(),
        };
        assert_eq!((answered.src, answered.dst), (open.dst, open.src), "{method} {is_passive}");
        session.goes_on(if is_passive { 60 } else { 7 });
    }
}

#[test]
fn data_conns_go_on_through_another_director() {
    for (ends, method, is_passive) in ways() {
        let mut session = Session::new(ends, method);
        let open = announced(&mut session, is_passive);
        let opened = match is_passive {
            true => session.old.client(&open)[0].packet(),
            false => session.old.real(&open)[0].packet(),
        };
        let back = |flags| Packet {
            src: opened.dst,
            dst: opened.src,
            ack: opened.seq.wrapping_add(1),
            ..Packet::tcp(CLIENT, VIP, flags)
        };
        let on = |flags| Packet {
            seq: open.seq + 1,
            ack: 1001,
            ..Packet { src: open.src, dst: open.dst, ..Packet::tcp(CLIENT, VIP, flags) }
        };
        let mut sent = Vec::new();
        for flags in ["SA", "A", "A", "A"] {
            if is_passive {
                session.old.real(&back(flags));
                sent.extend(session.old.client(&on("A")));
            } else {
                sent.extend(session.old.client(&back(flags)));
                session.old.real(&on("A"));
            }
        }
        session.tell(&sent);
        assert_eq!(known(&session.new), known(&session.old), "{method} {is_passive}");
        let (data, more) = (on("A").carrying("data"), back("A").carrying("more"));
        match is_passive {
            true => drop((session.both(&data), session.both_real(&more))),
            false => drop((session.both_real(&data), session.both(&more))),
        }
        session.goes_on(if is_passive { 60 } else { 7 });
    }
}

/// A kernel reads messages that say how many records they have; what it could not open or send on is in none of them.
#[test]
fn a_kernel_is_told_of_nothing_that_waits() {
    const UDP_PAYLOAD: usize = 14 + 20 + 8;
    for (ends, method, is_passive) in ways() {
        let mut session = Session::new(ends, method);
        announced(&mut session, is_passive);
        let mut records = 0;
        for message in session.told.iter().map(|frame| &frame[UDP_PAYLOAD..]).filter(|message| message[4] != 0) {
            let mut at = 8;
            for _ in 0..message[4] {
                let record = &message[at..];
                let len = usize::from(u16::from_be_bytes([record[2], record[3]]));
                let fixed = if record[0] == 1 { 24 + 48 } else { 24 + 12 };
                assert_eq!((len, record[9]), (fixed, 1), "an established conn without options");
                assert_ne!(record[10..12], [0, 0], "a client's port");
                at += len.next_multiple_of(4);
                records += 1;
            }
        }
        assert_eq!(records > 0, method == "-m", "{method}");
    }
}

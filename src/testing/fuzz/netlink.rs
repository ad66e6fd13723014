//! What a program of the kernel's IPVS sends over netlink: datagrams, read with buffers of any size.

use super::text::{RULES, small};
use crate::base::Instant;
use crate::control;
use crate::control::protocol::{Reply, Request};
use crate::genl::numbers::{cmd, dest, family, flag, kind, method, svc, top};
use crate::genl::{Absent, Address, Director, Inbox, Message, Outcome, Sender, Server, Writer, listed};
use crate::testing::Lab;

const FROM: Sender = Sender { port: 77, process: 4, capped: false };
const LARGEST: usize = 32 * 1024;

impl Director for Lab {
    fn ask(&mut self, request: &Request) -> Result<Reply, Absent> {
        // As the daemon answers them.
        let (asked, full_nat) = match request {
            Request::Listed(from, full_nat) => (Request::Services(*from), Some(*full_nat)),
            other => (other.clone(), None),
        };
        let reply = control::answer(&mut self.director, self.turn.ledger(), &asked, self.turn.now);
        Ok(match full_nat {
            Some(full_nat) => listed(reply, full_nat),
            None => reply,
        })
    }

    fn now(&self) -> Instant {
        self.turn.now
    }
}

/// The first byte is the reader's buffer in units of 64 bytes, the rest is one datagram.
pub fn netlink(input: &[u8]) -> Result<String, String> {
    let Some((units, datagram)) = input.split_first() else { return Ok("nothing".into()) };
    let (mut lab, mut server) = (Lab::with(small(), RULES), Server::default());
    let mut last = String::new();
    for question in Message::all(datagram).take(50) {
        let room = usize::from(*units) * 64;
        let answers = answers(&mut server, &mut lab, &question, room)?;
        let wants = question.has(flag::ACK) && !question.has(flag::DUMP);
        if question.kind == kind::IPVS && wants && answers.is_empty() {
            return Err(format!("no answer to {}", question.bytes.escape_ascii()));
        }
        let errors = answers.iter().filter(|(kind, _)| *kind == kind::ERROR).filter_map(|(_, body)| body.first_chunk());
        let errors: Vec<i32> = errors.map(|code| i32::from_ne_bytes(*code)).collect();
        last = format!("{} {:?} {} {errors:?}", question.kind, question.command(), answers.len().min(4));
    }
    lab.recount()?;
    services_can_be_sent_back(&mut lab)?;
    Ok(last)
}

/// Kind and body of each message that answers a question, as a reader with such a buffer finds them.
fn answers(server: &mut Server, lab: &mut Lab, question: &Message, room: usize) -> Result<Vec<(u16, Vec<u8>)>, String> {
    let mut inbox = Inbox::default();
    match server.answer(question, FROM, lab) {
        Ok(Outcome::Answers(answers) | Outcome::Elsewhere(answers)) => inbox.push(answers),
        Err(absent) => return Err(format!("{absent:?}, though the director is here")),
    }
    let mut all = Vec::new();
    while let Some(datagram) = inbox.peek(room).map(<[u8]>::to_vec) {
        inbox.take();
        let messages: Vec<Message> = Message::all(&datagram).collect();
        let whole: usize = messages.iter().map(|message| message.bytes.len().next_multiple_of(4)).sum();
        if whole != datagram.len() || (messages.len() > 1 && datagram.len() > LARGEST) {
            return Err(format!("an unsound datagram: {}", datagram.escape_ascii()));
        }
        if let Some(other) = messages.iter().find(|message| message.seq != question.seq) {
            return Err(format!("an answer to {}, not to {}", other.seq, question.seq));
        }
        all.extend(messages.iter().map(|message| (message.kind, message.bytes[16..].to_vec())));
    }
    Ok(all)
}

/// Services as they are listed are what adds them. (That is all: netlink can say what no command line can, such as port 0
/// without persistence.)
fn services_can_be_sent_back(lab: &mut Lab) -> Result<(), String> {
    let listed = services(lab)?;
    let (mut copy, mut server) = (Lab::with(small(), ""), Server::default());
    for body in &listed {
        let question = [&head(kind::IPVS, flag::REQUEST | flag::ACK, 4 + 12 + body.len() as u32)[..], body].concat();
        let Some((question, _)) = Message::first(&question) else { return Err("not a message".into()) };
        let answers = answers(&mut server, &mut copy, &question, 0)?;
        if answers.first().is_none_or(|(_, body)| body[..4] != [0; 4]) {
            return Err(format!("a service as it is listed is refused: {}", question.bytes.escape_ascii()));
        }
    }
    let sorted = |mut bodies: Vec<Vec<u8>>| {
        bodies.sort();
        bodies
    };
    let again = services(&mut copy)?;
    if sorted(again) == sorted(listed) { Ok(()) } else { Err("services that were sent back are others".into()) }
}

fn services(lab: &mut Lab) -> Result<Vec<Vec<u8>>, String> {
    let mut writer = Writer::default();
    let to = Address { seq: 1, port: 0 };
    writer.message((kind::IPVS, flag::REQUEST | flag::DUMP, to), (cmd::GET_SERVICE, 1), |_| ());
    let bytes = writer.into_bytes();
    let Some((question, _)) = Message::first(&bytes) else { return Err("not a message".into()) };
    let answers = answers(&mut Server::default(), lab, &question, 0)?;
    Ok(answers.into_iter().filter(|(kind, _)| *kind == kind::IPVS).map(|(_, body)| body).collect())
}

fn head(kind: u16, flags: u16, len: u32) -> Vec<u8> {
    let mut head = len.to_ne_bytes().to_vec();
    head.extend([kind, flags].map(u16::to_ne_bytes).as_flattened());
    head.extend([0; 8]);
    head
}

/// Every command, with a whole service and a whole destination.
pub fn netlink_seeds() -> Vec<Vec<u8>> {
    let commands = (cmd::NEW_SERVICE..=cmd::FLUSH).flat_map(|command| [(command, flag::ACK), (command, flag::DUMP)]);
    let mut seeds: Vec<Vec<u8>> = commands.map(|command| seed(&[command])).collect();
    seeds.push(seed(&[(cmd::NEW_SERVICE, flag::ACK), (cmd::NEW_DEST, flag::ACK), (cmd::GET_DEST, flag::DUMP)]));
    seeds
}

fn seed(commands: &[(u8, u16)]) -> Vec<u8> {
    let mut writer = Writer::default();
    for (seq, (command, flags)) in (1..).zip(commands) {
        let head = (kind::IPVS, flag::REQUEST | flags, Address { seq, port: 0 });
        writer.message(head, (*command, 1), |writer| {
            writer.nest(top::SERVICE, service);
            writer.nest(top::DEST, destination);
        });
    }
    [&[64], writer.into_bytes().as_slice()].concat()
}

fn service(writer: &mut Writer) {
    writer.put_half(svc::FAMILY, family::V4);
    writer.put_half(svc::PROTOCOL, 6);
    writer.put(svc::ADDR, &[10, 0, 0, 101]);
    writer.put_port(svc::PORT, 80);
    writer.put_text(svc::SCHEDULER, "wrr");
    writer.put(svc::FLAGS, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    writer.put_word(svc::TIMEOUT, 300);
    writer.put_word(svc::NETMASK, u32::MAX);
}

fn destination(writer: &mut Writer) {
    writer.put(dest::ADDR, &[10, 0, 0, 21]);
    writer.put_port(dest::PORT, 8080);
    writer.put_word(dest::METHOD, method::NAT);
    writer.put_word(dest::WEIGHT, 1);
    writer.put_word(dest::UPPER, 0);
    writer.put_word(dest::LOWER, 0);
    writer.put_half(dest::FAMILY, family::V4);
}

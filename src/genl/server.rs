//! The kernel's side of the family IPVS: a message in, the messages that answer it out.
//!
//! Sans-I/O: the director is asked through a trait, the time is an argument.

use std::time::Duration;

use nix::errno::Errno;

use super::answer;
use super::family::{asks_for_ipvs, described};
use super::inbox::{Answer, List};
use super::listed::{Listed, listed};
use super::numbers::{FAMILY_VERSION, cmd, ctrl, flag, kind};
use super::question::{Question, flags_of};
use super::refusal::errno_of;
use super::unsaid::{keep_unsaid, keep_unsaid_of_service, may_leave_unsaid};
use crate::base::{Endpoint, Instant};
use crate::control::protocol::{DestEntry, FullNat, Reply, Request, ServiceEntry};
use crate::service::command::{Command, DestOptions, Method, ServiceKey};
use crate::wire::netlink::{Address, Message, Writer};

/// A list of services answers questions for their destinations that follow each other within this time: a program that
/// lists everything asks for each service's in turn, and so gets one picture.
const FRESH: Duration = Duration::from_secs(2);

/// Who carries out what programs ask for.
pub trait Director {
    /// Asks a running director.
    fn ask(&mut self, request: &Request) -> Result<Reply, Absent>;

    /// The time, which passes while it is asked.
    fn now(&self) -> Instant;
}

/// Why a director was not asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Absent {
    /// None runs at the moment; the same question can be asked again.
    Away,
    /// None has run for too long.
    Gone,
    /// This user may not ask it.
    Forbidden,
}

/// The socket that a message came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sender {
    /// Its port id.
    pub port: u32,
    /// The process that made it.
    pub process: u32,
    /// It does not want errors to repeat what they are about (`NETLINK_CAP_ACK`).
    pub capped: bool,
}

/// What is to be done with a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// These messages answer it.
    Answers(Vec<Answer>),
    /// It is for another family, which a kernel has to answer; what comes first is answered here.
    Elsewhere(Vec<Answer>),
}

/// Why there is no answer.
enum Failure {
    Errno(Errno),
    Away,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        Failure::Errno(errno)
    }
}

impl From<Absent> for Failure {
    fn from(absent: Absent) -> Failure {
        match absent {
            Absent::Away => Failure::Away,
            Absent::Gone => Failure::Errno(Errno::ECONNREFUSED),
            Absent::Forbidden => Failure::Errno(Errno::EPERM),
        }
    }
}

/// The family, for all sockets of one program and its children.
#[derive(Default)]
pub struct Server {
    listed: Option<Listed>,
    full_nat: FullNat,
}

impl Server {
    /// Answers a message. An error is that of a director that is away: then nothing was done, and the message can be
    /// answered later.
    pub fn answer(&mut self, message: &Message, from: Sender, director: &mut impl Director) -> Result<Outcome, Absent> {
        let to = Address { seq: message.seq, port: from.port };
        let asks = message.has(flag::REQUEST) && message.kind >= kind::FIRST_OF_FAMILIES;
        let done = match message.kind {
            _ if !asks => Ok(None),
            kind::IPVS => self.answer_ipvs(message, (from, to), director),
            kind::CONTROLLER if message.command() == Some(ctrl::GET_FAMILY) && message.has(flag::DUMP) => {
                // The kernel's own families follow, and the end of the list.
                return Ok(Outcome::Elsewhere(vec![Answer::Whole(described(flag::MULTI, to))]));
            }
            kind::CONTROLLER if asks_for_ipvs(message) => Ok(Some(Answer::Whole(described(0, to)))),
            _ => return Ok(Outcome::Elsewhere(Vec::new())),
        };
        let (answer, error) = match done {
            Ok(answer) => (answer, None),
            Err(Failure::Errno(errno)) => (None, Some(errno)),
            Err(Failure::Away) => return Err(Absent::Away),
        };
        let is_list = matches!(answer, Some(Answer::List(_)));
        let mut answers: Vec<Answer> = answer.into_iter().collect();
        if error.is_some() || (message.has(flag::ACK) && !is_list) {
            let mut writer = Writer::default();
            writer.verdict(message, error, from.port, from.capped);
            answers.push(Answer::Whole(writer.into_bytes()));
        }
        Ok(Outcome::Answers(answers))
    }

    fn answer_ipvs(
        &mut self,
        message: &Message,
        (from, to): (Sender, Address),
        director: &mut impl Director,
    ) -> Result<Option<Answer>, Failure> {
        let question = match Question::read(message) {
            Ok(question) => question,
            // Who may not ask is told so first.
            Err(errno) => return director.ask(&Request::Timeouts).map_err(Failure::from).and(Err(errno.into())),
        };
        match question {
            Question::Change(command) => self.change(command, director).map(|()| None),
            Question::EditSome(key, spec) => {
                let present = flags_of(&find(key, director)?.options);
                self.change(Command::EditService(key, spec.options(present)), director).map(|()| None)
            }
            Question::BadDest(key, errno) => find(key, director).and(Err(errno.into())),
            Question::Service(key) => {
                let entry = find(key, director)?;
                Ok(one(to, cmd::NEW_SERVICE, |writer| answer::service(writer, &entry)))
            }
            Question::Services => self.services((from, to), director).map(Some),
            Question::Dests(None) => Ok(self.dest_list(to, &[])),
            Question::Dests(Some(key)) => self.dests(key, (from, to), director),
            Question::Daemons => {
                let Reply::Daemons(daemons) = director.ask(&Request::Daemons)? else { return Err(strange()) };
                let fill = |writer: &mut Writer, (role, options): &_| answer::sync_daemon(writer, *role, options);
                Ok(list(to, cmd::NEW_DAEMON, fill, &daemons))
            }
            Question::Timeouts => {
                let Reply::Timeouts(timeouts) = director.ask(&Request::Timeouts)? else { return Err(strange()) };
                Ok(one(to, cmd::SET_CONFIG, |writer| answer::timeouts(writer, &timeouts)))
            }
            Question::Info => {
                // Nothing of it is the director's; but a program that may not ask is told so, and one that begins while there
                // has been none for long can still configure.
                match director.ask(&Request::Timeouts) {
                    Ok(_) | Err(Absent::Gone) => {}
                    Err(absent) => return Err(absent.into()),
                }
                Ok(one(to, cmd::SET_INFO, answer::information))
            }
        }
    }

    fn change(&mut self, mut command: Command, director: &mut impl Director) -> Result<(), Failure> {
        if let Command::AddDest(_, _, options) | Command::EditDest(_, _, options) = &command
            && options.method == Method::FullNat
        {
            self.full_nat = FullNat::Known;
        }
        if let Command::EditDest(key, real, options) = &mut command {
            self.complete((*key, *real), options, director)?;
        }
        if let Command::EditService(key, options) = &mut command {
            match find(*key, director) {
                Ok(present) => keep_unsaid_of_service(options, &present.options),
                Err(Failure::Errno(_)) => {}
                Err(Failure::Away) => return Err(Failure::Away),
            }
        }
        self.listed = None;
        match director.ask(&Request::Apply(command))? {
            Reply::Done => Ok(()),
            Reply::Refused(refused) => Err(errno_of(refused).into()),
            _ => Err(strange()),
        }
    }

    /// Completes an edit by what its server has and netlink cannot say. Where there is no such server the edit itself is
    /// refused.
    fn complete(
        &self,
        (key, real): (ServiceKey, Endpoint),
        options: &mut DestOptions,
        director: &mut impl Director,
    ) -> Result<(), Failure> {
        if !may_leave_unsaid(options) {
            return Ok(());
        }
        let present = match find(key, director) {
            Ok(service) => service.dests.into_iter().find(|dest| dest.real == real),
            Err(Failure::Errno(_)) => None,
            Err(Failure::Away) => return Err(Failure::Away),
        };
        if let Some(present) = present {
            *options = keep_unsaid(*options, &present.options, self.full_nat);
        }
        Ok(())
    }

    /// All services, whose dests are asked for next.
    fn services(&mut self, (from, to): (Sender, Address), director: &mut impl Director) -> Result<Answer, Failure> {
        let (mut pages, mut place) = (Vec::new(), Some(0));
        while let Some(at) = place {
            let page = match director.ask(&Request::Listed(at, self.full_nat)) {
                // One that is older than this program does not know the request.
                Ok(Reply::Error(_)) | Err(Absent::Forbidden) => {
                    listed(director.ask(&Request::Services(at))?, self.full_nat)
                }
                page => page?,
            };
            let Reply::Listed { messages, next, .. } = page else { return Err(strange()) };
            pages.push(messages);
            place = next;
        }
        let listed = Listed::new(pages, from.process, director.now());
        let services = listed.services(to);
        self.listed = Some(listed);
        Ok(services)
    }

    /// The dests of a service, as they were listed with it just before, or as they are.
    fn dests(
        &mut self,
        key: ServiceKey,
        (from, to): (Sender, Address),
        director: &mut impl Director,
    ) -> Result<Option<Answer>, Failure> {
        let now = director.now();
        let listed = self.listed.as_mut().filter(|it| it.process == from.process && now.since(it.at) <= FRESH);
        if let Some(listed) = listed
            && let Some(dests) = listed.take_dests(key, to)
        {
            listed.at = now;
            return Ok(Some(dests));
        }
        match find(key, director) {
            Ok(entry) => Ok(self.dest_list(to, &entry.dests)),
            // The kernel lists nothing then.
            Err(Failure::Errno(Errno::ESRCH)) => Ok(self.dest_list(to, &[])),
            Err(failure) => Err(failure),
        }
    }

    fn dest_list(&self, to: Address, dests: &[DestEntry]) -> Option<Answer> {
        list(to, cmd::NEW_DEST, |writer, entry| answer::dest(writer, entry, self.full_nat), dests)
    }
}

fn find(key: ServiceKey, director: &mut impl Director) -> Result<ServiceEntry, Failure> {
    match director.ask(&Request::Service(key))? {
        Reply::Services { mut services, .. } => services.pop().ok_or_else(strange),
        Reply::Refused(refused) => Err(errno_of(refused).into()),
        _ => Err(strange()),
    }
}

/// A director of another version says what is not understood here.
fn strange() -> Failure {
    Failure::Errno(Errno::EPROTO)
}

fn one(to: Address, command: u8, fill: impl FnOnce(&mut Writer)) -> Option<Answer> {
    let mut writer = Writer::default();
    writer.message((kind::IPVS, 0, to), (command, FAMILY_VERSION), fill);
    Some(Answer::Whole(writer.into_bytes()))
}

fn list<T>(to: Address, command: u8, fill: impl Fn(&mut Writer, &T), entries: &[T]) -> Option<Answer> {
    let mut writer = Writer::default();
    for entry in entries {
        writer.message((kind::IPVS, flag::MULTI, to), (command, FAMILY_VERSION), |writer| fill(writer, entry));
    }
    writer.done(to);
    Some(Answer::List(List::new(writer.into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::super::numbers::{dest, family, method, svc, top};
    use super::*;
    use crate::control;
    use crate::service::command::ClientAddress;
    use crate::testing::Lab;

    const FROM: Sender = Sender { port: 77, process: 4, capped: false };

    /// A director as it runs, asked without a socket.
    struct Running(Lab);

    impl Director for Running {
        fn ask(&mut self, request: &Request) -> Result<Reply, Absent> {
            let now = self.0.turn.now;
            Ok(control::answer(&mut self.0.director, self.0.turn.ledger(), request, now))
        }

        fn now(&self) -> Instant {
            self.0.turn.now
        }
    }

    struct Nobody(Absent);

    impl Director for Nobody {
        fn ask(&mut self, _: &Request) -> Result<Reply, Absent> {
            Err(self.0)
        }

        fn now(&self) -> Instant {
            Instant::START
        }
    }

    /// What a program hears: the commands of the answers, and the error that comes last (0: an acknowledgement).
    #[derive(Default, PartialEq, Eq, Debug)]
    struct Heard {
        commands: Vec<u8>,
        error: Option<i32>,
        is_done: bool,
    }

    struct Program<D> {
        server: Server,
        director: D,
        lists: Vec<Vec<u8>>,
    }

    impl<D: Director> Program<D> {
        fn of(director: D) -> Program<D> {
            Program { server: Server::default(), director, lists: Vec::new() }
        }

        fn say(&mut self, flags: u16, command: u8, fill: impl FnOnce(&mut Writer)) -> Heard {
            let mut writer = Writer::default();
            let to = Address { seq: 9, port: 0 };
            writer.message((kind::IPVS, flag::REQUEST | flags, to), (command, FAMILY_VERSION), fill);
            self.send(&writer.into_bytes())
        }

        fn send(&mut self, bytes: &[u8]) -> Heard {
            let mut heard = Heard::default();
            self.lists.clear();
            for question in Message::all(bytes) {
                let answers = match self.server.answer(&question, FROM, &mut self.director) {
                    Ok(Outcome::Answers(answers) | Outcome::Elsewhere(answers)) => answers,
                    Err(_) => continue,
                };
                let mut inbox = super::super::Inbox::default();
                inbox.push(answers);
                while let Some(datagram) = inbox.peek(1 << 20).map(<[u8]>::to_vec) {
                    Message::all(&datagram).for_each(|answer| heard.hear(&question, &answer));
                    self.lists.push(datagram);
                    inbox.take();
                }
            }
            heard
        }

        fn first_list(&self) -> Vec<Message<'_>> {
            Message::all(self.lists.first().map_or(&[], Vec::as_slice)).filter(|it| it.kind == kind::IPVS).collect()
        }
    }

    impl Heard {
        fn hear(&mut self, question: &Message, answer: &Message) {
            assert_eq!(answer.seq, question.seq);
            assert_eq!(answer.bytes[12..16], FROM.port.to_ne_bytes());
            match answer.kind {
                kind::ERROR => {
                    let code = i32::from_ne_bytes(*answer.bytes[16..].first_chunk().unwrap());
                    self.error = Some(-code);
                    assert_eq!(answer.bytes[20..36], question.bytes[..16], "what it is about");
                }
                kind::DONE => self.is_done = true,
                _ => self.commands.extend(answer.command()),
            }
        }
    }

    fn name(writer: &mut Writer, port: u16) {
        writer.put_half(svc::FAMILY, family::V4);
        writer.put_half(svc::PROTOCOL, 6);
        writer.put(svc::ADDR, &[10, 0, 0, 100]);
        writer.put_port(svc::PORT, port);
    }

    fn service(writer: &mut Writer, port: u16, scheduler: &str, [flags, mask]: [u32; 2]) {
        writer.nest(top::SERVICE, |writer| {
            name(writer, port);
            writer.put_text(svc::SCHEDULER, scheduler);
            writer.put(svc::FLAGS, [flags.to_ne_bytes(), mask.to_ne_bytes()].as_flattened());
            writer.put_word(svc::TIMEOUT, 300);
            writer.put_word(svc::NETMASK, u32::MAX);
        });
    }

    fn named(writer: &mut Writer, port: u16) {
        writer.nest(top::SERVICE, |writer| name(writer, port));
    }

    fn dest(writer: &mut Writer, last: u8, number: u32) {
        writer.nest(top::DEST, |writer| {
            writer.put(dest::ADDR, &[10, 0, 0, last]);
            writer.put_port(dest::PORT, 8080);
            writer.put_word(dest::METHOD, number);
            [dest::WEIGHT, dest::UPPER, dest::LOWER].iter().for_each(|kind| writer.put_word(*kind, 0));
        });
    }

    fn error(errno: Errno) -> Heard {
        Heard { error: Some(errno as i32), ..Heard::default() }
    }

    fn acknowledged() -> Heard {
        Heard { error: Some(0), ..Heard::default() }
    }

    #[test]
    fn commands_are_carried_out_and_refused_by_the_kernels_numbers() {
        let mut program = Program::of(Running(Lab::new("")));
        let all = u32::MAX;
        let ack = flag::ACK;
        assert_eq!(program.say(ack, cmd::NEW_SERVICE, |w| service(w, 80, "rr", [0, all])), acknowledged());
        assert_eq!(program.say(0, cmd::NEW_SERVICE, |w| service(w, 81, "rr", [0, all])), Heard::default());
        let add = |writer: &mut Writer| {
            named(writer, 80);
            dest(writer, 21, method::NAT);
        };
        assert_eq!(program.say(ack, cmd::NEW_DEST, add), acknowledged());
        for (command, wanted, fill) in [
            (cmd::NEW_SERVICE, Errno::EEXIST, &|w: &mut Writer| service(w, 80, "rr", [0, all]) as _),
            (cmd::NEW_SERVICE, Errno::ENOENT, &|w: &mut Writer| service(w, 82, "none such", [0, all])),
            (cmd::NEW_SERVICE, Errno::EINVAL, &|w: &mut Writer| named(w, 82)),
            (cmd::SET_SERVICE, Errno::ESRCH, &|w: &mut Writer| service(w, 82, "rr", [0, all])),
            (cmd::DEL_SERVICE, Errno::ESRCH, &|w: &mut Writer| named(w, 82)),
            (cmd::DEL_SERVICE, Errno::EINVAL, &|_: &mut Writer| ()),
            (cmd::GET_SERVICE, Errno::ESRCH, &|w: &mut Writer| named(w, 82)),
            (cmd::NEW_DEST, Errno::EEXIST, &add),
            (cmd::NEW_DEST, Errno::EINVAL, &|w: &mut Writer| named(w, 80)),
            (cmd::NEW_DEST, Errno::ESRCH, &|w: &mut Writer| named(w, 82)),
            (cmd::GET_DEST, Errno::EOPNOTSUPP, &|w: &mut Writer| named(w, 80)),
            (cmd::SET_INFO, Errno::EOPNOTSUPP, &|_: &mut Writer| ()),
            (99, Errno::EOPNOTSUPP, &|_: &mut Writer| ()),
        ] as [(u8, Errno, &dyn Fn(&mut Writer)); 13]
        {
            assert_eq!(program.say(0, command, fill), error(wanted), "command {command}");
        }
    }

    #[test]
    fn flags_that_are_not_in_the_mask_stay() {
        let mut program = Program::of(Running(Lab::new("-A -t 10.0.0.100:80 -s sh -p 60 -b sh-port")));
        let one_packet = 4;
        let edit = |w: &mut Writer| service(w, 80, "sh", [one_packet, one_packet]);
        assert_eq!(program.say(flag::ACK, cmd::SET_SERVICE, edit), acknowledged());
        program.say(0, cmd::GET_SERVICE, |w| named(w, 80));
        let attributes = program.first_list()[0].attributes().nested(top::SERVICE).unwrap();
        // Persistent, hashed (the kernel's own), one packet, the second flag of the scheduler.
        assert_eq!(attributes.word(svc::FLAGS), Ok(Some(0x17)));
        assert_eq!(attributes.word(svc::TIMEOUT), Ok(Some(300)));
    }

    #[test]
    fn an_edited_service_keeps_its_limits() {
        for mask in [4, u32::MAX] {
            let mut program = Program::of(Running(Lab::new("-A -t 10.0.0.100:80 -s sh --limit new=7,client-conns=3")));
            let edit = |w: &mut Writer| service(w, 80, "rr", [0, mask]);
            assert_eq!(program.say(flag::ACK, cmd::SET_SERVICE, edit), acknowledged());
            let (_, service) = program.director.0.director.flows.services.slots_from(0).next().unwrap();
            assert_eq!(service.options.scheduler, "rr");
            assert_eq!(service.options.quota.words(), "new=7,client-conns=3");
        }
    }

    #[test]
    fn an_edited_server_keeps_what_netlink_cannot_say() {
        let rules = "-A -t 10.0.0.100:80 -s rr
            -a -t 10.0.0.100:80 -r 10.0.0.21:8080 --fullnat --client-address proxy-v2 -w 5";
        let mut program = Program::of(Running(Lab::new(rules)));
        let mut edit = |number| {
            let heard = program.say(flag::ACK, cmd::SET_DEST, |w| {
                named(w, 80);
                dest(w, 21, number);
            });
            assert_eq!(heard, acknowledged());
            let (_, service) = program.director.0.director.flows.services.slots_from(0).next().unwrap();
            let id = service.dests[0];
            program.director.0.director.flows.services.dest_options(id)
        };
        let full_nat = DestOptions {
            method: Method::FullNat,
            weight: 0,
            client_address: ClientAddress::ProxyV2,
            ..DestOptions::default()
        };
        assert_eq!(edit(method::NAT), full_nat, "shown as NAT, so NAT is what it was");
        assert_eq!(edit(method::FULL_NAT), full_nat);
        let nat = DestOptions { method: Method::Nat, client_address: ClientAddress::None, ..full_nat };
        assert_eq!(edit(method::NAT), nat, "of a program that knows FULL-NAT");
    }

    #[test]
    fn lists_end_with_done_and_have_no_acknowledgement() {
        let rules = "-A -f 7 -s rr\n-A -t 10.0.0.100:80 -s rr\n-a -t 10.0.0.100:80 -r 10.0.0.21:8080 -m -w 3
            -a -t 10.0.0.100:80 -r 10.0.0.22:80 --fullnat";
        let mut program = Program::of(Running(Lab::new(rules)));
        let list = flag::DUMP | flag::ACK;
        let services = program.say(list, cmd::GET_SERVICE, |_| ());
        assert_eq!(services, Heard { commands: vec![cmd::NEW_SERVICE; 2], error: None, is_done: true });
        let last = program.first_list()[1].attributes().nested(top::SERVICE).unwrap();
        assert_eq!(last.word(svc::FWMARK), Ok(Some(7)), "marks come last, as from the kernel's second table");

        // FULL-NAT is NAT to who does not know it, and itself to who has used it.
        let methods = |program: &Program<Running>| -> Vec<Option<u32>> {
            let dests = program.first_list().into_iter().map(|it| it.attributes().nested(top::DEST).unwrap());
            dests.map(|dest| dest.word(dest::METHOD).unwrap()).collect()
        };
        assert_eq!(program.say(list, cmd::GET_DEST, |w| named(w, 80)).commands, [cmd::NEW_DEST; 2]);
        assert_eq!(methods(&program), [Some(method::NAT), Some(method::NAT)]);
        program.say(0, cmd::NEW_DEST, |w| {
            named(w, 80);
            dest(w, 23, method::FULL_NAT);
        });
        program.say(list, cmd::GET_DEST, |w| named(w, 80));
        assert_eq!(methods(&program), [Some(method::FULL_NAT), Some(method::FULL_NAT), Some(method::NAT)]);

        let none = Heard { is_done: true, ..Heard::default() };
        assert_eq!(program.say(list, cmd::GET_DEST, |w| named(w, 82)), none, "of no service: nothing, no error");
        assert_eq!(program.say(list, cmd::GET_DAEMON, |_| ()), none);
        assert_eq!(program.say(list, cmd::GET_CONFIG, |_| ()), error(Errno::EOPNOTSUPP));
    }

    #[test]
    fn several_messages_in_one_datagram_are_answered_in_turn() {
        let mut program = Program::of(Running(Lab::new("-A -t 10.0.0.100:80 -s rr")));
        let mut writer = Writer::default();
        let head = |flags| (kind::IPVS, flag::REQUEST | flags, Address { seq: 9, port: 0 });
        writer.message(head(0), (cmd::GET_INFO, 1), |_| ());
        writer.message(head(0), (cmd::GET_CONFIG, 1), |_| ());
        writer.message(head(flag::ACK), (cmd::FLUSH, 1), |_| ());
        writer.message(head(flag::DUMP), (cmd::GET_SERVICE, 1), |_| ());
        let heard = program.send(&writer.into_bytes());
        assert_eq!(heard, Heard { commands: vec![cmd::SET_INFO, cmd::SET_CONFIG], error: Some(0), is_done: true });
    }

    #[test]
    fn who_may_not_ask_is_told_so_whatever_is_asked_and_who_must_wait_is_not_answered() {
        for command in cmd::NEW_SERVICE..=cmd::FLUSH {
            let mut forbidden = Program::of(Nobody(Absent::Forbidden));
            assert_eq!(forbidden.say(0, command, |w| named(w, 80)), error(Errno::EPERM), "command {command}");
            let mut gone = Program::of(Nobody(Absent::Gone));
            let wanted = match command {
                cmd::GET_INFO => Heard { commands: vec![cmd::SET_INFO], ..Heard::default() },
                _ => error(Errno::ECONNREFUSED),
            };
            assert_eq!(gone.say(0, command, |w| named(w, 80)), wanted, "command {command}");
            let mut away = Program::of(Nobody(Absent::Away));
            assert_eq!(away.say(0, command, |w| named(w, 80)), Heard::default(), "command {command}");
        }
    }

    #[test]
    fn the_controller_tells_of_the_family_and_leaves_other_families_to_the_kernel() {
        let mut server = Server::default();
        let mut ask = |name: &str, flags| {
            let mut writer = Writer::default();
            let head = (kind::CONTROLLER, flag::REQUEST | flags, Address { seq: 1, port: 0 });
            writer.message(head, (ctrl::GET_FAMILY, 1), |writer| writer.put_text(ctrl::FAMILY_NAME, name));
            let bytes = writer.into_bytes();
            let (message, _) = Message::first(&bytes).unwrap();
            server.answer(&message, FROM, &mut Nobody(Absent::Forbidden))
        };
        let Ok(Outcome::Answers(answers)) = ask("IPVS", flag::ACK) else { panic!("not answered") };
        let Answer::Whole(bytes) = &answers[0] else { panic!("a list") };
        let described = Message::first(bytes).unwrap().0.attributes();
        assert_eq!(described.half(ctrl::FAMILY_ID), Ok(Some(kind::IPVS)));
        assert_eq!(described.nested(ctrl::OPERATIONS).unwrap().nested(4).unwrap().word(2), Ok(Some(0x0f)));
        assert_eq!(answers.len(), 2, "and an acknowledgement");
        assert_eq!(ask("nl80211", 0), Ok(Outcome::Elsewhere(Vec::new())));
        let Ok(Outcome::Elsewhere(first)) = ask("", flag::DUMP) else { panic!("not passed on") };
        assert_eq!(first.len(), 1, "ours before the kernel's");
    }

    #[test]
    fn whatever_is_sent_is_answered_in_sound_messages() {
        let mut rng = crate::base::Rng::seeded(3);
        let mut program =
            Program::of(Running(Lab::new("-A -t 10.0.0.100:80 -s rr\n-a -t 10.0.0.100:80 -r 10.0.0.21:80")));
        for _ in 0..5_000 {
            let mut writer = Writer::default();
            let head = (kind::IPVS, rng.below(0x400) as u16 | flag::REQUEST, Address { seq: 9, port: 0 });
            writer.message(head, (rng.below(19) as u8, 1), |w| {
                service(w, 80 + rng.below(3) as u16, "wlc", [rng.below(64) as u32, rng.below(64) as u32]);
                dest(w, 20 + rng.below(3) as u8, rng.below(8) as u32);
            });
            let mut bytes = writer.into_bytes();
            for _ in 0..rng.below(4) {
                let at = 16 + rng.below(bytes.len() as u64 - 16) as usize;
                bytes[at] = rng.below(256) as u8;
            }
            program.send(&bytes);
            let sound = |bytes: &Vec<u8>| Message::all(bytes).map(|it| it.bytes.len()).sum::<usize>() == bytes.len();
            assert!(program.lists.iter().all(sound), "{bytes:?}");
        }
    }
}

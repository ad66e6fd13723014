//! The kernel's side of the family IPVS: a message in, the messages that answer it out.
//!
//! Sans-I/O: the director is asked through a trait, the time is an argument.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use nix::errno::Errno;

use super::answer::{self, FullNat};
use super::message::{Address, Message, Writer};
use super::numbers::{FAMILY, FAMILY_VERSION, cmd, ctrl, flag, kind, top};
use super::question::{Question, flags_of};
use crate::base::Instant;
use crate::control::protocol::{DestEntry, Reply, Request, ServiceEntry};
use crate::service::command::{Command, Method, Refused, ServiceKey};

/// So long a list of services with their destinations answers the questions for destinations that follow it.
const FRESH: Duration = Duration::from_secs(1);

/// Who carries out what programs ask for.
pub trait Director {
    /// Asks a running director.
    fn ask(&mut self, request: &Request) -> Result<Reply, Absent>;
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

/// Messages for a socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// One datagram.
    Whole(Vec<u8>),
    /// A list, to be cut into datagrams.
    List(List),
}

/// A list: messages one behind the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List {
    bytes: Vec<u8>,
    sent: usize,
}

impl List {
    /// The next datagram: as many messages as there is room for, and one at least. None at the end.
    pub fn next(&mut self, room: usize) -> Option<Vec<u8>> {
        let rest = self.bytes.get(self.sent..)?;
        let mut len = 0;
        while let Some((_, one)) = Message::first(&rest[len..]) {
            if len > 0 && len + one > room {
                break;
            }
            len += one;
        }
        self.sent += len;
        (len > 0).then(|| rest[..len].to_vec())
    }
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

/// What was listed last: programs list services first, and then ask for the destinations of each.
struct Listed {
    at: Instant,
    process: u32,
    dests: HashMap<ServiceKey, Vec<DestEntry>>,
}

impl Server {
    /// Answers a message. An error is that of a director that is away: then nothing was done, and the message can be
    /// answered later.
    pub fn answer(
        &mut self,
        message: &Message,
        from: Sender,
        director: &mut impl Director,
        now: Instant,
    ) -> Result<Outcome, Absent> {
        let to = Address { seq: message.seq, port: from.port };
        let asks = message.has(flag::REQUEST) && message.kind >= kind::FIRST_OF_FAMILIES;
        let done = match message.kind {
            _ if !asks => Ok(None),
            kind::IPVS => self.answer_ipvs(message, (from, to), director, now),
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
        now: Instant,
    ) -> Result<Option<Answer>, Failure> {
        let question = match Question::read(message) {
            Ok(question) => question,
            // Who may not ask is told so first.
            Err(errno) => return director.ask(&Request::Timeouts).map_err(Failure::from).and(Err(errno.into())),
        };
        match question {
            Question::Change(command) => self.change(&command, director).map(|()| None),
            Question::EditSome(key, spec) => {
                let present = flags_of(&find(key, director)?.options);
                self.change(&Command::EditService(key, spec.options(present)), director).map(|()| None)
            }
            Question::BadDest(key, errno) => find(key, director).and(Err(errno.into())),
            Question::Service(key) => {
                let entry = find(key, director)?;
                Ok(one(to, cmd::NEW_SERVICE, |writer| answer::service(writer, &entry)))
            }
            Question::Services => Ok(list(to, cmd::NEW_SERVICE, answer::service, &self.services(from, director, now)?)),
            Question::Dests(key) => {
                let dests = key.map_or(Ok(Vec::new()), |key| self.dests(key, from, director, now))?;
                let full_nat = self.full_nat;
                Ok(list(to, cmd::NEW_DEST, |writer, entry| answer::dest(writer, entry, full_nat), &dests))
            }
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
                // Nothing of it is the director's; but a program that may not ask is told so.
                director.ask(&Request::Timeouts)?;
                Ok(one(to, cmd::SET_INFO, answer::information))
            }
        }
    }

    fn change(&mut self, command: &Command, director: &mut impl Director) -> Result<(), Failure> {
        if let Command::AddDest(_, _, options) | Command::EditDest(_, _, options) = command
            && options.method == Method::FullNat
        {
            self.full_nat = FullNat::Known;
        }
        self.listed = None;
        match director.ask(&Request::Apply(command.clone()))? {
            Reply::Done => Ok(()),
            Reply::Refused(refused) => Err(errno_of(refused).into()),
            _ => Err(strange()),
        }
    }

    /// All services: those by address, then those by mark, for which the kernel has a table of its own.
    fn services(
        &mut self,
        from: Sender,
        director: &mut impl Director,
        now: Instant,
    ) -> Result<Vec<ServiceEntry>, Failure> {
        let (mut all, mut place) = (Vec::new(), Some(0));
        while let Some(at) = place {
            let Reply::Services { services, next } = director.ask(&Request::Services(at))? else {
                return Err(strange());
            };
            all.extend(services);
            place = next;
        }
        all.sort_by_key(|entry| matches!(entry.key, ServiceKey::Mark(..)));
        let dests = all.iter_mut().map(|entry| (entry.key, std::mem::take(&mut entry.dests))).collect();
        self.listed = Some(Listed { at: now, process: from.process, dests });
        Ok(all)
    }

    /// The destinations of a service, as they were listed with it just before, or as they are; each list is good once.
    fn dests(
        &mut self,
        key: ServiceKey,
        from: Sender,
        director: &mut impl Director,
        now: Instant,
    ) -> Result<Vec<DestEntry>, Failure> {
        let listed = self.listed.as_mut().filter(|it| it.process == from.process && now.since(it.at) <= FRESH);
        if let Some(dests) = listed.and_then(|listed| listed.dests.remove(&key)) {
            return Ok(dests);
        }
        match find(key, director) {
            Ok(entry) => Ok(entry.dests),
            // The kernel lists nothing then.
            Err(Failure::Errno(Errno::ESRCH)) => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
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

/// The kernel's number for a refusal.
fn errno_of(refused: Refused) -> Errno {
    match refused {
        Refused::ServiceExists | Refused::DestExists | Refused::DaemonRuns => Errno::EEXIST,
        Refused::NoSuchService | Refused::ServiceNotDefined | Refused::NoDaemon => Errno::ESRCH,
        Refused::NoSuchDest | Refused::NoScheduler => Errno::ENOENT,
        Refused::Range => Errno::ERANGE,
        Refused::Invalid | Refused::NoEthernet => Errno::EINVAL,
        Refused::NoMemory => Errno::ENOMEM,
        Refused::NoDevice => Errno::ENODEV,
    }
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
    Some(Answer::List(List { bytes: writer.into_bytes(), sent: 0 }))
}

fn asks_for_ipvs(message: &Message) -> bool {
    if message.command() != Some(ctrl::GET_FAMILY) {
        return false;
    }
    let all = message.attributes();
    let named = all.text(ctrl::FAMILY_NAME, 15).is_ok_and(|name| name.as_deref() == Some(FAMILY));
    named || all.half(ctrl::FAMILY_ID) == Ok(Some(kind::IPVS))
}

/// The family as the controller describes it.
fn described(flags: u16, to: Address) -> Vec<u8> {
    let (does, dumps) = (ctrl::ADMIN | ctrl::DOES, ctrl::ADMIN | ctrl::DUMPS);
    let mut writer = Writer::default();
    writer.message((kind::CONTROLLER, flags, to), (ctrl::NEW_FAMILY, ctrl::VERSION), |writer| {
        writer.put_text(ctrl::FAMILY_NAME, FAMILY);
        writer.put_half(ctrl::FAMILY_ID, kind::IPVS);
        writer.put_word(ctrl::FAMILY_VERSION, FAMILY_VERSION.into());
        writer.put_word(ctrl::HEADER_SIZE, 0);
        writer.put_word(ctrl::MAX_ATTRIBUTE, top::MAX.into());
        writer.nest(ctrl::OPERATIONS, |writer| {
            let commands = (cmd::NEW_SERVICE..=cmd::FLUSH).filter(|command| *command != cmd::SET_INFO);
            for (number, command) in (1..).zip(commands) {
                let flags = match command {
                    cmd::GET_SERVICE => does | ctrl::DUMPS,
                    cmd::GET_DEST | cmd::GET_DAEMON => dumps,
                    _ => does,
                };
                writer.nest(number, |writer| {
                    writer.put_word(ctrl::OPERATION_ID, command.into());
                    writer.put_word(ctrl::OPERATION_FLAGS, flags);
                });
            }
        });
    });
    writer.into_bytes()
}

/// What a socket has been sent and not yet read.
#[derive(Default)]
pub struct Inbox {
    answers: VecDeque<Answer>,
    /// The datagram that is next, cut off the list that is first.
    next: Option<Vec<u8>>,
    /// The largest buffer that the program has offered so far.
    offered: usize,
}

impl Inbox {
    /// The kernel's bounds for a datagram of a list, whatever buffer is offered.
    const LEAST: usize = 3776;
    const MOST: usize = 32 * 1024;

    /// Appends what answers a question.
    pub fn push(&mut self, answers: impl IntoIterator<Item = Answer>) {
        self.answers.extend(answers);
    }

    /// True if there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.next.is_none() && self.answers.is_empty()
    }

    /// The next datagram, for a buffer of this size; it stays until it is taken.
    pub fn peek(&mut self, offered: usize) -> Option<&[u8]> {
        self.offered = self.offered.max(offered);
        let room = self.offered.clamp(Inbox::LEAST, Inbox::MOST);
        while self.next.is_none() {
            self.next = match self.answers.front_mut()? {
                Answer::Whole(bytes) => Some(std::mem::take(bytes)),
                Answer::List(list) => list.next(room),
            };
            // A list stays for its other datagrams.
            if self.next.is_none() || matches!(self.answers.front(), Some(Answer::Whole(_))) {
                self.answers.pop_front();
            }
        }
        self.next.as_deref()
    }

    /// Takes the datagram that was seen.
    pub fn take(&mut self) {
        self.next = None;
        if let Some(Answer::List(list)) = self.answers.front()
            && list.sent == list.bytes.len()
        {
            self.answers.pop_front();
        }
    }
}

//! What was listed last: services as messages, each with those of its dests.
//!
//! Programs list services first and then ask for the dests of each. The director writes the messages; here they are only
//! addressed, so that a long list costs its reader little.

use std::collections::HashMap;
use std::ops::Range;

use super::answer;
use super::inbox::{Answer, List};
use super::numbers::{FAMILY_VERSION, cmd, flag, kind, top};
use super::question::service_key;
use crate::base::{self, Instant};
use crate::control::protocol::{FullNat, Reply};
use crate::service::command::ServiceKey;
use crate::wire::netlink::{Address, Message, Writer};

/// Messages that nobody is named in yet.
const NOBODY: Address = Address { seq: 0, port: 0 };

/// A page of services as messages of netlink; any other reply as it is.
pub fn listed(reply: Reply, full_nat: FullNat) -> Reply {
    let Reply::Services { services, next } = reply else { return reply };
    let mut writer = Writer::default();
    let head = (kind::IPVS, flag::MULTI, NOBODY);
    for service in &services {
        writer.message(head, (cmd::NEW_SERVICE, FAMILY_VERSION), |writer| answer::service(writer, service));
        for dest in &service.dests {
            writer.message(head, (cmd::NEW_DEST, FAMILY_VERSION), |writer| answer::dest(writer, dest, full_nat));
        }
    }
    let messages = writer.into_bytes();
    Reply::Listed { len: messages.len(), messages, next }
}

/// All services as they were at one time, for one process.
pub struct Listed {
    /// When it was last of use.
    pub at: Instant,
    /// Who has asked.
    pub process: u32,
    pages: Vec<Vec<u8>>,
    services: Vec<(ServiceKey, Place)>,
    dests: HashMap<ServiceKey, Place>,
}

/// A page, and where in it.
type Place = (usize, Range<usize>);

impl Listed {
    /// Of these pages.
    pub fn new(pages: Vec<Vec<u8>>, process: u32, at: Instant) -> Listed {
        let mut listed = Listed { at, process, pages: Vec::new(), services: Vec::new(), dests: HashMap::new() };
        for (number, page) in pages.iter().enumerate() {
            listed.note(number, page);
        }
        // As the kernel lists them.
        base::sort_by(&mut listed.services, |(one, _), (other, _)| one.is_mark().cmp(&other.is_mark()));
        listed.pages = pages;
        listed
    }

    fn note(&mut self, number: usize, page: &[u8]) {
        let (mut at, mut present) = (0, None);
        while let Some((message, len)) = Message::first(&page[at..]) {
            if message.command() == Some(cmd::NEW_SERVICE) {
                self.note_dests(present.take(), number, at);
                let key = message.attributes().nested(top::SERVICE).and_then(|service| service_key(&service).ok());
                self.services.extend(key.map(|key| (key, (number, at..at + len))));
                present = key.map(|key| (key, at + len));
            }
            at += len;
        }
        self.note_dests(present, number, at);
    }

    /// The dests of a service lie from behind it to there.
    fn note_dests(&mut self, service: Option<(ServiceKey, usize)>, number: usize, to: usize) {
        self.dests.extend(service.map(|(key, from)| (key, (number, from..to))));
    }

    /// All services.
    pub fn services(&self, to: Address) -> Answer {
        self.list(self.services.iter().map(|(_, place)| place), to)
    }

    /// The dests of a service; each list is good once.
    pub fn take_dests(&mut self, key: ServiceKey, to: Address) -> Option<Answer> {
        let place = self.dests.remove(&key)?;
        Some(self.list(std::iter::once(&place), to))
    }

    fn list<'a>(&self, places: impl Iterator<Item = &'a Place>, to: Address) -> Answer {
        let mut writer = Writer::default();
        for (page, range) in places {
            writer.forward(self.pages.get(*page).and_then(|page| page.get(range.clone())).unwrap_or(&[]), to);
        }
        writer.done(to);
        Answer::List(List::new(writer.into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Absent, Director, Inbox, Outcome, Sender, Server};
    use super::*;
    use crate::control;
    use crate::control::protocol::Request;
    use crate::testing::Lab;
    use crate::wire::netlink::flag;

    /// A director, and whether it writes messages itself.
    struct Running {
        lab: Lab,
        writes: bool,
        now: Instant,
        asked: Vec<Request>,
    }

    impl Director for Running {
        fn ask(&mut self, request: &Request) -> Result<Reply, Absent> {
            self.asked.push(request.clone());
            let (inner, full_nat) = match request {
                Request::Listed(from, full_nat) if self.writes => (Request::Services(*from), Some(*full_nat)),
                other => (other.clone(), None),
            };
            let reply = control::answer(&mut self.lab.director, self.lab.turn.ledger(), &inner, self.now);
            Ok(match full_nat {
                Some(full_nat) => listed(reply, full_nat),
                None => reply,
            })
        }

        fn now(&self) -> Instant {
            self.now
        }
    }

    fn running(writes: bool) -> Running {
        let mut rules = String::from("-A -f 7 -s rr\n");
        for n in 0..300 {
            let vip = format!("10.1.{}.{}:80", n / 200, n % 200);
            rules += &format!("-A -t {vip} -s rr\n-a -t {vip} -r 10.0.0.21:80 -m -w {n}\n");
            rules += &format!("-a -t {vip} -r 10.0.0.22:80 --fullnat\n");
        }
        Running { lab: Lab::new(&rules), writes, now: Instant::START, asked: Vec::new() }
    }

    fn say(server: &mut Server, director: &mut Running, process: u32, command: u8, port: Option<u16>) -> Vec<u8> {
        let mut writer = Writer::default();
        let head = (kind::IPVS, flag::REQUEST | flag::DUMP, Address { seq: 9, port: 0 });
        writer.message(head, (command, FAMILY_VERSION), |writer| {
            let Some(last) = port else { return };
            writer.nest(top::SERVICE, |writer| {
                use super::super::numbers::{family, svc};
                writer.put_half(svc::FAMILY, family::V4);
                writer.put_half(svc::PROTOCOL, 6);
                writer.put(svc::ADDR, &[10, 1, 0, last as u8]);
                writer.put_port(svc::PORT, 80);
            });
        });
        let from = Sender { port: 77, process, capped: false };
        let bytes = writer.into_bytes();
        let question = Message::all(&bytes).next().unwrap();
        let Ok(Outcome::Answers(answers)) = server.answer(&question, from, director) else { panic!("no answer") };
        let (mut inbox, mut all) = (Inbox::default(), Vec::new());
        inbox.push(answers);
        while let Some(datagram) = inbox.pull(1 << 15) {
            all.extend(datagram);
        }
        assert!(Message::all(&all).all(|it| it.seq == 9 && it.bytes[12..16] == 77_u32.to_ne_bytes()));
        all
    }

    #[test]
    fn a_director_that_writes_messages_and_an_older_one_list_the_same() {
        let (mut new, mut old) = (running(true), running(false));
        let (mut at_new, mut at_old) = (Server::default(), Server::default());
        let services = say(&mut at_new, &mut new, 4, cmd::GET_SERVICE, None);
        assert_eq!(Message::all(&services).count(), 302, "301 services and the end");
        assert!(services == say(&mut at_old, &mut old, 4, cmd::GET_SERVICE, None));
        let mark = Message::all(&services).nth(300).unwrap();
        let last = mark.attributes().nested(top::SERVICE).unwrap();
        assert_eq!(service_key(&last), Ok(ServiceKey::Mark(crate::base::Family::V4, 7)), "marks come last");
        for host in [0, 199] {
            let dests = say(&mut at_new, &mut new, 4, cmd::GET_DEST, Some(host));
            assert_eq!(Message::all(&dests).count(), 3);
            assert!(dests == say(&mut at_old, &mut old, 4, cmd::GET_DEST, Some(host)));
            // As it is now, from the director: the list is good once.
            assert!(dests == say(&mut at_new, &mut new, 4, cmd::GET_DEST, Some(host)));
        }
        assert!(new.asked.iter().all(|it| !matches!(it, Request::Services(_))));
    }

    #[test]
    fn a_list_answers_for_its_dests_once_and_not_for_long_and_not_for_others() {
        let (mut director, mut server) = (running(true), Server::default());
        let asks = |director: &Running| director.asked.iter().filter(|it| matches!(it, Request::Service(_))).count();
        say(&mut server, &mut director, 4, cmd::GET_SERVICE, None);
        for host in 0..20 {
            director.now = director.now + std::time::Duration::from_secs(2);
            say(&mut server, &mut director, 4, cmd::GET_DEST, Some(host));
        }
        assert_eq!(asks(&director), 0, "they follow each other in time");
        say(&mut server, &mut director, 4, cmd::GET_DEST, Some(3));
        assert_eq!(asks(&director), 1, "asked for again");
        say(&mut server, &mut director, 5, cmd::GET_DEST, Some(30));
        assert_eq!(asks(&director), 2, "by another process");
        director.now = director.now + std::time::Duration::from_millis(2_001);
        say(&mut server, &mut director, 4, cmd::GET_DEST, Some(31));
        assert_eq!(asks(&director), 3, "too late");
    }
}

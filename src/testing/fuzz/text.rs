//! What operators and clients of the control socket write: command lines, rules, configuration files, requests.

use crate::base::{Instant, Ledger};
use crate::config;
use crate::control;
use crate::control::protocol::{Reply, Request};
use crate::director::{Director, Settings};
use crate::ipvsadm::{self, Invocation, Names};
use crate::service::command::Command;
use crate::testing::Lab;

/// Every method, a few schedulers, persistence, helpers, both families and both at once.
pub const RULES: &str = "\
-A -t 198.51.100.1:80 -s rr -p 60
-a -t 198.51.100.1:80 -r 10.0.0.21:8080 -m
-a -t 198.51.100.1:80 -r 10.0.0.22:80 -g
-A -t 198.51.100.1:21 -s wlc
-a -t 198.51.100.1:21 -r 10.0.0.21:21 -m
-A -u 198.51.100.1:53 -s sh
-a -u 198.51.100.1:53 -r 10.0.0.21:53 --fullnat
-a -u 198.51.100.1:53 -r 10.0.0.22:53 -i --tun-type gue --tun-port 6080
-A -u 198.51.100.1:5060 -s rr -p 60 --pe sip
-a -u 198.51.100.1:5060 -r 10.0.0.21:5060 -m
-A --sctp-service 198.51.100.1:3868 -s rr
-a --sctp-service 198.51.100.1:3868 -r 10.0.0.21:3869 -m
-A -t 198.51.100.1:81 -s lc
-a -t 198.51.100.1:81 -r [2001:db8::24]:81 --fullnat -x 3 -y 2
-A -t [2001:db8::80]:80 -s mh
-a -t [2001:db8::80]:80 -r [2001:db8:1::21]:8080 -m
-a -t [2001:db8::80]:80 -r 10.0.0.23:80 -i
";

/// Words of `ipvsadm`, separated by line feeds, said to a director that has services.
pub fn command_line(input: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(input);
    let words: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let mut lab = Lab::with(small(), RULES);
    match ipvsadm::parse(&words) {
        Ok(Invocation::Change(command)) => {
            let done = lab.director.apply(&command, lab.turn.now);
            lab.recount()?;
            rules_can_be_read_again(&mut lab.director)?;
            Ok(format!("{} {done:?}", word_of(&command)))
        }
        Ok(other) => Ok(word_of(&other)),
        Err(error) => Ok(format!("{} {}", error.status, sentence(&error.text))),
    }
}

/// Rules as from a file, carried out one after another.
pub fn rules(input: &[u8]) -> Result<String, String> {
    let commands = match ipvsadm::parse_rules(&String::from_utf8_lossy(input)) {
        Ok(commands) => commands,
        Err(error) => return Ok(sentence(&error)),
    };
    let mut lab = Lab::with(small(), "");
    let mut done = String::new();
    for (_, command) in commands.iter().take(100) {
        done = format!("{} {:?}", word_of(command), lab.director.apply(command, lab.turn.now));
    }
    lab.recount()?;
    rules_can_be_read_again(&mut lab.director)?;
    Ok(done)
}

/// A configuration file, up to the director that it would make.
pub fn toml(input: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(input);
    let plan = config::read_text("fuzz.toml", &text).and_then(config::Plan::from_draft);
    let plan = match plan {
        Ok(plan) => plan,
        Err(problems) if problems.0.is_empty() => return Err("refused without a word".into()),
        Err(problems) => return Ok(sentence(&problems.0[0])),
    };
    let mut director = plan.rehearse().map_err(|problems| format!("planned, then refused: {problems:?}"))?;
    rules_can_be_read_again(&mut director)?;
    Ok(format!("{} links, {} services", plan.links.len().min(4), director.flows.services.iter().count().min(4)))
}

/// Lines to the control socket.
pub fn control(input: &[u8]) -> Result<String, String> {
    let mut lab = Lab::with(small(), RULES);
    let mut last = String::new();
    for line in input.split(|byte| *byte == b'\n').take(50) {
        match serde_json::from_slice::<Request>(line) {
            Ok(request) => {
                let reply = control::answer(&mut lab.director, lab.turn.ledger(), &request, lab.turn.now);
                let text =
                    serde_json::to_string(&reply).map_err(|error| format!("a reply cannot be written: {error}"))?;
                let read: Reply = serde_json::from_str(&text).map_err(|error| format!("{text}: {error}"))?;
                if read != reply {
                    return Err(format!("{text} is read as {read:?}"));
                }
                last = format!("{} {}", word_of(&request), word_of(&reply));
            }
            Err(error) => last = sentence(&error.to_string()),
        }
    }
    lab.recount()?;
    rules_can_be_read_again(&mut lab.director)?;
    Ok(last)
}

pub(super) fn small() -> Settings {
    Settings { max_flows: 8, ..Settings::default() }
}

/// What `-S -n` prints of a director makes the same services again.
pub fn rules_can_be_read_again(director: &mut Director) -> Result<(), String> {
    let saved = saved(director);
    let commands = ipvsadm::parse_rules(&saved).map_err(|error| format!("{error} of\n{saved}"))?;
    let mut copy = Lab::with(small(), "");
    for (number, command) in commands {
        let applied = copy.director.apply(&command, copy.turn.now);
        applied.map_err(|refused| format!("line {number} of what was saved is refused, {refused}:\n{saved}"))?;
    }
    let again = self::saved(&mut copy.director);
    // Servers come back in the opposite order, as ipvsadm's do: the one added last comes first.
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    if sorted(&again) == sorted(&saved) { Ok(()) } else { Err(format!("saved:\n{saved}restored:\n{again}")) }
}

fn saved(director: &mut Director) -> String {
    let (mut all, mut place) = (Vec::new(), Some(0));
    while let Some(from) = place {
        let Reply::Services { services, next } =
            control::answer(director, &Ledger::default(), &Request::Services(from), Instant(2_000))
        else {
            break;
        };
        all.extend(services);
        place = next;
    }
    ipvsadm::saved_text(&all, ipvsadm::Extent::Whole, &Names::default())
}

/// The first word of what something is called.
fn word_of(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// A sentence without what it is about: numbers and quoted words.
fn sentence(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| word.chars().all(|letter| letter.is_ascii_alphabetic()));
    words.take(12).collect::<Vec<_>>().join(" ")
}

/// Rules a line, for those that begin with a command line each.
fn lines() -> impl Iterator<Item = &'static str> {
    const OTHERS: &str = "\
-E -t 198.51.100.1:80 -s mh -b mh-fallback,mh-port -p 300 -M 255.255.255.0
-A -f 7 -6 -s dh
-a -f 7 -r [2001:db8::21]:0 -i --tun-type gre --tun-csum -w 3 -x 10 -y 5
-d -t 198.51.100.1:80 -r 10.0.0.21:8080
-D -t 198.51.100.1:21
-P -u 198.51.100.1:53 -z 10.0.0.30
-Q -u 198.51.100.1:53 -z 10.0.0.30
-Z -t 198.51.100.1:80
-C
--set 900 120 300
--start-daemon master --mcast-interface tap0 --syncid 7 --sync-maxlen 1400 --mcast-group 224.0.0.90 --mcast-port 9 --mcast-ttl 2
--stop-daemon master
-L -n --stats --exact --sort
-Lnc --persistent-conn
-S -n
-A -t 198.51.100.1:http -s wlc -o";
    RULES.lines().chain(OTHERS.lines())
}

/// A command line each.
pub fn command_line_seeds() -> Vec<Vec<u8>> {
    lines().map(|line| line.replace(' ', "\n").into_bytes()).collect()
}

/// All at once, and each alone.
pub fn rules_seeds() -> Vec<Vec<u8>> {
    let alone = lines().map(|line| line.as_bytes().to_vec());
    alone.chain([RULES.as_bytes().to_vec(), b"# nothing\n\nipvsadm -A -t 10.0.0.1:80\n".to_vec()]).collect()
}

/// The example of the manual.
pub fn toml_seeds() -> Vec<Vec<u8>> {
    vec![
        include_bytes!("../../../docs/tapvs.toml").to_vec(),
        b"[[link]]\nbridge = \"br0\"\naddress = [\"10.0.0.2/24\"]\n".to_vec(),
    ]
}

/// Every kind of request.
pub fn control_seeds() -> Vec<Vec<u8>> {
    let commands: Vec<Command> =
        lines().filter_map(|line| ipvsadm::parse_rules(line).ok()).flatten().map(|(_, command)| command).collect();
    let key = commands.iter().find_map(|command| match command {
        Command::AddService(key, _) => Some(*key),
        _ => None,
    });
    let others = [
        Request::Services(0),
        Request::Conns(0),
        Request::Timeouts,
        Request::Daemons,
        Request::Status,
        Request::Reload,
    ];
    let requests = commands.into_iter().map(Request::Apply).chain(key.map(Request::Service)).chain(others);
    requests.map(|request| serde_json::to_vec(&request).unwrap()).collect()
}

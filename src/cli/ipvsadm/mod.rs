//! `ipvsadm`, as a client of a running director: its command line, its output, its errors and exit statuses.
//!
//! Never decides what a command means; that is the grammar's, and whether it can be done is the director's.

mod list;
mod tool;

use std::io::BufRead;
use std::path::Path;

use super::{help, locals};
use crate::control::protocol::{LONGEST_REQUEST, Reply, Request};
use crate::control::{Client, Unreachable, strange};
use crate::io::{print_error, print_out};
use crate::ipvsadm::{self as language, CliError, Extent, Invocation};
use crate::service::command::Command;

pub use tool::Tool;

const USAGE: u8 = 2;
const REFUSED: u8 = 255;

/// What comes after a command line.
enum Ended {
    /// The next one, if there is any.
    GoOn(u8),
    /// Nothing more.
    Exit(u8),
}

/// Whether a command line stands alone or is a line of rules.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Arguments,
    Rules,
}

/// Carries out a command line; `program` is its name in messages. The exit status.
pub fn ipvsadm(program: &str, args: &[String], socket: Option<&Path>) -> u8 {
    let client = match Client::find(socket) {
        Ok(client) => client,
        Err(why) => return without_director(program, args, why),
    };
    let mut session = Session { program, client, gathered: Vec::new(), bytes: 0 };
    match session.run(args, Source::Arguments) {
        Ended::GoOn(status) | Ended::Exit(status) => status,
    }
}

/// What can be said by nobody but the program itself.
fn without_director(program: &str, args: &[String], why: Unreachable) -> u8 {
    match (why, language::parse(args)) {
        (Unreachable::Forbidden, _) => {
            let why = String::from(Unreachable::Forbidden);
            print_error(&format!(
                "Can't initialize ipvs: {why}\nAre you sure that IP Virtual Server is built in the kernel or as module?"
            ));
            USAGE
        }
        (_, Ok(Invocation::Help)) => print(&help::usage(program)),
        (_, Ok(Invocation::Version)) => print(help::VERSION),
        (_, Err(error)) => complain(program, &error),
        (Unreachable::Gone(sentence) | Unreachable::Otherwise(sentence), Ok(_)) => {
            print_error(&format!("Can't initialize ipvs: {sentence}"));
            USAGE
        }
    }
}

fn complain(program: &str, error: &CliError) -> u8 {
    if !error.text.is_empty() {
        print_error(&error.text);
    }
    if error.hints {
        print_error(&format!("Try `{program} -h' or '{program} --help' for more information."));
    }
    error.status
}

struct Session<'a> {
    program: &'a str,
    client: Client,
    /// Changes of a file of rules that are not sent yet, and their size on the way.
    gathered: Vec<Command>,
    bytes: usize,
}

impl Session<'_> {
    fn run(&mut self, args: &[String], source: Source) -> Ended {
        let invocation = match language::parse(args) {
            // Rules cannot ask for rules.
            Ok(Invocation::Restore) if source == Source::Rules => Err(CliError::hint()),
            other => other,
        };
        if let (Ok(Invocation::Change(command)), Source::Rules) = (&invocation, source) {
            return self.gather(command.clone());
        }
        // What stands after the changes is to see them.
        self.send();
        let done = match invocation {
            Err(error) => return Ended::Exit(complain(self.program, &error)),
            Ok(Invocation::Help) => return Ended::Exit(print(&help::usage(self.program))),
            Ok(Invocation::Version) => return Ended::Exit(print(help::VERSION)),
            Ok(Invocation::Restore) => return self.restore(),
            Ok(Invocation::Change(command)) => self.change(command),
            Ok(Invocation::List(listing)) => self.list(&listing),
            Ok(Invocation::ListLocals(key)) => locals::list(&mut self.client, key).map(|text| print(&text)),
            Ok(Invocation::Save(options)) => self.save(&options, Extent::AsIpvsadm),
        };
        Ended::GoOn(done.unwrap_or_else(|sentence| {
            print_error(&sentence);
            REFUSED
        }))
    }

    fn change(&mut self, command: Command) -> Result<u8, String> {
        match self.client.ask(&Request::Apply(command))? {
            Reply::Done => Ok(0),
            Reply::Refused(refused) => Err(refused.to_string()),
            _ => Err(strange()),
        }
    }

    /// Keeps a change back until there are as many as fit a request: one after the other, each would wait for its reply.
    fn gather(&mut self, command: Command) -> Ended {
        self.bytes += serde_json::to_string(&command).map_or(0, |text| text.len() + 1);
        self.gathered.push(command);
        if self.bytes < LONGEST_REQUEST / 2 { Ended::GoOn(0) } else { Ended::GoOn(self.send()) }
    }

    /// Sends the changes that were gathered. The status of the last one.
    fn send(&mut self) -> u8 {
        self.bytes = 0;
        let commands = std::mem::take(&mut self.gathered);
        let Some(last) = commands.len().checked_sub(1) else { return 0 };
        match self.client.ask(&Request::ApplyAll(commands)) {
            Ok(Reply::Applied(refused)) => {
                refused.iter().for_each(|(_, why)| print_error(&why.to_string()));
                if refused.last().is_some_and(|(number, _)| *number as usize == last) { REFUSED } else { 0 }
            }
            Ok(_) => {
                print_error(&strange());
                REFUSED
            }
            Err(sentence) => {
                print_error(&sentence);
                REFUSED
            }
        }
    }

    /// Goes on after what the director refuses, and ends at a line that is no rule. The status is the last line's.
    fn restore(&mut self) -> Ended {
        let mut status = 0;
        for line in std::io::stdin().lock().split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line);
            let words: Vec<String> =
                line.split_ascii_whitespace().filter(|word| *word != "ipvsadm").map(str::to_owned).collect();
            if words.is_empty() {
                continue;
            }
            match self.run(&language::unsigned_marks(words), Source::Rules) {
                Ended::GoOn(done) => status = done,
                Ended::Exit(done) => return Ended::Exit(done),
            }
        }
        if !self.gathered.is_empty() {
            status = self.send();
        }
        Ended::GoOn(status)
    }

    /// All rules of standard input are read before the first one that is there goes: a bad line changes nothing.
    fn replace_all(&mut self) -> Result<u8, String> {
        let text =
            std::io::read_to_string(std::io::stdin()).map_err(|error| format!("cannot read the rules: {error}"))?;
        let rules = language::parse_rules(&text).map_err(|what| format!("{what}; nothing was changed"))?;
        let mut status = 0;
        for command in std::iter::once(Command::Clear).chain(rules.into_iter().map(|(_, command)| command)) {
            if let Ended::GoOn(refused @ 1..) = self.gather(command) {
                status = refused;
            }
        }
        Ok(self.send().max(status))
    }
}

/// The exit status of having printed this.
fn print(text: &str) -> u8 {
    match print_out(text) {
        Ok(()) => 0,
        Err(sentence) => {
            print_error(&sentence);
            REFUSED
        }
    }
}

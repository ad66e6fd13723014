//! `tapvs set`, `tapvs get` and `tapvs mark`: settings and mark rules of a running director.
//!
//! Only passes words on; what they may be is the director's to say.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use crate::control::protocol::{Reply, Request};
use crate::control::{Client, strange};
use crate::io::{print_error, print_out};

/// change a setting of a running director, until a reload or another file says otherwise
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "set")]
pub struct SetArgs {
    /// its name, like drop_entry (tapvs.toml(5) has them all under settings)
    #[argh(positional)]
    pub name: String,
    /// its value
    #[argh(positional)]
    pub value: String,
    /// control socket of the director (default: $TAPVS_SOCKET, else the one that runs here)
    #[argh(option)]
    pub socket: Option<PathBuf>,
}

/// show the settings of a running director, or one of them
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "get")]
pub struct GetArgs {
    /// its name; all of them without one
    #[argh(positional)]
    pub name: Option<String>,
    /// control socket of the director (default: $TAPVS_SOCKET, else the one that runs here)
    #[argh(option)]
    pub socket: Option<PathBuf>,
}

/// change or show the mark rules of a running director, for services by mark
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "mark")]
pub struct MarkArgs {
    /// add, del or list
    #[argh(positional)]
    pub action: Action,
    /// with add and del the rule, as --mark of tapvs run takes it, like 7=tcp/198.51.100.1:80
    #[argh(positional)]
    pub rule: Option<String>,
    /// control socket of the director (default: $TAPVS_SOCKET, else the one that runs here)
    #[argh(option)]
    pub socket: Option<PathBuf>,
}

/// What is done with mark rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// One more, behind the others.
    Add,
    /// One less.
    Delete,
    /// All of them are shown.
    List,
}

impl std::str::FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Action, String> {
        match text {
            "add" => Ok(Action::Add),
            "del" => Ok(Action::Delete),
            "list" => Ok(Action::List),
            _ => Err(format!("'{text}' cannot be done with mark rules; use add, del or list")),
        }
    }
}

impl SetArgs {
    /// Changes it; an error is a sentence.
    pub fn run(self) -> Result<(), String> {
        let SetArgs { name, value, socket } = self;
        match Client::find(socket.as_deref())?.ask(&Request::Set(name, value))? {
            Reply::Set(lines) => {
                lines.iter().for_each(|line| print_error(&format!("tapvs: {line}")));
                Ok(())
            }
            _ => Err(strange()),
        }
    }
}

impl GetArgs {
    /// Prints `name value` lines, or the one value; an error is a sentence.
    pub fn run(&self) -> Result<(), String> {
        let reply = Client::find(self.socket.as_deref())?.ask(&Request::Settings)?;
        let Reply::Settings(settings) = reply else { return Err(strange()) };
        let Some(name) = &self.name else {
            let lines: String = settings.iter().map(|(name, value)| format!("{name} {value}\n")).collect();
            return print_out(&lines);
        };
        match settings.iter().find(|(other, _)| other == name) {
            Some((_, value)) => print_out(&format!("{value}\n")),
            None => Err(format!("'{name}' is not a setting; 'tapvs get' shows those there are")),
        }
    }
}

impl MarkArgs {
    /// Does it; an error is a sentence.
    pub fn run(self) -> Result<(), String> {
        let request = match (self.action, self.rule) {
            (Action::List, None) => Request::Marks,
            (Action::List, Some(_)) => return Err("mark list takes no rule".into()),
            (Action::Add, Some(rule)) => Request::AddMark(rule),
            (Action::Delete, Some(rule)) => Request::DeleteMark(rule),
            (Action::Add | Action::Delete, None) => {
                return Err("which rule? write it like 7=tcp/198.51.100.1:80".into());
            }
        };
        match Client::find(self.socket.as_deref())?.ask(&request)? {
            Reply::Marks(rules) => print_out(&rules.iter().map(|rule| format!("{rule}\n")).collect::<String>()),
            Reply::Done => Ok(()),
            _ => Err(strange()),
        }
    }
}

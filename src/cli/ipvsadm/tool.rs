//! `ipvsadm-save` and `ipvsadm-restore`, for init scripts that call them.
//!
//! The Bourne scripts of that name take the same options.

use std::path::Path;

use super::{REFUSED, Session, USAGE, without_director};
use crate::control::Client;
use crate::io::{print_error, print_out};
use crate::ipvsadm::{Extent, Opt};

/// The tools that init scripts call by their names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tool {
    /// `ipvsadm-save`: prints all rules, thresholds too.
    Save,
    /// `ipvsadm-restore`: the rules of standard input take the place of all others.
    Restore,
}

impl Tool {
    /// By the name of the program.
    pub fn named(name: &str) -> Option<Tool> {
        match name {
            "ipvsadm-save" => Some(Tool::Save),
            "ipvsadm-restore" => Some(Tool::Restore),
            _ => None,
        }
    }

    /// Runs it; the exit status.
    pub fn run(self, program: &str, args: &[String], socket: Option<&Path>) -> u8 {
        let options: Vec<&str> = args.iter().map(String::as_str).collect();
        let numeric = match (self, options.as_slice()) {
            (Tool::Save, []) | (Tool::Restore, []) => false,
            (Tool::Save, ["-n"]) => true,
            (tool, rest) => {
                let form = if tool == Tool::Save { "ipvsadm-save [-n] > FILE" } else { "ipvsadm-restore < FILE" };
                let asked = matches!(rest, ["-h" | "--help"]);
                if asked {
                    let _ = print_out(&format!("usage: {form}\n"));
                } else {
                    print_error(&format!("usage: {form}"));
                }
                return if asked { 0 } else { USAGE };
            }
        };
        let client = match Client::find(socket) {
            Ok(client) => client,
            Err(why) => return without_director(program, &["-L".into()], why),
        };
        let mut session = Session { program, client, gathered: Vec::new(), bytes: 0 };
        let numeric: &[Opt] = if numeric { &[Opt::Numeric] } else { &[] };
        let done = match self {
            Tool::Save => session.save(numeric, Extent::Whole),
            Tool::Restore => session.replace_all(),
        };
        done.unwrap_or_else(|sentence| {
            print_error(&format!("{program}: {sentence}"));
            REFUSED
        })
    }
}

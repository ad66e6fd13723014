//! `tapvs check FILE`: is this a configuration that would run?
//!
//! Opens nothing but the file.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use crate::config::{Plan, Problems, read_file};
use crate::service::command::Command;

/// check a configuration file as `tapvs run --config FILE` would, and tell every problem with line and column; opens
/// nothing but the file; exit code 0 if it is good, 1 if not
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "check")]
pub struct CheckArgs {
    /// the file, like /etc/tapvs.toml
    #[argh(positional)]
    pub file: PathBuf,
}

/// What a good file configures, in a line; a bad one's problems, a line each.
pub fn check(args: &CheckArgs) -> Result<String, Problems> {
    let plan = read_file(&args.file).and_then(Plan::from_draft)?;
    let count = |is: fn(&Command) -> bool| plan.commands.iter().filter(|planned| is(&planned.command)).count();
    let services = count(|command| matches!(command, Command::AddService(..)));
    let servers = count(|command| matches!(command, Command::AddDest(..)));
    let counted = [(plan.links.len(), "link"), (services, "service"), (servers, "server")];
    let words = counted.map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }));
    Ok(format!("{}: good: {}", args.file.display(), words.join(", ")))
}

//! The command line: what to do, and the exit code. 0 done, 1 refused or failed, 2 wrong usage.
//!
//! Never does anything itself.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use argh::{ArgsInfo, FromArgs};
use tapvs::ExecArgs;
use tapvs::RealserverArgs;
use tapvs::RunArgs;
use tapvs::cli::completion::{self, CompletionArgs};
use tapvs::cli::{
    self, AnnounceArgs, CheckArgs, CheckNowArgs, DrainArgs, ForceArgs, GetArgs, HealthArgs, MarkArgs, ProcArgs,
    ReloadArgs, SetArgs, StandbyArgs, StatusArgs, SyncArgs, Tool, UndrainArgs, UpgradeArgs, VrrpArgs,
};
use tapvs::print_error;
use tapvs::print_out;
use tapvs::start_log;

/// A Linux Virtual Server director in user space, behind a TAP device
#[derive(ArgsInfo, FromArgs)]
struct Args {
    /// print the version
    #[argh(switch)]
    version: bool,
    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand)]
// Made once; its size does not matter.
#[allow(clippy::large_enum_variant)]
enum Command {
    Run(RunArgs),
    Check(CheckArgs),
    Ipvsadm(IpvsadmArgs),
    Status(StatusArgs),
    Set(SetArgs),
    Get(GetArgs),
    Mark(MarkArgs),
    Reload(ReloadArgs),
    Upgrade(UpgradeArgs),
    Standby(StandbyArgs),
    Vrrp(VrrpArgs),
    Sync(SyncArgs),
    Announce(AnnounceArgs),
    Health(HealthArgs),
    CheckNow(CheckNowArgs),
    Drain(DrainArgs),
    Undrain(UndrainArgs),
    Force(ForceArgs),
    Proc(ProcArgs),
    Realserver(RealserverArgs),
    Exec(ExecArgs),
    Completion(CompletionArgs),
}

/// change and list services of a running director, with the command line of ipvsadm; the same as this program under
/// the name ipvsadm
#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand, name = "ipvsadm")]
struct IpvsadmArgs {
    /// control socket of the director, as the first option (default: $TAPVS_SOCKET, else the one that runs here)
    #[argh(option)]
    socket: Option<PathBuf>,
    /// what ipvsadm takes
    #[argh(positional, greedy)]
    args: Vec<String>,
}

fn main() -> ExitCode {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let program = words.next().unwrap_or_default();
    let words: Vec<String> = words.collect();
    if let Some(status) = as_ipvsadm(&program, &words) {
        return ExitCode::from(status);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let args = match Args::from_args(&["tapvs"], &words) {
        Ok(args) => args,
        Err(early) if early.status.is_ok() => return ended(print_out(&early.output)),
        Err(early) => return usage(&early.output),
    };
    start_log();
    let done = match args.command {
        Some(Command::Run(args)) => match args.missing() {
            Some(what) => return usage(what),
            None => match tapvs::run(args) {
                Ok(status) => return ExitCode::from(status),
                Err(sentence) => Err(sentence),
            },
        },
        Some(Command::Check(args)) => return check(&args),
        Some(Command::Realserver(args)) => args.run().map_err(|error| error.to_string()),
        Some(Command::Exec(args)) => match args.run() {
            Ok(code) => return code,
            Err((sentence, status)) => {
                print_error(&format!("tapvs: {sentence}"));
                return ExitCode::from(status);
            }
        },
        Some(Command::Completion(args)) => print_out(&completion::script(args.shell, &Args::get_args_info())),
        Some(Command::Status(args)) if args.ocf => return ExitCode::from(args.ocf_code()),
        Some(Command::Status(args)) => args.run(),
        Some(Command::Set(args)) => args.run(),
        Some(Command::Get(args)) => args.run(),
        Some(Command::Mark(args)) => args.run(),
        Some(Command::Reload(args)) => args.run(),
        Some(Command::Upgrade(args)) => args.run(),
        Some(Command::Standby(args)) => args.run(),
        Some(Command::Vrrp(args)) => args.run(),
        Some(Command::Sync(args)) => args.run(),
        Some(Command::Announce(args)) => args.run(),
        Some(Command::Health(args)) => args.run(),
        Some(Command::CheckNow(args)) => args.run(),
        Some(Command::Drain(args)) => args.run(),
        Some(Command::Undrain(args)) => args.run(),
        Some(Command::Force(args)) => args.run(),
        Some(Command::Proc(args)) => args.run(),
        // Where `as_ipvsadm` did not see it, behind an option of tapvs itself.
        Some(Command::Ipvsadm(IpvsadmArgs { socket, args })) => {
            return ExitCode::from(cli::ipvsadm("tapvs ipvsadm", &args, socket.as_deref()));
        }
        None if args.version => print_out(&format!("tapvs {}\n", tapvs::version())),
        None => {
            return usage(
                "no command; use run, check, ipvsadm, status, set, get, mark, reload, upgrade, standby, vrrp, sync, announce, health, check-now, drain, undrain, force, proc, realserver, exec or completion",
            );
        }
    };
    ended(done)
}

fn ended(done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            for line in sentence.lines() {
                print_error(&format!("tapvs: {}", line.strip_prefix("tapvs: ").unwrap_or(line)));
            }
            ExitCode::FAILURE
        }
    }
}

/// The exit status, if this is a command line of ipvsadm: by the program's name, or by the first word.
fn as_ipvsadm(program: &str, words: &[String]) -> Option<u8> {
    let name = Path::new(program).file_name().map(|name| name.to_string_lossy());
    if name.as_deref() == Some("ipvsadm") {
        return Some(cli::ipvsadm(program, words, None));
    }
    if let Some(tool) = name.as_deref().and_then(Tool::named) {
        return Some(tool.run(program, words, None));
    }
    let program = format!("{program} ipvsadm");
    match words {
        [first, option, socket, args @ ..] if first == "ipvsadm" && option == "--socket" => {
            Some(cli::ipvsadm(&program, args, Some(Path::new(socket))))
        }
        [first, args @ ..] if first == "ipvsadm" => Some(cli::ipvsadm(&program, args, None)),
        _ => None,
    }
}

/// Problems begin with file, line and column, as editors read them.
fn check(args: &CheckArgs) -> ExitCode {
    match cli::check(args) {
        Ok(line) => ended(print_out(&(line + "\n"))),
        Err(problems) => {
            print_error(&problems.to_string());
            ExitCode::FAILURE
        }
    }
}

/// One line, whatever the parser had to say.
fn usage(text: &str) -> ExitCode {
    let said: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let said: Vec<&str> = said.into_iter().filter(|line| !line.starts_with("Run ")).collect();
    print_error(&format!("tapvs: {}; try 'tapvs --help' or 'tapvs run --help'", said.join(" ")));
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use argh::CommandInfoWithArgs;

    use super::*;

    const MANUAL: &str = include_str!("../docs/tapvs.8");

    /// The options that the manual explains under a heading: the words behind `Fl` of its list.
    fn explained(heading: &str) -> BTreeSet<String> {
        let section = MANUAL.split("\n.S").find(|section| section.starts_with(&format!("s {heading}\n")));
        let section = section.unwrap_or_else(|| panic!("docs/tapvs.8 has no '.Ss {heading}'"));
        let items = section.lines().filter_map(|line| line.strip_prefix(".It "));
        let words: Vec<&str> = items.flat_map(str::split_whitespace).collect();
        words.windows(2).filter(|pair| pair[0] == "Fl").map(|pair| format!("-{}", pair[1])).collect()
    }

    fn check(info: &CommandInfoWithArgs, path: &str) {
        let flags = info.flags.iter().filter(|flag| flag.long != "--help");
        let letters = flags.clone().filter_map(|flag| flag.short).map(|letter| format!("-{letter}"));
        let known: BTreeSet<String> = flags.map(|flag| flag.long.to_owned()).chain(letters).collect();
        if info.commands.is_empty() || !known.is_empty() {
            assert_eq!(explained(path), known, "{path}: the manual against the options");
        }
        for below in info.commands.iter().filter(|below| below.name != "ipvsadm") {
            check(&below.command, &format!("{path} {}", below.name));
        }
    }

    #[test]
    fn the_manual_explains_every_option_and_no_other() {
        check(&Args::get_args_info(), "tapvs");
    }

    #[test]
    fn the_manual_explains_every_option_of_ipvsadm_and_no_other() {
        let known = tapvs::option_names().flat_map(|(long, short, _)| {
            let letter = short.map(|letter| format!("-{letter}"));
            [Some(format!("--{long}")), letter].into_iter().flatten()
        });
        assert_eq!(explained("tapvs ipvsadm"), known.collect());
    }

    #[test]
    fn every_shell_is_offered_every_option() {
        let info = Args::get_args_info();
        for shell in [completion::Shell::Bash, completion::Shell::Zsh] {
            let script = completion::script(shell, &info);
            for section in ["tapvs run", "tapvs realserver up", "tapvs ipvsadm"] {
                for option in explained(section) {
                    assert!(script.contains(&option), "{shell:?}: {option}");
                }
            }
        }
    }
}

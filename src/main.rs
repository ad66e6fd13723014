//! The command line: what to do, and the exit code. 0 done, 1 refused or failed, 2 wrong usage.
//!
//! Never does anything itself.

use std::process::ExitCode;

use argh::FromArgs;
use tapvs::realserver::RealserverArgs;
use tapvs::run::{self, CheckArgs, RunArgs};

/// A Linux Virtual Server director in user space, behind a TAP device
#[derive(FromArgs)]
struct Args {
    /// print the version
    #[argh(switch)]
    version: bool,
    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Run(Box<RunArgs>),
    Check(CheckArgs),
    Realserver(RealserverArgs),
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let args = match Args::from_args(&["tapvs"], &words) {
        Ok(args) => args,
        Err(early) if early.status.is_ok() => {
            print!("{}", early.output);
            return ExitCode::SUCCESS;
        }
        Err(early) => return usage(&early.output),
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    let done = match args.command {
        Some(Command::Run(args)) => match args.missing() {
            Some(what) => return usage(what),
            None => run::run(*args),
        },
        Some(Command::Check(args)) => return check(&args),
        Some(Command::Realserver(args)) => args.run().map_err(|error| error.to_string()),
        None if args.version => {
            println!("tapvs {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        None => return usage("no command; use run, check or realserver"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            for line in sentence.lines() {
                eprintln!("tapvs: {}", line.strip_prefix("tapvs: ").unwrap_or(line));
            }
            ExitCode::FAILURE
        }
    }
}

/// Problems begin with file, line and column, as editors read them.
fn check(args: &CheckArgs) -> ExitCode {
    match run::check(args) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::FAILURE
        }
    }
}

/// One line, whatever the parser had to say.
fn usage(text: &str) -> ExitCode {
    let said: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let said: Vec<&str> = said.into_iter().filter(|line| !line.starts_with("Run ")).collect();
    eprintln!("tapvs: {}; try 'tapvs --help' or 'tapvs run --help'", said.join(" "));
    ExitCode::from(2)
}

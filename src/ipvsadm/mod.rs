//! What operators say: the grammar of `ipvsadm`, from words to commands and back.
//!
//! Pure: no sockets, no devices. Errors carry ipvsadm's words and exit status.

mod address;
mod allowed;
mod grammar;
mod listing;
mod meaning;
mod names;
mod options;
mod order;
pub mod proc;
mod save;
mod words;

pub use grammar::{Invocation, Listing, parse};
pub use listing::{VERSION_LINE, conns_text, conns_titles, daemons_text, saved_text, services_text, timeouts_text};
pub use names::Names;
pub use options::{Opt, option_names};
pub use order::sort;
pub use save::{Extent, netmask_text};
#[cfg(test)]
pub use save::{dest_line, local_line, service_line};

use crate::service::command::Command;

/// A command line that is refused before anything was asked of the director.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CliError {
    /// What is wrong, as ipvsadm says it.
    pub text: String,
    /// 2 for what ipvsadm checks itself, 255 for what its option parser does not know.
    pub status: u8,
    /// Points to the help text as well.
    pub hints: bool,
}

impl CliError {
    fn usage(text: impl Into<String>) -> CliError {
        CliError { text: text.into(), status: 2, hints: false }
    }

    /// Before there is a command ipvsadm only points to its help.
    pub fn hint() -> CliError {
        CliError { text: String::new(), status: 255, hints: true }
    }
}

/// Reads rules as `ipvsadm -S -n` prints them, a command a line, each with its line number. Empty lines are skipped,
/// and lines that begin with `#`, as `ipvsadm-restore` does.
pub fn parse_rules(text: &str) -> Result<Vec<(usize, Command)>, String> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let rules = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    rules
        .map(|(number, line)| Ok((number, parse_rule(line).map_err(|what| format!("line {number}: {what}"))?)))
        .collect()
}

/// ipvsadm saves a mark of 2^31 and more as a negative number, which it refuses to read. Rules may have one.
pub fn unsigned_marks(mut words: Vec<String>) -> Vec<String> {
    for at in 1..words.len() {
        if let (true, Ok(mark @ ..0)) = (words[at - 1] == "-f", words[at].parse::<i32>()) {
            words[at] = mark.cast_unsigned().to_string();
        }
    }
    words
}

fn parse_rule(line: &str) -> Result<Command, String> {
    let words = line.split_whitespace().filter(|word| *word != "ipvsadm").map(str::to_owned).collect();
    match parse(&unsigned_marks(words)) {
        Ok(Invocation::Change(command)) => Ok(command),
        Ok(_) => Err(format!("'{line}' is not a rule; use -A, -a and their kind, as ipvsadm -S -n prints them")),
        Err(error) if error.text.is_empty() => Err(format!("'{line}' is not a rule of ipvsadm")),
        Err(error) => Err(format!("{}: '{line}'", error.text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(rules: &[(usize, Command)]) -> String {
        let line = |command: &Command| match command {
            Command::AddService(key, options) => service_line(*key, options, &Names::default()),
            Command::AddDest(key, real, options) => dest_line(*key, *real, options, &Names::default()),
            Command::AddLocalAddress(key, local) => local_line(*key, *local, &Names::default()),
            other => format!("{other:?}"),
        };
        rules.iter().map(|(_, command)| line(command) + "\n").collect()
    }

    #[test]
    fn what_is_saved_reads_back_identically() {
        let saved = "\
-A -t 192.168.10.100:80 -s wrr
-a -t 192.168.10.100:80 -r 192.168.10.11:8080 -m -w 3
-A -t 10.0.0.100:443 -s sh -p 300 -M 255.255.255.0 -b sh-fallback,sh-port
-a -t 10.0.0.100:443 -r 10.0.0.11:443 -i -w 2 --tun-type gre --tun-csum
-a -t 10.0.0.100:443 -r 10.0.0.12:443 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum
-A -u 10.0.0.100:53 -s rr -o
-a -u 10.0.0.100:53 -r 10.0.0.11:53 -i -w 0 --tun-type ipip
-A -u 10.0.0.100:5060 -s rr -p 600 --pe sip
-A --sctp-service 10.0.0.100:3868 -s lc
-A -t [2001:db8::80]:80 -s mh -p 360 -M 64 -b mh-port
-a -t [2001:db8::80]:80 -r [2001:db8::a0a0]:80 -g -w 1
-A -f 7 -s wlc -p 360
-a -f 7 -r 10.0.0.11:0 -g -w 1
-A -f 8 -6 -s rr -b flag-1,flag-3
-a -f 8 -6 -r [2001:db8::a0a0]:0 -m -w 1
-P -t 10.0.0.100:443 -z 10.0.0.30
-P -t 10.0.0.100:443 -z 2001:db8::30
-a -t 10.0.0.100:443 -r 10.0.0.14:8443 --fullnat -w 1
-A -t 10.0.0.101:443 -s mh -b 7
";
        assert_eq!(printed(&parse_rules(saved).unwrap()), saved);
        let commented = format!("# rules\n\n  ipvsadm {saved}");
        assert_eq!(parse_rules(&commented).unwrap()[0].0, 3);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (bad, what) in [
            ("-A -t 10.0.0.1:80 -s rr\n-x\n", "line 2: '-x' is not a rule of ipvsadm"),
            ("-Ln\n", "line 1: '-Ln' is not a rule; use -A, -a and their kind, as ipvsadm -S -n prints them"),
            (
                "-a -t 10.0.0.1:80 -r x\n",
                "line 1: illegal real server address[:port] specified: '-a -t 10.0.0.1:80 -r x'",
            ),
        ] {
            assert_eq!(parse_rules(bad).unwrap_err(), what);
        }
    }
}

//! A recorded case: its actions, the names its resolver knew, and what its last action printed.
//!
//! Never runs anything.

use std::path::Path;

/// What a case does, in order.
pub struct Case {
    /// Lines of `/etc/hosts`.
    pub hosts: String,
    /// Actions.
    pub actions: Vec<Action>,
}

/// One line of a case.
pub enum Action {
    /// The program with these arguments and this input.
    Run {
        /// As the user nobody, not as root.
        user: User,
        /// Its arguments.
        args: Vec<String>,
        /// Its standard input.
        input: Input,
    },
    /// Keeps what `-S -n` prints.
    Save,
    /// A packet arrives.
    Packet(serde_json::Value),
    /// Nothing happens for so many seconds.
    Sleep(f64),
}

/// Who runs the program.
#[derive(Clone, Copy)]
pub enum User {
    /// Root.
    Root,
    /// The user nobody.
    Nobody,
}

/// What the program reads.
pub enum Input {
    /// Nothing.
    Nothing,
    /// This text.
    Text(String),
    /// What was saved before.
    Saved,
}

/// What a run came to.
#[derive(Default)]
pub struct Printed {
    /// On standard output.
    pub out: String,
    /// On standard error.
    pub err: String,
    /// Exit status.
    pub status: i32,
}

impl Printed {
    /// What the real program printed: the files beside the case; none: nothing.
    pub fn recorded(case: &Path) -> Result<Printed, String> {
        let read = |ending: &str| std::fs::read_to_string(case.with_extension(ending)).unwrap_or_default();
        let status = read("rc").trim().parse().map_err(|_| "the exit status was not recorded".to_owned())?;
        Ok(Printed { out: read("out"), err: read("err"), status })
    }

    /// Conns come in no order: they are compared sorted, below their two lines of titles.
    pub fn sorted_out(&self) -> String {
        if !self.out.starts_with("IPVS connection entries\n") {
            return self.out.clone();
        }
        let mut lines: Vec<&str> = self.out.lines().collect();
        if let Some(conns) = lines.get_mut(2..) {
            conns.sort_unstable();
        }
        lines.join("\n")
    }
}

/// Reads a case.
pub fn parse(text: &str) -> Result<Case, String> {
    let mut case = Case { hosts: "127.0.0.1 localhost\n".into(), actions: Vec::new() };
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if let Some(host) = line.strip_prefix("# hosts: ") {
            case.hosts += &format!("{host}\n");
        } else if !line.starts_with('#') {
            case.actions.push(action(line).map_err(|what| format!("'{line}': {what}"))?);
        }
    }
    Ok(case)
}

fn action(line: &str) -> Result<Action, String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "ipvsadm" => Ok(run(User::Root, words(rest)?, Input::Nothing)),
        "nobody" => {
            let rest = rest.strip_prefix("ipvsadm").ok_or("nobody runs ipvsadm only")?;
            Ok(run(User::Nobody, words(rest)?, Input::Nothing))
        }
        "save" => Ok(Action::Save),
        "restore" if rest.is_empty() => Ok(run(User::Root, vec!["-R".into()], Input::Saved)),
        "restore" => Ok(run(User::Root, vec!["-R".into()], Input::Text(rest.replace("\\n", "\n")))),
        "run" => action(rest),
        "pkt" => packet(rest).map(Action::Packet),
        "sleep" => rest.parse().map(Action::Sleep).map_err(|_| "not a number of seconds".into()),
        _ => Err("not an action".into()),
    }
}

fn run(user: User, args: Vec<String>, input: Input) -> Action {
    Action::Run { user, args, input }
}

/// `INTERFACE PROTO SRC DST FLAGS [LENGTH]`, for UDP `INTERFACE PROTO SRC DST LENGTH`: as the traces write packets.
fn packet(text: &str) -> Result<serde_json::Value, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [at, proto, src, dst, rest @ ..] = words.as_slice() else {
        return Err("a packet has four words at least".into());
    };
    let (flags, length) = match (*proto, rest) {
        ("tcp", [flags, rest @ ..]) => (*flags, rest.first()),
        (_, rest) => ("", rest.first()),
    };
    let length: u64 = length.unwrap_or(&"0").parse().map_err(|_| "not a length".to_owned())?;
    let ((src, sport), (dst, dport)) = (endpoint(src)?, endpoint(dst)?);
    Ok(serde_json::json!({
        "at": at, "proto": proto, "src": src, "sport": sport, "dst": dst, "dport": dport, "flags": flags, "data": length,
    }))
}

fn endpoint(text: &str) -> Result<(String, u16), String> {
    let end: std::net::SocketAddr = text.parse().map_err(|_| format!("'{text}' is not ADDRESS:PORT"))?;
    Ok((end.ip().to_string(), end.port()))
}

/// Words as a shell takes them apart: blanks, both quotes, the backslash.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => quoted(&mut letters, '\'', word.get_or_insert_default())?,
            '"' => quoted(&mut letters, '"', word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().extend(letters.next()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(letters: &mut std::str::Chars<'_>, end: char, word: &mut String) -> Result<(), String> {
    while let Some(letter) = letters.next() {
        match letter {
            letter if letter == end => return Ok(()),
            '\\' if end == '"' => word.extend(letters.next()),
            letter => word.push(letter),
        }
    }
    Err(format!("no closing {end}"))
}

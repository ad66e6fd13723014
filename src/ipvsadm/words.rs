//! How an `ipvsadm` command line is cut into options and their values.
//!
//! Cuts as popt does: the command comes first, short options cluster, values may be attached. Never judges values.

use super::CliError;
use super::options::Value::{Needed, None as No, Optional};
use super::options::{Row, TABLE, Value, Verb, Word};

/// One option as it was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given {
    /// What it is.
    pub word: Word,
    /// Its value.
    pub value: Option<String>,
    /// The argument in which it stood, for messages.
    pub arg: String,
}

/// A command line that is cut one option at a time: what is wrong later is not said before what is wrong now.
pub struct Words<'a> {
    args: std::slice::Iter<'a, String>,
    /// The argument being cut, and where in it the next letter stands.
    cluster: Option<(&'a str, usize)>,
    first: Option<Word>,
    /// What is no option, so far.
    pub rest: Vec<String>,
}

impl<'a> Words<'a> {
    /// Nothing is cut yet.
    pub fn new(args: &'a [String]) -> Words<'a> {
        Words { args: args.iter(), cluster: None, first: None, rest: Vec::new() }
    }

    fn cut(&mut self) -> Result<Option<Given>, CliError> {
        if let Some((arg, at)) = self.cluster.take() {
            return self.letter(arg, at).map(Some);
        }
        while let Some(arg) = self.args.next() {
            if arg == "--" {
                self.rest.extend(self.args.by_ref().cloned());
            } else if let Some(name) = arg.strip_prefix("--") {
                return self.long(arg, name).map(Some);
            } else if arg.len() > 1 && arg.starts_with('-') {
                return self.letter(arg, 1).map(Some);
            } else {
                self.rest.push(arg.clone());
            }
        }
        Ok(None)
    }

    fn long(&mut self, arg: &str, name: &str) -> Result<Given, CliError> {
        let (name, attached) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        let row = TABLE.iter().find(|row| row.0 == name).ok_or_else(|| self.error(arg, "unknown option"))?;
        if self.kind(row) == No && attached.is_some() {
            return Err(self.error(arg, "option does not take an argument"));
        }
        self.given(row, arg, attached)
    }

    /// `-Ln`, `-t10.0.0.1:80`: letters until one takes the rest as its value.
    fn letter(&mut self, arg: &'a str, at: usize) -> Result<Given, CliError> {
        let letter = arg[at..].chars().next().unwrap_or('-');
        let found = TABLE.iter().find(|row| row.1 == Some(letter));
        let row = found.ok_or_else(|| self.error(arg, "unknown option"))?;
        let next = at + letter.len_utf8();
        let rest = &arg[next..];
        let takes_rest = self.kind(row) != No && !rest.is_empty();
        if !takes_rest && !rest.is_empty() {
            self.cluster = Some((arg, next));
        }
        self.given(row, arg, takes_rest.then(|| rest.strip_prefix('=').unwrap_or(rest).to_owned()))
    }

    /// Whether an option takes a value; with a server command -b is short for --fullnat, which takes none.
    fn kind(&self, row: &Row) -> Value {
        let of_server = matches!(self.first, Some(Word::Verb(Verb::AddServer | Verb::EditServer)));
        if row.3 == Word::FlagsOrFullNat && of_server { No } else { row.2 }
    }

    fn given(&mut self, row: &Row, arg: &str, attached: Option<String>) -> Result<Given, CliError> {
        let value = match self.kind(row) {
            No => None,
            Needed | Optional if attached.is_some() => attached,
            Needed => Some(self.args.next().ok_or_else(|| self.error(arg, "missing argument"))?.clone()),
            Optional => {
                let next = self.args.as_slice().first().filter(|next| !next.starts_with('-'));
                next.and_then(|_| self.args.next()).cloned()
            }
        };
        self.first.get_or_insert(row.3);
        Ok(Given { word: row.3, value, arg: arg.to_owned() })
    }

    /// The option parser's own errors; before there is a command ipvsadm only points to its help.
    fn error(&self, arg: &str, what: &str) -> CliError {
        let hints = self.first.is_none();
        CliError { text: if hints { String::new() } else { format!("{arg}: {what}") }, status: 255, hints }
    }
}

impl Iterator for Words<'_> {
    type Item = Result<Given, CliError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.cut().transpose()
    }
}

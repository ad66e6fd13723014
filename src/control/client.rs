//! The asking side of the control socket: finds the director's socket, asks, and reads the answers.
//!
//! Never touches a packet or a device.

use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::protocol::{ConnEntry, HealthEntry, Reply, Request, ServiceEntry, Wish};
use crate::base::version;
use crate::io::{Connection, DIRECTORY, VARIABLE, sockets_here};

/// An upgrade takes so long at most besides what it was given.
const LATER: Duration = Duration::from_secs(10);

/// Why a director does not answer.
pub enum Unreachable {
    /// This user may not ask it.
    Forbidden,
    /// There is none; a sentence or two for the operator.
    Gone(String),
    /// A sentence or two for the operator.
    Otherwise(String),
}

impl From<Unreachable> for String {
    fn from(why: Unreachable) -> String {
        match why {
            Unreachable::Forbidden => "Permission denied (you must be root)".into(),
            Unreachable::Gone(sentence) | Unreachable::Otherwise(sentence) => sentence,
        }
    }
}

/// A running director.
pub struct Client {
    connection: Connection,
    path: PathBuf,
}

impl Client {
    /// The director at `path`, else at `$TAPVS_SOCKET`, else the one that runs here.
    pub fn find(path: Option<&Path>) -> Result<Client, Unreachable> {
        let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        match path.map(Path::to_owned).or(named) {
            Some(path) => Client::open(path),
            None => Client::open(only_one()?),
        }
    }

    /// The director at this path.
    pub fn open(path: PathBuf) -> Result<Client, Unreachable> {
        match Connection::open(&path) {
            Ok(connection) => Ok(Client { connection, path }),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(Unreachable::Forbidden),
            Err(error) => {
                let said = |what: &str| format!("{}: {what}", path.display());
                Err(match error.kind() {
                    ErrorKind::NotFound => Unreachable::Gone(said("there is no socket; is the director running?")),
                    ErrorKind::ConnectionRefused => Unreachable::Gone(said("the director that was there has ended")),
                    _ => Unreachable::Otherwise(said(&error.to_string())),
                })
            }
        }
    }

    /// Where its socket lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The socket, which becomes readable between two questions when the director goes.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }

    /// Answers are waited for so long from now on.
    pub fn be_patient(&self, patience: Duration) -> io::Result<()> {
        self.connection.be_patient(patience)
    }

    /// Asks one thing; an error is a sentence, this side's or the director's.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, String> {
        match self.exchange(request)? {
            Reply::Error(sentence) => Err(sentence),
            reply => Ok(reply),
        }
    }

    /// Asks one thing; an error is a sentence, and means that this connection is of no use any more.
    pub fn exchange(&mut self, request: &Request) -> Result<Reply, String> {
        self.exchange_waiting(request, |_| Ok(()))
    }

    /// The same, for who has other things to do until the answer comes: `wait` is given the socket to wait on.
    pub fn exchange_waiting(
        &mut self,
        request: &Request,
        wait: impl FnOnce(BorrowedFd) -> io::Result<()>,
    ) -> Result<Reply, String> {
        self.exchange_line(request, wait)
    }

    /// Names the program of an upgrade to the keeper that has taken this conversation over; an error is a sentence.
    pub fn wish(&mut self, wish: &Wish) -> Result<Reply, String> {
        // The director answers when all is over.
        let longest = Duration::from_secs(wish.ready_s + wish.proof_s) + LATER;
        self.connection.be_patient(longest).map_err(|error| error.to_string())?;
        match self.exchange_line(wish, |_| Ok(()))? {
            Reply::Error(sentence) => Err(sentence),
            reply => Ok(reply),
        }
    }

    fn exchange_line(
        &mut self,
        line: &impl Serialize,
        wait: impl FnOnce(BorrowedFd) -> io::Result<()>,
    ) -> Result<Reply, String> {
        let path = self.path.display();
        let line = serde_json::to_string(line).map_err(|error| format!("cannot write the request: {error}"))?;
        let answer = self.connection.ask_waiting(&line, wait).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => format!("{path}: the director does not answer"),
            ErrorKind::UnexpectedEof => format!("{path}: the director has closed the connection"),
            _ => format!("{path}: {error}"),
        })?;
        let mut reply = serde_json::from_slice(answer.as_bytes())
            .map_err(|error| format!("{path}: not an answer that tapvs {} knows: {error}", version()))?;
        if let Reply::Listed { len, messages, .. } = &mut reply {
            *messages = self.connection.read_bytes(*len).map_err(|error| format!("{path}: {error}"))?;
        }
        Ok(reply)
    }

    /// All services, page by page, in the director's order.
    pub fn services(&mut self) -> Result<Vec<ServiceEntry>, String> {
        let (mut all, mut from) = (Vec::new(), Some(0));
        while let Some(place) = from {
            let Reply::Services { services, next } = self.ask(&Request::Services(place))? else {
                return Err(strange());
            };
            all.extend(services);
            from = next;
        }
        Ok(all)
    }

    /// All services with their checks.
    pub fn health(&mut self) -> Result<Vec<HealthEntry>, String> {
        let (mut all, mut from) = (Vec::new(), Some(0));
        while let Some(place) = from {
            let Reply::Health { services, next } = self.ask(&Request::Health(place))? else { return Err(strange()) };
            all.extend(services);
            from = next;
        }
        Ok(all)
    }

    /// All conns, a page at a time.
    pub fn each_conn(&mut self, mut take: impl FnMut(&[ConnEntry])) -> Result<(), String> {
        let mut from = Some(0);
        while let Some(place) = from {
            let Reply::Conns { conns, next } = self.ask(&Request::Conns(place))? else { return Err(strange()) };
            take(&conns);
            from = next;
        }
        Ok(())
    }
}

/// The director of this network namespace, or, if there is none here, the only one of the host.
fn only_one() -> Result<PathBuf, Unreachable> {
    let (here, all) = sockets_here();
    match (here.as_slice(), all.as_slice()) {
        ([only], _) | ([], [only]) => Ok(only.clone()),
        ([], []) => Err(Unreachable::Gone(format!(
            "no director runs here: there is no socket in {DIRECTORY}; start one with 'tapvs run', or name its socket with {VARIABLE}=PATH"
        ))),
        ([], several) | (several, _) => {
            let names: Vec<String> = several.iter().map(|path| path.display().to_string()).collect();
            Err(Unreachable::Otherwise(format!(
                "{} directors run here; choose one with {VARIABLE}=PATH: {}",
                several.len(),
                names.join(" ")
            )))
        }
    }
}

/// The sentence for an answer of the wrong kind.
pub fn strange() -> String {
    "the director's answer does not fit the question".into()
}

//! Command lines of a recording, carried out by the real program against a director that really runs.
//!
//! Several cases at a time, each worker in network and mount namespaces of its own, which go when it goes. Compares what
//! the last action of a case printed, and its exit status.

mod lab;
mod script;
mod stations;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use super::case::{self, Outcome};
use lab::Lab;
use script::Printed;

/// The argument that makes this program a worker.
pub const WORKER: &str = "--worker";
/// Cases at a time: most of a case's time is waiting.
const WORKERS: usize = 8;

/// The kernel's own ipvsadm, run by `tapvs exec` instead of tapvs's.
fn kernels_program() -> Option<std::ffi::OsString> {
    std::env::var_os("IPVSADM").filter(|program| !program.is_empty())
}

/// Conns are not listed over netlink: the kernel's program reads them from a file that only the kernel has.
fn can_be_replayed(case: &Path) -> bool {
    let recorded = std::fs::read_to_string(case.with_extension("out")).unwrap_or_default();
    kernels_program().is_none() || !recorded.starts_with("IPVS connection entries\n")
}

/// Replays all cases of a directory.
pub fn replay(dir: &Path) -> Result<Vec<Outcome>, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err(format!("{}: needs root: it makes network namespaces", dir.display()));
    }
    let room = Room::new()?;
    let mut cases: Vec<PathBuf> = case::entries(dir)?;
    cases.retain(|path| path.extension().is_some_and(|ext| ext == "cmd") && can_be_replayed(path));
    let workers = WORKERS.min(cases.len());
    // Those that wait come first: the others fill the time.
    cases.sort_by_key(|path| !std::fs::read_to_string(path).is_ok_and(|text| text.contains("\nsleep ")));
    cases.reverse();
    let queue = Mutex::new(cases);
    let outcomes = Mutex::new(Vec::new());
    let work = |number: usize| -> Result<(), String> {
        let mut worker = Worker::start(&room.0, number)?;
        while let Some(path) = next(&queue) {
            let difference = worker.replay(&path)?;
            let name = format!("ipvsadm-cli/{}", case::stem(&path));
            outcomes.lock().map_err(|_| "a worker failed")?.push(Outcome { name, difference, ..Outcome::default() });
        }
        worker.end()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|number| scope.spawn(move || work(number))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a worker failed".to_owned())?)
    })?;
    let mut outcomes = outcomes.into_inner().map_err(|_| "a worker failed")?;
    outcomes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(outcomes)
}

fn next(queue: &Mutex<Vec<PathBuf>>) -> Option<PathBuf> {
    queue.lock().ok()?.pop()
}

/// What a worker does: a path a line in, what differs a line out (as JSON; null: nothing).
pub fn work(room: &str) -> Result<(), String> {
    let mut lab = Lab::new(Path::new(room))?;
    for line in std::io::stdin().lines() {
        let path = PathBuf::from(line.map_err(|error| error.to_string())?);
        let difference = match differs(&mut lab, &path) {
            Ok(()) => serde_json::Value::Null,
            Err(text) => text.into(),
        };
        println!("{difference}");
    }
    Ok(())
}

fn differs(lab: &mut Lab, path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    let case = script::parse(&text)?;
    let got = lab.run(&case)?;
    let wanted = Printed::recorded(path)?;
    case::same("stdout", got.sorted_out(), wanted.sorted_out())?;
    case::same("stderr", &got.err, &wanted.err)?;
    case::same("exit status", got.status, wanted.status)
}

/// A directory for the programs and sockets of a replay; goes with it.
struct Room(PathBuf);

impl Room {
    fn new() -> Result<Room, String> {
        let path = std::env::temp_dir().join(format!("tapvs-oracle-{}", std::process::id()));
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        std::fs::create_dir(&path).map_err(failed)?;
        let room = Room(path.clone());
        let here = std::env::current_exe().map_err(failed)?;
        let built = here.parent().and_then(Path::parent).ok_or("this program lies nowhere")?.join("tapvs");
        // A copy: the user nobody must be able to start it, wherever it was built.
        std::fs::copy(&built, room.0.join("tapvs")).map_err(|error| format!("{}: {error}", built.display()))?;
        Ok(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("oracle: {}: cannot be removed: {error}", self.0.display());
        }
    }
}

struct Worker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    fn start(room: &Path, number: usize) -> Result<Worker, String> {
        let own = room.join(number.to_string());
        std::fs::create_dir(&own).map_err(|error| format!("{}: {error}", own.display()))?;
        let here = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut child = Command::new("unshare")
            .args(["--net", "--mount", "--fork", "--kill-child"])
            .arg(here)
            .arg(WORKER)
            .arg(own)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let input = child.stdin.take().ok_or("a worker without input")?;
        let output = child.stdout.take().ok_or("a worker without output")?;
        Ok(Worker { child, input, output: BufReader::new(output) })
    }

    fn replay(&mut self, case: &Path) -> Result<Option<String>, String> {
        let ended = |error: std::io::Error| format!("{}: the worker ended: {error}", case.display());
        writeln!(self.input, "{}", case.display()).map_err(ended)?;
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(ended)?;
        serde_json::from_str(&line).map_err(|_| format!("{}: the worker ended", case.display()))
    }

    fn end(mut self) -> Result<(), String> {
        drop(self.input);
        self.child.wait().map(|_| ()).map_err(|error| error.to_string())
    }
}

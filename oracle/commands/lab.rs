//! A director between two bridges, in the namespaces of this process, anew for every case; and the program that asks it.
//!
//! Never touches a network that it did not make: the caller has given it namespaces of its own.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::script::{Action, Case, Input, Printed, User};
use super::stations::Stations;
use crate::build;

/// The program's path in the recordings.
const NAME: &str = "/usr/sbin/ipvsadm";
const MODPROBE: &str = "/sbin/modprobe";
const NOBODY: u32 = 65_534;
/// What a director may take to start, and a run to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything is reached by stations that answer for every address; what a case uses is on no link itself. Without the fast
/// path, whose tables take the kernel longer to make than all else of a director's start.
const CONFIG: &str = r#"
settings = { fast = "off" }
gateway = ["192.0.0.2", "2001:2::2"]
[[link]]
bridge = "brc"
tap = "c0"
address = ["192.0.0.1/29", "2001:2::1/64"]
mac = "02:00:00:00:0c:01"
[[link]]
bridge = "brr"
tap = "r0"
address = ["192.0.0.9/29", "2001:2:0:1::1/64"]
mac = "02:00:00:00:0d:01"
"#;

/// Bridges with stations on them.
pub struct Lab {
    room: PathBuf,
    clients: Stations,
    servers: Stations,
    saved: String,
}

impl Lab {
    /// In the namespaces of this process; its files in `room`.
    pub fn new(room: &Path) -> Result<Lab, String> {
        ip("link set lo up")?;
        for family in ["all", "default"] {
            write(format!("/proc/sys/net/ipv6/conf/{family}/disable_ipv6"), "1")?;
        }
        for bridge in ["brc", "brr"] {
            ip(&format!("link add {bridge} type bridge forward_delay 0 stp_state 0 mcast_snooping 0"))?;
            ip(&format!("link set {bridge} up"))?;
        }
        let clients = Stations::new("pc", [192, 0, 0, 1].into())?;
        let servers = Stations::new("pr", [192, 0, 0, 9].into())?;
        ip("link set pc master brc up")?;
        ip("link set pr master brr up")?;
        let hosts = room.join("hosts");
        write(&hosts, "")?;
        write(room.join("config.toml"), CONFIG)?;
        run(Command::new("mount").arg("--bind").arg(&hosts).arg("/etc/hosts"))?;
        // The recorded kernel had the module: asked to load it, modprobe said nothing.
        if super::kernels_program().is_some() && Path::new(MODPROBE).exists() {
            run(Command::new("mount").args(["--bind", "/bin/true", MODPROBE]))?;
        }
        Ok(Lab { room: room.to_owned(), clients, servers, saved: String::new() })
    }

    /// Carries a case out; what its last action printed.
    pub fn run(&mut self, case: &Case) -> Result<Printed, String> {
        // In place: the file is what is mounted.
        write(self.room.join("hosts"), &case.hosts)?;
        let director = Director::start(&self.room)?;
        self.clients.await_director()?;
        self.servers.await_director()?;
        let mut printed = Printed::default();
        for action in &case.actions {
            printed = self.act(action)?;
        }
        director.end()?;
        Ok(printed)
    }

    fn act(&mut self, action: &Action) -> Result<Printed, String> {
        match action {
            Action::Run { user, args, input } => {
                let input = match input {
                    Input::Nothing => "",
                    Input::Text(text) => text,
                    Input::Saved => &self.saved,
                };
                return ipvsadm(&self.room, *user, args, input);
            }
            Action::Save => self.saved = ipvsadm(&self.room, User::Root, &["-S".into(), "-n".into()], "")?.out,
            Action::Packet(packet) => {
                let stations = if packet["at"] == "r0" { &self.servers } else { &self.clients };
                stations.send(&build::frame(packet)?)?;
            }
            Action::Sleep(seconds) => std::thread::sleep(Duration::from_secs_f64(*seconds)),
        }
        Ok(Printed::default())
    }
}

fn ipvsadm(room: &Path, user: User, args: &[String], input: &str) -> Result<Printed, String> {
    let mut command = Command::new(program(room));
    match super::kernels_program() {
        Some(kernels) => command.args(["exec", "--"]).arg(kernels),
        None => command.arg0(NAME),
    };
    command.args(args).env("TAPVS_SOCKET", room.join("socket"));
    if let User::Nobody = user {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("ipvsadm: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input is none the worse for it.
        _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| format!("ipvsadm: {error}"))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let status = output.status.code().ok_or_else(|| format!("ipvsadm: {}", output.status))?;
    Ok(Printed { out: text(output.stdout), err: text(output.stderr), status })
}

/// Each worker's room lies in the room of all.
fn program(room: &Path) -> PathBuf {
    room.with_file_name("tapvs")
}

/// A director that runs; killed if it is not ended.
struct Director(Child);

impl Director {
    fn start(room: &Path) -> Result<Director, String> {
        let (socket, log) = (room.join("socket"), room.join("log"));
        let log = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let mut command = Command::new(program(room));
        command.args(["run", "--fresh", "--config"]).arg(room.join("config.toml")).env("TAPVS_SOCKET", &socket);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let mut director = Director(child.map_err(|error| format!("tapvs: {error}"))?);
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(&socket).is_err() {
            let ended = director.0.try_wait().is_ok_and(|status| status.is_some());
            if ended || Instant::now() > deadline {
                let log = fs::read_to_string(room.join("log")).unwrap_or_default();
                return Err(format!("the director does not answer: {log}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(director)
    }

    fn end(mut self) -> Result<(), String> {
        let pid = Pid::from_raw(self.0.id() as i32);
        kill(pid, Signal::SIGTERM).map_err(|error| format!("the director is gone: {error}"))?;
        let status = self.0.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("the director ended with {status}")) }
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn ip(words: &str) -> Result<(), String> {
    run(Command::new("ip").args(words.split(' ')))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

fn write(path: impl AsRef<Path>, text: &str) -> Result<(), String> {
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.as_ref().display()))
}

//! The calls on the program's netlink sockets, but for those that receive: each answered as the kernel answers it.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;

use super::kernel::Kernel;
use super::memory::{Memory, Parts};
use super::numbers::Way;
use super::processes::may_administer;
use super::socket::Socket;
use super::supervisor::Supervisor;
use crate::io::seccomp::{Call, Returns};

/// `struct sockaddr_nl`
const ADDRESS: usize = 12;
/// `SO_RCVTIMEO` for times of 64 bits.
const SO_RCVTIMEO_NEW: i32 = 66;
/// The port ids that a second socket of a process gets go down from here, as they do in the kernel.
const PORTS_BELOW: u32 = u32::MAX - 4096;
/// Calls after which a socket that was closed is still as good as a new one.
const LEAVE_AS_NEW: [i64; 5] =
    [libc::SYS_sendmsg, libc::SYS_connect, libc::SYS_getsockname, libc::SYS_getpeername, libc::SYS_getsockopt];

impl Supervisor {
    /// Answers a call on something else than a netlink socket's data; `None` if it was answered already.
    pub(super) fn answer_call(&mut self, call: &Call) -> Option<Returns> {
        if call.number == libc::SYS_socket {
            return self.open_socket(call).err().map(Returns::Error);
        }
        let is_option = call.number == libc::SYS_setsockopt || call.number == libc::SYS_getsockopt;
        let number = call.args[if call.number == libc::SYS_epoll_ctl { 2 } else { 0 }] as u32;
        if is_option && call.args[1] as i32 == libc::SOL_IP {
            self.name_once("the old interface of IPVS (socket options IP_VS_SO_*)");
            return Some(Returns::Kernel);
        }
        // A file of the program's own that happens to have such a number.
        let Some(socket) = self.sockets.get_mut(&number) else { return Some(Returns::Kernel) };
        if call.number == libc::SYS_close {
            return Some(self.close(call, number));
        }
        if socket.stay.is_closed {
            return Some(Returns::Error(Errno::EBADF));
        }
        if !LEAVE_AS_NEW.contains(&call.number) {
            socket.stay.forbid();
        }
        let done = match call.number {
            libc::SYS_bind => self.bind(call, number),
            libc::SYS_connect => self.connect(call, number),
            libc::SYS_getsockname => self.name(call, number),
            libc::SYS_sendmsg => return self.send(call, number),
            libc::SYS_getpeername => put_address(call, 0),
            libc::SYS_setsockopt => return Some(self.set_option(call, number)),
            libc::SYS_getsockopt => return Some(self.get_option(call, number)),
            // Whatever else the kernel makes of it; a second descriptor receives as the first one does.
            _ if self.sockets.get(&number).is_some_and(|socket| socket.way == Way::Direct) => {
                return Some(Returns::Kernel);
            }
            _ => {
                self.name_once("a second descriptor for one netlink socket (dup)");
                return Some(Returns::Kernel);
            }
        };
        Some(done.map_or_else(Returns::Error, |()| Returns::Value(0)))
    }

    /// `socket`: a new file of the program's.
    fn open_socket(&mut self, call: &Call) -> Result<(), Errno> {
        let kind = call.args[1] as i32;
        if !matches!(kind & 0xf, libc::SOCK_RAW | libc::SOCK_DGRAM) {
            return Err(Errno::ESOCKTNOSUPPORT);
        }
        let process = self.processes.of(call.thread);
        let way = if self.processes.has_libnl(process, call.at) { Way::Direct } else { Way::Answered };
        if way == Way::Direct
            && let Some(number) = self.closed_one(call, process)
        {
            let goes_on = self.listener.answer(call, Returns::Value(number.into()));
            self.sockets.get_mut(&number).into_iter().for_each(|socket| socket.stay.is_closed = !goes_on);
            return Ok(());
        }
        let number = self.free_number(way, call.thread).ok_or(Errno::EMFILE)?;
        let (end, file) = self.names.pair(way, kind)?;
        // All that there is to do is done before the answer: the program goes on when this process sleeps.
        let stay = self.may_stay(way, process, kind, &file);
        let mut socket = Socket::new(number, way, process, kind, end).with(stay);
        socket.may_ask = may_administer(call.thread);
        self.sockets.insert(number, socket);
        let flags = if kind & libc::SOCK_CLOEXEC != 0 { libc::O_CLOEXEC } else { 0 };
        let done = self.listener.answer_with_file(call, file.as_fd(), number, flags);
        if done.is_err() {
            self.sockets.remove(&number);
        }
        if done == Err(Errno::EBADF) {
            self.name_once("a limit of open files below that of 'tapvs exec' (ulimit -n)");
        }
        // Where it is not there any more its maker is gone.
        done.or_else(|errno| if errno == Errno::ENOENT { Ok(()) } else { Err(errno) })
    }

    /// `sendmsg` of libnl: what it asks is answered before it returns, so that the program finds the answer when it receives.
    fn send(&mut self, call: &Call, number: u32) -> Option<Returns> {
        let sent = match self.sent.read(call) {
            Ok(sent) => sent,
            Err(errno) => return Some(Returns::Error(errno)),
        };
        // A call that a signal has interrupted after it was heard is made again, as it was.
        let is_heard =
            self.sockets.get_mut(&number).is_some_and(|socket| socket.interrupted.take().as_ref() == Some(&sent));
        if !is_heard {
            self.serve_what_was_sent(number);
            self.sockets.get_mut(&number)?.ask(&sent);
            self.answer_questions(number);
            self.deliver(number);
        }
        if !self.listener.answer(call, Returns::Value(sent.len() as i64)) {
            self.sockets.get_mut(&number)?.interrupted = Some(sent);
        }
        None
    }

    /// `bind`: gives the socket its port id. Groups are of other families: the kernel's socket joins them.
    fn bind(&mut self, call: &Call, number: u32) -> Result<(), Errno> {
        let (port, groups) = read_address(call)?;
        let present = self.sockets.get(&number).map_or(0, |socket| socket.port);
        if present != 0 && port != 0 && present != port {
            return Err(Errno::EINVAL);
        }
        if present == 0 {
            self.give_port(number, port)?;
        }
        let groups = (0..32).filter(|bit| groups & 1 << bit != 0);
        for group in groups.map(|bit: u32| bit + 1) {
            self.kernel_option(number, libc::NETLINK_ADD_MEMBERSHIP, &group.to_ne_bytes())?;
        }
        Ok(())
    }

    /// `getsockname`. A socket of libnl was bound without a word.
    fn name(&mut self, call: &Call, number: u32) -> Result<(), Errno> {
        let is_bound = |socket: &Socket| socket.port != 0 || socket.way == Way::Answered;
        if !self.sockets.get(&number).is_some_and(is_bound) {
            self.give_port(number, 0)?;
        }
        put_address(call, self.sockets.get(&number).map_or(0, |socket| socket.port))
    }

    /// `connect`: to the kernel, which is where everything goes anyway.
    fn connect(&mut self, call: &Call, number: u32) -> Result<(), Errno> {
        let (port, _) = read_address(call)?;
        if port != 0 {
            return Err(Errno::ECONNREFUSED);
        }
        self.give_port(number, 0)
    }

    /// The port id that was asked for; 0: the process's number for its first socket, another one for its others.
    pub(super) fn give_port(&mut self, number: u32, wanted: u32) -> Result<(), Errno> {
        let is_taken = |port| self.sockets.values().any(|socket| socket.port == port);
        let Some(socket) = self.sockets.get(&number).filter(|socket| socket.port == 0) else { return Ok(()) };
        let port = match wanted {
            0 => std::iter::once(socket.process).chain((0..PORTS_BELOW).rev()).find(|port| !is_taken(*port)),
            _ => Some(wanted).filter(|port| !is_taken(*port)),
        };
        let port = port.ok_or(Errno::EADDRINUSE)?;
        if let Some(socket) = self.sockets.get_mut(&number) {
            socket.port = port;
        }
        Ok(())
    }

    fn set_option(&mut self, call: &Call, number: u32) -> Returns {
        let [_, level, name, at, len, _] = call.args;
        let (level, name, memory) = (level as i32, name as i32, Memory::of(call.thread));
        let receives_itself = self.sockets.get(&number).is_some_and(|socket| socket.way == Way::Direct);
        let mut value = vec![0; (len as usize).min(64)];
        if let Err(errno) = memory.read(at, &mut value) {
            return Returns::Error(errno);
        }
        match (level, name) {
            (libc::SOL_SOCKET, libc::SO_RCVTIMEO | SO_RCVTIMEO_NEW) if !receives_itself => {
                if let Some(socket) = self.sockets.get_mut(&number) {
                    socket.patience = time_of(&value);
                }
                Returns::Value(0)
            }
            (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER | libc::SO_ATTACH_BPF) => {
                self.name_once("a filter on a netlink socket (SO_ATTACH_FILTER)");
                Returns::Value(0)
            }
            // What else any socket has: the pair that stands for this one has it too.
            (libc::SOL_SOCKET, _) => Returns::Kernel,
            (libc::SOL_NETLINK, libc::NETLINK_PKTINFO) => {
                self.name_once("the control data of a netlink socket (NETLINK_PKTINFO)");
                Returns::Value(0)
            }
            (libc::SOL_NETLINK, name) => match self.kernel_option(number, name, &value) {
                Ok(()) => Returns::Value(0),
                Err(errno) => Returns::Error(errno),
            },
            _ => Returns::Error(Errno::ENOPROTOOPT),
        }
    }

    /// An option of netlink: the kernel checks it, and heeds it for its own families.
    fn kernel_option(&mut self, number: u32, name: i32, value: &[u8]) -> Result<(), Errno> {
        let Some(socket) = self.sockets.get_mut(&number) else { return Ok(()) };
        if socket.kernel.is_none() {
            socket.kernel = Some(Kernel::open()?);
        }
        if let Some(kernel) = &socket.kernel {
            kernel.set_option((libc::SOL_NETLINK, name), value)?;
        }
        if name == libc::NETLINK_CAP_ACK {
            socket.capped = value.iter().any(|byte| *byte != 0);
        }
        Ok(())
    }

    fn get_option(&mut self, call: &Call, number: u32) -> Returns {
        let (level, name) = (call.args[1] as i32, call.args[2] as i32);
        let kind = self.sockets.get(&number).map_or(0, |socket| socket.kind);
        let value = match (level, name) {
            (libc::SOL_SOCKET, libc::SO_DOMAIN) => libc::AF_NETLINK,
            (libc::SOL_SOCKET, libc::SO_PROTOCOL) => libc::NETLINK_GENERIC,
            (libc::SOL_SOCKET, libc::SO_TYPE) => kind,
            (libc::SOL_SOCKET, _) => return Returns::Kernel,
            _ => return Returns::Error(Errno::ENOPROTOOPT),
        };
        let done = put_sized(call, (call.args[3], call.args[4]), &value.to_ne_bytes());
        done.map_or_else(Returns::Error, |()| Returns::Value(0))
    }
}

/// `getsockname` and `getpeername`.
fn put_address(call: &Call, port: u32) -> Result<(), Errno> {
    let mut address = [0; ADDRESS];
    address[..2].copy_from_slice(&(libc::AF_NETLINK as u16).to_ne_bytes());
    address[4..8].copy_from_slice(&port.to_ne_bytes());
    put_sized(call, (call.args[1], call.args[2]), &address)
}

/// Writes a value where there is room for so much of it, and its length.
fn put_sized(call: &Call, (at, len_at): (u64, u64), value: &[u8]) -> Result<(), Errno> {
    let memory = Memory::of(call.thread);
    let room = memory.read_word(len_at)?.cast_signed();
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    let mut parts = Parts::default();
    parts.put(at, &value[..value.len().min(room)]);
    parts.put(len_at, &(value.len() as u32).to_ne_bytes());
    memory.write(&parts)
}

/// Port id and groups of the address in a call's arguments.
fn read_address(call: &Call) -> Result<(u32, u32), Errno> {
    let mut address = [[0; 4]; 3];
    if (call.args[2] as usize) < ADDRESS {
        return Err(Errno::EINVAL);
    }
    Memory::of(call.thread).read(call.args[1], address.as_flattened_mut())?;
    let [[low, high, ..], port, groups] = address;
    if u16::from_ne_bytes([low, high]) != libc::AF_NETLINK as u16 {
        return Err(Errno::EINVAL);
    }
    Ok((u32::from_ne_bytes(port), u32::from_ne_bytes(groups)))
}

/// `struct timeval`; zero stands for no limit.
fn time_of(value: &[u8]) -> Option<Duration> {
    let long = |at: usize| value.get(at..).and_then(|rest| rest.first_chunk()).map(|bytes| i64::from_ne_bytes(*bytes));
    let (seconds, micros) = (u64::try_from(long(0)?).ok()?, u32::try_from(long(8)?).ok()?);
    let time = Duration::from_secs(seconds) + Duration::from_micros(micros.into());
    Some(time).filter(|time| !time.is_zero())
}

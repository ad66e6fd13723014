//! Programs: loading one with its constants, running it on a frame of ours, and putting it at the egress of a device.
//!
//! Never knows what a program does.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::{Attributes, Map, command};
use crate::io::Netlink;

/// `BPF_PROG_TYPE_SCHED_CLS`
const CLASSIFIER: u32 = 3;
/// `BPF_TCX_EGRESS` (Linux 6.6)
const TCX_EGRESS: u32 = 47;
/// Bytes of an instruction.
const INSTRUCTION: usize = 8;
/// The first byte of an instruction that loads a number of 64 bits, the upper half of which is in the next one.
const LOAD_NUMBER: u8 = 0x18;
/// `BPF_PSEUDO_MAP_FD`: the number is the descriptor of a map.
const PSEUDO_MAP: u8 = 1;
/// What the verifier says at most.
const LOG: usize = 1 << 18;

/// What an instruction that loads a number is to load in place of that number.
#[derive(Clone, Copy)]
pub enum Constant<'a> {
    /// A map.
    Map(&'a Map),
    /// Another number.
    Number(u64),
}

/// A classifier that the kernel has accepted.
pub struct Program(OwnedFd);

/// Why a program was not accepted.
#[derive(Debug)]
pub struct LoadError {
    /// The kernel's error.
    pub error: io::Error,
    /// What its verifier said at last; empty if it said nothing.
    pub verifier: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        if self.verifier.is_empty() { Ok(()) } else { write!(f, "; its verifier says: {}", self.verifier) }
    }
}

/// A program at the egress of a device. It stays there for as long as this or the device lives.
pub enum Attached {
    /// By a link of TCX, which goes with its last descriptor.
    Tcx(OwnedFd),
    /// By a filter of the queueing discipline `clsact`, which is taken away when this is dropped.
    Clsact(Filter),
}

/// The filter of a device.
pub struct Filter {
    ifindex: u32,
}

impl Attached {
    /// The name of the way.
    pub fn by(&self) -> &'static str {
        match self {
            Attached::Tcx(_) => "TCX",
            Attached::Clsact(_) => "clsact",
        }
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        // The device may be gone, and its filter with it.
        let _ = Netlink::open().and_then(|mut netlink| netlink.remove_egress_filter(self.ifindex));
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Program {
    /// Loads instructions, in which each number of `constants` becomes what it stands for. Needs CAP_BPF and CAP_NET_ADMIN
    /// (before Linux 5.8 CAP_SYS_ADMIN).
    pub fn load(name: &str, code: &[u8], constants: &[(u64, Constant)]) -> Result<Program, LoadError> {
        let code = with_constants(code, constants);
        let attributes = || {
            Attributes::new()
                .word(0, CLASSIFIER)
                .word(4, (code.len() / INSTRUCTION) as u32)
                .reads(8, &code)
                .reads(16, c"Dual MIT/GPL".to_bytes_with_nul())
                .bytes(48, &name.as_bytes()[..name.len().min(15)])
        };
        if let Ok(fd) = attributes().descriptor(command::PROG_LOAD) {
            return Ok(Program(fd));
        }
        let mut log = vec![0; LOG];
        let length = log.len() as u32;
        let loaded = attributes().word(24, 1).word(28, length).writes(32, &mut log).descriptor(command::PROG_LOAD);
        loaded.map(Program).map_err(|error| LoadError { error, verifier: last_words(&log) })
    }

    /// Puts the program at the egress of a device of this network namespace: by TCX, on older kernels by `clsact`.
    pub fn attach(&self, ifindex: u32) -> io::Result<Attached> {
        match self.attach_by_tcx(ifindex) {
            Ok(attached) => Ok(attached),
            // Before Linux 6.6.
            Err(error) if super::is_unknown(&error) => self.attach_by_clsact(ifindex),
            Err(error) => Err(error),
        }
    }

    /// By TCX alone.
    pub fn attach_by_tcx(&self, ifindex: u32) -> io::Result<Attached> {
        let attributes = Attributes::new().fd(0, &self.0).word(4, ifindex).word(8, TCX_EGRESS);
        attributes.descriptor(command::LINK_CREATE).map(Attached::Tcx)
    }

    /// By `clsact` alone; in place of a filter that another run has left there.
    pub fn attach_by_clsact(&self, ifindex: u32) -> io::Result<Attached> {
        Netlink::open()?.set_egress_filter(ifindex, self.0.as_fd())?;
        Ok(Attached::Clsact(Filter { ifindex }))
    }
}

/// A frame as it is given to a program without a device.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run<'a> {
    /// From the Ethernet header on.
    pub frame: &'a [u8],
    /// Payload of each segment of a superframe; 0 if it is none.
    pub gso_size: u32,
    /// Segments of a superframe.
    pub gso_segs: u32,
    /// Bytes of the frame and of the headers that its segments have besides; 0 for those of the frame.
    pub wire_len: u32,
    /// How often it is run, each time on what the last time has left; 0 for once.
    pub repeat: u32,
}

/// What a program made of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// What it returned (`TC_ACT_*`).
    pub action: i32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// How long it took, each time.
    pub nanos: u32,
}

impl Program {
    /// Runs the program on a frame that belongs to no device (`BPF_PROG_TEST_RUN`).
    pub fn run(&self, run: &Run) -> io::Result<Verdict> {
        let mut out = vec![0; run.frame.len() + 256];
        let room = out.len() as u32;
        let context = context(run);
        let mut attributes = Attributes::new()
            .fd(0, &self.0)
            .word(8, run.frame.len() as u32)
            .word(12, room)
            .reads(16, run.frame)
            .writes(24, &mut out)
            .word(32, run.repeat.max(1))
            .word(40, context.len() as u32)
            .reads(48, &context);
        attributes.call(command::TEST_RUN)?;
        out.truncate(attributes.word_at(12) as usize);
        Ok(Verdict { action: attributes.word_at(4).cast_signed(), frame: out, nanos: attributes.word_at(36) })
    }
}

/// `struct __sk_buff` of a frame.
fn context(run: &Run) -> [u8; CONTEXT] {
    let mut context = [0; CONTEXT];
    for (at, value) in [(WIRE_LEN, run.wire_len), (GSO_SEGS, run.gso_segs), (GSO_SIZE, run.gso_size)] {
        context[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    context
}

const CONTEXT: usize = 192;
const WIRE_LEN: usize = 160;
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;

/// Puts constants into instructions that load numbers.
fn with_constants(code: &[u8], constants: &[(u64, Constant)]) -> Vec<u8> {
    let mut code = code.to_vec();
    let mut at = 0;
    while at + 2 * INSTRUCTION <= code.len() {
        if code[at] != LOAD_NUMBER {
            at += INSTRUCTION;
            continue;
        }
        let half = |at: usize| u64::from(u32::from_ne_bytes([code[at], code[at + 1], code[at + 2], code[at + 3]]));
        let number = half(at + 4) | half(at + 12) << 32;
        if let Some((_, constant)) = constants.iter().find(|(stands, _)| *stands == number) {
            let (number, pseudo) = match constant {
                Constant::Map(map) => (u64::from(map.as_fd().as_raw_fd().cast_unsigned()), PSEUDO_MAP),
                Constant::Number(number) => (*number, 0),
            };
            // The registers are half a byte each.
            code[at + 1] = code[at + 1] & 0x0f | pseudo << 4;
            let bytes = number.to_ne_bytes();
            let (first, second) = if cfg!(target_endian = "little") { (0, 4) } else { (4, 0) };
            code[at + 4..at + 8].copy_from_slice(&bytes[first..first + 4]);
            code[at + 12..at + 16].copy_from_slice(&bytes[second..second + 4]);
        }
        at += 2 * INSTRUCTION;
    }
    code
}

/// The last line of the verifier's log that is about the program, not about how long it took.
fn last_words(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    let mut said = text.trim_end_matches('\0').lines().filter(|line| !line.trim().is_empty());
    let about = |line: &&str| !line.starts_with("processed ") && !line.starts_with("verification time");
    said.rfind(about).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_takes_the_place_of_its_number() {
        let load = |number: u64, pseudo: u8| {
            let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
            [0x18, pseudo << 4 | 1, 0, 0, a, b, c, d, 0, 0, 0, 0, e, f, g, h]
        };
        let exit = [0x95, 0, 0, 0, 0, 0, 0, 0];
        let code = [load(7 << 32 | 5, 0).as_slice(), &load(9, 0), &exit].concat();
        let loaded = with_constants(&code, &[(7 << 32 | 5, Constant::Number(1 << 40))]);
        assert_eq!(loaded, [load(1 << 40, 0).as_slice(), &load(9, 0), &exit].concat());
    }

    #[test]
    fn of_a_long_log_the_last_line_about_the_program_is_kept() {
        let log = b"0: (b7) r0 = 0\n5: (61) r1 = *(u32 *)(r2 +0)\nR2 !read_ok\nprocessed 5 insns (limit 1000000)\n\0\0";
        assert_eq!(last_words(log), "R2 !read_ok");
        assert_eq!(last_words(&[0; 9]), "");
    }
}

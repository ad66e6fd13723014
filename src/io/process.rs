//! What the process asks of the kernel for itself: which processor it runs on, large pages for large tables.
//!
//! Never changes anything for another process, but that one runs before others.

use std::io;
use std::ops::Range;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::sys;

/// Advice is for whole pages.
const PAGE: usize = 4096;
/// Arrays of at least this many bytes get large pages: a table of a million conns does, the usual one stays small.
const LARGE: usize = 32 << 20;

/// As many processors as the kernel's interface can name.
pub const PROCESSORS: usize = CpuSet::count();

/// The calling thread, which all system calls here mean by this.
const ME: Pid = Pid::from_raw(0);

/// Processors that a thread may run on.
#[derive(Clone, Copy, Debug)]
pub struct Processors(CpuSet);

impl Processors {
    /// Those of the calling thread.
    pub fn allowed() -> Processors {
        // It cannot fail for the calling thread and a set of this size; none would be refused when asked for.
        Processors(sched_getaffinity(ME).unwrap_or_default())
    }

    /// Keeps the calling thread on one of these processors, on one of all others, or gives it all of these back; an error
    /// is a sentence.
    pub fn run_on(&self, cpu: Option<usize>) -> Result<(), String> {
        let wanted = cpu.map_or(Ok(self.0), |cpu| {
            let mut only = CpuSet::new();
            only.set(cpu).map(|()| only)
        });
        wanted
            .and_then(|wanted| sched_setaffinity(ME, &wanted))
            .map_err(|error| format!("{}; it may run on {}", error.desc(), list(&self.0)))
    }
}

/// Has another process, or this one (0), run before all that are not in a hurry, or as it did before. False, and nothing has
/// changed, where an operator has chosen how this process, which has started it, is scheduled.
pub fn hurry(process: u32, on: bool) -> io::Result<bool> {
    let own = sys::policy(0)?;
    if own != libc::SCHED_OTHER && own & libc::SCHED_RESET_ON_FORK == 0 {
        return Ok(false);
    }
    let policy = if on { libc::SCHED_FIFO } else { libc::SCHED_OTHER };
    // What this one starts meanwhile is in no hurry. The mark stays: to take it away takes a right.
    let mark = if process == 0 { libc::SCHED_RESET_ON_FORK } else { 0 };
    sys::set_policy(process.cast_signed(), policy | mark).map(|()| true)
}

/// Names this process, for `ps`.
pub fn set_name(name: &std::ffi::CStr) {
    // It has another one then, which is no reason not to work.
    let _ = nix::sys::prctl::set_name(name);
}

/// Processors as people write them: `0-3,8`.
fn list(set: &CpuSet) -> String {
    let has = |cpu: &usize| set.is_set(*cpu).unwrap_or(false);
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for cpu in (0..CpuSet::count()).filter(has) {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            Some(_) | None => parts.push((cpu, cpu)),
        }
    }
    let text =
        |(first, last): &(usize, usize)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    parts.iter().map(text).collect::<Vec<_>>().join(",")
}

/// Asks for large pages where memory is large: a flow that was not seen lately then costs fewer page walks. Bytes asked for.
pub fn use_large_pages(arrays: impl IntoIterator<Item = Range<usize>>) -> io::Result<usize> {
    let whole_pages = |array: Range<usize>| array.start.next_multiple_of(PAGE)..array.end / PAGE * PAGE;
    let large = arrays.into_iter().map(whole_pages).filter(|array| array.len() >= LARGE);
    let mut bytes = 0;
    for array in large {
        sys::advise_large_pages(array.start, array.len())?;
        bytes += array.len();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_listed_as_ranges() {
        let mut set = CpuSet::new();
        assert_eq!(list(&set), "");
        [0, 1, 2, 8, 10, 11].into_iter().for_each(|cpu| set.set(cpu).unwrap());
        assert_eq!(list(&set), "0-2,8,10-11");
    }

    #[test]
    fn a_processor_that_is_not_there_is_refused_with_those_that_are() {
        let usual = Processors::allowed();
        let refused = usual.run_on(Some(PROCESSORS - 1)).unwrap_err();
        assert_eq!(refused, format!("Invalid argument; it may run on {}", list(&usual.0)));
        assert!(usual.run_on(Some(PROCESSORS)).is_err());
    }

    #[test]
    fn a_thread_runs_on_one_processor_and_on_all_again() {
        let usual = Processors::allowed();
        let last = (0..PROCESSORS).rev().find(|cpu| usual.0.is_set(*cpu).unwrap()).unwrap();
        usual.run_on(Some(last)).unwrap();
        assert_eq!(list(&Processors::allowed().0), last.to_string());
        usual.run_on(None).unwrap();
        assert_eq!(Processors::allowed().0, usual.0);
    }

    #[test]
    fn a_process_hurries_for_a_while_where_it_may() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let policy = || sys::policy(child.id().cast_signed()).unwrap();
        let begun = hurry(child.id(), true).is_ok_and(|done| done);
        assert_eq!(policy() == libc::SCHED_FIFO, begun);
        assert_eq!(hurry(child.id(), false).ok(), Some(sys::policy(0).unwrap() == libc::SCHED_OTHER));
        assert_eq!(policy(), sys::policy(0).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_whole_pages_of_large_arrays_are_asked_for() {
        let (large, small): (Vec<u64>, Vec<u64>) = (Vec::with_capacity(16 << 20), Vec::with_capacity(1 << 10));
        let range = |array: &Vec<u64>| {
            let start = array.as_ptr() as usize;
            start..start + 8 * array.capacity()
        };
        let asked = use_large_pages([range(&large), range(&small)]).unwrap();
        assert!((8 * large.capacity() - 2 * PAGE..=8 * large.capacity()).contains(&asked), "{asked}");
        assert_eq!(asked % PAGE, 0);
        assert_eq!(use_large_pages(std::iter::once(0..0)).unwrap(), 0);
    }
}

//! How much memory this process may use, and how many conns that is room for.
//!
//! Only reads; a table of that size is touched as it is used.

use std::fs::read_to_string;
use std::path::Path;
use std::sync::OnceLock;

/// The part of the memory that conns may fill.
const PART: u64 = 4;
/// Bytes of a conn: its record, its places in buckets and wheel, and what may be noted besides.
pub const BYTES_A_CONN: u64 = 160;
const FEWEST: u64 = 1 << 16;
/// More would reserve several gigabytes of addresses, whatever is used of them; `max_flows` asks for it.
const MOST: u64 = 1 << 24;

/// Conns that the memory of this host or control group has room for; the same for the life of the process.
pub fn room_for_conns() -> usize {
    static ROOM: OnceLock<usize> = OnceLock::new();
    *ROOM.get_or_init(|| conns_in(available()))
}

/// Asks what is asked of files once, before this process may open none.
pub fn learn_host() {
    room_for_conns();
    // What it says is asked for again by whoever needs it.
    let _ = super::boot_id();
}

fn conns_in(bytes: Option<u64>) -> usize {
    let conns = bytes.map_or(FEWEST, |bytes| bytes / PART / BYTES_A_CONN);
    conns.clamp(FEWEST, MOST) as usize
}

/// Bytes of the host's memory, or fewer that a control group allows, that are not promised to others (where the kernel
/// counts that), or that a limit of this process leaves.
fn available() -> Option<u64> {
    let meminfo = read_to_string("/proc/meminfo").ok()?;
    let strict = read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.trim() == "2");
    let promised = || Some(kilobytes(&meminfo, "CommitLimit:")?.saturating_sub(kilobytes(&meminfo, "Committed_AS:")?));
    let uncommitted = strict.then(promised).flatten();
    let own = read_to_string("/proc/self/limits").ok().and_then(|text| address_space(&text));
    let host = [kilobytes(&meminfo, "MemTotal:"), uncommitted, own].into_iter().flatten();
    let group = read_to_string("/proc/self/cgroup").ok().and_then(|text| limit(&text, Path::new("/sys/fs/cgroup")));
    host.chain(group).min()
}

/// A row of proc_meminfo(5), in bytes.
fn kilobytes(meminfo: &str, row: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(row))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// `RLIMIT_AS` as proc_pid_limits(5) has it.
fn address_space(limits: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix("Max address space"))?.split_whitespace().next()?.parse().ok()
}

/// The least limit of the groups that cgroups(7) names: `memory.max` from the group up to the root, or version 1's.
fn limit(groups: &str, root: &Path) -> Option<u64> {
    let of_line = |line: &str| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?.trim_start_matches('/'));
        let (base, file) = match controllers {
            "" => (root.to_path_buf(), "memory.max"),
            named if named.split(',').any(|one| one == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
            _ => return None,
        };
        let of_group = |group: &Path| read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
        base.join(path).ancestors().take_while(|group| group.starts_with(&base)).filter_map(of_group).min()
    };
    groups.lines().filter_map(of_line).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_memory_within_bounds() {
        let meminfo = "MemTotal:       16384000 kB\nMemFree: 1 kB\n";
        assert_eq!(kilobytes(meminfo, "MemTotal:"), Some(16_384_000 * 1024));
        let limits = "Max file locks   unlimited  unlimited  locks\nMax address space  4096  unlimited  bytes\n";
        assert_eq!(address_space(limits), Some(4096));
        assert_eq!(conns_in(None), 1 << 16);
        assert_eq!(conns_in(Some(64 << 20)), 104_857);
        assert_eq!(conns_in(Some(1 << 30)), 1_677_721);
        assert_eq!(conns_in(Some(1 << 40)), 1 << 24);
        assert!(room_for_conns() >= 1 << 16);
    }

    #[test]
    fn the_least_limit_of_a_group_and_those_above_it_counts() {
        let root = std::env::temp_dir().join(format!("tapvs-memory-{}", std::process::id()));
        let group = root.join("machine/container");
        std::fs::create_dir_all(&group).unwrap();
        std::fs::write(group.join("memory.max"), "max\n").unwrap();
        std::fs::write(root.join("machine/memory.max"), "1073741824\n").unwrap();
        let found = limit("0::/machine/container\n", &root);
        std::fs::create_dir_all(root.join("memory/old")).unwrap();
        std::fs::write(root.join("memory/old/memory.limit_in_bytes"), "536870912\n").unwrap();
        let older = limit("5:cpu:/x\n4:memory:/old\n0::/machine\n", &root);
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!((found, older), (Some(1 << 30), Some(1 << 29)));
    }
}

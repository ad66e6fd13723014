//! What a process may do: its user, its capabilities, and the promise never to gain any.
//!
//! Never gives a process a right that it has given up.

use std::fs::read_to_string;
use std::io;
use std::process::Command;

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};

use super::{sandbox, sys};
use std::os::unix::process::CommandExt;

/// Who a worker is where nobody says otherwise: the first one that there is.
const USUAL: [&str; 2] = ["tapvs", "nobody"];
/// The number of nobody, where not even that name is known (credentials(7)).
const NOBODY: u32 = 65_534;
/// What starting and ending processes of another user takes, and having them run before others.
const FOR_OTHERS: [Capability; 5] = [
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_KILL,
    Capability::CAP_SYS_NICE,
];

/// A user with a group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// Its group's.
    pub gid: u32,
}

impl User {
    /// The one of this name in /etc/passwd, or with these numbers: `UID` or `UID:GID`.
    pub fn named(name: &str) -> Option<User> {
        let text = read_to_string("/etc/passwd").unwrap_or_default();
        in_passwd(&text, name).or_else(|| by_number(&text, name))
    }

    /// The one that is meant where none is named.
    pub fn usual() -> User {
        USUAL.into_iter().find_map(User::named).unwrap_or(User { uid: NOBODY, gid: NOBODY })
    }

    /// True if this process may become it: it has the capabilities, and its user namespace has these numbers.
    pub fn is_open_to_us(&self) -> bool {
        let has = |cap| caps::has_cap(None, CapSet::Permitted, cap).unwrap_or(false);
        let maps = |file: &str, id| read_to_string(file).is_ok_and(|map| is_mapped(&map, id));
        let may_drop_groups = read_to_string("/proc/self/setgroups").is_ok_and(|word| word.trim() == "allow");
        has(Capability::CAP_SETUID)
            && has(Capability::CAP_SETGID)
            && may_drop_groups
            && maps("/proc/self/uid_map", self.uid)
            && maps("/proc/self/gid_map", self.gid)
    }
}

/// A process that has no rights.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sandbox {
    /// Who it becomes; the user that it is started by without one.
    pub user: Option<User>,
    /// It does not start with rights that it cannot give up.
    #[serde(default)]
    pub strict: bool,
    /// What could not be given up was said by the process that was first to try.
    #[serde(default)]
    pub said: bool,
}

impl Sandbox {
    /// What could not be given up ends the start where the sandbox is strict; elsewhere it is said once.
    pub fn heed(&mut self, given_up: Result<(), String>) -> Result<(), String> {
        let Err(why) = given_up else { return Ok(()) };
        if self.strict {
            return Err(format!("cannot give up rights: {why}; --no-sandbox keeps them all"));
        }
        if !std::mem::replace(&mut self.said, true) {
            log::warn!("tapvs keeps rights that it cannot give up here: {why}");
        }
        Ok(())
    }
}

/// What failed of these, all of which were done.
fn all_of<const N: usize>(done: [(&str, io::Result<()>); N]) -> Result<(), String> {
    let failed = done.into_iter().filter_map(|(what, how)| Some(format!("{what}: {}", how.err()?)));
    let failed: Vec<String> = failed.collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join(", ")) }
}

/// A line of passwd(5).
fn in_passwd(text: &str, name: &str) -> Option<User> {
    let fields = text.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name)?;
    Some(User { uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? })
}

fn by_number(text: &str, numbers: &str) -> Option<User> {
    let Some((uid, gid)) = numbers.split_once(':') else {
        let uid = numbers.parse().ok()?;
        let known = text.lines().find_map(|line| in_passwd(text, line.split(':').next()?).filter(|it| it.uid == uid));
        return Some(known.unwrap_or(User { uid, gid: uid }));
    };
    Some(User { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
}

/// True if a map of user_namespaces(7) has this number inside.
fn is_mapped(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        matches!(numbers[..], [inside, _, count] if (inside..inside + count).contains(&u64::from(id)))
    })
}

/// Keeps CAP_NET_ADMIN, and, `for_others`, what starting and ending processes of another user takes; the latter is not in
/// force but within `with_rights_over_others`.
pub fn keep_few(for_others: bool) -> Result<(), String> {
    all_of([
        ("capabilities", keep_few_capabilities(for_others)),
        ("no_new_privs", prctl::set_no_new_privs().map_err(Into::into)),
        ("seccomp", sandbox::enclose_keeper()),
    ])
}

fn keep_few_capabilities(for_others: bool) -> io::Result<()> {
    let kept = |cap: &Capability| *cap == Capability::CAP_NET_ADMIN || (for_others && FOR_OTHERS.contains(cap));
    let had = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    limit(kept);
    let kept: CapsHashSet = had.into_iter().filter(kept).collect();
    let in_force: CapsHashSet = kept.iter().copied().filter(|cap| *cap == Capability::CAP_NET_ADMIN).collect();
    set(CapSet::Effective, &in_force)?;
    set(CapSet::Permitted, &kept)?;
    set(CapSet::Inheritable, &CapsHashSet::new())
}

/// Gives up all capabilities, for good, and becomes `user` if there is one.
pub fn give_up_all(user: Option<&User>) -> Result<(), String> {
    all_of([
        ("user", user.map_or(Ok(()), become_user)),
        ("capabilities", have_none()),
        ("no_new_privs", prctl::set_no_new_privs().map_err(Into::into)),
        // Nobody of the same user reads its memory.
        ("memory", prctl::set_dumpable(false).map_err(Into::into)),
    ])
}

fn become_user(User { uid, gid }: &User) -> io::Result<()> {
    // What is refused here is missed below.
    let _ = caps::read(None, CapSet::Permitted).map(|may| set(CapSet::Effective, &may));
    limit(|_| false);
    let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    Ok(setresuid(uid, uid, uid)?)
}

/// Where nothing changes the system is not asked: it may refuse the call whatever it would do.
fn set(of: CapSet, wanted: &CapsHashSet) -> io::Result<()> {
    if caps::read(None, of).is_ok_and(|present| present == *wanted) {
        return Ok(());
    }
    caps::set(None, of, wanted).map_err(io::Error::other)
}

/// What a program that is started later could gain. Without CAP_SETPCAP it stays what it was, and no_new_privs is what counts.
fn limit(kept: impl Fn(&Capability) -> bool) {
    for cap in caps::all().iter().filter(|cap| !kept(cap)) {
        let _ = caps::drop(None, CapSet::Bounding, *cap);
    }
    let _ = caps::clear(None, CapSet::Ambient);
}

fn have_none() -> io::Result<()> {
    limit(|_| false);
    let none = CapsHashSet::new();
    [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable].into_iter().try_for_each(|of| set(of, &none))
}

/// Does something for which processes of another user must be started or ended.
pub fn with_rights_over_others<T>(work: impl FnOnce() -> T) -> T {
    let sets = [CapSet::Effective, CapSet::Permitted].map(|set| caps::read(None, set));
    let [Ok(before), Ok(permitted)] = sets else { return work() };
    let more = FOR_OTHERS.into_iter().filter(|cap| permitted.contains(cap));
    // Without them the work says what it lacks.
    let _ = caps::set(None, CapSet::Effective, &before.iter().copied().chain(more).collect());
    let done = work();
    let _ = caps::set(None, CapSet::Effective, &before);
    done
}

/// Has a program run as `user`, if there is one, and without capabilities, but for root CAP_NET_ADMIN; call `spawn` within
/// `with_rights_over_others`.
pub fn run_without_rights(command: &mut Command, user: Option<&User>) {
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    sys::before_exec(command, || {
        if Uid::effective().is_root() {
            let may = caps::has_cap(None, CapSet::Permitted, Capability::CAP_NET_ADMIN).unwrap_or(false);
            let few: CapsHashSet = may.then_some(Capability::CAP_NET_ADMIN).into_iter().collect();
            set(CapSet::Effective, &few).and_then(|()| set(CapSet::Permitted, &few))
        } else {
            have_none()
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_name_and_by_number() {
        let text = "root:x:0:0:root:/root:/bin/sh\ntapvs:x:990:991::/nonexistent:/usr/sbin/nologin\nbad:x\n";
        assert_eq!(in_passwd(text, "tapvs"), Some(User { uid: 990, gid: 991 }));
        assert_eq!([in_passwd(text, "bad"), in_passwd(text, ""), in_passwd(text, "x")], [None, None, None]);
        assert_eq!(by_number(text, "990"), Some(User { uid: 990, gid: 991 }));
        assert_eq!(by_number(text, "7"), Some(User { uid: 7, gid: 7 }));
        assert_eq!(by_number(text, "7:8"), Some(User { uid: 7, gid: 8 }));
        assert_eq!([by_number(text, "tapvs"), by_number(text, "7:"), by_number(text, "-1")], [None, None, None]);
    }

    #[test]
    fn a_number_is_in_a_namespace_if_a_range_has_it() {
        assert!(is_mapped("         0          0 4294967295\n", 65_534));
        assert!(is_mapped("0 1000 1\n1 100000 65536\n", 65_534));
        assert!(!is_mapped("0 1000 1\n", 65_534) && !is_mapped("", 0));
    }
}

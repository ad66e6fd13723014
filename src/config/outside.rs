//! What a configuration names outside itself: programs to run, and files to read besides.
//!
//! Reads words only: whether they are right is the plan's.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::draft::Draft;
use super::flags::RunArgs;
use super::toml;
use crate::health::{Check, Http, Kind};
use crate::vrrp::Tracked;

/// All of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outside {
    /// Each with the user that it runs as, if it has one.
    programs: HashSet<(Vec<String>, Option<String>)>,
    /// Programs that are told of virtual routers, each with its user, in keepalived's words behind their own arguments.
    notified: HashSet<(Vec<String>, Option<String>)>,
    files: HashSet<PathBuf>,
}

impl Outside {
    /// What the flags name, or the text of the file that they name; nothing if it cannot be read.
    pub fn of(args: &RunArgs, text: Option<&str>) -> Outside {
        let draft = match (&args.config, text) {
            (Some(path), Some(text)) => toml::read(&path.display().to_string(), text),
            (Some(_), None) => return Outside::default(),
            (None, _) => args.draft(),
        };
        draft.as_ref().map(Outside::named_by).unwrap_or_default()
    }

    fn named_by(draft: &Draft) -> Outside {
        let mut outside = Outside::default();
        for service in &draft.services {
            let of_servers = service.servers.iter().flat_map(|server| &server.checks);
            service.checks.iter().chain(of_servers).for_each(|check| outside.note(check));
            if let Some(policy) = &service.policy {
                let commands = [&policy.quorum_up, &policy.quorum_down].into_iter().filter(|words| !words.is_empty());
                outside.programs.extend(commands.map(|words| (words.clone(), policy.quorum_user.clone())));
            }
        }
        for vrrp in &draft.vrrps {
            if !vrrp.notify.is_empty() {
                outside.notified.insert((vrrp.notify.clone(), vrrp.user.clone()));
            }
            outside.programs.extend(vrrp.tracks.iter().filter_map(|track| match &track.what {
                Tracked::Script { command, user, .. } => Some((command.clone(), user.clone())),
                Tracked::Service(_) | Tracked::Link(_) | Tracked::Neighbour { .. } => None,
            }));
        }
        outside
    }

    /// True for a program that is told of a virtual router, and nothing else, as this user.
    fn is_notice(&self, command: &[String], user: Option<&str>) -> bool {
        let Some((own, [kind, _, state, priority])) = command.split_last_chunk() else { return false };
        let words = ["INSTANCE", "GROUP"].contains(&kind.as_str())
            && ["MASTER", "BACKUP", "FAULT"].contains(&state.as_str())
            && priority.parse::<u8>().is_ok();
        words && self.notified.contains(&(own.to_vec(), user.map(str::to_owned)))
    }

    fn note(&mut self, check: &Check) {
        match &check.kind {
            Kind::Exec(exec) => _ = self.programs.insert((exec.command.clone(), exec.user.clone())),
            Kind::Http(Http { tls: Some(tls), .. }) => self.files.extend(tls.verify.clone()),
            _ => {}
        }
    }

    /// True for a program with exactly these arguments, but for the words of a notice, as this user.
    pub fn has_program(&self, command: &[String], user: Option<&str>) -> bool {
        let is_named = self.programs.contains(&(command.to_vec(), user.map(str::to_owned)));
        is_named || self.is_notice(command, user)
    }

    /// True for a file to read.
    pub fn has_file(&self, path: &Path) -> bool {
        self.files.contains(path)
    }
}

#[cfg(test)]
mod tests {
    use argh::FromArgs;

    use super::*;

    fn outside(words: &str, text: Option<&str>) -> Outside {
        let words: Vec<&str> = words.split(' ').collect();
        Outside::of(&RunArgs::from_args(&["run"], &words).unwrap(), text)
    }

    #[test]
    #[cfg(feature = "tls")]
    fn programs_and_files_are_those_that_are_named_word_by_word() {
        let text = r#"
            [[link]]
            bridge = "br0"
            address = ["10.0.0.2/24"]
            [[service]]
            tcp = "10.0.0.100:443"
            check = { kind = "exec", command = ["/usr/bin/check", "-q"] }
            quorum_up = ["/usr/bin/up"]
            quorum_user = "root"
            [[service.server]]
            address = "10.0.0.21:443"
            method = "nat"
            check = { kind = "https", path = "/", verify = "/etc/ca.pem" }
            [[vrrp]]
            id = 51
            notify = ["/usr/bin/tell"]
            track = { script = ["/usr/bin/track"] }
            user = "root"
        "#;
        let outside = |text| outside("--config /etc/tapvs.toml", text);
        let named = outside(Some(text));
        let has = |words: &[&str], user| {
            named.has_program(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), user)
        };
        assert!(has(&["/usr/bin/check", "-q"], None) && has(&["/usr/bin/up"], Some("root")));
        assert!(!has(&["/usr/bin/check", "-q"], Some("root")) && !has(&["/usr/bin/up"], None));
        let notice = ["/usr/bin/tell", "INSTANCE", "51", "MASTER", "100"];
        assert!(has(&notice, Some("root")) && has(&["/usr/bin/track"], Some("root")));
        assert!(!has(&notice, None) && !has(&notice[..4], Some("root")) && !has(&["/usr/bin/track"], None));
        assert!(!has(&["/usr/bin/check"], None) && !has(&["/usr/bin/check", "-q", "-q"], None) && !has(&[], None));
        assert!(named.has_file(Path::new("/etc/ca.pem")) && !named.has_file(Path::new("/etc/shadow")));
        assert_eq!([outside(Some("[[")), outside(None)], [Outside::default(), Outside::default()]);
    }

    #[test]
    fn flags_name_programs_too() {
        let words = "--bridge br0 --service tcp/10.0.0.100:80 --check exec:/usr/bin/check";
        assert!(outside(words, None).has_program(&["/usr/bin/check".to_owned()], None));
    }
}

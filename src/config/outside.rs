//! What a configuration names outside itself: programs to run, and files to read besides.
//!
//! Reads words only: whether they are right is the plan's.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::draft::Draft;
use super::flags::RunArgs;
use super::toml;
use crate::health::{Check, Http, Kind};

/// All of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outside {
    programs: HashSet<Vec<String>>,
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
            let policy = service.policy.iter().flat_map(|policy| [&policy.quorum_up, &policy.quorum_down]);
            outside.programs.extend(policy.filter(|command| !command.is_empty()).cloned());
        }
        outside
    }

    fn note(&mut self, check: &Check) {
        match &check.kind {
            Kind::Exec(exec) => _ = self.programs.insert(exec.command.clone()),
            Kind::Http(Http { tls: Some(tls), .. }) => self.files.extend(tls.verify.clone()),
            _ => {}
        }
    }

    /// True for a program with exactly these arguments.
    pub fn has_program(&self, command: &[String]) -> bool {
        self.programs.contains(command)
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
            [[service.server]]
            address = "10.0.0.21:443"
            method = "nat"
            check = { kind = "https", path = "/", verify = "/etc/ca.pem" }
        "#;
        let outside = |text| outside("--config /etc/tapvs.toml", text);
        let named = outside(Some(text));
        let has = |words: &[&str]| named.has_program(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert!(has(&["/usr/bin/check", "-q"]) && has(&["/usr/bin/up"]));
        assert!(!has(&["/usr/bin/check"]) && !has(&["/usr/bin/check", "-q", "-q"]) && !has(&[]));
        assert!(named.has_file(Path::new("/etc/ca.pem")) && !named.has_file(Path::new("/etc/shadow")));
        assert_eq!([outside(Some("[[")), outside(None)], [Outside::default(), Outside::default()]);
    }

    #[test]
    fn flags_name_programs_too() {
        let words = "--bridge br0 --service tcp/10.0.0.100:80 --check exec:/usr/bin/check";
        assert!(outside(words, None).has_program(&["/usr/bin/check".to_owned()]));
    }
}

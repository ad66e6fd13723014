//! What became so while a process ran, besides rules: settings, marks, the stand-by, what is held of servers and kept
//! beside conns.
//!
//! The last word on each thing counts. Never decides whether a later process heeds it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::base::Endpoint;
use crate::director::Kept;
use crate::health::Standing;
use crate::service::command::ServiceKey;

/// One of them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Fact {
    /// A setting was changed.
    Setting {
        /// Its name.
        name: String,
        /// Its value since.
        value: String,
        /// What the configuration had said.
        configured: String,
    },
    /// Mark rules were added or deleted.
    Marks {
        /// Those that there are since.
        rules: Vec<String>,
        /// Those that the configuration had.
        configured: Vec<String>,
    },
    /// The director was told to stand by, or to serve.
    Standby(bool),
    /// What checks and the administrator say of a server.
    Server(ServiceKey, Endpoint, Standing),
    /// What a helper keeps beside the conn in this slot, if it keeps anything.
    Conn(u32, Option<Kept>),
}

/// What a fact is about.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Subject {
    Setting(String),
    Marks,
    Standby,
    Server(ServiceKey, Endpoint),
    Conn(u32),
}

impl Fact {
    fn subject(&self) -> Subject {
        match self {
            Fact::Setting { name, .. } => Subject::Setting(name.clone()),
            Fact::Marks { .. } => Subject::Marks,
            Fact::Standby(_) => Subject::Standby,
            Fact::Server(key, real, _) => Subject::Server(*key, *real),
            Fact::Conn(slot, _) => Subject::Conn(*slot),
        }
    }

    /// True for what a configuration says too.
    pub fn is_configurable(&self) -> bool {
        matches!(self, Fact::Setting { .. } | Fact::Marks { .. })
    }

    /// What the configuration had said stays as it was first known.
    fn after(self, known: &Fact) -> Fact {
        match (self, known) {
            (Fact::Setting { name, value, .. }, Fact::Setting { configured, .. }) => {
                Fact::Setting { name, value, configured: configured.clone() }
            }
            (Fact::Marks { rules, .. }, Fact::Marks { configured, .. }) => {
                Fact::Marks { rules, configured: configured.clone() }
            }
            (fact, _) => fact,
        }
    }
}

/// All that are known.
#[derive(Default)]
pub struct Facts {
    known: HashMap<Subject, Fact>,
}

impl Facts {
    /// Notes a fact; it is handed back as it is to be written down, if it is news.
    pub fn note(&mut self, fact: Fact) -> Option<Fact> {
        let subject = fact.subject();
        if let Fact::Conn(_, None) = fact {
            return self.known.remove(&subject).map(|_| fact);
        }
        let fact = match self.known.get(&subject) {
            Some(known) => fact.after(known),
            None if matches!(&fact, Fact::Server(_, _, standing) if *standing == Standing::default()) => return None,
            None => fact,
        };
        if self.known.get(&subject) == Some(&fact) {
            return None;
        }
        self.known.insert(subject, fact.clone());
        Some(fact)
    }

    /// The configuration was read again: its settings and marks are those that there are.
    pub fn forget_configurable(&mut self) {
        self.known.retain(|_, fact| !fact.is_configurable());
    }

    /// Forgets servers that are there no more.
    pub fn keep_servers(&mut self, is_there: impl Fn(&ServiceKey, Endpoint) -> bool) {
        self.known.retain(|subject, _| !matches!(subject, Subject::Server(key, real) if !is_there(key, *real)));
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.known.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(value: &str, configured: &str) -> Fact {
        Fact::Setting { name: "sloppy_tcp".into(), value: value.into(), configured: configured.into() }
    }

    #[test]
    fn the_last_word_counts_and_what_was_configured_stays() {
        let mut facts = Facts::default();
        assert_eq!(facts.note(setting("1", "0")), Some(setting("1", "0")));
        assert_eq!(facts.note(setting("1", "1")), None, "no news");
        assert_eq!(facts.note(setting("0", "1")), Some(setting("0", "0")));
        assert_eq!(facts.note(Fact::Standby(true)), Some(Fact::Standby(true)));
        assert_eq!(facts.iter().count(), 2);
        facts.forget_configurable();
        assert_eq!(facts.iter().collect::<Vec<_>>(), [&Fact::Standby(true)]);
    }
}

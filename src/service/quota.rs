//! How many conns a service admits, of all clients together and of each: `new=1000,client-conns=50`.
//!
//! Only the numbers and their words; `flows/quotas.rs` counts.

use serde::{Deserialize, Serialize};

/// Numbers of conns; 0 is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Quota {
    /// Of all clients.
    pub all: Bounds,
    /// Of each client, which may be a net (settings `client_net`, `client_net_ipv6`).
    pub client: Bounds,
    /// Ports of each local address towards each server that conns of this service leave to those of others (FULL-NAT).
    pub leave_ports: u32,
}

/// What one may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Bounds {
    /// New conns in a second, in the long run.
    pub new: u32,
    /// New conns at one moment after a pause; 0: as many as in a second.
    pub burst: u32,
    /// Conns at once.
    pub conns: u32,
}

/// The largest number.
const MOST: u32 = 1_000_000_000;

/// Where each word's number is.
type Place = fn(&mut Quota) -> &mut u32;
const WORDS: [(&str, Place); 7] = [
    ("new", |quota| &mut quota.all.new),
    ("burst", |quota| &mut quota.all.burst),
    ("conns", |quota| &mut quota.all.conns),
    ("client-new", |quota| &mut quota.client.new),
    ("client-burst", |quota| &mut quota.client.burst),
    ("client-conns", |quota| &mut quota.client.conns),
    ("leave-ports", |quota| &mut quota.leave_ports),
];

impl Quota {
    /// Reads the words; an error says what is wrong and what to write.
    pub fn parse(text: &str) -> Result<Quota, String> {
        let mut quota = Quota::default();
        for word in text.split(',') {
            let known = word.split_once('=').and_then(|(name, number)| {
                let (_, place) = WORDS.iter().find(|row| row.0 == name)?;
                Some((place, number.parse().ok().filter(|number| (1..=MOST).contains(number))?))
            });
            let Some((place, number)) = known else {
                let names = WORDS.map(|row| row.0).join(", ");
                return Err(format!(
                    "'{word}' is not a limit; write NAME=NUMBER, from 1 to {MOST}, with one of {names}"
                ));
            };
            *place(&mut quota) = number;
        }
        quota.check().map(|()| quota)
    }

    /// Refuses numbers that do not go together or are too large, whoever asks for them.
    pub fn check(&self) -> Result<(), String> {
        let mut quota = *self;
        if let Some((name, _)) = WORDS.iter().find(|(_, place)| *place(&mut quota) > MOST) {
            return Err(format!("{name} is at most {MOST}"));
        }
        for (bounds, of) in [(self.all, ""), (self.client, "client-")] {
            if bounds.burst != 0 && bounds.new == 0 {
                return Err(format!("{of}burst says nothing without {of}new; add {of}new=NUMBER"));
            }
        }
        Ok(())
    }

    /// True if there is any limit.
    pub fn is_some(&self) -> bool {
        *self != Quota::default()
    }

    /// The words, none where there is no limit.
    pub fn words(&self) -> String {
        let mut quota = *self;
        let words = WORDS.map(|(name, place)| (name, *place(&mut quota)));
        words
            .iter()
            .filter(|word| word.1 != 0)
            .map(|(name, number)| format!("{name}={number}"))
            .collect::<Vec<_>>()
            .join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for text in
            ["new=5", "new=1000,burst=2000,conns=7,leave-ports=500", "client-new=10,client-burst=20,client-conns=100"]
        {
            assert_eq!(Quota::parse(text).unwrap().words(), text);
        }
        assert!(!Quota::default().is_some());
        for (text, wanted) in [
            ("", "'' is not a limit; write NAME=NUMBER, from 1 to 1000000000, with one of new, burst"),
            ("new", "'new' is not a limit"),
            ("new=0", "'new=0' is not"),
            ("conns=1000000001", "'conns=1000000001' is not"),
            ("new=1,speed=2", "'speed=2' is not"),
            ("burst=3", "burst says nothing without new"),
            ("new=1,client-burst=3", "client-burst says nothing without client-new"),
        ] {
            let error = Quota::parse(text).unwrap_err();
            assert!(error.starts_with(wanted), "{error}");
        }
    }
}

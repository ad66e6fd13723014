//! Settings of the director, by name: set, read and checked by their rows.
//!
//! Setting, reading, checking, reloading and the manual page all read the rows (`rows`). A value that does not fit is
//! refused, never cut.

mod field;
mod rows;
mod values;
mod words;

use crate::sched::{self, Overhead};
pub use field::Ports;
pub use rows::{Effect, ROWS, Row, Settings};
pub use words::{ClientHeader, Datagrams, Fast, NoLocalPort, Unknown};

impl Settings {
    /// The names that `set` knows.
    pub const NAMES: &'static [&'static str] = &{
        let mut names = [""; ROWS.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = ROWS[index].name;
            index += 1;
        }
        names
    };

    /// The value of a setting, as `set` takes it.
    pub fn get(&self, name: &str) -> Option<String> {
        row(name).map(|row| (row.get)(self))
    }

    /// Sets one by its name; the error says what is wrong with the value.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        if let ("sync_threshold", Some((threshold, period))) = (name, text.split_once(char::is_whitespace)) {
            let mut both = self.clone();
            both.set("sync_period", period.trim_start())?;
            both.set("sync_threshold", threshold)?;
            *self = both;
            return Ok(());
        }
        let row =
            row(name).ok_or_else(|| format!("'{name}' is not a setting; known are {}", Settings::NAMES.join(" ")))?;
        let value = row.values.read(text).map_err(|wrong| format!("{name}: {wrong}"))?;
        (row.put)(self, value);
        Ok(())
    }

    /// What two settings say against each other.
    pub fn check(&self) -> Result<(), String> {
        let (threshold, period) = (self.sync_threshold, self.sync_period);
        if period != 0 && threshold >= period {
            return Err(format!(
                "sync_threshold: {threshold} is not below sync_period ({period}); lower it, or set the period to 0 for once"
            ));
        }
        Ok(())
    }

    /// A line for each setting without effect that differs from `before`.
    pub fn without_effect(&self, before: &Settings) -> Vec<String> {
        let changed = |row: &&Row| row.effect == Effect::Nothing && (row.get)(self) != (row.get)(before);
        let text = |row: &Row| format!("setting {} has no effect here: {}", row.name, row.help);
        ROWS.iter().filter(changed).map(text).collect()
    }

    /// Those that schedulers read.
    pub fn sched(&self) -> sched::Settings {
        let overhead = if self.conn_overhead == 257 { Overhead::Current } else { Overhead::Classic };
        let Settings { lblc_expiration, lblcr_expiration, mh_table_size, .. } = *self;
        sched::Settings { overhead, lblc_expiration, lblcr_expiration, mh_table_size }
    }
}

fn row(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

/// The rows as the manual page has them (mdoc).
#[cfg(test)]
fn manual() -> String {
    let usual = Settings::default();
    use std::fmt::Write;

    let mut text = String::from(".Bl -tag -width indent\n");
    for row in ROWS {
        let default = match (row.get)(&usual) {
            none if none.is_empty() => String::new(),
            value => [value.as_str(), row.unit].join(" ").trim_end().to_owned() + " if not given",
        };
        let limits = [row.values.text(), default].iter().filter(|text| !text.is_empty()).cloned().collect::<Vec<_>>();
        let vain = if row.effect == Effect::Nothing { "Accepted, without effect.\n" } else { "" };
        let start = if row.effect == Effect::AtStart { "\nA change needs a new start." } else { "" };
        let _ = writeln!(
            text,
            ".It Ic {}\n{vain}{}{start}\n{}.",
            row.name,
            row.help.replace(". ", ".\n"),
            limits.join("; ")
        );
    }
    text + ".El\n"
}

#[cfg(test)]
mod tests {
    use super::values::Values::{Between, Mode, OneOf, PortList, Processors, Switch, Words};
    use super::*;

    /// Another value than the default, of every row.
    fn other(row: &Row) -> String {
        let usual = (row.get)(&Settings::default());
        let candidates = match row.values {
            Switch | Mode => vec![0, 1],
            Between(least, most) => vec![least, least + 1, most],
            OneOf(numbers) => numbers.iter().map(|number| i64::from(*number)).collect(),
            Words(words) => return words[1].into(),
            Processors => return "0-3,8".into(),
            PortList => return "21,2121".into(),
        };
        candidates.iter().map(i64::to_string).find(|value| *value != usual).unwrap()
    }

    #[test]
    fn every_row_is_set_read_and_alone() {
        for row in ROWS {
            let mut settings = Settings::default();
            let other = other(row);
            settings.set(row.name, &other).unwrap();
            assert_eq!(settings.get(row.name), Some(other), "{}", row.name);
            let changed = Settings::NAMES.iter().filter(|name| settings.get(name) != Settings::default().get(name));
            assert_eq!(changed.collect::<Vec<_>>(), [&row.name]);
        }
        assert!(Settings::NAMES.is_sorted(), "listings and the manual are sorted");
    }

    #[test]
    fn the_ends_of_every_range_arrive_whole_and_what_lies_beyond_is_refused() {
        for row in ROWS {
            let Between(least, most) = row.values else { continue };
            for value in [least, most] {
                let mut settings = Settings::default();
                settings.set(row.name, &value.to_string()).unwrap();
                assert_eq!(settings.get(row.name), Some(value.to_string()), "{}", row.name);
            }
            for value in [i128::from(least) - 1, i128::from(most) + 1, 1 << 32, 1 << 64, 1 << 100] {
                let mut settings = Settings::default();
                let fits = (i128::from(least)..=i128::from(most)).contains(&value);
                assert_eq!(settings.set(row.name, &value.to_string()).is_ok(), fits, "{} {value}", row.name);
            }
        }
        let wrong = Settings::default().set("amemthresh", "4294967296").unwrap_err();
        assert_eq!(wrong, "amemthresh: 4294967296 does not fit; it takes 0 to 2147483647");
    }

    #[test]
    fn every_sysctl_of_ipvs_is_known() {
        // The entries of ip_vs_ctl.c, and the two of the schedulers, in Linux 7.
        let kernel = "am_droprate amemthresh backup_only cache_bypass conn_lfactor conn_max conn_reuse_mode conntrack \
                      debug_level drop_entry drop_packet est_cpulist est_nice expire_nodest_conn \
                      expire_quiescent_template ignore_tunneled lblc_expiration lblcr_expiration nat_icmp_send pmtu_disc \
                      run_estimation schedule_icmp secure_tcp sloppy_sctp sloppy_tcp snat_reroute svc_lfactor \
                      sync_persist_mode sync_ports sync_qlen_max sync_refresh_period sync_retries sync_sock_size \
                      sync_threshold sync_version";
        let unknown = |name: &&str| !Settings::NAMES.contains(name);
        assert_eq!(kernel.split_whitespace().filter(unknown).collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn values_are_refused_with_a_sentence_and_change_nothing() {
        let mut settings = Settings::default();
        settings.set("sync_threshold", "5 \t60").unwrap();
        assert_eq!((settings.sync_threshold, settings.sync_period), (5, 60));
        for (name, value, wanted) in [
            ("sync_threshold", "3 x", "sync_period: 'x' is not a whole number; it takes 0 to 2147483647"),
            ("sync_threshold", "x 9", "sync_threshold: 'x' is not a whole number; it takes 0 to 2147483647"),
            ("sync_retries", "4", "sync_retries: 4 does not fit; it takes 0 to 3"),
            (
                "mh_table_size",
                "4096",
                "mh_table_size: 4096 does not fit; it takes 251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071",
            ),
            ("conn_overhead", "255", "conn_overhead: 255 does not fit; it takes 256, 257"),
            ("pmtu_disc", "on", "pmtu_disc: 'on' is not a whole number; it takes 0 (off) or 1 (on)"),
            ("ftp_ports", "21,0", "ftp_ports: '21,0' is not a list of at most 8 ports, as in 21,2121"),
            (
                "ftp_ports",
                "1,2,3,4,5,6,7,8,9",
                "ftp_ports: '1,2,3,4,5,6,7,8,9' is not a list of at most 8 ports, as in 21,2121",
            ),
            ("unknown", "keep", "unknown: 'keep' is not one of reset, drop, adopt"),
            ("est_cpulist", "0-x", "est_cpulist: '0-x' is not a list of processors, as in 0-3,8"),
        ] {
            assert_eq!(settings.set(name, value).unwrap_err(), wanted);
            assert_eq!((settings.sync_threshold, settings.sync_period), (5, 60), "{name} {value}");
        }
        let unknown = settings.set("x", "1").unwrap_err();
        assert!(unknown.starts_with("'x' is not a setting; known are am_droprate "), "{unknown}");
        settings.set("sync_period", "5").unwrap();
        assert!(settings.check().is_err(), "5 of 5 would never come");
    }

    #[test]
    fn a_setting_without_effect_says_why() {
        let mut settings = Settings::default();
        settings.set("conntrack", "1").unwrap();
        let said = settings.without_effect(&Settings::default());
        assert_eq!(
            said,
            ["setting conntrack has no effect here: Packets on a TAP pass no connection tracking of netfilter."]
        );
        assert!(settings.without_effect(&settings).is_empty());
    }

    /// With `TAPVS_WRITE_DOCS` set the page is written instead of compared (`scripts/documents --write`).
    #[test]
    fn the_manual_has_every_row() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tapvs.toml.5");
        let page = std::fs::read_to_string(path).unwrap();
        let (before, rest) = page.split_once(".\\\" settings: from src/settings/rows.rs\n").unwrap();
        let (_, after) = rest.split_once(".\\\" end of settings\n").unwrap();
        let wanted =
            format!("{before}.\\\" settings: from src/settings/rows.rs\n{}.\\\" end of settings\n{after}", manual());
        if std::env::var_os("TAPVS_WRITE_DOCS").is_some() {
            std::fs::write(path, &wanted).unwrap();
        }
        assert!(std::fs::read_to_string(path).unwrap() == wanted, "run scripts/documents --write");
    }
}

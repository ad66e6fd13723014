//! Settings of the director; names and defaults are those of the kernel's sysctls where it has them.
//!
//! Values only.

use crate::sched::{self, Overhead};

/// What can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Conns the flow table holds.
    pub max_flows: usize,
    /// What schedulers read.
    pub sched: sched::Settings,
    /// `pmtu_disc`: tunnel packets carry the inner DF and clients are told what does not fit.
    pub pmtu_disc: bool,
    /// `sloppy_tcp`: any TCP segment but a reset may open a conn.
    pub sloppy_tcp: bool,
    /// `sloppy_sctp`: any SCTP packet but an abort may open a conn.
    pub sloppy_sctp: bool,
    /// `conn_reuse_mode`: a SYN on a closed conn is scheduled anew.
    pub conn_reuse_mode: u32,
    /// `expire_nodest_conn`: packets of a removed dest's conns end the conn.
    pub expire_nodest_conn: bool,
    /// `expire_quiescent_template`: a persistent client of a dest of weight 0 is scheduled anew.
    pub expire_quiescent_template: bool,
    /// `expire_reset`: both ends of an established conn that expires are sent a reset; 1 in NAT, 2 in FULL-NAT, 3 in
    /// both. Not the kernel's, which never does; FULL-NAT's other implementations do.
    pub expire_reset: u8,
    /// `secure_tcp`: the stricter TCP state table; 0 never, 1 under pressure, 3 always.
    pub secure_tcp: u8,
    /// `drop_entry`: half-open and idle conns are ended, a part of the table each second; 0, 1, 3 as above.
    pub drop_entry: u8,
    /// `drop_packet`: some packets that would open a conn are dropped; 0, 1, 3 as above.
    pub drop_packet: u8,
    /// `amemthresh`: with fewer free places in the flow table there is pressure.
    pub amemthresh: u32,
    /// `am_droprate`: with `drop_packet` = 3 one packet of so many is dropped.
    pub am_droprate: u32,
    /// `kernel_faults`: on, what kernel 6.1 gets wrong is got wrong in the same way, so that recordings of it can be
    /// compared. Nobody wants it on otherwise: see `kernel_quirks.rs` for the list.
    pub kernel_faults: bool,
    /// `sync_threshold`: which of a conn's packets from the client tells other directors of it, in each `sync_period`.
    pub sync_threshold: u32,
    /// `sync_period`, the second number of the kernel's `sync_threshold`; 0: the first number's packet alone.
    pub sync_period: u32,
    /// `sync_refresh_period`: seconds after which a conn is told of again although little has changed; 0: by packets alone.
    pub sync_refresh_period: u32,
    /// `sync_retries`: how often it is told of within that period, an eighth of it apart.
    pub sync_retries: u8,
    /// `sync_persist_mode`: conns that a template made are not told of, only the template is.
    pub sync_persist_mode: bool,
    /// ICMP errors per second that the director sends (`icmp_msgs_per_sec`); 0: no limit.
    pub icmp_rate: u32,
}

impl Settings {
    /// The names that `set` knows.
    pub const NAMES: &'static [&'static str] = &[
        "am_droprate",
        "amemthresh",
        "conn_overhead",
        "conn_reuse_mode",
        "drop_entry",
        "drop_packet",
        "expire_nodest_conn",
        "expire_quiescent_template",
        "expire_reset",
        "lblc_expiration",
        "lblcr_expiration",
        "mh_table_size",
        "pmtu_disc",
        "secure_tcp",
        "sloppy_sctp",
        "sloppy_tcp",
        "sync_period",
        "sync_persist_mode",
        "sync_refresh_period",
        "sync_retries",
        "sync_threshold",
    ];

    /// The value of a setting, as `set` takes it.
    pub fn get(&self, name: &str) -> Option<u64> {
        Some(match name {
            "pmtu_disc" => self.pmtu_disc.into(),
            "sloppy_tcp" => self.sloppy_tcp.into(),
            "sloppy_sctp" => self.sloppy_sctp.into(),
            "secure_tcp" => self.secure_tcp.into(),
            "drop_entry" => self.drop_entry.into(),
            "drop_packet" => self.drop_packet.into(),
            "expire_reset" => self.expire_reset.into(),
            "amemthresh" => self.amemthresh.into(),
            "am_droprate" => self.am_droprate.into(),
            "conn_reuse_mode" => self.conn_reuse_mode.into(),
            "expire_nodest_conn" => self.expire_nodest_conn.into(),
            "expire_quiescent_template" => self.expire_quiescent_template.into(),
            "sync_threshold" => self.sync_threshold.into(),
            "sync_period" => self.sync_period.into(),
            "sync_refresh_period" => self.sync_refresh_period.into(),
            "sync_retries" => self.sync_retries.into(),
            "sync_persist_mode" => self.sync_persist_mode.into(),
            "lblc_expiration" => self.sched.lblc_expiration,
            "lblcr_expiration" => self.sched.lblcr_expiration,
            "mh_table_size" => self.sched.mh_table_size.into(),
            "conn_overhead" => match self.sched.overhead {
                Overhead::Classic => 256,
                Overhead::Current => 257,
            },
            _ => return None,
        })
    }

    /// Sets one by its name (the kernel's, below `net.ipv4.vs`); the error says what is wrong.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        if let ("sync_threshold", Some((threshold, period))) = (name, value.split_once(char::is_whitespace)) {
            // The kernel's form: both numbers at once.
            self.set("sync_period", period.trim_start())?;
            return self.set("sync_threshold", threshold);
        }
        let number: u64 = value.parse().map_err(|_| format!("{name}: '{value}' is not a number"))?;
        match name {
            "pmtu_disc" => self.pmtu_disc = number != 0,
            "sloppy_tcp" => self.sloppy_tcp = number != 0,
            "sloppy_sctp" => self.sloppy_sctp = number != 0,
            "secure_tcp" | "drop_entry" | "drop_packet" if number > 3 => {
                return Err(format!("{name}: {number} is not a mode (0 off, 1 automatic, 3 always)"));
            }
            "secure_tcp" => self.secure_tcp = number as u8,
            "drop_entry" => self.drop_entry = number as u8,
            "drop_packet" => self.drop_packet = number as u8,
            "expire_reset" if number > 3 => return Err(format!("{name}: {number} is not 0 to 3 (1 NAT, 2 FULL-NAT)")),
            "expire_reset" => self.expire_reset = number as u8,
            "amemthresh" => self.amemthresh = number as u32,
            "am_droprate" => self.am_droprate = number as u32,
            "sync_threshold" => self.sync_threshold = number as u32,
            "sync_period" => self.sync_period = number as u32,
            "sync_refresh_period" => self.sync_refresh_period = number as u32,
            "sync_retries" if number > 3 => return Err(format!("{name}: {number} is not 0 to 3")),
            "sync_retries" => self.sync_retries = number as u8,
            "sync_persist_mode" => self.sync_persist_mode = number != 0,
            "kernel_faults" => self.kernel_faults = number != 0,
            "conn_reuse_mode" => self.conn_reuse_mode = number as u32,
            "expire_nodest_conn" => self.expire_nodest_conn = number != 0,
            "expire_quiescent_template" => self.expire_quiescent_template = number != 0,
            "lblc_expiration" => self.sched.lblc_expiration = number,
            "lblcr_expiration" => self.sched.lblcr_expiration = number,
            "mh_table_size" => {
                let size = sched::MH_TABLE_SIZES.iter().find(|size| u64::from(**size) == number);
                self.sched.mh_table_size = *size.ok_or_else(|| {
                    format!("{name}: {number} is not one of the kernel's primes {:?}", sched::MH_TABLE_SIZES)
                })?;
            }
            "conn_overhead" => {
                self.sched.overhead = match number {
                    256 => Overhead::Classic,
                    257 => Overhead::Current,
                    _ => return Err(format!("{name}: {number} is not 256 (older kernels) or 257 (newer ones)")),
                };
            }
            _ => return Err(format!("'{name}' is not a setting; known are {}", Settings::NAMES.join(" "))),
        }
        Ok(())
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_flows: 65_536,
            sched: sched::Settings::default(),
            pmtu_disc: true,
            sloppy_tcp: false,
            sloppy_sctp: false,
            conn_reuse_mode: 1,
            expire_nodest_conn: false,
            expire_quiescent_template: false,
            expire_reset: 2,
            secure_tcp: 0,
            drop_entry: 0,
            drop_packet: 0,
            amemthresh: 1024,
            am_droprate: 10,
            kernel_faults: false,
            sync_threshold: 3,
            sync_period: 50,
            sync_refresh_period: 0,
            sync_retries: 0,
            sync_persist_mode: false,
            icmp_rate: 1000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_can_be_set_and_says_what_was_set() {
        for name in Settings::NAMES {
            let mut settings = Settings::default();
            let before = settings.get(name).unwrap();
            let other = match *name {
                "mh_table_size" => 65_521,
                "conn_overhead" => 257,
                _ => u64::from(before == 0),
            };
            settings.set(name, &other.to_string()).unwrap();
            assert_eq!(settings.get(name), Some(other), "{name}");
            let changed = Settings::NAMES.iter().filter(|name| settings.get(name) != Settings::default().get(name));
            assert_eq!(changed.collect::<Vec<_>>(), [name]);
        }
        let mut both = Settings::default();
        both.set("sync_threshold", "5 \t60").unwrap();
        assert_eq!((both.sync_threshold, both.sync_period), (5, 60));
        for (name, value) in [
            ("x", "1"),
            ("sync_threshold", "3 x"),
            ("sync_retries", "4"),
            ("mh_table_size", "4096"),
            ("conn_overhead", "255"),
            ("drop_entry", "4"),
        ] {
            assert!(Settings::default().set(name, value).is_err(), "{name}");
        }
    }
}

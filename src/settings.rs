//! Settings of the director, one row each: name, type, default, values, unit, help.
//!
//! Setting, reading, checking, reloading and the manual page all read these rows. The names are those of the kernel's
//! sysctls (below net.ipv4.vs) where it has them, and it has no sysctl that is unknown here: one that would change nothing
//! in this program is accepted, and its row says why. A value that does not fit is refused, never cut.

use crate::sched::{self, Overhead};

/// The values that a setting takes.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// 0 is off, any other number on.
    Switch,
    /// 0 is never, 1 under pressure, 3 always; 2 is 1, as the kernel shows it while there is pressure.
    Mode,
    /// All numbers between these two.
    Between(i64, i64),
    /// These numbers.
    OneOf(&'static [u32]),
    /// One of these words.
    Words(&'static [&'static str]),
    /// A list of processors, as in `0-3,8`.
    Processors,
    /// Ports, as in `21,2121`; none if empty.
    PortList,
}

/// What a setting does here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// What its help says.
    Works,
    /// The same, from the next start on.
    AtStart,
    /// Nothing: it is accepted because scripts for the kernel set it. Its help gives the reason.
    Nothing,
}

/// One setting.
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub values: Values,
    /// What its numbers count; empty for switches and modes.
    // Only the manual page has it, which a test writes.
    #[cfg_attr(not(test), allow(dead_code))]
    pub unit: &'static str,
    /// What it does.
    pub effect: Effect,
    /// One sentence, for people.
    pub help: &'static str,
    get: fn(&Settings) -> String,
    put: fn(&mut Settings, Value),
}

/// A value that a row has checked.
enum Value {
    Number(i64),
    Text(String),
}

/// The type of a field. The row's values are within its range, which a test checks; the conversions are safe therefore.
trait Field {
    fn show(&self) -> String;
    fn put(&mut self, value: Value);
}

macro_rules! number_fields {
    ($($type:ty),*) => { $(impl Field for $type {
        fn show(&self) -> String {
            self.to_string()
        }

        fn put(&mut self, value: Value) {
            if let Value::Number(number) = value {
                *self = <$type>::try_from(number).unwrap_or(*self);
            }
        }
    })* };
}

number_fields!(u8, u32, i32, u64, usize);

impl Field for bool {
    fn show(&self) -> String {
        u8::from(*self).to_string()
    }

    fn put(&mut self, value: Value) {
        if let Value::Number(number) = value {
            *self = number != 0;
        }
    }
}

impl Field for String {
    fn show(&self) -> String {
        self.clone()
    }

    fn put(&mut self, value: Value) {
        if let Value::Text(text) = value {
            *self = text;
        }
    }
}

/// At most eight ports, as many as a helper of the kernel takes (`IP_VS_APP_MAX_PORTS`); the places that are left are 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports([u16; 8]);

impl Ports {
    /// This one alone.
    const fn one(port: u16) -> Ports {
        Ports([port, 0, 0, 0, 0, 0, 0, 0])
    }

    /// True for one of them.
    #[inline]
    pub fn contains(&self, port: u16) -> bool {
        port != 0 && self.0.contains(&port)
    }

    fn read(text: &str) -> Option<Ports> {
        let mut ports = Ports([0; 8]);
        let words: Vec<&str> = text.split(',').filter(|_| !text.is_empty()).collect();
        for (number, word) in words.into_iter().enumerate() {
            *ports.0.get_mut(number)? = word.trim().parse().ok().filter(|port| *port != 0)?;
        }
        Some(ports)
    }
}

/// What a setting takes that is one of some words.
macro_rules! words {
    ($kind:ident: $($variant:ident = $word:literal),+) => {
        impl $kind {
            const WORDS: &'static [&'static str] = &[$($word),+];
        }

        impl Field for $kind {
            fn show(&self) -> String {
                match self {
                    $($kind::$variant => $word.to_owned(),)+
                }
            }

            fn put(&mut self, value: Value) {
                match value {
                    $(Value::Text(text) if text == $word => *self = $kind::$variant,)+
                    _ => {}
                }
            }
        }
    };
}

/// What becomes of a TCP segment in the middle of a conn that is not known, if it is for a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unknown {
    /// The director's own stack answers it with a reset, as the kernel's does.
    Reset,
    /// It is dropped in silence.
    Drop,
    /// It opens the conn.
    Adopt,
}

/// Whether the kernel forwards established flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fast {
    /// Where it can.
    Auto,
    /// It must be able to.
    On,
    /// Never.
    Off,
}

/// What the sender of a packet is told for which there is no local port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoLocalPort {
    /// A reset, if it is a segment; otherwise the same as by ICMP.
    Reset,
    /// That the port is unreachable.
    Icmp,
    /// Nothing.
    Drop,
}

/// What becomes of a header of the PROXY protocol that a client sends itself, where the director puts one in front of its stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientHeader {
    /// It is not looked for: the server gets it as the stream's first bytes, behind the director's.
    Data,
    /// It takes the place of the director's.
    Pass,
    /// The director's takes its place.
    Replace,
    /// The conn is reset.
    Refuse,
}

/// Which datagrams of a flow carry a header of the PROXY protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Datagrams {
    /// All.
    Each,
    /// Those that come before the server's first answer.
    UntilAnswered,
}

words!(ClientHeader: Data = "data", Pass = "pass", Replace = "replace", Refuse = "refuse");
words!(NoLocalPort: Reset = "reset", Icmp = "icmp", Drop = "drop");
words!(Datagrams: Each = "each", UntilAnswered = "until-answered");
words!(Unknown: Reset = "reset", Drop = "drop", Adopt = "adopt");
words!(Fast: Auto = "auto", On = "on", Off = "off");

impl Field for Ports {
    fn show(&self) -> String {
        let ports: Vec<String> = self.0.iter().filter(|port| **port != 0).map(u16::to_string).collect();
        ports.join(",")
    }

    fn put(&mut self, value: Value) {
        if let Value::Text(text) = value {
            *self = Ports::read(&text).unwrap_or(*self);
        }
    }
}

macro_rules! settings {
    ($($name:ident: $type:ty = $default:expr, $values:expr, $unit:literal, $effect:ident, $help:literal;)*) => {
        /// What can be set.
        #[derive(Clone, Debug)]
        pub struct Settings {
            $(#[doc = $help] pub $name: $type,)*
        }

        impl Default for Settings {
            fn default() -> Settings {
                Settings { $($name: $default,)* }
            }
        }

        /// Every setting, by name.
        pub const ROWS: &[Row] = &[$(Row {
            name: stringify!($name),
            values: $values,
            unit: $unit,
            effect: Effect::$effect,
            help: $help,
            get: |settings| settings.$name.show(),
            put: |settings, value| Field::put(&mut settings.$name, value),
        },)*];
    };
}

use Values::{Between, Mode, OneOf, PortList, Processors, Switch, Words};

/// The kernel keeps most of its numbers in an `int`.
const INT: i64 = i32::MAX as i64;

settings! {
    am_droprate: u32 = 10, Between(0, INT), "packets", Works, "With drop_packet 3, one packet of so many is dropped.";
    amemthresh: u32 = 1024, Between(0, INT), "conns", Works, "With fewer free places in the flow table there is pressure.";
    announce: bool = true, Switch, "", Works, "Routers send packets for the addresses of services here, where 'tapvs announce' tells them. Off before maintenance, if other directors do the same work: routers send elsewhere, and what still comes is served.";
    backup_only: bool = false, Switch, "", Works, "While the backup daemon of synchronisation runs, requests are not balanced; they meet the director's own stack.";
    cache_bypass: bool = false, Switch, "", Works, "A packet of a mark service without a usable server opens a conn that forwards it to its own destination, if that is another host; otherwise it is refused.";
    client_net: u8 = 32, Between(8, 32), "bits", AtStart, "What counts as one client where a service limits its clients (--limit): an IPv4 address, or the net of so many bits around it.";
    client_net_ipv6: u8 = 64, Between(16, 128), "bits", AtStart, "The same for IPv6.";
    conn_lfactor: i32 = -4, Between(-8, 8), "", Nothing, "The flow table has one size from the start, max_flows.";
    conn_max: usize = 1 << 30, Between(0, 1 << 30), "conns", Works, "With so many conns, no other is made; the flow table may hold fewer.";
    conn_overhead: u32 = 256, OneOf(&[256, 257]), "", Works, "The load formula of the least-connection family: 256 in older kernels, 257 in newer.";
    conn_reuse_mode: u32 = 1, Between(0, INT), "", Works, "A SYN on a closed conn is scheduled anew; with bit 2 set, on a conn in FIN_WAIT of direct routing and tunnels too.";
    conntrack: bool = false, Switch, "", Nothing, "Packets on a TAP pass no connection tracking of netfilter.";
    debug_level: u32 = 0, Between(0, INT), "", Nothing, "The log's level is set by RUST_LOG.";
    drop_entry: u8 = 0, Mode, "", Works, "Half-open and idle conns are ended.";
    drop_packet: u8 = 0, Mode, "", Works, "Some packets that would open a conn are dropped.";
    est_cpulist: String = String::new(), Processors, "", Nothing, "Rates are computed by the one thread there is.";
    est_nice: i32 = 0, Between(-20, 19), "", Nothing, "Rates are computed by the one thread there is.";
    expire_nodest_conn: bool = false, Switch, "", Works, "Conns of a removed server end at once.";
    expire_quiescent_template: bool = false, Switch, "", Works, "A persistent client of a server of weight 0 is scheduled anew.";
    expire_reset: u8 = 2, Between(0, 3), "", Works, "Both ends of an established conn that expires are sent a reset: 0 never, 1 in NAT, 2 in FULL-NAT, 3 in both.";
    fast: Fast = Fast::Auto, Words(Fast::WORDS), "", AtStart, "Packets of established flows are forwarded by a program in the kernel, at the egress of the TAP: auto where the kernel takes the program, on where it must.";
    fast_flows: usize = 262_144, Between(1, 1 << 24), "conns", Works, "Conns that the program in the kernel has at a time; others are forwarded by the director. The room for them is made at the start: a larger number takes full effect after a new start.";
    ftp_ports: Ports = Ports::one(21), PortList, "", Works, "TCP ports of services through NAT and FULL-NAT whose conns are read as FTP, like the parameter ports of the kernel's ip_vs_ftp. New conns heed a change.";
    fullnat_sequence: bool = true, Switch, "", Works, "TCP conns through FULL-NAT begin with sequence numbers that rise for each local port (RFC 6528) and without timestamps, so that a server takes a port again that it holds in TIME_WAIT. New conns heed a change.";
    fullnat_timeout_closing: u32 = 0, Between(0, 31_536_000), "seconds", Works, "How long a TCP conn through FULL-NAT lives in FIN_WAIT, CLOSE_WAIT, LAST_ACK, TIME_WAIT and CLOSE, for local ports are scarce; 0 is as long as any other.";
    fullnat_timeout_opening: u32 = 0, Between(0, 31_536_000), "seconds", Works, "The same in SYN_SENT and SYN_RECV.";
    fullnat_timeout_tcp: u32 = 0, Between(0, 31_536_000), "seconds", Works, "The same in ESTABLISHED.";
    fullnat_timeout_udp: u32 = 0, Between(0, 31_536_000), "seconds", Works, "How long a UDP flow through FULL-NAT lives; 0 is as long as any other.";
    icmp_rate: u32 = 1000, Between(0, INT), "a second", AtStart, "ICMP errors that the director sends at most; 0 is no limit.";
    ignore_tunneled: bool = false, Switch, "", Nothing, "Tunnel packets to the director are never unwrapped, so that none of their inner packets is balanced.";
    keepalive: u8 = 0, Between(0, 3), "", Works, "Before an established TCP conn expires, both ends are asked whether they still have it, by a segment with a number they have acknowledged already (RFC 9293 3.8.4): 0 never, 1 in NAT, 2 in FULL-NAT, 3 in both. If both answer it lives on; otherwise it ends as expire_reset says. An end that drops segments without timestamps (RFC 7323 3.2) does not answer.";
    keepalive_interval: u32 = 10, Between(1, 3600), "seconds", Works, "How long an answer is waited for, each time.";
    keepalive_probes: u32 = 3, Between(1, 20), "", Works, "How often an end that does not answer is asked.";
    kernel_faults: bool = false, Switch, "", Works, "Faults of kernel 6.1 are reproduced, to compare with recordings of it. Leave it off.";
    lblc_expiration: u64 = 86_400, Between(0, INT), "seconds", Works, "An idle entry of an lblc cache goes after this time.";
    lblcr_expiration: u64 = 86_400, Between(0, INT), "seconds", Works, "The same for lblcr; also the age at which a set of servers loses its most loaded member.";
    max_flows: usize = 65_536, Between(1, 1 << 30), "conns", AtStart, "Conns that the flow table holds.";
    mh_table_size: u32 = 4093, OneOf(&sched::MH_TABLE_SIZES), "slots", Works, "Slots of an mh table.";
    nat_icmp_send: bool = false, Switch, "", Works, "A packet that comes from a server in NAT and belongs to no conn is answered with port unreachable, instead of being forwarded.";
    no_local_port: NoLocalPort = NoLocalPort::Reset, Words(NoLocalPort::WORDS), "", Works, "What a client is told that opens a conn through FULL-NAT when no local address has a port left towards any server of the service: a reset (a datagram's sender, that the port is unreachable), the ICMP error in both cases, or nothing.";
    pmtu_disc: bool = true, Switch, "", Works, "Tunnel packets carry the inner DF, and clients are told what does not fit.";
    proxy_client_header: ClientHeader = ClientHeader::Data, Words(ClientHeader::WORDS), "", Works, "What becomes of a header of the PROXY protocol that a client sends itself to a server with client_address proxy-v1 or proxy-v2: data, it is not looked for, and the server gets it behind the director's; pass, the server gets it instead of the director's, for clients that can be trusted alone (a server that speaks first must wait for the client's first byte then); replace, the server gets the director's alone; refuse, the conn is reset. With pass and replace, one that does not end in its first segment is refused too. New conns heed a change.";
    proxy_datagrams: Datagrams = Datagrams::Each, Words(Datagrams::WORDS), "", Works, "Which datagrams carry a header of the PROXY protocol to a server of UDP with client_address proxy-v2: each, as name servers expect it, or those until the server has answered.";
    proxy_unique_id: bool = false, Switch, "", Works, "Headers of version 2 of the PROXY protocol in front of a TCP stream have a TLV with a unique id of the conn (PP2_TYPE_UNIQUE_ID), drawn for each.";
    run_estimation: bool = true, Switch, "", Nothing, "Rates follow from counters that are kept anyway; computing them costs nothing to speak of.";
    schedule_icmp: bool = false, Switch, "", Works, "An ICMP error about a reply of a service whose conn is unknown opens the conn, and goes to its server.";
    secure_tcp: u8 = 0, Mode, "", Works, "The stricter table of TCP states is used.";
    sip_ports: Ports = Ports::one(5060), PortList, "", Works, "UDP ports of services through NAT and FULL-NAT whose conns are read as SIP: addresses in messages become those that the other side has to send to, and the media of calls are expected. New conns heed a change.";
    sloppy_sctp: bool = false, Switch, "", Works, "Any SCTP packet but an abort may open a conn.";
    sloppy_tcp: bool = false, Switch, "", Works, "Any TCP segment but a reset may open a conn.";
    snat_reroute: bool = true, Switch, "", Nothing, "There is one table of routes, for replies as for all else.";
    standby: bool = false, Switch, "", Works, "This director stands by until the master's synchronisation daemon runs here, or 'tapvs standby off' has it work.";
    svc_lfactor: i32 = -3, Between(-8, 8), "", Nothing, "The index of services grows by itself.";
    syn_proxy_rate: u32 = 1000, Between(1, INT), "a second", Works, "SYNs of a service that its clients do not stand up for, beyond which a SYN proxy that is auto begins; it ends ten seconds after the last second of that.";
    syn_proxy_timestamps: bool = true, Switch, "", Works, "A SYN proxy keeps window scaling and selective acknowledgements in the timestamps that it answers a client with. Turn it off where servers have timestamps off: conns go without all three then.";
    sync_period: u32 = 50, Between(0, INT), "packets", Works, "Other directors are told of a conn once in so many of its packets; 0 is once.";
    sync_persist_mode: bool = false, Switch, "", Works, "Of conns that a persistence template made, other directors are told the template only.";
    sync_ports: u32 = 1, Between(1, 64), "", Nothing, "One thread sends and hears sync messages, on one port; peers need sync_ports 1 too.";
    sync_qlen_max: u64 = 0, Between(0, i64::MAX), "messages", Nothing, "Sync messages leave with the packets that cause them; none is queued.";
    sync_refresh_period: u32 = 0, Between(0, INT), "seconds", Works, "Other directors are told of a conn again after this time although little has changed; 0 is by packets alone.";
    sync_retries: u8 = 0, Between(0, 3), "", Works, "How often they are told within that period.";
    sync_sock_size: u32 = 0, Between(0, INT), "bytes", Nothing, "Sync messages leave through the TAP, not through a socket.";
    sync_threshold: u32 = 3, Between(0, INT), "packets", Works, "The packet of a conn, in each sync_period, that other directors are told of. Two numbers set sync_period too, as in the kernel.";
    sync_version: u32 = 1, OneOf(&[0, 1]), "", Works, "The version of sync messages that are sent: 0, for kernels before 2.6.39, tells neither IPv6 nor marks, timeouts and persistence engines. Both are understood.";
    timeout_close: u32 = 10, Between(1, 31_536_000), "seconds", Works, "How long a TCP conn lives in CLOSE.";
    timeout_timewait: u32 = 120, Between(1, 31_536_000), "seconds", Works, "How long a TCP conn lives in TIME_WAIT. FIN_WAIT has a place in ipvsadm --set.";
    toa_kind: u8 = 254, Between(9, 255), "", Works, "The kind of the TCP option by which servers behind FULL-NAT learn an IPv4 client (client_address toa); its length is 8.";
    toa_kind_ipv6: u8 = 254, Between(9, 255), "", Works, "The same of an IPv6 client; its length is 20.";
    toa_strip: bool = false, Switch, "", Works, "Such options that clients send themselves are blanked on TCP conns through FULL-NAT without client_address too, until the server has acknowledged the client's first byte: for servers that would read them.";
    unknown: Unknown = Unknown::Reset, Words(Unknown::WORDS), "", Works, "What a TCP segment in the middle of a conn meets that is for a service and that the director does not know, as after a start without state: a reset, as the kernel answers; nothing; or a server, which is the right one if the scheduler chooses by the client alone (mh, sh, dh). A service with a server in FULL-NAT cannot adopt, for its local port and sequence numbers are lost: there adopt is reset. What comes from a server in NAT of a conn that is not known is forwarded as it is by reset, as by the kernel, and dropped by the other two: a client that saw it would have the server end its conn.";
}

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

impl Values {
    fn read(self, text: &str) -> Result<Value, String> {
        if let Processors = self {
            return match is_processor_list(text) {
                true => Ok(Value::Text(text.to_owned())),
                false => Err(format!("'{text}' is not a list of processors, as in 0-3,8")),
            };
        }
        if let PortList = self {
            let wrong = || format!("'{text}' is not a list of {}", self.text());
            return Ports::read(text).map(|_| Value::Text(text.to_owned())).ok_or_else(wrong);
        }
        if let Words(words) = self {
            let wrong = || format!("'{text}' is not one of {}", self.text());
            return words.contains(&text).then(|| Value::Text(text.to_owned())).ok_or_else(wrong);
        }
        // A number too large for any setting is refused by the row's range, like others.
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("'{text}' is not a whole number; it takes {}", self.text()));
        }
        let number = text.parse::<i64>().ok();
        match number.filter(|number| self.contains(*number)) {
            Some(number) => Ok(Value::Number(number)),
            None => Err(format!("{text} does not fit; it takes {}", self.text())),
        }
    }

    fn contains(self, number: i64) -> bool {
        match self {
            Switch => (0..=INT).contains(&number),
            Mode => (0..=3).contains(&number),
            Between(least, most) => (least..=most).contains(&number),
            OneOf(numbers) => numbers.iter().any(|one| i64::from(*one) == number),
            Words(_) | Processors | PortList => false,
        }
    }

    /// For people.
    pub fn text(self) -> String {
        match self {
            Switch => "0 (off) or 1 (on)".into(),
            Mode => "0 (never), 1 (under pressure) or 3 (always)".into(),
            Between(least, INT) => format!("{least} to {INT}"),
            Between(least, i64::MAX) => format!("a number from {least} on"),
            Between(least, most) => format!("{least} to {most}"),
            OneOf(numbers) => numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
            Words(words) => words.join(", "),
            Processors => "a list of processors, as in 0-3,8".into(),
            PortList => "at most 8 ports, as in 21,2121".into(),
        }
    }
}

fn is_processor_list(text: &str) -> bool {
    let is_number = |text: &str| text.parse::<u16>().is_ok();
    let is_range =
        |part: &str| part.split_once('-').map_or(is_number(part), |(from, to)| is_number(from) && is_number(to));
    text.is_empty() || text.split(',').all(is_range)
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
        let (before, rest) = page.split_once(".\\\" settings: from src/settings.rs\n").unwrap();
        let (_, after) = rest.split_once(".\\\" end of settings\n").unwrap();
        let wanted =
            format!("{before}.\\\" settings: from src/settings.rs\n{}.\\\" end of settings\n{after}", manual());
        if std::env::var_os("TAPVS_WRITE_DOCS").is_some() {
            std::fs::write(path, &wanted).unwrap();
        }
        assert!(std::fs::read_to_string(path).unwrap() == wanted, "run scripts/documents --write");
    }
}

//! Settings of the director, one row each: name, type, default, values, unit, help.
//!
//! The names are those of the kernel's sysctls (below net.ipv4.vs) where it has them, and it has no sysctl that is unknown
//! here: one that would change nothing in this program is accepted, and its row says why. Never reads a value.

use super::field::{Field, Ports, Value};
use super::values::INT;
use super::values::Values::{self, Between, Mode, OneOf, PortList, Processors, Switch, Words};
use super::words::{ClientHeader, Datagrams, Fast, NoLocalPort, Unknown};
use crate::sched;

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
    pub(super) get: fn(&Settings) -> String,
    pub(super) put: fn(&mut Settings, Value),
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
    sip_ports: Ports = Ports::one(5060), PortList, "", Works, "Ports of services of UDP and TCP through NAT and FULL-NAT whose conns are read as SIP: addresses in messages become those that the other side has to send to, and the media of calls are expected. Over TCP a message goes on once it is whole; one without Content-Length or of more than 8 KiB goes on as it is, and so does all that is not SIP. SIP over TLS cannot be read by a director. New conns heed a change.";
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

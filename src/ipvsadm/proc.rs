//! The files of a kernel's IPVS below /proc/net, for scripts that read them: ip_vs, ip_vs_stats, ip_vs_conn.
//!
//! Pure: entries in, text out, as the kernel prints it (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_conn.c).

use std::fmt::Write;
use std::net::IpAddr;

use crate::base::Endpoint;
use crate::control::protocol::{ConnEntry, ServiceEntry};
use crate::service::command::ServiceKey;
use crate::service::{Rates, Stats};

/// The titles of ip_vs_conn.
pub const CONN_TITLES: &str = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n";

/// `ip_vs`
pub fn services(services: &[ServiceEntry]) -> String {
    let mut text = String::from(
        "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n",
    );
    for service in services {
        let options = &service.options;
        let one_packet = if options.one_packet { "ops " } else { "" };
        let scheduler = &options.scheduler;
        let _ = match service.key {
            // As there: IPv6 has no word for one-packet scheduling.
            ServiceKey::Address(proto, vip) if vip.addr.is_ipv6() => {
                write!(text, "{proto}  {} {scheduler} ", bracketed(vip))
            }
            ServiceKey::Address(proto, vip) => write!(text, "{proto}  {} {scheduler} {one_packet}", bracketed(vip)),
            ServiceKey::Mark(_, mark) => write!(text, "FWM  {mark:08X} {scheduler} {one_packet}"),
        };
        if let Some(persistence) = &options.persistence {
            // Timeouts in ticks, of which a second has 250.
            let _ = write!(text, "persistent {} {:08X}", u64::from(persistence.timeout) * 250, options.netmask);
        }
        text.push('\n');
        for dest in &service.dests {
            let (real, method) = (bracketed(dest.real), dest.options.method.words().listed);
            let _ = writeln!(
                text,
                "  -> {real}      {method:<7} {:<6} {:<10} {:<10}",
                dest.weight, dest.active, dest.inactive
            );
        }
    }
    text
}

/// `ip_vs_stats`
pub fn stats(total: &Stats, rates: &Rates) -> String {
    let row = |figures: [u64; 5]| {
        let [conns, in_pkts, out_pkts, in_bytes, out_bytes] = figures;
        format!("{conns:8X} {in_pkts:8X} {out_pkts:8X} {in_bytes:16X} {out_bytes:16X}\n")
    };
    let totals = row([total.conns, total.in_pkts, total.out_pkts, total.in_bytes, total.out_bytes]);
    let rates = row([rates.conns, rates.in_pkts, rates.out_pkts, rates.in_bytes, rates.out_bytes]);
    format!(
        "   Total Incoming Outgoing         Incoming         Outgoing\n   Conns  Packets  Packets            Bytes            Bytes\n\
         {totals}\n Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n{rates}"
    )
}

/// A line of `ip_vs_conn`
pub fn conn(conn: &ConnEntry) -> String {
    let end = |end: Endpoint| format!("{} {:04X}", hex(end.addr), end.port);
    let engine = conn.engine.as_ref().map_or(String::new(), |(name, data)| format!(" {name} {data}"));
    let (client, virt, real) = (end(conn.client), end(conn.virt), end(conn.real));
    format!("{:<3} {client} {virt} {real} {:<11} {:7}{engine}\n", conn.proto.to_string(), conn.state, conn.expires)
}

/// `0A000064:0050`, `[2001:0db8:...]:0050`
fn bracketed(end: Endpoint) -> String {
    match end.addr {
        IpAddr::V4(_) => format!("{}:{:04X}", hex(end.addr), end.port),
        IpAddr::V6(_) => format!("[{}]:{:04X}", hex(end.addr), end.port),
    }
}

fn hex(addr: IpAddr) -> String {
    match addr {
        IpAddr::V4(addr) => format!("{:08X}", u32::from(addr)),
        IpAddr::V6(addr) => addr.segments().map(|segment| format!("{segment:04x}")).join(":"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Family, Method, Proto};
    use crate::control::protocol::DestEntry;
    use crate::service::command::{DestOptions, Persistence, ServiceOptions};

    #[test]
    fn addresses_are_hex_as_there() {
        let four = Endpoint::new(IpAddr::from([10, 0, 0, 100]), 80);
        assert_eq!(bracketed(four), "0A000064:0050");
        let six = Endpoint::new("2001:db8::1".parse().unwrap(), 443);
        assert_eq!(bracketed(six), "[2001:0db8:0000:0000:0000:0000:0000:0001]:01BB");
    }

    #[test]
    fn a_conn_stands_in_its_columns() {
        let end = |last, port| Endpoint::new(IpAddr::from([10, 0, 0, last]), port);
        let entry = ConnEntry {
            proto: Proto::TCP,
            state: "ESTABLISHED".into(),
            expires: 899,
            client: end(9, 4000),
            virt: end(100, 80),
            local: None,
            real: end(21, 8080),
            engine: None,
            toa_missing: false,
        };
        assert_eq!(conn(&entry), "TCP 0A000009 0FA0 0A000064 0050 0A000015 1F90 ESTABLISHED     899\n");
    }

    /// As a kernel of Linux 6.1 prints them (ip_vs_info_seq_show, ip_vs_stats_show).
    #[test]
    fn services_and_counters_stand_in_the_kernels_columns() {
        let end = |text: &str, port| Endpoint::new(text.parse().unwrap(), port);
        let dest = |real, weight, active| DestEntry {
            real,
            options: DestOptions { method: Method::Nat, ..DestOptions::default() },
            weight,
            active,
            inactive: 12,
            persistent: 0,
            stats: Stats::default(),
            rates: Rates::default(),
        };
        let service = |key: ServiceKey, dests| ServiceEntry {
            key,
            options: ServiceOptions { scheduler: "rr".into(), ..ServiceOptions::defaults(key.family()) },
            locals: Vec::new(),
            stats: Stats::default(),
            rates: Rates::default(),
            dests,
        };
        let mut web =
            service(ServiceKey::Address(Proto::TCP, end("10.0.0.100", 80)), vec![dest(end("10.0.0.21", 8080), 1, 3)]);
        web.options.persistence = Some(Persistence { timeout: 360 });
        let six = service(
            ServiceKey::Address(Proto::UDP, end("2001:db8::1", 53)),
            vec![dest(end("2001:db8::21", 53), 100, 0)],
        );
        let mut mark = service(ServiceKey::Mark(Family::V4, 255), Vec::new());
        mark.options.one_packet = true;
        assert_eq!(
            services(&[web, six, mark]),
            "IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A000064:0050 rr persistent 90000 FFFFFFFF
  -> 0A000015:1F90      Masq    1      3          12       \x20
UDP  [2001:0db8:0000:0000:0000:0000:0000:0001]:0035 rr\x20
  -> [2001:0db8:0000:0000:0000:0000:0000:0021]:0035      Masq    100    0          12       \x20
FWM  000000FF rr ops\x20
"
        );
        let total = Stats { conns: 20, in_pkts: 256, out_pkts: 255, in_bytes: 1 << 40, out_bytes: 16 };
        assert_eq!(
            stats(&total, &Rates { conns: 1, ..Rates::default() }),
            "   Total Incoming Outgoing         Incoming         Outgoing
   Conns  Packets  Packets            Bytes            Bytes
      14      100       FF      10000000000               10

 Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
       1        0        0                0                0
"
        );
    }
}

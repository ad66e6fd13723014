//! What `ipvsadm -h` and `-v` print.
//!
//! The first line is in the form that scripts read a version from.

/// What `-v` prints.
pub(super) const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n";

/// What `-h` prints.
pub(super) fn usage(program: &str) -> String {
    format!("{VERSION}{}", USAGE.replace("PROGRAM", program))
}

const USAGE: &str = "\
Usage:
  PROGRAM -A|E SERVICE [-s SCHEDULER] [-p [SECONDS]] [-M NETMASK] [--pe ENGINE] [-b FLAGS] [-o]
  PROGRAM -D SERVICE
  PROGRAM -C
  PROGRAM -R
  PROGRAM -S [-n]
  PROGRAM -a|e SERVICE -r SERVER [-g|-i|-m|--fullnat] [-w WEIGHT] [-x UPPER] [-y LOWER] [TUNNEL]
  PROGRAM -d SERVICE -r SERVER
  PROGRAM -L|l [SERVICE] [-c] [LISTING]
  PROGRAM -Z [SERVICE]
  PROGRAM --set TCP TCPFIN UDP
  PROGRAM --start-daemon {master|backup} [SYNC]
  PROGRAM --stop-daemon {master|backup}
  PROGRAM -P|Q SERVICE -z ADDRESS
  PROGRAM -G [SERVICE]
  PROGRAM -h
  PROGRAM -v

The command comes first; what follows stands in any order.

Commands:
  --add-service     -A        add a virtual service
  --edit-service    -E        replace all options of a service
  --delete-service  -D        remove a service and its servers
  --clear           -C        remove all services
  --restore         -R        read rules from standard input
  --save            -S        print rules that -R reads
  --add-server      -a        add a real server
  --edit-server     -e        replace all options of a server
  --delete-server   -d        remove a server
  --list            -L|-l     list services, or connections
  --zero            -Z        set counters to 0
  --set TCP TCPFIN UDP        timeouts of connections in seconds; 0 keeps one
  --start-daemon              tell other directors of connections (master), or hear of theirs (backup)
  --stop-daemon               end that
  --add-laddr       -P        add a local address for FULL-NAT
  --del-laddr       -Q        remove a local address
  --get-laddr       -G        list local addresses
  --help            -h        print this
  --version         -v        print the version

SERVICE:
  --tcp-service     -t HOST[:PORT]
  --udp-service     -u HOST[:PORT]
  --sctp-service       HOST[:PORT]
  --fwmark-service  -f MARK   packets that carry a mark
  --ipv6            -6        of IPv6, after -f

SERVER:
  --real-server     -r HOST[:PORT]
  --gatewaying      -g        direct routing (default)
  --ipip            -i        tunnel
  --masquerading    -m        NAT
  --fullnat         -b        NAT of both addresses
  --client-address {none|proxy-v1|proxy-v2}
                              how a server behind FULL-NAT learns who its client is
  --weight          -w N      0 takes no new connections (default 1)
  --u-threshold     -x N      no new connections above so many; 0: no limit
  --l-threshold     -y N      again below so many; 0: three quarters of the upper one

TUNNEL:
  --tun-type {ipip|gue|gre}
  --tun-port PORT             of gue
  --tun-nocsum, --tun-csum, --tun-remcsum

Options of a service:
  --scheduler       -s NAME   rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh twos (default wlc)
  --persistent      -p [N]    a client stays with its server for N seconds (default 360)
  --netmask         -M MASK   all clients of a net are one client
  --pe                 NAME   persistence engine: sip
  --sched-flags     -b FLAGS  sh-fallback,sh-port,mh-fallback,mh-port
  --ops             -o        every packet is a connection of its own (UDP)

LISTING:
  --connection      -c        connections
  --numeric         -n        numbers instead of names
  --stats, --rate             counters; per second
  --exact           -X        numbers in full
  --thresholds, --persistent-conn, --tun-info
  --timeout, --daemon         timeouts; synchronisation daemons
  --sort, --nosort            sorted (default); in the director's order

SYNC:
  --mcast-interface NAME      a link of the director
  --syncid N, --sync-maxlen N, --mcast-group ADDRESS, --mcast-port N, --mcast-ttl N
";

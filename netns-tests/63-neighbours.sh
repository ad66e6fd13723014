# shellcheck shell=bash
# Neighbours that are slow, absent or scanned for.

# scan SECONDS: the client sends a thousand datagrams a second to addresses of the link that nobody has, by way of the
# director.
scan() {
    local part=${LINK}5:0:0:0/80 base=${LINK}5:0:0:
    [[ $FAMILY == 4 ]] && part=${LINK}128/25 base=${LINK}
    in_ns client ip route add "$part" via "$DIP"
    cat >"$LAB_DIR/scan.py" <<'PYTHON'
import socket, sys, time
base, seconds = sys.argv[1], float(sys.argv[2])
family = socket.AF_INET6 if ":" in base else socket.AF_INET
udp = socket.socket(family, socket.SOCK_DGRAM)
began, sent = time.monotonic(), 0
while (passed := time.monotonic() - began) < seconds:
    while sent < passed * 1000:
        try:
            udp.sendto(b"?", (f"{base}{sent % 65536:x}" if family == socket.AF_INET6 else f"{base}{150 + sent % 100}", 9))
        except OSError:
            pass  # told that an address is unreachable
        sent += 1
    time.sleep(0.002)
print(sent)
PYTHON
    spawn scan client python3 "$LAB_DIR/scan.py" "$base" "$1"
}

scan_is_over() { grep -qE '^[0-9]+$' "$LAB_DIR/scan.log"; }

# limit: 60
# families: 4 6
test_neighbours_that_are_scanned_for_hurt_no_service() {
    topo_onearm
    replies_through_director rs1 rs2
    serve rs1 rs2
    director --service "tcp/$AT_VIP:80" --scheduler rr --server "$AT_RS1:80,nat"
    with_ipvsadm
    scan 6
    local answered=0 refused
    until scan_is_over; do
        fetch --max-time 2 "http://$AT_VIP/" >/dev/null 2>"$LAB_DIR/fetch.error" ||
            die "request $answered during the scan: $(cat "$LAB_DIR/fetch.error")"
        answered=$((answered + 1))
        # A server that nobody has asked for before is found in the middle of it.
        ((answered != 20)) || lb -a -t "$AT_VIP:80" -r "$AT_RS2:80" -m
    done
    expect_between 5000 "$(tail -n 1 "$LAB_DIR/scan.log")" 6100 "datagrams of the scan"
    expect_between 50 "$answered" 100000 "requests answered meanwhile"
    expect_between 10 "$(answered rs2)" "$answered" "requests at the server that came meanwhile"
    refused=$(in_ns director "$TAPVS" status | awk '$2 == "dropped.neighbour-limit" { print $3 }')
    expect_between 1000 "${refused:-0}" 6100 "datagrams for which nobody was solicited"
    expect_eq "$(grep -c 'does not answer' "$LAB_DIR/tapvs.log" || true)" 0 "lines about strangers' targets"
}

# has_captured_times CAPTURE FILTER COUNT
has_captured_times() { (($(captured "$1" "$2") == $3)); }

# families: 4 6
test_neighbours_that_answer_late_get_all_of_a_burst() {
    topo_onearm
    name_server rs1
    director --service "udp/$AT_VIP:53" --scheduler rr --server "$AT_RS1:53,nat"
    in_ns client ping -c 1 -W 2 "$VIP" >/dev/null || die "the director does not answer"
    cat >"$LAB_DIR/burst.py" <<'PYTHON'
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
for _ in range(100):
    socket.socket(family, socket.SOCK_DGRAM).sendto(b"\0" * 20, (sys.argv[1], 53))
PYTHON
    in_ns client python3 "$LAB_DIR/burst.py" "$VIP"
    wait_for 3 "a burst of 100 at a server that was not known" has_captured_times rs1 "udp and dst host $RS1 and dst port 53" 100
}

# shellcheck shell=bash
# Neighbours that are slow, absent or scanned for.

# scan COUNT: the client sends a thousand datagrams a second to addresses of the link that nobody has, by way of the
# director: at least COUNT, and until the file scan.enough is there.
scan() {
    local part=${LINK}5:0:0:0/80 base=${LINK}5:0:0:
    [[ $FAMILY == 4 ]] && part=${LINK}128/25 base=${LINK}
    in_ns client ip route add "$part" via "$DIP"
    cat >"$LAB_DIR/scan.py" <<'PYTHON'
import os, socket, sys, time
base, count, enough = sys.argv[1], int(sys.argv[2]), sys.argv[3]
family = socket.AF_INET6 if ":" in base else socket.AF_INET
udp = socket.socket(family, socket.SOCK_DGRAM)
began, sent = time.monotonic(), 0
while sent < count or not os.path.exists(enough):
    while sent < (time.monotonic() - began) * 1000:
        try:
            udp.sendto(b"?", (f"{base}{sent % 65536:x}" if family == socket.AF_INET6 else f"{base}{150 + sent % 100}", 9))
        except OSError:
            pass  # told that an address is unreachable
        sent += 1
    time.sleep(0.002)
print(sent)
PYTHON
    spawn scan client python3 "$LAB_DIR/scan.py" "$base" "$1" "$LAB_DIR/scan.enough"
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
    scan 5000
    local answered=0 refused sent
    until scan_is_over; do
        fetch --max-time 2 "http://$AT_VIP/" >/dev/null 2>"$LAB_DIR/fetch.error" ||
            die "request $answered during the scan: $(cat "$LAB_DIR/fetch.error")"
        answered=$((answered + 1))
        # A server that nobody has asked for before is found in the middle of it.
        ((answered != 20)) || lb -a -t "$AT_VIP:80" -r "$AT_RS2:80" -m
        ((answered != 60)) || touch "$LAB_DIR/scan.enough"
    done
    sent=$(tail -n 1 "$LAB_DIR/scan.log")
    expect_between 5000 "$sent" 100000 "datagrams of the scan"
    expect_between 10 "$(answered rs2)" "$answered" "requests at the server that came meanwhile"
    refused=$(in_ns director "$TAPVS" status | awk '$2 == "dropped.neighbour-limit" { print $3 }')
    expect_between 1000 "${refused:-0}" "$sent" "datagrams for which nobody was solicited"
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

# announcers VIP: the stations that said since the capture began that they have it, in the order of their MACs.
announcers() {
    tcpdump -n -e -r "$LAB_DIR/client.pcap" "arp and arp[14:4] == $(hex_of "$1")" 2>/dev/null | awk '{ print $2 }' | sort -u
}

# hex_of ADDRESS: as capture filters take it.
hex_of() {
    local bytes
    IFS=. read -ra bytes <<<"$1"
    printf '0x%02x%02x%02x%02x' "${bytes[@]}"
}

is_standing_by() { grep -q 'stands by' "$LAB_DIR/tapvs1.log"; }

test_neighbours_hear_of_a_vip_from_one_of_two_directors() {
    topo_onearm
    local rules=$'-A -t '"$VIP"$':80 -s rr\n-a -t '"$VIP:80 -r $RS1:80 -m"$'\n'
    printf '%s--start-daemon master --mcast-interface tap0\n' "$rules" >"$LAB_DIR/rules"
    printf '%s--start-daemon backup --mcast-interface tap1\n' "$rules" >"$LAB_DIR/rules1"
    spawn tapvs1 director env TAPVS_SOCKET="$LAB_DIR/other.sock" "$TAPVS" run --bridge br0 --address "${LINK}4/24" \
        --tap tap1 --rules "$LAB_DIR/rules1"
    wait_for 10 "the other director" grep -qw ready "$LAB_DIR/tapvs1.log"
    wait_for 5 "it to stand by" is_standing_by
    director --rules "$LAB_DIR/rules"
    in_ns client ping -c 3 -i 0.3 -W 2 "$VIP" >/dev/null || die "nobody answers for the VIP"
    expect_eq "$(announcers "$VIP")" "02:74:0a:00:00:02" "stations that have the VIP"

    in_ns director env TAPVS_SOCKET="$LAB_DIR/other.sock" "$TAPVS" standby off
    wait_for 3 "the other one to take over" has_captured client "arp and ether src 02:74:0a:00:00:04 and arp[14:4] == $(hex_of "$VIP")"
}

test_neighbours_that_claim_the_vip_are_named_and_told_otherwise() {
    topo_onearm
    director --service "tcp/$VIP:80" --scheduler rr --server "$RS1:80,nat"
    in_ns client ping -c 1 -W 2 "$VIP" >/dev/null || die "the director does not answer"
    in_ns rs2 ip address add "$VIP/32" dev eth0
    in_ns rs2 ping -c 1 -W 1 -I "$VIP" "$CLIENT" >/dev/null || true
    wait_for 3 "a line that names the station" grep -q "$(mac_of rs2 eth0) claims $VIP" "$LAB_DIR/tapvs.log"
}

# families: 4 6
test_neighbours_that_have_the_vip_already_are_named() {
    topo_onearm
    local nodad=()
    [[ $FAMILY == 4 ]] || nodad=(nodad)
    in_ns rs2 ip address add "$VIP/$HOST_BITS" dev eth0 "${nodad[@]}"
    director --service "tcp/$AT_VIP:80" --scheduler rr --server "$AT_RS1:80,nat"
    wait_for 5 "a line that names the station" grep -q "$(mac_of rs2 eth0) claims $VIP" "$LAB_DIR/tapvs.log"
    # One that probes for an address of the director hears of it.
    in_ns rs2 ip address del "$VIP/$HOST_BITS" dev eth0
    [[ $FAMILY == 6 ]] || return 0
    # An announcement that comes meanwhile would end it before it has asked.
    wait_for 5 "both announcements" has_captured_times rs3 "icmp6 and ip6[40] == 136 and src host $DIP" 2
    in_ns rs3 sysctl -qw net.ipv6.conf.eth0.accept_dad=1
    in_ns rs3 ip address add "$DIP/$HOST_BITS" dev eth0
    wait_for 5 "the other host to give up" has_given_up rs3
    wait_for 5 "a line that names it" grep -q "$(mac_of rs3 eth0) probes for $DIP" "$LAB_DIR/tapvs.log"
}

# has_given_up ROLE: duplicate address detection has found the address at another host.
has_given_up() { [[ $(in_ns "$1" ip -o address show dev eth0) == *dadfailed* ]]; }

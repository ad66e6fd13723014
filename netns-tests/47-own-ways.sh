# shellcheck shell=bash
# What this director has beyond the kernel's IPVS or says where the kernel is silent, seen with the real program.

# tapvs WORDS...: the program, asking the director of this lab.
tapvs() { in_ns director "$TAPVS" "$@"; }

has_said() { grep -q -- "$1" "$LAB_DIR/tapvs.log"; }

answers_at_once() { fetch --max-time 1 "http://$AT_VIP/"; }

test_own_a_server_on_localhost_is_warned_of() {
    topo_onearm
    director --service "tcp/$VIP:80" --scheduler rr --server "$RS1:80,nat"
    with_ipvsadm
    lb -a -t "$VIP:80" -r 127.0.0.1:80 -m
    wait_for 3 "a warning that names the server" has_said "real server 127.0.0.1:80: no packet from a link reaches"
}

test_own_settings_and_marks_change_without_a_file() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    director --service "tcp/$VIP:80" --scheduler rr --server "$RS1:80,nat"
    expect_eq "drop_entry $(tapvs get drop_entry)" "$(tapvs get | grep "^drop_entry ")" "one setting, and the same among all"
    tapvs set drop_entry 3
    expect_match "$(tapvs get drop_entry)" '3$' "the setting that was changed"
    ! tapvs set drop_entry 7 2>"$LAB_DIR/refused" || die "drop_entry took 7"
    expect_match "$(cat "$LAB_DIR/refused")" 'drop_entry: 7 does not fit' "why it was refused"
    expect_match "$(tapvs get drop_entry)" '3$' "the setting after a value that was refused"
    tapvs set ftp_ports 21,2121
    expect_match "$(tapvs get ftp_ports)" '21,2121$' "a list"

    with_ipvsadm
    lb -A -f 7 -s rr
    lb -a -f 7 -r "$RS1:80" -m
    tapvs mark add "7=tcp/10.0.0.101:80"
    expect_match "$(tapvs mark list)" '7=tcp/10.0.0.101' "the mark rules"
    expect_eq "$(fetch --max-time 5 http://10.0.0.101/)" rs1 "the answer of a service by mark"
    tapvs mark del "7=tcp/10.0.0.101:80"
    expect_eq "$(tapvs mark list)" "" "the mark rules after the only one was deleted"
}

test_own_backups_are_mute_until_they_are_told_to_work() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    printf -- '-A -t %s:80 -s rr\n-a -t %s:80 -r %s:80 -m\n--start-daemon backup --mcast-interface tap0\n' \
        "$VIP" "$VIP" "$RS1" >"$LAB_DIR/rules"
    director --rules "$LAB_DIR/rules" --sysctl backup_only=1
    wait_for 5 "it to stand by" has_said 'stands by: mute'
    ! in_ns client ping -c 2 -i 0.2 -W 1 "$VIP" >/dev/null || die "a mute director answers"
    expect_none client "arp and ether src 02:74:0a:00:00:02" "words of a mute director"
    tapvs standby off
    wait_for 5 "the service, once it is told to work" answers_at_once
}

# first_port: the local port of the first request that rs1 saw since its capture had COUNT SYNs.
first_port() {
    tcpdump -n -r "$LAB_DIR/rs1.pcap" "dst port 80 and tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn" 2>/dev/null |
        sed -nE "$(($1 + 1))s/.* IP [0-9.]+\.([0-9]+) > .*/\1/p"
}

syns_at_rs1() { captured rs1 "dst port 80 and tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn"; }

has_seen_more_syns() { (($(syns_at_rs1) > $1)); }

test_own_local_ports_of_fullnat_begin_elsewhere_after_a_restart() {
    topo_onearm
    serve rs1
    director --service "tcp/$VIP:80" --scheduler rr --server "$RS1:80,fullnat"
    local seen=0 run ports=()
    for run in 1 2 3; do
        ((run == 1)) || { director_stop && director_start; }
        wait_for 5 "an answer in run $run" answers_at_once
        wait_for 5 "its SYN in the capture" has_seen_more_syns "$seen"
        ports+=("$(first_port "$seen")")
        seen=$(syns_at_rs1)
    done
    # Two of three could be equal by chance once in twenty thousand times, all three never.
    [[ ${ports[0]} != "${ports[1]}" || ${ports[1]} != "${ports[2]}" ]] || die "the first local ports were ${ports[*]}"
}

# forge COUNT: SYNs with the ACK that a server's answer would get, from addresses that are nobody's.
forge() {
    in_ns client python3 -c '
import socket, struct, sys
vip, count = sys.argv[1], int(sys.argv[2])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
def total(data):
    data += b"\0" * (len(data) % 2)
    number = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while number >> 16:
        number = (number & 0xffff) + (number >> 16)
    return ~number & 0xffff
dst = socket.inet_aton(vip)
for number in range(count):
    src = socket.inet_aton("198.18.%d.%d" % (number >> 8, number & 255))
    for flags in (2, 16):
        segment = struct.pack("!HHIIBBHHH", 4000, 80, 1, 1 if flags == 16 else 0, 5 << 4, flags, 1000, 0, 0)
        sum16 = total(src + dst + struct.pack("!BBH", 0, 6, len(segment)) + segment)
        segment = segment[:16] + struct.pack("!H", sum16) + segment[18:]
        header = struct.pack("!BBHHHBBH", 0x45, 0, 40, number & 0xffff, 0, 64, 6, 0) + src + dst
        raw.sendto(header + segment, (vip, 0))
' "$VIP" "$1"
}

test_own_forged_handshakes_through_direct_routing_shut_nobody_out() {
    topo_onearm
    serve rs1
    realserver rs1
    director --service "tcp/$VIP:80" --scheduler rr --server "$RS1:80,direct" --max-flows 500
    wait_for 5 "an answer" answers_at_once
    forge 3000
    local number
    for number in {1..20}; do
        fetch --max-time 3 "http://$AT_VIP/" >/dev/null || die "request $number was not answered with a table full of forged conns"
    done
    # Short conns one after the other have the room of those that are over.
    fetch --max-time 3 --fail-early --header 'Connection: close' "http://$AT_VIP/?[1-700]" >"$LAB_DIR/answers" ||
        die "request $(($(wc -l <"$LAB_DIR/answers") + 1)) of more than the table holds was refused"
}

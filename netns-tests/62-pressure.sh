# shellcheck shell=bash
# A director under pressure: floods of half-open conns, limits of real servers.

# flood COUNT RATE: that many SYNs to the service, at most RATE a second, each of another conn; ends by itself.
flood() {
    cat >"$LAB_DIR/flood.py" <<'PYTHON'
import socket, struct, sys, time
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
vip, count, rate = socket.inet_pton(family, sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

def ones_sum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff

raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
began, sent = time.monotonic(), 0
while sent < count:
    # Never more than a tenth of a second's worth at once, however long it was kept waiting.
    most = min(count, sent + rate // 10, int((time.monotonic() - began) * rate))
    while sent < most:
        if family == socket.AF_INET6:
            src = struct.pack("!IQI", 0x20010db8, 0xf << 32, sent % 254 + 1)  # 2001:db8:0:f::x
        else:
            src = struct.pack("!I", 0xcb007100 + sent % 254 + 1)  # 203.0.113.x
        tcp = struct.pack("!HHIIBBHHH", 1024 + sent // 254 % 60000, 80, sent, 0, 0x50, 2, 64240, 0, 0)
        checksum = ones_sum(src + vip + struct.pack("!BBH", 0, 6, len(tcp)) + tcp)  # of either family: zeros add nothing
        tcp = tcp[:16] + struct.pack("!H", checksum) + tcp[18:]
        if family == socket.AF_INET6:
            header = struct.pack("!IHBB16s16s", 6 << 28, 20, 6, 64, src, vip)
        else:
            header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0x4000, 64, 6, 0, src, vip)
        raw.sendto(header + tcp, (sys.argv[1], 0))
        sent += 1
    time.sleep(0.002)
print(sent)
PYTHON
    spawn flood client python3 "$LAB_DIR/flood.py" "$VIP" "$1" "$2"
}

flood_is_over() { grep -qE '^[0-9]+$' "$LAB_DIR/flood.log"; }

# limit: 60
# families: 4 6
test_pressure_of_half_open_conns_hurts_no_client() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    director --max-flows 1000 --service "tcp/$AT_VIP:80" --scheduler rr --server "$AT_RS1:80,nat"
    payload 32 >/dev/null
    # One long transfer through it all, and one request after another.
    in_ns client curl --silent --show-error --max-time 25 --limit-rate 12M "http://$AT_VIP/files/payload-32" \
        >"$SCRATCH/long" 2>"$LAB_DIR/long.errors" &
    local long=$!
    flood 5000 2000
    local answered=0
    until flood_is_over; do
        fetch --max-time 3 "http://$AT_VIP/" >/dev/null 2>"$LAB_DIR/fetch.error" ||
            die "request $answered during the flood: $(cat "$LAB_DIR/fetch.error")"
        answered=$((answered + 1))
    done
    wait "$long" || die "the long transfer: $(cat "$LAB_DIR/long.errors")"
    expect cmp "$SCRATCH/long" "$(payload 32)"

    expect_eq "$(tail -n 1 "$LAB_DIR/flood.log")" 5000 "SYNs of the flood, into a table for 1,000 conns"
    expect_between 5 "$answered" 100000 "requests answered meanwhile"
}

# resident: kilobytes of memory of the worker.
resident() { awk '/^VmRSS/ { print $2 }' "/proc/$(worker)/status"; }

# limit: 90
# families: 4 6
test_pressure_of_syns_makes_no_conns_behind_a_syn_proxy() {
    topo_router
    serve rs1
    with_ipvsadm
    payload 32 >/dev/null
    director_options --max-flows 2000 --syn-proxy auto --sysctl syn_proxy_rate=100
    serving "$AT_RS1:80,fullnat"
    # Conns from before the flood, one of them busy through it all; requests meanwhile.
    idle_conn
    in_ns client curl --silent --show-error --max-time 60 --limit-rate 6M "http://$AT_VIP/files/payload-32" \
        >"$SCRATCH/long" 2>"$LAB_DIR/long.errors" &
    local long=$! before answered=0
    before=$(resident)
    flood 12000 3000
    until flood_is_over; do
        fetch --max-time 8 "http://$AT_VIP/" >/dev/null 2>"$LAB_DIR/fetch.error" ||
            die "request $answered during the flood: $(cat "$LAB_DIR/fetch.error")"
        answered=$((answered + 1))
    done
    # Each second that begins without pressure opens a hundred; then there are cookies for ten seconds.
    expect_between 1 "$(lb -Lnc | grep -c SYN_RECV)" 1500 "half-open conns of a flood of 12,000 SYNs"
    expect_between -1000000 "$(($(resident) - before))" 4096 "kilobytes of memory that the flood took"
    wait "$long" || die "the long transfer: $(cat "$LAB_DIR/long.errors")"
    expect cmp "$SCRATCH/long" "$(payload 32)"
    idle_conn_answers
    expect_between 2 "$answered" 100000 "requests answered meanwhile"
    director_stop
    expect_between 8000 "$(ledger_of consumed.syn-cookie)" 13000 "SYNs that were answered by a cookie"
}

test_pressure_beyond_a_servers_limit_goes_to_the_others() {
    topo_onearm
    replies_through_director rs1 rs2
    serve rs1 rs2
    serving "$AT_RS1:80,nat,upper=10,lower=5" "$AT_RS2:80,nat"
    # In turn, until the limit of ten is reached.
    hold_open 30
    expect_eq "$(held_by rs1) $(held_by rs2)" "10 20" "conns held by rs1 and rs2"
}

# families: 4 6
test_pressure_beyond_all_limits_is_refused() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    serving "$AT_RS1:80,nat,upper=5"
    hold_open 8
    expect_eq "$(held_by rs1) $(grep -c '^refused' "$LAB_DIR/hold.log")" "5 3" "conns held and refused"
    expect_seen client "$IS_PORT_UNREACHABLE and src host $VIP" "port unreachable, from the VIP"
}

# holds ROLE COUNT WHAT: of the conns asked for last, so many are held by ROLE.
holds() { expect_eq "$(held_by "$1")" "$2" "$3"; }

test_pressure_a_full_server_gets_conns_again_below_its_lower_limit() {
    topo_onearm
    realserver rs1
    realserver rs2
    serve rs1 rs2
    director --service "tcp/$VIP:80" --scheduler rr --server "$RS1,direct,upper=6,lower=3" --server "$RS2,direct"
    with_ipvsadm
    # The director sees one side alone of direct routing: a conn that was closed is kept for FIN_WAIT's time, which can be set.
    lb --set 0 1 0
    # In turn: two conns, two, and two of four for each server.
    hold_open 4
    local first=$SPAWNED second
    hold_open 4
    second=$SPAWNED
    hold_open 4
    holds rs1 2 "the conns that filled the server"
    hold_open 2
    holds rs1 0 "conns to a full server"

    end_process "$first" "$(start_time "$first")"
    wait_for 6 "four conns to remain" lists "$RS1:80 +Route +1 +4 +0 "
    hold_open 2
    holds rs1 0 "conns to a server that was full and has four, its lower limit being three"

    end_process "$second" "$(start_time "$second")"
    wait_for 6 "two conns to remain" lists "$RS1:80 +Route +1 +2 +0 "
    hold_open 6
    holds rs1 3 "conns to a server below its lower limit, in turn again"
}

# families: 4 6
test_a_client_that_takes_too_much_is_limited_and_others_are_served() {
    topo_onearm
    scripts/need python3
    serve rs1
    with_ipvsadm
    director_options --limit client-conns=20,conns=1000 --sysctl client_net_ipv6=128
    serving "$AT_RS1:80,fullnat"

    # 40 conns, all held; a SYN beyond the limit is not answered.
    local got
    got=$(in_ns client python3 - "$VIP" <<-'PYTHON'
	import socket, sys
	held, refused = [], 0
	for _ in range(40):
	    conn = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
	    conn.setblocking(False)
	    try:
	        conn.connect((sys.argv[1], 80))
	    except BlockingIOError:
	        pass
	    held.append(conn)
	import select, time
	until, ready = time.monotonic() + 20, set()
	while len(ready) < 20 and time.monotonic() < until:
	    ready |= set(select.select([], [c for c in held if c not in ready], [], 1)[1])
	# Nothing else gets through, not when it is sent again either.
	ready |= set(select.select([], [c for c in held if c not in ready], [], 1.5)[1])
	print(len(ready))
	PYTHON
    )
    expect_eq "$got" 20 "conns of one client"
    expect_eq "$(in_ns rs2 curl --silent --max-time 20 "http://$AT_VIP/")" rs1 "another client meanwhile"
    expect_match "$(lb -Sn)" "--limit conns=1000,client-conns=20" "the rule as saved"
    director_stop
    expect_between 20 "$(ledger_of dropped.client-limit)" 200 "SYNs that were dropped as client-limit"
}

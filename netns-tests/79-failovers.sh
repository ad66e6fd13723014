# shellcheck shell=bash
# A pair of directors under load: whatever ends the work of the one that has the addresses, conns go on at the other.
#
#      client   rs1 rs2 rs3     one: br0 10.0.0.7, tapvs 10.0.0.4     two: br0 10.0.0.6, tapvs 10.0.0.5
#        |         |              |                                     |
#        +---------+------------ br0 -----------------------------------+       the VIP and 10.0.0.2 on one of them
#
# Downloads, conns that are kept and idle ones of all methods go on through ROUNDS failovers. scripts/failovers runs this at
# length.
# shellcheck source-path=SCRIPTDIR source=pair.sh
source "$(dirname "${BASH_SOURCE[0]}")/pair.sh"

# hosts_of_pair: nothing else but the load is captured.
hosts_of_pair() {
    # shellcheck disable=SC2034  # read by what makes the lab
    LAB_CAPTURES=off NGINX_MORE="keepalive_timeout 1h; keepalive_requests 1000000000;"
    topo_onearm
    host_with_bridge one "${LINK}7"
    host_with_bridge two "${LINK}6"
    replies_through_director rs1
    serve rs1 rs2 rs3
    realserver rs2 --tunnel
    realserver rs3
    capture_now resets client eth0 "$IS_RESET and dst host $CLIENT and not dst portrange 20000-29999"
}

# URLs: keeps a conn to each open: asks, waits until $2/go exists, and asks again.
IDLE_CONNS_OF='
import http.client, os, sys, time
directory, hosts = sys.argv[1], sys.argv[2:]
conns = [http.client.HTTPConnection(host, timeout=30) for host in hosts]
def ask(conn):
    conn.request("GET", "/")
    return conn.getresponse().read().decode().strip()
first = [ask(conn) for conn in conns]
open(directory + "/idle.open", "w").close()
while not os.path.exists(directory + "/load.end"):
    time.sleep(0.05)
again = [ask(conn) for conn in conns]
print("idle conns:", "whole" if first == again else f"{first} became {again}", flush=True)
'

# pair_load_begins: downloads, idle conns and kept ones, two of each service: NAT and FULL-NAT at port 80, tunnel and direct
# routing at 8080; requests on conns of their own, one after the other; and pings, which say how long the silence was.
pair_load_begins() {
    local file number port
    file=$(payload "${DOWNLOAD:-16}")
    for number in 0 1 2 3; do
        port=$((number < 2 ? 80 : 8080))
        # shellcheck disable=SC2016  # another shell's
        spawn "download$number" client bash -c 'until [[ -e $1/load.end ]]; do
            while [[ -e $1/load.held ]]; do sleep 0.02; done # for less than a second
            curl --silent --show-error --max-time 900 --limit-rate "$4" "$2" | cmp - "$3" && echo whole || echo broken
        done; echo ended' download "$LAB_DIR" "http://$AT_VIP:$port/files/${file##*/}" "$file" "${DOWNLOAD_RATE:-2M}"
    done
    spawn idle client python3 -c "$IDLE_CONNS_OF" "$LAB_DIR" "$AT_VIP:80" "$AT_VIP:80" "$AT_VIP:8080" "$AT_VIP:8080"
    wait_for 10 "the idle conns" test -e "$LAB_DIR/idle.open"
    for port in 80 8080; do
        # Not at full speed: others of the machine are to have their turn.
        spawn "wrk$port" client wrk -t1 -c2 -d3600 --timeout 60s -s "$LAB_DIR/wrk.lua" "http://$AT_VIP:$port/"
        WRKS+=("$SPAWNED")
    done
    loop_of requests "curl --silent --show-error --max-time 20 --local-port 20000-29999 'http://$AT_VIP/'"
    spawn ping client ping -D -n -i 0.02 "$VIP"
}
WRKS=()

# pair_load_ended: what it was all for.
pair_load_ended() {
    local number wrk
    : >"$LAB_DIR/load.end"
    for number in 0 1 2 3; do
        wait_for 60 "the end of download $number" grep -q ended "$LAB_DIR/download$number.log"
        ! grep -v -e whole -e ended "$LAB_DIR/download$number.log" || die "download $number broke"
        expect grep -q whole "$LAB_DIR/download$number.log"
    done
    wait_for 30 "the idle conns" grep -q "idle conns: whole" "$LAB_DIR/idle.log"
    for wrk in "${WRKS[@]}"; do
        kill -INT "$wrk"
        wait "$wrk" || true
    done
    for port in 80 8080; do
        expect_match "$(cat "$LAB_DIR/wrk$port.log")" "requests in" "what wrk says"
        ! grep -E "Socket errors|Non-2xx" "$LAB_DIR/wrk$port.log" || die "conns that wrk keeps were lost"
    done
    : >"$LAB_DIR/requests.end"
    wait_for 30 "the end of the requests" grep -q ended "$LAB_DIR/requests.log"
    echo "$(grep -ch whole "$LAB_DIR"/download?.log | paste -sd+ | bc) downloads; of $(grep -c asked "$LAB_DIR/requests.log") requests on new conns" \
        "$(grep -c failed "$LAB_DIR/requests.log" || true) failed; longest silence: $(longest_silence ping.log) ms"
}

# active_one: the role that has the addresses, if exactly one has.
active_one() {
    if state_is one active && state_is two backup; then echo one; fi
    if state_is two active && state_is one backup; then echo two; fi
}

other_of() { if [[ $1 == one ]]; then echo two; else echo one; fi; }

# conns_of ROLE: the conns that last, and those that have just begun, of which nobody is told; by client.
conns_of() { of_host "$1" ipvsadm -Lcn | awk '$3 == "ESTABLISHED" || $3 ~ /^SYN/ { print $4, $5 }' | sort; }

# know_the_same: both know the same conns, and neither asks for more.
know_the_same() {
    conns_of one >"$LAB_DIR/conns.one"
    conns_of two >"$LAB_DIR/conns.two"
    [[ $(of_host one sync --json)$(of_host two sync --json) != *'"asking": true'* ]] && cmp "$LAB_DIR/conns.one" "$LAB_DIR/conns.two"
}

# ends_by CAUSE ROLE, is_back CAUSE ROLE: its work, and what is left of it.
ends_by() {
    case $1 in
        failover) of_host "$2" vrrp failover ;;
        kill) kill_director_of_host "$2" ;;
        freeze) kill -STOP "$(worker_of "$2")" ;;
        power) in_ns "$2" ip link set eth0 down ;;
        carrier) in_ns director ip link set "to-$2" down ;;
    esac
}

is_back() {
    case $1 in
        failover) ;;
        kill) director_of_host "$2" ;;
        freeze) kill -CONT "$(worker_of "$2")" ;;
        power) in_ns "$2" ip link set eth0 up ;;
        carrier) in_ns director ip link set "to-$2" up ;;
    esac
}

worker_of() { ps -o pid= --ppid "$(<"$LAB_DIR/tapvs-$1.pid")" | tr -d ' '; }

# fail_over CAUSE: and back to a pair.
fail_over() {
    local role
    [[ -n $(active_one) ]] || die "no pair before '$1'"
    # A conn whose first packets are under way is known to nobody else: no download begins just now.
    : >"$LAB_DIR/load.held"
    wait_for 30 "both to know the same conns" know_the_same
    role=$(active_one)
    [[ -n $role ]] || die "no pair just before '$1'"
    cat "$LAB_DIR/conns.one" >>"$LAB_DIR/conns.known"
    ends_by "$1" "$role"
    rm "$LAB_DIR/load.held"
    becomes_state "$(other_of "$role")" active
    answered_within 5
    is_back "$1" "$role"
    wait_for 20 "a pair again after '$1'" is_pair
}

is_pair() { [[ -n $(active_one) && ( -z ${FIRST:-} || $(active_one) == "$FIRST" ) ]]; }

# pair_of_methods PRIORITY-OF-ONE PRIORITY-OF-TWO [LINE...]
pair_of_methods() {
    local interval="interval = \"${INTERVAL:-1s}\"" track='track = { link = "tap0" }'
    printf 'function delay() return 20 end\n' >"$LAB_DIR/wrk.lua"
    methods_director one 4 "$1" "$interval" "$track" "${@:3}"
    methods_director two 5 "$2" "$interval" "$track" "${@:3}"
    wait_for 20 "a pair" is_pair
    answered_within 5
}

# families: 4 6
# limit: 180
# quiet
test_failovers_are_not_noticed() {
    hosts_of_pair
    pair_of_methods 100 150
    pair_load_begins
    local causes=(failover power kill freeze carrier) round
    for ((round = 0; round < ${ROUNDS:-5}; round++)); do
        fail_over "${causes[round % ${#causes[@]}]}"
    done
    wait_for 30 "both to know the same conns at the end" know_the_same
    echo "$(conns_of one | wc -l) established conns on both; in all $(of_host one ipvsadm -Lcn | wc -l) and $(of_host two ipvsadm -Lcn | wc -l) lines"
    pair_load_ended
    # Of requests that had just begun, nobody else knew.
    local failed
    failed=$(grep -c failed "$LAB_DIR/requests.log" || true)
    expect_between 0 "$failed" "${ROUNDS:-5}" "requests that failed"
    expect_no_resets
    ((${MAX_SILENCE:-0} == 0)) || expect_between 0 "$(longest_silence ping.log)" "$MAX_SILENCE" "the longest silence in ms"
}

# expect_no_resets: of all conns that both knew when one of them ended its work. Others were in their first or last packets,
# of which the one that died had told nobody; what has failed of those in use, their clients have said.
expect_no_resets() {
    tcpdump -n -r "$LAB_DIR/resets.pcap" 2>/dev/null | sed -nE 's/.* > ([0-9a-f.:]+)[.]([0-9]+): Flags.*/\1 \2/p' | sort -u >"$LAB_DIR/conns.reset"
    sed -E 's/^\[?([0-9a-f.:]+[0-9a-f])\]?:([0-9]+) .*/\1 \2/' "$LAB_DIR/conns.known" | sort -u >"$LAB_DIR/conns.ports"
    expect_eq "$(comm -12 "$LAB_DIR/conns.reset" "$LAB_DIR/conns.ports")" "" "conns that were reset though both knew them"
    echo "none of $(wc -l <"$LAB_DIR/conns.ports") conns that both knew was reset; $(wc -l <"$LAB_DIR/conns.reset") others were"
    expect_between 0 "$(wc -l <"$LAB_DIR/conns.reset")" "${ROUNDS:-5}" "conns that were reset and one alone knew"
}

# families: 4 6
# limit: 120
# quiet
test_the_first_one_returns_with_preemption() {
    hosts_of_pair
    local FIRST=one
    pair_of_methods 200 100 "preempt = true"
    pair_load_begins
    local causes=(kill power) round
    for ((round = 0; round < ${ROUNDS:-2}; round++)); do
        fail_over "${causes[round % ${#causes[@]}]}"
    done
    pair_load_ended
    expect_no_resets
}

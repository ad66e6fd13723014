# shellcheck shell=bash
# keepalived's checkers as the oracle of our own: the same servers, the same faults, the same turns.
# shellcheck source-path=SCRIPTDIR source=keepalived.sh
source "$(dirname "${BASH_SOURCE[0]}")/keepalived.sh"

# The same servers are checked twice: by keepalived at ports 81 to 85, by tapvs at 91 to 95. What turns at one turns at
# the other, in the same order.
KINDS=(tcp http icmp dns udp)

# limit: 150
test_own_checks_turn_as_keepalived_does() {
    scripts/need jq nft
    topo_onearm
    replies_through_director rs1 rs2
    serve rs1 rs2
    local nginx=$SPAWNED
    name_server rs2 rs1
    local names=$SPAWNED names_start
    names_start=$(start_time "$names")
    own_checks >"$LAB_DIR/tapvs.toml"
    director_from_file
    with_ipvsadm
    CONF=$LAB_DIR/keepalived.conf
    keepalived_checks >"$CONF"
    keepalived_start
    local kind
    for kind in "${KINDS[@]}"; do
        both_say "$kind" "$RS1" up
        both_say "$kind" "$RS2" up
    done

    # A web server that accepts and does not answer, a name server that fails.
    local frozen
    frozen=$(pgrep -P "$nginx")
    kill -STOP "$frozen"
    spawn servfail rs1 python3 -c "$SERVFAIL"
    wait_for 5 "the failing name server" listens rs1 udp 9053
    redirect rs1 udp 53 9053
    both_say http "$RS2" down
    both_say dns "$RS1" down
    kill -CONT "$frozen"
    in_ns rs1 nft delete table ip fault
    both_say http "$RS2" up
    both_say dns "$RS1" up

    # A closed port of each protocol, and a host that does not answer echoes.
    in_ns rs1 sysctl -qw net.ipv4.icmp_echo_ignore_all=1
    end_process "$names" "$names_start"
    refuse rs2 "tcp dport 8080 reject with tcp reset"
    both_say tcp "$RS2" down
    both_say http "$RS2" down
    both_say icmp "$RS1" down
    both_say dns "$RS1" down
    both_say udp "$RS1" down
    in_ns rs1 sysctl -qw net.ipv4.icmp_echo_ignore_all=0
    name_server rs1
    in_ns rs2 nft delete table ip fault
    for kind in "${KINDS[@]}"; do
        both_say "$kind" "$RS1" up
        both_say "$kind" "$RS2" up
    done

    # A wrong status, and a firewall that drops.
    spawn wrong rs2 python3 -c "$STATUS_500"
    wait_for 5 "the server of status 500" listens rs2 tcp 9080
    redirect rs2 tcp 8080 9080
    refuse rs1 "tcp dport 8080 drop"
    both_say http "$RS2" down
    both_say tcp "$RS1" down
    both_say http "$RS1" down
    in_ns rs1 nft delete table ip fault
    in_ns rs2 nft delete table ip fault
    both_say http "$RS2" up
    both_say tcp "$RS1" up
    both_say http "$RS1" up

    expect_eq "$(own_turns)" "$(keepalived_turns)" "the turns of each check of each server"
    expect_eq "$(own_turns | awk '$1 == "tcp" && $2 == "'"$RS2"'" { print $3 }' | xargs)" "down up" \
        "the turns of a TCP check of a server that froze, refused and answered 500"
}

# own_checks, keepalived_checks: a service for each kind, by the same times: two failures take a server out, one success
# brings it back.
own_checks() {
    local number times="interval = \"1s\", fast_interval = \"1s\", down_interval = \"1s\", timeout = \"2s\", rise = 1, fall = 2"
    printf '%s\n' "[[link]]" "bridge = \"br0\"" "tap = \"tap0\"" "address = \"$DIP/$NET_BITS\""
    for number in 1 2 3 4 5; do
        printf '[[service]]\n%s = "%s:%s"\nscheduler = "rr"\npassive = false\n' "$(proto_of $number)" "$VIP" "9$number"
        case $number in
            1) echo "check = { kind = \"tcp\", $times }" ;;
            2) echo "check = { kind = \"http\", path = \"/\", status = \"200\", $times }" ;;
            3) echo "check = { kind = \"icmp\", $times }" ;;
            4) echo "check = { kind = \"dns\", name = \"who.test\", type = \"TXT\", $times }" ;;
            5) echo "check = { kind = \"udp\", payload_hex = \"$QUERY\", $times }" ;;
        esac
        printf '[[service.server]]\naddress = "%s"\nmethod = "nat"\n' "$RS1:$(port_of $number)" "$RS2:$(port_of $number)"
    done
}

keepalived_checks() {
    local times="connect_timeout 2
        retry 1
        delay_before_retry 1"
    printf '%s\n' "global_defs {" "    router_id lab" "    script_user root" "    enable_script_security" "}"
    checked 81 TCP 8080 "TCP_CHECK {
        $times
        }"
    checked 82 TCP 8080 "HTTP_GET {
        url {
            path /
            status_code 200
        }
        $times
        }"
    checked 83 TCP 8080 "PING_CHECK {
        $times
        }"
    checked 84 UDP 53 "DNS_CHECK {
        type TXT
        name who.test
        $times
        }"
    checked 85 UDP 53 "UDP_CHECK {
        payload $QUERY
        require_reply
        $times
        }"
}

QUERY=0000010000010000000000000377686f04746573740000100001

proto_of() { (($1 > 3)) && echo udp || echo tcp; }
port_of() { (($1 > 3)) && echo 53 || echo 8080; }

# both_say KIND ADDRESS VERDICT: keepalived and tapvs come to it.
both_say() {
    wait_for 30 "keepalived to say $3 of $2 by $1" last_turn keepalived_turns "$@"
    wait_for 30 "tapvs to say $3 of $2 by $1" last_turn own_turns "$@"
}

# last_turn TURNS KIND ADDRESS VERDICT; without a turn a server is up, as keepalived has it. tapvs must have seen it.
last_turn() {
    local last
    last=$("$1" | awk -v kind="$2" -v server="$3" '$1 == kind && $2 == server { last = $3 } END { print last }')
    [[ $1 != own_turns ]] || own_verdicts | grep -qx "$2 $3 $4" || return 1
    [[ ${last:-up} == "$4" ]]
}

# keepalived_turns, own_turns: `kind server up|down`, by kind and server in the order in which they came.
keepalived_turns() {
    sed -nE 's/.*(Removing|Adding) service \[([0-9.]+)\]:(tcp|udp):[0-9]+ (from|to) VS \[[0-9.]+\]:(tcp|udp):8([1-5])$/\6 \2 \1/p' \
        "$LAB_DIR/keepalived.log" | sed 's/Removing/down/; s/Adding/up/' | named_kinds
}

own_turns() {
    in_ns director "$TAPVS" health --json |
        jq -r '.[] | .service[-1:] as $kind | .servers[] | .server as $server | .probes[].history[1:][] | "\($kind) \($server) \(.to)"' |
        sed -E 's/:[0-9]+ / /' | named_kinds
}

own_verdicts() {
    in_ns director "$TAPVS" health --json |
        jq -r '.[] | .service[-1:] as $kind | .servers[] | "\($kind) \(.server) \(.verdict)"' | sed -E 's/:[0-9]+ / /' | named_kinds
}

named_kinds() { awk -v kinds="${KINDS[*]}" '{ split(kinds, name, " "); print name[$1], $2, $3 }' | sort -s -k1,2; }

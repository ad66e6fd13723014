# shellcheck shell=bash
# Starting, ending, dying: what tapvs leaves on its host, and what it says when it cannot start.

test_kill_and_restart_while_traffic_flows() {
    topo_onearm
    replies_through_director rs1 rs2
    serve rs1 rs2
    serving "$RS1:8080,nat" "$RS2:8080,nat"
    spawn traffic client bash -c "while :; do curl --silent --max-time 1 http://$VIP/ >>$LAB_DIR/stream && date +%s%N >>$LAB_DIR/answered-at; sleep 0.01; done"
    wait_for 5 "some answers" answers_are_more_than 20

    kill -KILL "$DIRECTOR"
    wait "$DIRECTOR" 2>/dev/null || true
    wait_for 5 "the TAP to go with its process" lacks_link tap0
    local before
    before=$(wc -l <"$LAB_DIR/answered-at")
    director_start

    wait_for 5 "answers after the restart" answers_are_more_than $((before + 20))
}

answers_are_more_than() { (($(wc -l <"$LAB_DIR/answered-at") > $1)); }

lacks_link() { ! in_ns director ip link show "$1"; }

test_restarts_keep_the_neighbours_right() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    serving "$RS1:8080,nat"
    local round
    for round in 1 2 3; do
        requests 50 "http://$VIP/"
        director_stop
        director_start
    done
    expect_eq "$(fetch "http://$VIP/")" rs1 "the answer after $round restarts"
}

test_clean_end_leaves_nothing() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    serving "$RS1:8080,nat"
    requests 100 "http://$VIP/"

    director_stop

    lacks_link tap0 >/dev/null 2>&1 || die "the TAP is still there"
    expect_eq "$(in_ns director bridge -o link show | wc -l)" 4 "ports of the bridge"
}

test_interrupt_ends_it_too() {
    topo_onearm
    serving "$RS1:8080,nat"
    local code=0

    # Background processes of a script ignore SIGINT unless they ask for it: tapvs does.
    kill -INT "$DIRECTOR"
    wait "$DIRECTOR" || code=$?

    DIRECTOR=
    expect_eq "$code" 0 "exit code after SIGINT"
    lacks_link tap0 >/dev/null 2>&1 || die "the TAP is still there"
    check_ledger
}

test_usr1_prints_a_balanced_ledger_and_goes_on() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    serving "$RS1:8080,nat"
    requests 100 "http://$VIP/"

    kill -USR1 "$DIRECTOR"
    wait_for 3 "the ledger" grep -q "ledger: tx" "$LAB_DIR/tapvs.log"
    wait_for 3 "the end of the ledger" check_quietly

    expect_between 900 "$(ledger_of rx)" 3000 "frames read for 100 requests"
    expect_eq "$(fetch "http://$VIP/")" rs1 "the answer afterwards"
}

check_quietly() { (check_ledger); }

test_persistent_tap_is_adopted_and_left() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    in_ns director ip tuntap add dev tap0 mode tap
    serving "$RS1:8080,nat"
    expect_match "$(in_ns director ip -o link show tap0)" "master br0.*state UP" "the adopted TAP while tapvs runs"

    requests 200 "http://$VIP/"
    director_stop

    expect in_ns director ip link show tap0 >/dev/null
}

test_persistent_tap_on_the_bridge_stays_there() {
    topo_onearm
    in_ns director ip tuntap add dev tap0 mode tap
    in_ns director ip link set tap0 master br0 up
    serving "$RS1:8080,nat"
    pings 3 "$VIP"
    director_stop
    expect_match "$(in_ns director ip -o link show tap0)" "master br0" "the TAP that was on the bridge"
}

test_the_bridge_keeps_its_mac() {
    topo_onearm
    # A bridge without a MAC of its own takes the least of its ports': a TAP must not bring a lesser one.
    local role
    for role in client rs1 rs2 rs3; do
        in_ns director ip link set "to-$role" address "fe:00:00:00:00:0${#role}"
    done
    local before
    before=$(mac_of director br0)
    serving "$RS1:8080,nat"
    expect_eq "$(mac_of director br0)" "$before" "the bridge's MAC while tapvs runs"
}

test_gratuitous_arp_announces_vip_and_director() {
    topo_onearm
    serving "$RS1:8080,nat"
    expect_seen client "arp and arp[14:4] == arp[24:4] and arp[24:4] == 0x0a000064" "the announcement of the VIP"
    expect_seen client "arp and arp[14:4] == arp[24:4] and arp[24:4] == 0x0a000002" "the announcement of the director"
}

test_the_binary_is_static() {
    ! readelf -lW "$TAPVS" | grep -q INTERP || die "the binary has an INTERP segment"
    ! readelf -dW "$TAPVS" 2>/dev/null | grep -q NEEDED || die "the binary needs shared libraries"
}

# refused_service CODE REGEX SERVICE SERVER...: the same, for a service on a good bridge.
refused_service() {
    local code=$1 regex=$2 service=$3 server servers=()
    shift 3
    for server; do
        servers+=(--server "$server")
    done
    refused "$code" "$regex" "$TAPVS" run --bridge br0 --address "$DIP/24" --service "$service" --scheduler rr "${servers[@]}"
}

test_refuses_without_root() {
    director_host
    install -m 755 "$TAPVS" "$LAB_DIR/tapvs"
    refused 1 "root|CAP_NET_ADMIN|[Pp]ermi" setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all \
        "$LAB_DIR/tapvs" run --bridge br0 --address "$DIP/24" --service "tcp/$VIP:80" --scheduler rr --server "$RS1:80,nat"
    rm "$LAB_DIR/tapvs"
}

test_refuses_without_tun_device() {
    director_host
    command -v unshare >/dev/null || skip "unshare (util-linux)"
    # shellcheck disable=SC2016  # expanded by the inner shell
    refused 1 "/dev/net/tun" unshare --mount bash -c 'mount -t tmpfs none /dev/net && exec "$@"' tapvs \
        "$TAPVS" run --bridge br0 --address "$DIP/24" --service "tcp/$VIP:80" --scheduler rr --server "$RS1:80,nat"
}

test_refuses_an_unknown_bridge() {
    director_host
    refused 1 "br9" "$TAPVS" run --bridge br9 --address "$DIP/24" --service "tcp/$VIP:80" --scheduler rr --server "$RS1:80,nat"
    refused 1 "lo" "$TAPVS" run --bridge lo --address "$DIP/24" --service "tcp/$VIP:80" --scheduler rr --server "$RS1:80,nat"
}

test_refuses_bad_usage_with_code_2() {
    director_host
    refused 2 "nonsense" "$TAPVS" run --nonsense
    refused 2 "nonsense" "$TAPVS" nonsense
    refused 2 "bridge" "$TAPVS" run --address "$DIP/24"
    refused 2 "address" "$TAPVS" run --bridge br0 --address 10.0.0.300/24 --service "tcp/$VIP:80" --scheduler rr
    refused_service 2 "tcp/x" "tcp/x:80" "$RS1:80,nat"
    refused_service 2 "teleport" "tcp/$VIP:80" "$RS1:80,teleport"
}

test_refuses_services_that_cannot_work() {
    director_host
    refused_service 1 "port 0|port" "tcp/$VIP:0" "$RS1:80,nat"
    refused_service 1 "8080|port" "tcp/$VIP:80" "$RS1:8080,direct"
    refused_service 1 "8080|port" "tcp/$VIP:80" "$RS1:8080,tunnel"
    refused_service 1 "192.0.2.77" "tcp/$VIP:80" "192.0.2.77:80,nat"
    refused_service 1 "192.0.2.77" "tcp/$VIP:80" "192.0.2.77,direct"
}

test_refuses_a_bad_rules_file() {
    director_host
    printf -- '-A -t %s:80 -s rr\n-a -t %s:81 -r %s:80 -m -w 1\n' "$VIP" "$VIP" "$RS1" >"$LAB_DIR/rules"
    refused 1 "$VIP:81|:2|line 2" "$TAPVS" run --bridge br0 --address "$DIP/24" --rules "$LAB_DIR/rules"
    refused 1 "/nowhere" "$TAPVS" run --bridge br0 --address "$DIP/24" --rules /nowhere/rules
}

test_refuses_a_tap_that_is_in_use() {
    topo_onearm
    serving "$RS1:8080,nat"
    refused 1 "tap0" "$TAPVS" run --bridge br0 --address 10.0.0.4/24 --tap tap0 --service "tcp/10.0.0.101:80" --scheduler rr --server "$RS1:80,nat"
    pings 3 "$VIP"
    # The director of this lab still runs: what the bridge was before it is what must come back.
    in_ns director true
    director_stop_compares_with_before_it_started
}

director_stop_compares_with_before_it_started() {
    local pid=$DIRECTOR
    DIRECTOR=
    kill -TERM "$pid"
    wait "$pid"
    lacks_link tap0 >/dev/null 2>&1 || die "the TAP is still there"
    check_ledger
}

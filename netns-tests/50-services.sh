# shellcheck shell=bash
# What does not depend on one forwarding method: several services, routed VIPs, dead servers, pings.

# families: 4 6
test_ping_to_vip_and_director() {
    topo_onearm
    serving "$AT_RS1:80,nat"

    pings 20 "$VIP"
    pings 20 "$DIP"
    # Comes in fragments, and so does the answer.
    pings 5 "$VIP" 4000
    pings 5 "$DIP" 4000
    expect_match "$(in_ns client ip neigh show "$VIP")" "lladdr" "the VIP's neighbour entry"
    expect_eq "$(in_ns client ip neigh show "$VIP" | grep -o 'lladdr [^ ]*')" "$(in_ns client ip neigh show "$DIP" | grep -o 'lladdr [^ ]*')" "one MAC for both"
}

# families: 4 6
test_vip_routed_to_the_director_in_every_method() {
    topo_router
    replies_through_director rs1
    realserver rs2 "$FAR_VIP"
    realserver rs3 "$FAR_VIP" --tunnel
    serve rs1 rs2 rs3
    AT_VIP=$AT_FAR_VIP rules "tcp 80 rs1=$AT_RS1:8080:-m rs2=$AT_RS2:80:-g rs3=$AT_RS3:80:-i" >"$LAB_DIR/rules"
    director --rules "$LAB_DIR/rules"

    requests 2100 "http://$AT_FAR_VIP/"

    expect_shares rs1=700 rs2=700 rs3=700
    expect_sources "$CLIENT" rs1 rs2 rs3
    pings 3 "$FAR_VIP"
}

# rules SERVICE...: in the format of `ipvsadm -S -n`; SERVICE is `tcp|udp PORT NAME=RIP:RPORT:METHOD...`.
rules() {
    local service proto port server target
    for service; do
        read -r proto port service <<<"$service"
        echo "-A -${proto:0:1} $AT_VIP:$port -s rr"
        for server in $service; do
            target=${server#*=}
            echo "-a -${proto:0:1} $AT_VIP:$port -r ${target%:*} ${target##*:} -w 1"
        done
    done
}

# families: 4 6
test_one_client_several_services() {
    topo_onearm
    replies_through_director rs1
    realserver rs2
    serve rs1 rs2 rs3
    name_server rs1
    rules "tcp 80 a=$AT_RS1:8080:-m" "tcp 8080 b=$AT_RS2:8080:-g" "tcp 8081 c=$AT_RS3:80:--fullnat" "udp 53 d=$AT_RS1:53:-m" \
        >"$LAB_DIR/rules"
    director --rules "$LAB_DIR/rules" --local-address "$LIP1"

    local port
    for port in 80 8080 8081; do
        in_ns client curl --silent --parallel --parallel-max 8 --max-time 20 --header 'Connection: close' --output /dev/null \
            --write-out '%{http_code}\n' "http://$AT_VIP:$port/?[1-300]" >"$LAB_DIR/answers-$port" &
    done
    expect_eq "$(queries 100)" "rs1=100" "answers of the name server"
    wait_for 20 "all requests" all_answered 300 80 8080 8081

    expect_shares rs1=300 rs2=300 rs3=300
    expect_sources "$CLIENT" rs1 rs2
    expect_sources "$LIP1" rs3
}

all_answered() {
    local count=$1 port
    shift
    for port; do
        [[ $(grep -c '^200$' "$LAB_DIR/answers-$port") == "$count" ]] || return 1
    done
}

# families: 4 6
test_a_port_without_service_is_refused_not_forwarded() {
    topo_onearm
    serve rs1
    serving "$AT_RS1:80,nat"

    in_ns client curl --silent --max-time 2 "http://$AT_VIP:81/" >/dev/null && die "a port without a service answered"
    expect_eq "$(answered rs1)" 0 "requests at the real server"
}

# families: 4 6
test_a_dead_real_server_does_not_stall_the_others() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    serving "$AT_RS1:8080,nat" "$AT_NOBODY:8080,nat"

    in_ns client curl --silent --parallel --parallel-immediate --parallel-max 40 --connect-timeout 4 --header 'Connection: close' \
        --output /dev/null --write-out '%{http_code}\n' "http://$AT_VIP/?[1-40]" >"$LAB_DIR/answers" || true

    expect_eq "$(grep -c '^200$' "$LAB_DIR/answers")" 20 "requests that fell to the living server"
    # The neighbour is given up after three seconds: whoever does not wait for it is answered before.
    expect_eq "$(head -n 20 "$LAB_DIR/answers" | sort | uniq -c | xargs)" "20 200" "requests that ended first"
    expect_match "$(cat "$LAB_DIR/tapvs.log")" "$NOBODY" "a log line that names the neighbour which does not answer"
}

test_a_real_server_that_appears_late_is_found() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    in_ns rs1 ip link set eth0 down
    serving "$AT_RS1:8080,nat"
    in_ns client curl --silent --max-time 2 "http://$VIP/" >/dev/null && die "answered by a server that is down"

    in_ns rs1 ip link set eth0 up
    replies_through_director rs1

    wait_for 8 "the first answer" fetch --max-time 2 "http://$VIP/"
}

test_flow_table_full_drops_and_says_so() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    director_options --max-flows 16
    serving "$AT_RS1:8080,nat"

    # Conns that carry data make no room, so those beyond find none while they last.
    local file
    file=$(payload 64)
    in_ns client curl --silent --parallel --parallel-immediate --parallel-max 40 --connect-timeout 2 --max-time 6 \
        --limit-rate 1M --output /dev/null --write-out '%{http_code}\n' "http://$VIP/files/${file##*/}?[1-40]" \
        >"$LAB_DIR/answers" || true

    expect_between 1 "$(grep -c '^200$' "$LAB_DIR/answers")" 16 "downloads begun with room for 16 flows"
    expect_match "$(cat "$LAB_DIR/tapvs.log")" "WARN" "a warning"
    pings 3 "$VIP"
}

# families: 4 6
test_iperf3_in_both_directions_at_once() {
    topo_onearm
    replies_through_director rs1
    spawn iperf3 rs1 iperf3 --server --port 5201
    wait_for 5 "iperf3" listens rs1 tcp 5201
    director --service "tcp/$AT_VIP:5201" --scheduler rr --server "$AT_RS1:5201,nat"

    in_ns client iperf3 --client "$VIP" --port 5201 --time 2 --bidir --parallel 2 >"$LAB_DIR/iperf3-client.log" 2>&1 ||
        die "iperf3: $(tail -n 2 "$LAB_DIR/iperf3-client.log")"
}

# families: 4 6
test_a_mark_service_without_servers_lets_clients_pass_by() {
    topo_onearm
    replies_through_director rs2
    serve rs1 rs2
    # The origin is rs1, behind an address that the client reaches through the director alone.
    in_ns rs1 ip address add "$FAR_VIP/$HOST_BITS" dev lo
    in_ns client ip route add "$FAR_VIP/$HOST_BITS" via "$DIP"
    local six=() url
    [[ $FAMILY == 4 ]] || six=(-6)
    url=http://$AT_FAR_VIP/
    director --gateway "$RS1" --mark "7=tcp/$FAR_NET:80"
    with_ipvsadm
    lb -A -f 7 "${six[@]}" -s rr

    ! fetch "$url" >/dev/null 2>&1 || die "a service without a server answered"
    in_ns director "$TAPVS" set cache_bypass 1
    expect_eq "$(fetch "$url")" rs1 "the origin's answer"
    # As the kernel lists it, and counted nowhere.
    lb -Lcn | tr -s ' ' | grep -qF " $AT_FAR_VIP:80 $(bracketed "$ANYWHERE"):0" || die "no such conn: $(lb -Lcn)"
    expect_match "$(lb -Ln --stats)" 'FWM +7 +(IPv6 +)?0 +0 +0 +0 +0' "what is counted"

    lb -a -f 7 "${six[@]}" -r "$AT_RS2:80" -m
    expect_eq "$(fetch "$url")" rs2 "the answer of the server that has come"
}

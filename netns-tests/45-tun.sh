# shellcheck shell=bash
# A director without a bridge (--tun): its host is a router, which sends it what is for its addresses.

# topo_routed: each role on a wire of its own to the director's host, which routes between them.
#
#      client                          director namespace                             rs1, rs2
#   192.0.2.10  192.0.2.1 to-client    tun0: tapvs 203.0.113.2, VIP 198.51.100.1     10.0.0.21, .22
#       |              |                    |            to-rs1, to-rs2: 10.0.0.1        |
#       +--------------+------ the host's routing table ----------+----------------------+
#
topo_routed() {
    local edge=${LINK}1 role address
    CLIENT=${BEYOND}10 VIP=$FAR_VIP AT_VIP=$AT_FAR_VIP DIP=203.0.113.2 LIP1=203.0.113.30
    [[ $FAMILY == 4 ]] || DIP=2001:db8:cb::2 LIP1=2001:db8:cb::30
    ns_add director
    in_ns director sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    for role in client=$CLIENT=${BEYOND}1 rs1=$RS1=$edge rs2=$RS2=$edge; do
        IFS='=' read -r role address edge <<<"$role"
        ns_add "$role"
        ip link add eth0 netns "$(ns "$role")" type veth peer name "to-$role" netns "$(ns director)"
        in_ns director ip address add "$edge/$HOST_BITS" dev "to-$role"
        in_ns director ip link set "to-$role" up
        in_ns "$role" ip address add "$address/$HOST_BITS" dev eth0
        in_ns "$role" ip link set eth0 up
        in_ns "$role" ip route add "$edge" dev eth0
        in_ns "$role" ip route add default via "$edge"
        in_ns director ip route add "$address" dev "to-$role"
    done
    lab_captures client rs1 rs2
}

# routed_director ARGS...: `tapvs run` on tun0, ready.
# shellcheck disable=SC2034  # director_start reads director_args
routed_director() {
    bridge_state >"$LAB_DIR/bridge.before"
    director_args=(run --tun tun0 --address "$DIP/$HOST_BITS" "$@")
    director_start
}

# routed_service METHOD [ARGS...]: $VIP:80 by rr, served by rs1 and rs2.
routed_service() {
    local method=$1
    shift
    routed_director --service "tcp/$AT_VIP:80" --scheduler rr --server "$AT_RS1,$method" --server "$AT_RS2,$method" "$@"
}

# replies_through_tun ROLE...: for NAT, what comes from a real server goes to the director first.
replies_through_tun() {
    local role
    in_ns director ip "-$FAMILY" route add default dev tun0 table 100
    for role; do
        in_ns director ip "-$FAMILY" rule add iif "to-$role" lookup 100
    done
}

stop_replies_through_tun() {
    local role
    for role; do
        in_ns director ip "-$FAMILY" rule del iif "to-$role" lookup 100
    done
}

# families: 4 6
# limit: 90
# heavy
test_tun_nat() {
    topo_routed
    serve rs1 rs2
    routed_service nat
    replies_through_tun rs1 rs2

    requests 2000 "http://$AT_VIP/"

    expect_shares rs1=1000 rs2=1000
    expect_sources "$CLIENT" rs1 rs2
    pings 20 "$VIP"
    one_server_transfers nat
    stop_replies_through_tun rs1 rs2
}

# one_server_transfers METHOD [ARGS...]: $MIB each way, or of plain frames a quarter, by a director with rs1 alone.
one_server_transfers() {
    local method=$1 size=$MIB
    shift
    [[ $* != *--no-offload* ]] || size=$((MIB / 4))
    director_stop
    routed_director --service "tcp/$AT_VIP:80" --scheduler rr --server "$AT_RS1,$method" "$@"
    [[ $method != nat ]] || in_ns director ip "-$FAMILY" route replace default dev tun0 table 100
    TRANSFER_SECONDS=80 upload "$size" rs1
    TRANSFER_SECONDS=80 download "$size"
    kernel_has_forwarded
}

# kernel_has_forwarded: packets of the transfers, where it takes the program.
kernel_has_forwarded() {
    local said
    said=$(in_ns director "$TAPVS" status | grep '^fast path by') || return 0
    expect_match "$said" " [0-9]{3,} frames" "what the kernel has forwarded"
}

# families: 4 6
# limit: 90
# heavy
test_tun_fullnat() {
    topo_routed
    serve rs1 rs2
    routed_service fullnat --local-address "$LIP1"

    requests 2000 "http://$AT_VIP/"

    expect_shares rs1=1000 rs2=1000
    expect_sources "$LIP1" rs1 rs2
    one_server_transfers fullnat --local-address "$LIP1"
    local frames
    director_stop
    frames=$(ledger_of tx)
    expect_between $((5 * MIB)) "$frames" $((300 * MIB)) "frames for twice $MIB MiB: more if superframes were cut"
}

# families: 4 6
# limit: 90
# heavy
test_tun_tunnel() {
    topo_routed
    realserver rs1 --tunnel
    realserver rs2 --tunnel
    serve rs1 rs2
    routed_service tunnel

    requests 2000 "http://$AT_VIP/"

    expect_shares rs1=1000 rs2=1000
    expect_sources "$CLIENT" rs1 rs2
    expect_seen rs1 "$IS_IPIP and src host $DIP and dst host $RS1" "the outer header"
    one_server_transfers tunnel
}

# families: 4 6
# limit: 180
# heavy
test_tun_nat_without_offloads() {
    topo_routed
    serve rs1
    in_ns director ip "-$FAMILY" rule add iif to-rs1 lookup 100
    one_server_transfers nat --no-offload
    expect_sources "$CLIENT" rs1
}

# families: 4 6
# limit: 180
# heavy
test_tun_fullnat_without_offloads() {
    topo_routed
    serve rs1
    one_server_transfers fullnat --no-offload
    expect_sources "$DIP" rs1
}

# families: 4 6
# limit: 180
# heavy
test_tun_tunnel_without_offloads() {
    topo_routed
    realserver rs1 --tunnel
    serve rs1
    one_server_transfers tunnel --no-offload
    expect_sources "$CLIENT" rs1
}

# families: 4 6
test_tun_udp_and_its_errors() {
    topo_routed
    name_server rs1
    routed_director --service "udp/$AT_VIP:53" --scheduler rr --server "$AT_RS1:53,fullnat"

    expect_eq "$(queries 200)" "rs1=200" "answers of the name server"
    expect_eq "$(udp_probe "$VIP" 99)" "refused" "a port without a service"
}

test_tun_refuses_direct_routing() {
    topo_routed
    refused 1 "a TUN carries none; use nat, fullnat or tunnel" \
        "$TAPVS" run --tun tun0 --address "$DIP/32" --service "tcp/$VIP:80" --scheduler rr --server "$RS1,direct"
    refused 1 "--mac 02:00:00:00:00:01: not with a TUN" \
        "$TAPVS" run --tun tun0 --mac 02:00:00:00:00:01 --address "$DIP/32" --service "tcp/$VIP:80" --scheduler rr --server "$RS1,nat"
}

# families: 4 6
test_tun_services_come_and_go_while_it_runs() {
    topo_routed
    serve rs1 rs2
    export TAPVS_SOCKET=$LAB_DIR/control.sock
    routed_service fullnat
    local second=${FAR_VIP%1}2 said
    second=$(bracketed "$second")

    in_ns director "$TAPVS" ipvsadm -A -t "$second:80" -s rr
    in_ns director "$TAPVS" ipvsadm -a -t "$second:80" -r "$AT_RS1:80" --fullnat
    wait_for 2 "a route to the second VIP" has_route_to_tun "${FAR_VIP%1}2"
    expect_eq "$(fetch "http://$second/")" rs1 "the answer of the second service"
    said=$(in_ns director "$TAPVS" ipvsadm -a -t "$second:80" -r "$AT_RS2:80" -g 2>&1) && die "direct routing was accepted"
    expect_match "$said" "a TUN carries none" "what it said about direct routing"
    in_ns director "$TAPVS" ipvsadm -D -t "$second:80"
    wait_for 2 "the route to go" lacks_route_to_tun "${FAR_VIP%1}2"
    expect has_route_to_tun "$FAR_VIP"
}

has_route_to_tun() { [[ $(in_ns director ip "-$FAMILY" route show "$1") == *tun0* ]]; }
lacks_route_to_tun() { ! has_route_to_tun "$@"; }

test_tun_that_exists_is_given_back_as_it_was() {
    topo_routed
    in_ns director ip tuntap add tun0 mode tun
    in_ns director sysctl -qw net.ipv4.conf.tun0.rp_filter=1
    serve rs1 rs2
    routed_service fullnat

    expect_eq "$(in_ns director ip route get "$VIP" from "$CLIENT" iif to-client | grep -o 'dev tun0')" "dev tun0" "the way to the VIP"
    requests 100 "http://$AT_VIP/"

    director_stop
    expect_eq "$(in_ns director sysctl -n net.ipv4.conf.tun0.rp_filter)" 1 "rp_filter of tun0 afterwards"
}

# shellcheck shell=bash
# IP tunnel (-i): the packet travels inside another IP header; the real server unwraps it and answers the client itself.

# tunnel_lab TOPOLOGY ROLE...: that topology, with those as real servers of a tunnel service.
tunnel_lab() {
    local topology=$1 role
    shift
    "$topology"
    for role; do
        realserver "$role" --tunnel
    done
    serve "$@"
}

# families: 4 6
test_tunnel_thousands_of_requests_shared_by_rr() {
    tunnel_lab topo_onearm rs1 rs2 rs3
    serving "$AT_RS1,tunnel" "$AT_RS2,tunnel" "$AT_RS3,tunnel"

    requests 3000 "http://$AT_VIP/"

    expect_shares rs1=1000 rs2=1000 rs3=1000
    expect_sources "$CLIENT" rs1 rs2 rs3
    expect_seen rs1 "$IS_IPIP and src host $DIP and dst host $RS1" "the outer header"
}

# families: 4 6
test_tunnel_shares_follow_weights_by_wrr() {
    tunnel_lab topo_onearm rs1 rs2
    SCHEDULER=wrr serving "$AT_RS1,tunnel,weight=2" "$AT_RS2,tunnel,weight=3"

    requests 2000 "http://$AT_VIP/"

    expect_shares rs1=800 rs2=1200
}

# families: 4 6
test_tunnel_replies_never_cross_the_director() {
    tunnel_lab topo_onearm rs1 rs2
    director_options --fast off
    serving "$AT_RS1,tunnel" "$AT_RS2,tunnel"
    capture_now tap director tap0

    requests 100 "http://$AT_VIP/"

    fence tap client "$VIP"
    expect_seen tap "dst host $VIP and tcp dst port 80" "the requests"
    expect_seen tap "$IS_IPIP and src host $DIP" "the requests in their outer header"
    expect_none tap "src host $VIP and tcp" "replies on the director's TAP"
    expect_none tap "tcp and (src host $RS1 or src host $RS2)" "packets of the real servers on the director's TAP"
}

# limit: 180
# families: 4 6
# heavy
test_tunnel_bulk_each_way() {
    tunnel_lab topo_onearm rs1
    director_options --fast off
    serving "$AT_RS1,tunnel"

    TRANSFER_SECONDS=80 upload "$MIB" rs1
    download "$MIB"

    expect_seen client "$IS_TOO_BIG" "frag-needed: less fits into the tunnel"
}

# limit: 180
# families: 4 6
# heavy
test_tunnel_each_way_without_offloads() {
    tunnel_lab topo_onearm rs1
    director_options --no-offload
    serving "$AT_RS1,tunnel"

    TRANSFER_SECONDS=80 download $((MIB / 4))
    TRANSFER_SECONDS=80 upload $((MIB / 4)) rs1
}

# families: 4 6
test_tunnel_udp() {
    topo_onearm
    realserver rs1 --tunnel
    realserver rs2 --tunnel
    name_server rs1 rs2
    director --service "udp/$AT_VIP:53" --scheduler rr --server "$AT_RS1,tunnel" --server "$AT_RS2,tunnel"

    expect_eq "$(queries 200)" "rs1=100 rs2=100" "answers of the name servers"
}

# families: 4 6
test_tunnel_client_behind_a_router() {
    tunnel_lab topo_router rs1 rs2
    director_options --fast off
    serving "$AT_RS1,tunnel" "$AT_RS2,tunnel"
    CAPTURE_LIMIT=200000 capture_now tap director tap0

    requests 2000 "http://$AT_VIP/"

    expect_shares rs1=1000 rs2=1000
    expect_sources "$CLIENT" rs1 rs2
    fence tap client "$VIP"
    expect_none tap "src host $VIP and tcp" "replies on the director's TAP"
}

# families: 4 6
test_tunnel_realserver_ends_and_leaves_nothing() {
    topo_onearm
    realserver_state rs1 >"$LAB_DIR/before"
    realserver rs1 --tunnel
    in_ns rs1 "$TAPVS" realserver down
    wait_for 5 "the VIP to go" lacks_address rs1 "$VIP"
    wait_for 5 "the tunnel device to go" lacks_tunnel rs1

    realserver_state rs1 >"$LAB_DIR/after"
    diff "$LAB_DIR/before" "$LAB_DIR/after" >&2 || die "realserver down left something"
}

lacks_address() { ! has_address "$@"; }
lacks_tunnel() { ! has_tunnel "$@"; }

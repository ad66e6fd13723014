# shellcheck shell=bash
# NAT (-m): the director rewrites destination and, on the way back, source; replies pass it.

# families: 4 6
test_nat_thousands_of_requests_shared_by_rr() {
    topo_onearm
    replies_through_director rs1 rs2 rs3
    serve rs1 rs2 rs3
    serving "$AT_RS1:8080,nat" "$AT_RS2:8080,nat" "$AT_RS3:80,nat"

    requests 3000 "http://$AT_VIP/"

    expect_shares rs1=1000 rs2=1000 rs3=1000
    expect_sources "$CLIENT" rs1 rs2 rs3
}

# families: 4 6
test_nat_shares_follow_weights_by_wrr() {
    topo_onearm
    replies_through_director rs1 rs2 rs3
    serve rs1 rs2 rs3
    SCHEDULER=wrr serving "$AT_RS1:8080,nat,weight=3" "$AT_RS2:8080,nat,weight=1" "$AT_RS3:8080,nat,weight=0"

    requests 2000 "http://$AT_VIP/"

    expect_shares rs1=1500 rs2=500 rs3=0
}

# families: 4 6
test_nat_hides_the_real_servers() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    serving "$AT_RS1:8080,nat"

    expect_eq "$(fetch "http://$AT_VIP/")" rs1 "the answer"
    fence client client "$VIP"
    expect_none client "src host $RS1 and tcp" "packets from the real server's own address"
    expect_seen client "src host $VIP and tcp port 80" "the reply from the VIP"
}

# limit: 120
# families: 4 6
# heavy
test_nat_bulk_each_way() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    director_options --fast off
    serving "$AT_RS1:80,nat"

    download "$MIB"
    upload "$MIB" rs1
}

# limit: 180
# families: 4 6
# heavy
test_nat_each_way_without_offloads() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    director_options --no-offload
    serving "$AT_RS1:80,nat"

    TRANSFER_SECONDS=80 download $((MIB / 4))
    TRANSFER_SECONDS=80 upload $((MIB / 4)) rs1
}

# families: 4 6
test_nat_udp() {
    topo_onearm
    replies_through_director rs1 rs2
    name_server rs1 rs2
    director --service "udp/$AT_VIP:53" --scheduler rr --server "$AT_RS1:53,nat" --server "$AT_RS2:53,nat"

    expect_eq "$(queries 400)" "rs1=200 rs2=200" "answers of the name servers"
}

# families: 4 6
test_nat_client_behind_a_router() {
    topo_router
    replies_through_director rs1 rs2
    serve rs1 rs2
    serving "$AT_RS1:8080,nat" "$AT_RS2:80,nat"

    requests 2000 "http://$AT_VIP/"

    expect_shares rs1=1000 rs2=1000
    expect_sources "$CLIENT" rs1 rs2
}

# families: 4 6
test_nat_port_unreachable_reaches_the_client() {
    topo_onearm
    replies_through_director rs1
    director --service "udp/$AT_VIP:53" --scheduler rr --server "$AT_RS1:5353,nat"

    expect_eq "$(udp_probe "$VIP" 53)" "refused" "the closed port, as the client's socket sees it"
    expect_seen client "$IS_UNREACHABLE and src host $VIP" "the error, from the VIP"
}

# families: 4 6
test_nat_narrow_path_to_the_client_is_found() {
    topo_router
    replies_through_director rs1
    serve rs1
    narrow_link_to_client
    serving "$AT_RS1:80,nat"

    download 8

    expect_seen director "$IS_TOO_BIG and dst host $RS1" "the router's frag-needed, brought to the real server"
}

# narrow_link_to_client: the router can send the client 1300 bytes at most, which nobody but the router knows.
narrow_link_to_client() {
    in_ns router ip link set eth1 mtu 1300
    # The client's own MTU stays 1500: its MSS promises more than the path takes.
}

# families: 4 6
test_nat_real_server_reaches_the_world_through_the_director() {
    topo_router
    replies_through_director rs1
    serve rs1
    in_ns director sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
    serving "$AT_RS1:80,nat"

    in_ns rs1 ping -q -c 3 -i 0.05 -W 2 "$CLIENT" >/dev/null || die "the real server's own pings through tapvs"
    expect_match "$(in_ns rs1 ping -c 1 -W 2 -t 1 "$CLIENT" || true)" "From $DIP.*(Time to live exceeded|Hop limit)" "a packet that lives one hop"
}

# families: 4 6
test_nat_client_is_told_that_no_server_is_there() {
    topo_router
    serving "$AT_NOBODY:80,nat"

    local began=$SECONDS code=0
    fetch --max-time 20 "http://$AT_VIP/" 2>"$LAB_DIR/curl.errors" || code=$?

    expect_eq "$code" 7 "exit code of curl: could not connect"
    expect_between 2 $((SECONDS - began)) 6 "seconds until then"
    expect_seen client "$IS_UNREACHABLE and src host $VIP" "the error, from the VIP"
}

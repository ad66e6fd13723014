# shellcheck shell=bash
# DR (-g): only MAC addresses change; the real server holds the VIP and answers the client itself.

# direct_lab TOPOLOGY ROLE...: that topology, with those as real servers of a DR service.
direct_lab() {
    local topology=$1 role
    shift
    "$topology"
    for role; do
        realserver "$role"
    done
    serve "$@"
}

# families: 4 6
test_direct_thousands_of_requests_shared_by_rr() {
    direct_lab topo_onearm rs1 rs2 rs3
    serving "$AT_RS1,direct" "$AT_RS2,direct" "$AT_RS3,direct"

    requests 3000 "http://$AT_VIP/"

    expect_shares rs1=1000 rs2=1000 rs3=1000
    expect_sources "$CLIENT" rs1 rs2 rs3
}

# families: 4 6
test_direct_shares_follow_weights_by_wrr() {
    direct_lab topo_onearm rs1 rs2
    SCHEDULER=wrr serving "$AT_RS1,direct,weight=1" "$AT_RS2,direct,weight=4"

    requests 2000 "http://$AT_VIP/"

    expect_shares rs1=400 rs2=1600
}

# families: 4 6
test_direct_replies_never_cross_the_director() {
    direct_lab topo_onearm rs1 rs2
    director_options --fast off
    serving "$AT_RS1,direct" "$AT_RS2,direct"
    capture_now tap director tap0

    requests 100 "http://$AT_VIP/"

    fence tap client "$VIP"
    expect_seen tap "dst host $VIP and tcp dst port 80" "the requests"
    expect_none tap "src host $VIP and tcp" "replies on the director's TAP"
    expect_none tap "tcp and (src host $RS1 or src host $RS2)" "packets of the real servers on the director's TAP"
}

# limit: 120
# families: 4 6
# heavy
test_direct_bulk_each_way() {
    direct_lab topo_onearm rs1
    director_options --fast off
    serving "$AT_RS1,direct"

    download "$MIB"
    upload "$MIB" rs1
}

# limit: 180
# families: 4 6
# heavy
test_direct_each_way_without_offloads() {
    direct_lab topo_onearm rs1
    director_options --no-offload
    serving "$AT_RS1,direct"

    TRANSFER_SECONDS=80 download $((MIB / 4))
    TRANSFER_SECONDS=80 upload $((MIB / 4)) rs1
}

# families: 4 6
test_direct_udp() {
    topo_onearm
    realserver rs1
    realserver rs2
    name_server rs1 rs2
    director --service "udp/$AT_VIP:53" --scheduler rr --server "$AT_RS1,direct" --server "$AT_RS2,direct"

    expect_eq "$(queries 400)" "rs1=200 rs2=200" "answers of the name servers"
}

# families: 4 6
test_direct_client_behind_a_router() {
    direct_lab topo_router rs1 rs2
    director_options --fast off
    serving "$AT_RS1,direct" "$AT_RS2,direct"
    CAPTURE_LIMIT=200000 capture_now tap director tap0

    requests 2000 "http://$AT_VIP/"

    expect_shares rs1=1000 rs2=1000
    expect_sources "$CLIENT" rs1 rs2
    fence tap client "$VIP"
    expect_none tap "src host $VIP and tcp" "replies on the director's TAP"
}

# families: 4 6
test_direct_narrow_path_to_the_client_is_found() {
    direct_lab topo_router rs1
    in_ns router ip link set eth1 mtu 1300
    serving "$AT_RS1,direct"

    download 8

    expect_seen rs1 "$IS_TOO_BIG and dst host $VIP" "the router's frag-needed, brought to the real server"
}

# families: 4 6
test_direct_director_host_is_a_real_server_too() {
    direct_lab topo_onearm director rs1
    serving "$AT_HOST_IP,direct" "$AT_RS1,direct"

    requests 2000 "http://$AT_VIP/"

    expect_shares director=1000 rs1=1000
    expect_sources "$CLIENT" director rs1
}

test_realserver_down_restores_what_was_there() {
    topo_onearm
    realserver_state rs1 >"$LAB_DIR/before"

    in_ns rs1 "$TAPVS" realserver up --vip "$VIP"
    expect has_address rs1 "$VIP"
    expect_eq "$(in_ns rs1 sysctl -n net.ipv4.conf.all.arp_ignore net.ipv4.conf.all.arp_announce | xargs)" "1 2" "arp_ignore, arp_announce"
    in_ns client ping -q -c 1 -W 1 "$VIP" >/dev/null && die "the real server answers ARP for the VIP"
    in_ns rs1 "$TAPVS" realserver down

    realserver_state rs1 >"$LAB_DIR/after"
    diff "$LAB_DIR/before" "$LAB_DIR/after" >&2 || die "realserver down left something"
}

test_realserver_settings_of_two_namespaces_are_apart() {
    topo_onearm
    in_ns rs1 "$TAPVS" realserver up --vip "$VIP"
    in_ns rs2 "$TAPVS" realserver up --vip "$VIP"
    in_ns rs1 "$TAPVS" realserver down

    expect has_address rs2 "$VIP"
    ! has_address rs1 "$VIP" || die "the VIP is still in rs1"
    in_ns rs2 "$TAPVS" realserver down
    ! has_address rs2 "$VIP" || die "the VIP is still in rs2"
}

# families: 4 6
test_direct_realserver_is_quiet_about_the_vip() {
    topo_onearm
    realserver rs1
    expect in_ns rs1 ping -q -c 1 -W 2 "$VIP" >"$LAB_DIR/ping.log"

    # Nobody but the director may answer for the VIP, and there is none: not to the question who has it, and not to a
    # packet that comes by a neighbour entry of old either, where the family lets that be told apart.
    ! in_ns client ping -q -c 2 -i 0.2 -W 1 "$VIP" >/dev/null || die "somebody answers for $VIP"
    expect in_ns rs1 ping -q -c 1 -W 2 "$CLIENT" >"$LAB_DIR/ping.log"

    fence client client "$RS1"
    expect_none client "ether src $(mac_of rs1 eth0) and $(names_vip)" "an answer of rs1 about who has the VIP"
    expect_none client "ether src $(mac_of rs1 eth0) and src host $VIP and not arp" "packets of rs1's own that name the VIP as source"
}


# names_vip: a sender that claims the VIP, in ARP or in neighbour discovery.
names_vip() {
    if [[ $FAMILY == 6 ]]; then
        echo "icmp6 and ip6[40] == 136 and ip6[62:2] == 0x0100"
    else
        echo "arp src host $VIP"
    fi
}

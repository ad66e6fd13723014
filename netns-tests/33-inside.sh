# shellcheck shell=bash
# Tunnels of others as a service: VXLAN by the kernels of client and real server, its UDP packets through the director.
# What the client's kernel has wrapped comes with checksums that are unfinished inside, and has superframes inside.

# vxlan_lab OPTION...: a VXLAN device with those options at both ends; what the client sends goes through a service.
#
#     client vx0 10.77.0.1  --  UDP to VIP:4789  --  tapvs  --  UDP to rs1:4789  --  rs1 vx0 10.77.0.2
#                           <-------------- UDP from rs1, not through the director --------------
#
vxlan_lab() {
    topo_onearm
    realserver rs1 --tunnel
    vxlan client "$CLIENT" "$VIP" 1 "$@"
    vxlan rs1 "$RS1" "$CLIENT" 2 "$@"
    serve rs1
}

# vxlan ROLE OWN REMOTE LAST OPTION...: the device vx0, with room for a tunnel around it. It goes on sending to REMOTE,
# whoever it hears from.
vxlan() {
    local role=$1 own=$2 remote=$3 last=$4
    shift 4
    in_ns "$role" ip link add vx0 type vxlan id 7 nolearning local "$own" remote "$remote" dstport 4789 "$@"
    in_ns "$role" ip address add "10.77.0.$last/24" dev vx0
    in_ns "$role" ip link set vx0 mtu 1300 up
}

# through_service whole|cut SERVER...: 16 MiB each way through VXLAN, whose packets that service gives to the server,
# superframes whole or one by one.
through_service() {
    local form=$1 server
    shift
    for server; do
        director --service "udp/$AT_VIP:4789" --server "$server" --local-address "$LIP1"
        fetch --max-time 20 --upload-file "$(payload 16)" http://10.77.0.2/put/upload || die "upload through $server failed"
        cmp "$SCRATCH/nginx-rs1/put/upload" "$(payload 16)" || die "upload through $server differs"
        fetch --max-time 20 http://10.77.0.2/files/payload-16 | cmp - "$(payload 16)" || die "download through $server differs"
        director_stop
        # 16 MiB are 13,000 segments.
        case $form in
            whole) expect_eq "$(ledger_of consumed.segmented)" 0 "superframes cut on the way to $server" ;;
            cut) expect_between 100 "$(ledger_of consumed.segmented)" 10000 "superframes cut on the way to $server" ;;
        esac
        expect_between 100 "$(ledger_of rx)" 8000 "frames to the director, $server"
    done
    expect_sources 10.77.0.1 rs1
}

# limit: 90
# families: 4 6
test_vxlan_through_a_service() {
    vxlan_lab
    through_service whole "$AT_RS1:4789,nat" "$AT_RS1:4789,fullnat" "$AT_RS1,direct"
    through_service cut "$AT_RS1,tunnel" "$AT_RS1,gue,csum"
}

# limit: 90
# families: 4 6
test_vxlan_without_checksums_through_a_service() {
    if [[ $FAMILY == 6 ]]; then vxlan_lab udp6zerocsumtx udp6zerocsumrx; else vxlan_lab noudpcsum; fi
    through_service whole "$AT_RS1:4789,nat" "$AT_RS1:4789,fullnat" "$AT_RS1,direct"
    through_service cut "$AT_RS1,tunnel" "$AT_RS1,gue"
}

# Both ways through the director, and a link without offloads on either side: the kernel cuts and sums what the director has
# rewritten, and kernels look at every checksum, those too that NAT adds.
# limit: 90
# families: 4 6
test_vxlan_both_ways_before_links_without_offloads() {
    scripts/need ethtool || skip "ethtool cannot be installed"
    if [[ $FAMILY == 6 ]]; then vxlan_lab udp6zerocsumtx udp6zerocsumrx; else vxlan_lab noudpcsum; fi
    replies_through_director rs1
    in_ns director ethtool -K to-rs1 tx off >"$LAB_DIR/ethtool.log"
    in_ns director ethtool -K to-client tx off >>"$LAB_DIR/ethtool.log"
    capture_now service rs1 eth0
    through_service whole "$AT_RS1:4789,nat" "$AT_RS1:4789,fullnat"
    expect_seen service "udp dst port 4789 and src host $LIP1 and greater 1200" "segments from the local address"
    expect_none service "udp dst port 4789 and dst host $RS1 and greater 1600" "packets longer than the real server's link"
    expect_seen service "udp dst port 4789 and dst host $RS1 and $(udp_field 6) != 0" "checksums that NAT has added"
}

# udp_field AT: two bytes of the UDP header, for a filter.
udp_field() { if [[ $FAMILY == 6 ]]; then echo "ip6[$((40 + $1)):2]"; else echo "ip[$((20 + $1)):2]"; fi; }

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

# upload_inside SERVER...: 16 MiB through VXLAN, whose packets that service gives to the server.
upload_inside() {
    local server
    for server; do
        director --service "udp/$AT_VIP:4789" --server "$server" --local-address "$LIP1"
        fetch --max-time 20 --upload-file "$(payload 16)" http://10.77.0.2/put/upload || die "upload through $server failed"
        cmp "$SCRATCH/nginx-rs1/put/upload" "$(payload 16)" || die "upload through $server differs"
        director_stop
        expect_between 1000 "$(ledger_of tx)" 1000000 "frames from the director, $server"
    done
    expect_sources 10.77.0.1 rs1
}

# limit: 90
# families: 4 6
test_vxlan_through_a_service() {
    vxlan_lab
    upload_inside "$AT_RS1:4789,nat" "$AT_RS1:4789,fullnat" "$AT_RS1,direct" "$AT_RS1,tunnel" "$AT_RS1,gue,csum"
}

# limit: 90
# families: 4 6
test_vxlan_without_checksums_through_a_service() {
    if [[ $FAMILY == 6 ]]; then vxlan_lab udp6zerocsumtx udp6zerocsumrx; else vxlan_lab noudpcsum; fi
    upload_inside "$AT_RS1:4789,nat" "$AT_RS1:4789,fullnat" "$AT_RS1,direct" "$AT_RS1,tunnel" "$AT_RS1,gue"
}

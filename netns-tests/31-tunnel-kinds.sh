# shellcheck shell=bash
# GRE and GUE (-i --tun-type): as IP in IP, with another header between; `tapvs realserver` unpacks every kind.

# through_kind KIND: 200 requests shared by two servers, and 200 MiB up, through tunnels of that kind.
through_kind() {
    local kind=$1
    forget_answers
    serving "$AT_RS1,$kind" "$AT_RS2,$kind"

    requests 200 "http://$AT_VIP/"

    expect_shares rs1=100 rs2=100
    expect_sources "$CLIENT" rs1 rs2
    expect_seen rs1 "$(filter_of "$kind") and src host $DIP and dst host $RS1" "packets of kind $kind"
    upload 200 rs2 || return
    director_stop
}

kinds_lab() {
    CAPTURE_LIMIT=100000 topo_onearm
    realserver rs1 --tunnel
    realserver rs2 --tunnel
    serve rs1 rs2
}

# limit: 90
# families: 4 6
test_tunnel_gre_and_gue() {
    kinds_lab
    local kind
    for kind in gre gre,csum gue gue,csum gue,remcsum; do
        through_kind "$kind"
    done
}

# limit: 90
# families: 4 6
test_tunnel_gre_and_gue_without_offloads() {
    kinds_lab
    director_options --no-offload
    local kind
    for kind in gre,csum gue gue,csum; do
        through_kind "$kind"
    done
}

# uploaded_through KIND [OPTION...]: 8 MiB up through a tunnel of that kind by the director alone; what passed the TAP and the
# real server is captured.
uploaded_through() {
    director_options --fast off "${@:2}"
    serving "$AT_RS1,$1"
    CAPTURE_LIMIT=20000 capture_now "tap-$1" director tap0
    CAPTURE_LIMIT=20000 capture_now "rs1-$1" rs1 eth0
    upload 8 rs1
    fence "tap-$1" client "$VIP"
    fence "rs1-$1" director "$RS1"
}

# A superframe inside a tunnel is longer than any packet of the link.
WHOLE="udp dst port 6080 and greater 3000"

# GUE goes whole through a director whose kernel can cut it, and reaches a real server that needs no cutting.
# families: 4 6
test_tunnel_gue_superframes_are_left_to_the_kernel() {
    kinds_lab
    local kind
    for kind in gue gue,csum gue,remcsum; do
        uploaded_through "$kind"
        expect grep -q "offloads checksum tso uso tunnel" "$LAB_DIR/tapvs.log"
        expect_seen "tap-$kind" "$WHOLE" "superframes from the director"
        expect_seen "rs1-$kind" "$WHOLE" "superframes at the real server"
        director_stop
        expect_eq "$(ledger_of consumed.segmented)" 0 "superframes cut by the director"
    done
    uploaded_through gre
    expect_none rs1-gre "greater 1600" "packets longer than the link's, in GRE"
    director_stop
    expect_between 20 "$(ledger_of consumed.segmented)" 100000 "superframes cut for GRE"
}

# Behind a link without offloads everything is cut and summed by the kernel: what the director said of its superframes must
# be true, for the real server's kernel looks at the outer checksum and the inner one.
# families: 4 6
test_tunnel_gue_superframes_are_cut_rightly_by_the_kernel() {
    scripts/need ethtool || skip "ethtool cannot be installed"
    kinds_lab
    in_ns director ethtool -K to-rs1 tx off >"$LAB_DIR/ethtool.log"
    local kind
    for kind in gue gue,csum gue,remcsum; do
        uploaded_through "$kind"
        expect_seen "tap-$kind" "$WHOLE" "superframes from the director"
        expect_seen "rs1-$kind" "udp dst port 6080 and greater 1400" "their segments"
        expect_none "rs1-$kind" "greater 1600" "packets longer than the link's"
        director_stop
        expect_eq "$(ledger_of consumed.segmented)" 0 "superframes cut by the director"
    done
    expect_eq "$(in_ns rs1 nstat -asz UdpInCsumErrors Udp6InCsumErrors TcpInCsumErrors | awk '{ sum += $2 } END { print sum + 0 }')" \
        0 "packets with a wrong checksum"
}

# families: 4 6
test_tunnel_gue_without_offloads_is_never_longer_than_the_link() {
    kinds_lab
    uploaded_through gue,csum --no-offload
    expect grep -q "offloads none" "$LAB_DIR/tapvs.log"
    expect_seen tap-gue,csum "udp dst port 6080 and greater 1400" "packets in the tunnel"
    expect_none tap-gue,csum "greater 1600" "superframes on a TAP without offloads"
}

# Servers of another family than their service, which only tunnels can reach.
# families: 6
test_tunnel_between_families() {
    topo_onearm
    in_ns client ip address add 10.0.0.9/24 dev eth0
    in_ns rs1 ip address add 10.0.0.21/24 dev eth0
    spawn realserver-rs1 rs1 "$TAPVS" realserver up --vip "$VIP" --vip 10.0.0.100 --tunnel
    wait_for 10 "both VIPs" has_address rs1 "$VIP"
    wait_for 10 "a tunnel device in rs1" has_tunnel rs1
    serve rs1
    local kind
    for kind in tunnel gre,csum gue gue,csum; do
        answers_between_families rs1 "$AT_RS1" 10.0.0.21 "$kind"
    done
    expect_sources "10.0.0.9 $CLIENT" rs1
}

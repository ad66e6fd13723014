# shellcheck shell=bash
# GRE and GUE (-i --tun-type): as IP in IP, with another header between; `tapvs realserver` unpacks every kind.

# filter_of KIND: what its packets have that others lack.
filter_of() {
    case $1 in
        gre) echo "proto 47 and ip[20:2] = 0" ;;
        gre,csum) echo "proto 47 and ip[20:2] = 0x8000" ;;
        gue) echo "udp dst port 6080 and udp[6:2] = 0" ;;
        gue,csum) echo "udp dst port 6080 and udp[6:2] != 0 and udp[10:2] = 0" ;;
        # The remote checksum is for packets whose own is unfinished: those that came with offloads.
        gue,remcsum) echo "udp dst port 6080 and udp[6:2] != 0 and udp[10:2] = 1" ;;
    esac
}

# through_kind KIND: 200 requests shared by two servers, and 200 MiB up, through tunnels of that kind.
through_kind() {
    local kind=$1
    forget_answers
    serving "$RS1,$kind" "$RS2,$kind"

    requests 200 "http://$VIP/"

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
test_tunnel_gre_and_gue() {
    kinds_lab
    local kind
    for kind in gre gre,csum gue gue,csum gue,remcsum; do
        through_kind "$kind"
    done
}

# limit: 90
test_tunnel_gre_and_gue_without_offloads() {
    kinds_lab
    director_options --no-offload
    local kind
    for kind in gre,csum gue gue,csum; do
        through_kind "$kind"
    done
}

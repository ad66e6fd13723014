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
        director --address 10.0.0.2/24 --service tcp/10.0.0.100:80 --server "$AT_RS1,$kind"
        expect_eq "$(fetch http://10.0.0.100/)" rs1 "answer to an IPv4 client through IPv6, $kind"
        director_stop
        director --address 10.0.0.2/24 --service "tcp/$AT_VIP:80" --server "10.0.0.21,$kind"
        expect_eq "$(fetch "http://$AT_VIP/")" rs1 "answer to an IPv6 client through IPv4, $kind"
        director_stop
    done
    expect_sources "10.0.0.9 $CLIENT" rs1
}

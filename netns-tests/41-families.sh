# shellcheck shell=bash
# FULL-NAT between families: the client, behind a router, speaks one, the real servers the other.

# families_lab: the client has $FAMILY's addresses; the servers have, and listen on, the other's alone.
families_lab() {
    topo_router
    local role number=21 bits=24
    other_family
    [[ $FAMILY == 4 ]] && bits=64
    for role in rs1 rs2; do
        in_ns "$role" sysctl -qw net.ipv6.conf.{all,eth0}.accept_dad=0 net.ipv6.conf.{all,eth0}.disable_ipv6=0
        in_ns "$role" ip address flush dev eth0 scope global
        in_ns "$role" ip address add "$OTHER$number/$bits" dev eth0
        number=$((number + 1))
    done
    DIRECTOR_OPTIONS=(--address "${OTHER}2/$bits" --local-address "${OTHER}30")
    FAR_SIDE=("$(bracketed "${OTHER}21")" "$(bracketed "${OTHER}22")")
}

# shellcheck disable=SC2034  # ANYWHERE is where servers listen
other_family() {
    OTHER=2001:db8:: ANYWHERE=::
    [[ $FAMILY == 4 ]] || OTHER=10.0.0. ANYWHERE=0.0.0.0
}

# families: 4 6
test_families_requests_and_uploads() {
    families_lab
    serve rs1 rs2
    serving "${FAR_SIDE[0]}:8080,fullnat" "${FAR_SIDE[1]}:80,fullnat"

    requests 2000 "http://$AT_VIP/"

    expect_shares rs1=1000 rs2=1000
    expect_sources "${OTHER}30" rs1 rs2
}

# limit: 90
# families: 4 6
# heavy
test_families_bulk_each_way() {
    families_lab
    serve rs1
    serving "${FAR_SIDE[0]}:80,fullnat"

    download "$MIB"
    upload "$MIB" rs1
    transfers_were_whole
}

# transfers_were_whole: superframes passed the director as such, and nothing was too big.
transfers_were_whole() {
    director_stop
    local frames
    frames=$(ledger_of tx)
    expect_between $((20 * MIB)) "$frames" $((800 * MIB)) "frames for twice $MIB MiB: more if they were cut"
    expect_eq "$(ledger_of dropped.too-big)" 0 "packets too big"
}

# limit: 180
# families: 4 6
# heavy
test_families_each_way_without_offloads() {
    families_lab
    serve rs1
    DIRECTOR_OPTIONS+=(--no-offload)
    serving "${FAR_SIDE[0]}:80,fullnat"

    TRANSFER_SECONDS=80 download $((MIB / 4))
    TRANSFER_SECONDS=80 upload $((MIB / 4)) rs1
}

# families: 4 6
test_families_udp_and_its_errors() {
    families_lab
    name_server rs1
    local server=$SPAWNED
    director --service "udp/$AT_VIP:53" --scheduler rr --server "${FAR_SIDE[0]}:53,fullnat" "${DIRECTOR_OPTIONS[@]}"
    addresses_of "$FAMILY"

    expect_eq "$(queries 200)" "rs1=200" "answers of the name server"
    end_process "$server" "$(start_time "$server")"
    wait_for 5 "the name server to end" lacks_listener rs1 udp 53
    expect_eq "$(udp_probe "$VIP" 53)" "refused" "the closed port, as the client's socket sees it"
    expect_seen client "$IS_UNREACHABLE and src host $VIP" "the error, from the VIP"
}

lacks_listener() { ! listens "$@"; }

# families: 4 6
test_families_narrow_path_to_the_client_is_found() {
    families_lab
    serve rs1
    in_ns router ip link set eth1 mtu 1300
    serving "${FAR_SIDE[0]}:80,fullnat"

    download 8

    local too_big="icmp6 and ip6[40] == 2"
    [[ $FAMILY == 4 ]] || too_big="icmp[icmptype] == icmp-unreach and icmp[icmpcode] == 4"
    expect_seen rs1 "$too_big and dst host ${OTHER}21" "packet too big, in the server's family"
}

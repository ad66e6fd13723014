# shellcheck shell=bash
# What only IPv6 has: neighbour discovery, link-local next hops, duplicate addresses, bridges that snoop on groups.

# families: 6
test_ipv6_duplicate_of_the_vip_is_refused() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    serving "$AT_RS1:80,nat"
    in_ns rs2 sysctl -qw net.ipv6.conf.eth0.accept_dad=1

    in_ns rs2 ip address add "$VIP/64" dev eth0

    wait_for 4 "the duplicate to be found" has_duplicate rs2
    expect_eq "$(fetch "http://$AT_VIP/")" rs1 "the answer, from the one that had it first"
}

has_duplicate() { in_ns "$1" ip -6 address show dev eth0 dadfailed | grep -q inet6; }

# families: 6
test_ipv6_a_vip_that_moves_here_is_announced() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    # As if another director had had it: the client would not ask for a while.
    in_ns client ip neigh replace "$VIP" lladdr 02:00:00:00:00:77 dev eth0 nud reachable

    serving "$AT_RS1:80,nat"

    expect_eq "$(fetch "http://$AT_VIP/")" rs1 "the answer"
    expect_seen client "icmp6 and ip6[40] == 136 and src host $VIP and dst host ff02::1" "the unsolicited advertisement"
}

# families: 6
test_ipv6_gateway_by_its_link_local_address() {
    topo_router
    replies_through_director rs1
    serve rs1
    in_ns router ip address add fe80::1/64 dev eth0
    ROUTER_IP=fe80::1 serving "$AT_RS1:80,nat"

    requests 200 "http://$AT_VIP/"

    expect_shares rs1=200
    expect_seen director "icmp6 and ip6[40] == 135 and dst host ff02::1:ff00:1 and src net fe80::/10" "the question, from our link-local address"
    expect_match "$(in_ns client ping -c 1 -W 2 -t 2 2001:db8:51::9 || true)" "From $DIP.*Hop limit" "a hop told by its address of the world"
}

# families: 6
test_ipv6_bridge_that_snoops_passes_what_is_for_us() { behind_a_bridge_that_snoops 1; }

# families: 6
test_ipv6_bridge_that_snoops_by_mldv2_passes_what_is_for_us() { behind_a_bridge_that_snoops 2; }

# behind_a_bridge_that_snoops VERSION: its querier is of that version of MLD.
behind_a_bridge_that_snoops() {
    topo_onearm
    replies_through_director rs1 rs2
    serve rs1 rs2
    in_ns director ip link set br0 type bridge mcast_snooping 1 mcast_querier 1 mcast_startup_query_interval 100 mcast_mld_version "$1"
    serving "$AT_RS1:80,nat" "$AT_RS2:80,nat"
    wait_for 5 "the group of the VIP among those of tap0" listens_to_group ff02::1:ff00:100

    in_ns client ip neigh flush all
    requests 200 "http://$AT_VIP/"

    expect_shares rs1=100 rs2=100
    with_ipvsadm
    lb --start-daemon backup --mcast-interface tap0 --mcast-group ff05::8
    wait_for 5 "the group of the synchronisation among those of tap0" listens_to_group ff05::8
}

listens_to_group() { in_ns director bridge mdb show dev br0 | grep -q "port tap0 grp $1"; }

# families: 6
test_ipv6_two_families_beside_each_other() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    in_ns client ip address add 10.0.0.9/24 dev eth0
    director_options --address 10.0.0.2/24
    serving "$AT_RS1:80,nat"

    in_ns client ping -q -c 2 -i 0.1 -W 2 10.0.0.2 >/dev/null || die "no echo from the IPv4 address"
    expect_eq "$(fetch "http://$AT_VIP/")" rs1 "the answer"
    pings 10 "$VIP"
    pings 10 "$DIP"
}

# families: 6
test_ipv6_gateway_by_its_link_local_address_on_one_of_two_links() {
    topo_twoarm
    serve rs1
    # Both sides have an fe80::1; the world is behind the clients' one, and the servers' link comes first.
    in_ns client ip address add fe80::1/64 dev eth0
    in_ns rs2 ip address add fe80::1/64 dev eth0
    in_ns client ip address add 2001:db8:f::9/128 dev lo
    cat >"$LAB_DIR/tapvs.toml" <<-TOML
	gateway = "fe80::1%tap1"
	[[link]]
	bridge = "br0"
	tap = "tap0"
	address = "$DIP/64"
	[[link]]
	bridge = "br1"
	tap = "tap1"
	address = "$CLIENT_SIDE_DIP/64"
	[[service]]
	tcp = "$AT_VIP:80"
	[[service.server]]
	address = "$AT_RS1"
	method = "nat"
	TOML
    director_from_file

    expect_eq "$(fetch --interface 2001:db8:f::9 "http://$AT_VIP/")" rs1 "the answer to a client beyond the gateway"
    fence rs2 rs3 "$RS2"
    expect_none rs2 "dst host 2001:db8:f::9" "the answer on the other link"
}

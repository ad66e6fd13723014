# shellcheck shell=bash
# What happens to the link and to the host's addresses while the director runs: each is said with its cure, and the service
# comes back by itself.

said() { grep -q -- "$1" "$LAB_DIR/tapvs.log"; }

# answers: a request is answered at once.
answers() { fetch --max-time 1 "http://$AT_VIP/"; }

# in_host CMD...: on the director's host.
in_host() { in_ns director ip "$@"; }

test_links_that_take_less_are_followed() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    serving "$AT_RS1:80,nat"
    download 16
    in_host link set tap0 mtu 1000
    wait_for 3 "the change to be said" said 'MTU was changed from 1500 to 1000'
    expect_match "$(in_ns director "$TAPVS" status)" 'mtu 1000' "status"
    TRANSFER_SECONDS=20 download 16
    in_host link set tap0 mtu 1500
    wait_for 3 "the change back to be said" said 'MTU was changed from 1000 to 1500'
    # A worker that is started anew is given the present size.
    in_host link set tap0 mtu 1400
    wait_for 3 "the third change" said 'from 1500 to 1400'
    kill -KILL "$(worker)"
    wait_for 10 "another worker" said 'another is started'
    wait_for 10 "the service of the new worker" answers
    expect_match "$(in_ns director "$TAPVS" status)" 'mtu 1400' "status of the new worker"
}

test_links_without_their_bridge_come_back() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    serving "$AT_RS1:80,nat"
    answers >/dev/null || die "no answer before anything happened"

    in_host link set tap0 nomaster
    wait_for 5 "it to be put back" said 'put back on br0'
    wait_for 5 "the service" answers
    # Whoever takes it off twice means it.
    in_host link set tap0 nomaster
    wait_for 5 "the cure" said 'put it back: ip link set tap0 master br0'
    in_host link set tap0 master br0
    wait_for 5 "the service" answers

    in_host link set tap0 down
    wait_for 5 "the cure" said 'take it up: ip link set tap0 up'
    in_host link set tap0 up
    wait_for 5 "the service" answers
    in_host link set br0 down
    wait_for 5 "the cure" said 'take it up: ip link set br0 up'
    in_host link set br0 up
    wait_for 5 "the service" answers

    in_host link delete br0
    wait_for 5 "the loss to be said" said 'bridge br0 is gone'
    in_host link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0
    in_host link set br0 up
    local role
    for role in client rs1 rs2 rs3; do
        in_host link set "to-$role" master br0
    done
    wait_for 5 "the service on the new bridge" answers
    # The bridge is another one, so its state is not that of the start.
    quietly in_host link set tap0 nomaster
    bridge_state | sed '/tap0/,+3d' >"$LAB_DIR/bridge.before"
    local pid=$DIRECTOR
    DIRECTOR=
    end_process "$pid" "$(start_time "$pid")"
    check_ledger
}

reaches_tun() { [[ $(in_host route get "$VIP") == *tun0* ]]; }

# shellcheck disable=SC2034  # director_start reads director_args
test_links_without_a_bridge_have_their_routes_again() {
    local VIP=10.99.0.1
    AT_VIP=$VIP
    topo_onearm
    bridge_state >"$LAB_DIR/bridge.before"
    director_args=(run --tun tun0 --address 203.0.113.2/32 --service "tcp/$VIP:80" --server "$RS1:80,nat")
    director_start
    wait_for 5 "the route to the VIP" reaches_tun
    in_host link set tun0 down
    wait_for 5 "the cure" said 'take it up: ip link set tun0 up'
    in_host link set tun0 up
    wait_for 5 "the route to be there again" reaches_tun
}

# families: 4 6
test_links_and_a_host_with_the_same_address_are_warned_of() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    bridge_state >"$LAB_DIR/bridge.alone"
    in_host address add "$VIP/$HOST_BITS" dev br0
    serving "$AT_RS1:80,nat"
    cp "$LAB_DIR/bridge.alone" "$LAB_DIR/bridge.before"
    wait_for 5 "the cure, at the start" said "ip address del $VIP/$HOST_BITS dev br0"
    in_host address del "$VIP/$HOST_BITS" dev br0
    wait_for 5 "the end of it" said "$VIP is this director's alone now"
    wait_for 5 "the service" answers
    in_host address add "$VIP/$HOST_BITS" dev lo
    wait_for 5 "the cure, while it runs" said "ip address del $VIP/$HOST_BITS dev lo"
    # There it may stay, once the host is silent about it.
    in_ns director sysctl -qw net.ipv4.conf.all.arp_ignore=1
    for _ in 1 2 3; do
        in_ns client ip neighbour flush all
        wait_for 5 "the service whose address is on lo as well" answers
    done
    in_ns director sysctl -qw net.ipv4.conf.all.arp_ignore=0
    in_host address del "$VIP/$HOST_BITS" dev lo
    in_host address add "$NOBODY/$HOST_BITS" dev lo
    with_ipvsadm
    lb -A -t "$AT_NOBODY:81" -s rr
    wait_for 5 "the cure, for a new service" said "ip address del $NOBODY/$HOST_BITS dev lo"
    in_host address del "$NOBODY/$HOST_BITS" dev lo
}

# two_armed_with SETTINGS: a director between clients and servers, with these keys on the clients' link.
two_armed_with() {
    cat >"$LAB_DIR/tapvs.toml" <<-TOML
	[[link]]
	bridge = "br0"
	tap = "tap0"
	address = "$DIP/$NET_BITS"
	[[link]]
	bridge = "br1"
	tap = "tap1"
	address = "$CLIENT_SIDE_DIP/$NET_BITS"
	$1
	[[service]]
	tcp = "$AT_VIP:80"
	scheduler = "rr"
	[[service.server]]
	address = "$AT_RS1:80"
	method = "nat"
	TOML
    director_from_file
}

# at_client ROLE [WORDS...]: what a web server at the client says to ROLE.
at_client() { in_ns "$1" curl --silent --max-time 5 "${@:2}" "http://$(bracketed "$CLIENT"):8080/"; }

# families: 4 6
test_links_of_clients_reach_services_and_no_other_port() {
    topo_twoarm
    serve client rs1
    two_armed_with 'forward = "from-servers"'
    answers >/dev/null || die "the service does not answer"
    ! fetch --max-time 1 "http://$AT_RS1:8080/" >/dev/null 2>&1 || die "a client reaches a port of a server that is no service"
    expect_eq "$(at_client rs1)" client "a server's own request"
    expect_sources "$RS1" client
    ! at_client rs2 >/dev/null || die "a host that is no server was answered"
    in_ns rs1 ping -c 2 -i 0.2 -W 2 "$CLIENT" >/dev/null || die "a server's echo was not answered"
    expect_match "$(in_ns director "$TAPVS" status)" 'dropped.not-forwarded +[1-9]' "status"
}

# families: 4 6
test_links_masquerade_what_servers_open() {
    topo_twoarm
    serve client rs1
    # The outside knows no way to the servers.
    in_ns client ip route del "$(link_net)"
    two_armed_with 'masquerade = true'
    answers >/dev/null || die "the service does not answer"
    local role
    for role in rs1 rs2; do
        expect_eq "$(at_client "$role")" client "a request of $role"
        in_ns "$role" ping -c 3 -i 0.2 -W 2 "$CLIENT" >/dev/null || die "an echo of $role was not answered"
    done
    expect_sources "$CLIENT_SIDE_DIP" client
    # A whole file, so that superframes come both ways.
    local file
    file=$(payload 16)
    in_ns rs1 curl --silent --max-time 30 "http://$(bracketed "$CLIENT"):8080/files/${file##*/}" | cmp - "$file" ||
        die "a download from outside differs"
    # The outside says that nothing listens there: the server hears it at once.
    in_ns rs1 python3 -c '
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
udp = socket.socket(family, socket.SOCK_DGRAM)
udp.settimeout(5)
udp.connect((sys.argv[1], 9))
udp.send(b"?")
try:
    udp.recv(1)
except ConnectionRefusedError:
    sys.exit(0)
sys.exit("not told")' "$CLIENT" || die "an error about a masqueraded packet did not reach the server"
}

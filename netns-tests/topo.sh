# shellcheck shell=bash
# shellcheck disable=SC2034  # addresses are read by the tests
# The topologies: one picture and one function each. Addresses mean roles: clients 192.0.2.x (or .9 on the link),
# virtual services 10.0.0.100+ on the link and 198.51.100.x off it, real servers 10.0.0.21+, local addresses 10.0.0.30+.

# Of IPv6 the same roles: 2001:db8::/64 is the link, 2001:db8:c::/64 the client behind a router, 2001:db8:51::/64 far VIPs.
# AT_X is X as it stands before a port.

# addresses_of FAMILY: sets every role's address.
addresses_of() {
    if [[ $1 == 6 ]]; then
        LINK=2001:db8:: BEYOND=2001:db8:c:: ANYWHERE=::
        FAR_VIP=2001:db8:51::1 FAR_NET=2001:db8:51::/64 NET_BITS=64 HOST_BITS=128
    else
        LINK=10.0.0. BEYOND=192.0.2. ANYWHERE=0.0.0.0
        FAR_VIP=198.51.100.1 FAR_NET=198.51.100.0/24 NET_BITS=24 HOST_BITS=32
    fi
    VIP=${LINK}100       # on the director's own prefix
    DIP=${LINK}2         # the director's address: tapvs, the far end of the TAP
    HOST_IP=${LINK}3     # the director's host, on the bridge itself
    ROUTER_IP=${LINK}1
    RS1=${LINK}21 RS2=${LINK}22 RS3=${LINK}23
    LIP1=${LINK}30 LIP2=${LINK}31
    NOBODY=${LINK}29     # an address of the link that nobody answers for
    local name
    for name in VIP FAR_VIP RS1 RS2 RS3 HOST_IP LIP1 NOBODY; do
        printf -v "AT_$name" %s "$(bracketed "${!name}")"
    done
}

bracketed() { if [[ $1 == *:* ]]; then echo "[$1]"; else echo "$1"; fi; }

# family_words: what packet filters call the errors, and where sysctl has the family.
family_words() {
    if [[ $FAMILY == 6 ]]; then
        IS_UNREACHABLE="icmp6 and ip6[40] == 1" IS_TOO_BIG="icmp6 and ip6[40] == 2" SYS=ipv6
        IS_IPIP="ip6[6] == 41" IS_RESET="ip6[6] == 6 and ip6[53] & 4 != 0" IS_PORT_UNREACHABLE="icmp6 and ip6[40] == 1 and ip6[41] == 4"
        IS_FENCE="icmp6 and ip6[40] == 128 and ip6[4:2] == 45"
        return
    fi
    IS_UNREACHABLE="icmp[icmptype] == icmp-unreach" IS_TOO_BIG="icmp[icmptype] == icmp-unreach and icmp[icmpcode] == 4" SYS=ipv4
    IS_IPIP="ip proto 4" IS_RESET="tcp[tcpflags] & tcp-rst != 0" IS_PORT_UNREACHABLE="icmp[icmptype] == icmp-unreach and icmp[icmpcode] == 3"
    IS_FENCE="icmp[icmptype] == icmp-echo and ip[2:2] == 65"
}

FAMILY=${FAMILY:-4}
addresses_of "$FAMILY"
family_words

# Everything on one link, the client too.
#
#      client            director namespace                     rs1         rs2         rs3
#    10.0.0.9    br0 10.0.0.3     tapvs 10.0.0.2, VIP .100    10.0.0.21   10.0.0.22   10.0.0.23
#       |             |                | tap0                    |           |           |
#       +-------------+------ br0 -----+-------------------------+-----------+-----------+      10.0.0.0/24
#
topo_onearm() {
    CLIENT=${LINK}9
    director_host
    on_the_bridge client "$CLIENT"
    real_servers
    lab_captures client rs1 rs2 rs3
}

# The client lives behind a router; FAR_VIP is routed to the director.
#
#      client          router                  director namespace                 rs1 .. rs3
#   192.0.2.10   192.0.2.1 | 10.0.0.1    br0 10.0.0.3    tapvs 10.0.0.2, VIPs    10.0.0.21 .. 23
#       |             |         |             |              | tap0                   |
#       +-------------+         +-------------+---- br0 -----+------------------------+         10.0.0.0/24
#      192.0.2.0/24        198.51.100.0/24 via 10.0.0.2 (tapvs)
#
topo_router() {
    CLIENT=${BEYOND}10
    director_host
    on_the_bridge router "$ROUTER_IP"
    beyond client router "$CLIENT"
    forwards router
    in_ns router ip route add "$FAR_NET" via "$DIP"
    real_servers
    local role
    for role in rs1 rs2 rs3 director; do
        in_ns "$role" ip route add default via "$ROUTER_IP"
    done
    lab_captures client rs1 rs2 rs3
}

# Clients on one bridge, real servers on another; tapvs is the only way between them.
#
#      client                  director namespace                        rs1 .. rs3
#   192.0.2.10     br1    tap1 192.0.2.2 tapvs 10.0.0.2 tap0    br0    10.0.0.21 .. 23
#       |           |      |   VIP 192.0.2.100            |      |         |
#       +-----------+------+                              +------+---------+
#
topo_twoarm() {
    CLIENT=${BEYOND}10
    clients_side
    director_host
    in_ns director ip link add br1 type bridge forward_delay 0 stp_state 0 mcast_snooping 0
    in_ns director ip link set br1 up
    on_the_bridge client "$CLIENT" br1
    real_servers
    replies_through_director rs1 rs2 rs3
    in_ns client ip route add "$(link_net)" via "$CLIENT_SIDE_DIP"
    lab_captures client rs1 rs2 rs3
}

# link_net: the net of the real servers.
link_net() { if [[ $LINK == *: ]]; then echo "$LINK/64"; else echo "${LINK}0/24"; fi; }

# clients_side: the VIP and an address of the director are in the clients' net.
clients_side() {
    VIP=${BEYOND}100 CLIENT_SIDE_DIP=${BEYOND}2
    AT_VIP=$(bracketed "$VIP")
}

# replies_through_director ROLE...: what NAT needs of a real server: its way back to the client leads through tapvs,
# a client on the same link included.
replies_through_director() {
    local role
    for role; do
        if [[ $CLIENT == "$LINK"* ]]; then
            in_ns "$role" ip route replace "$CLIENT/$HOST_BITS" via "$DIP"
            continue
        fi
        in_ns "$role" ip route replace default via "$DIP"
    done
}

# replies_directly ROLE...: the opposite, for DR and tunnels.
replies_directly() {
    local role
    for role; do
        in_ns "$role" ip route flush "$CLIENT/$HOST_BITS"
    done
}

# forwards ROLE: makes a router of it, one that does not redirect.
forwards() {
    if [[ $FAMILY == 6 ]]; then
        in_ns "$1" sysctl -qw net.ipv6.conf.all.forwarding=1
        return
    fi
    in_ns "$1" sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0
}

# ---- parts -----------------------------------------------------------------------------------------------------

director_host() {
    ns_add director
    in_ns director ip -batch - <<-BRIDGE
	link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0
	address add $HOST_IP/$NET_BITS dev br0
	link set br0 up
	BRIDGE
    # Absent where br_netfilter is.
    [[ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ]] ||
        in_ns director sysctl -qw net.bridge.bridge-nf-call-{iptables,ip6tables,arptables}=0
}

# on_the_bridge ROLE ADDRESS [BRIDGE [SYSCTL...]]: a namespace with eth0 on the director's bridge.
on_the_bridge() {
    local role=$1 address=$2 bridge=${3:-br0}
    ns_add "$role" "net.$SYS.conf."{all,default}.accept_redirects=0 "${@:4}"
    in_ns director ip link add "to-$role" up master "$bridge" type veth peer name eth0 netns "$(ns "$role")"
    in_ns "$role" ip -batch - <<-DEVICE
	address add $address/$NET_BITS dev eth0
	link set eth0 up
	DEVICE
}

# beyond ROLE ROUTER ADDRESS: a namespace whose way to all others is ROUTER, which is there already.
beyond() {
    local role=$1 router=$2 address=$3
    ns_add "$role"
    ip link add eth0 netns "$(ns "$role")" type veth peer name eth1 netns "$(ns "$router")"
    in_ns "$role" ip address add "$address/$NET_BITS" dev eth0
    in_ns "$role" ip link set eth0 up
    in_ns "$router" ip address add "${BEYOND}1/$NET_BITS" dev eth1
    in_ns "$router" ip link set eth1 up
    in_ns "$role" ip route add default via "${BEYOND}1"
}

# topo_pair [BRIDGE-OPTION...]: topo_onearm with a second host for a director: `other`, whose br0 is ${LINK}6. Replies of
# rs1 and rs2, which serve, go by $DIP.
topo_pair() {
    topo_onearm
    host_with_bridge other "${LINK}6" "$@"
    replies_through_director rs1 rs2
    serve rs1 rs2
}

# host_with_bridge ROLE ADDRESS [BRIDGE-OPTION...]: another host for a director, with a bridge of its own.
host_with_bridge() {
    local role=$1 address=$2
    shift 2
    on_the_bridge "$role" "$address"
    in_ns "$role" ip link add br0 type bridge forward_delay 0 stp_state 0 "$@"
    in_ns "$role" ip address flush dev eth0
    in_ns "$role" ip address add "$address/$NET_BITS" dev br0
    in_ns "$role" ip link set eth0 master br0
    in_ns "$role" ip link set br0 up
}

real_servers() {
    # Strict, as distributions ship it: what DR and tunnels need beyond it is `tapvs realserver`'s to set.
    local strict=(net.ipv4.conf.{all,default}.rp_filter=1)
    on_the_bridge rs1 "$RS1" br0 "${strict[@]}"
    on_the_bridge rs2 "$RS2" br0 "${strict[@]}"
    on_the_bridge rs3 "$RS3" br0 "${strict[@]}"
}

# lab_captures ROLE...: every interface of the director, eth0 of the others.
lab_captures() {
    [[ ${LAB_CAPTURES:-on} == on ]] || return 0
    local role
    capture_start director director any
    for role; do
        capture_start "$role" "$role" eth0
    done
    captures_ready
}

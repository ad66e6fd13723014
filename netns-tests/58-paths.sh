# shellcheck shell=bash
# Paths narrower than Ethernet, and datagrams larger: path MTU discovery and fragments through each method.

# ---- path MTU --------------------------------------------------------------------------------------------------

# What a narrow path takes: IPv6 inside IPv6 needs 1280 and 40 more.
NARROW=$([[ $FAMILY == 4 ]] && echo 1300 || echo 1400)

# far_server METHOD OPTIONS...: the client on the director's link, rs1 moved behind the router, whose way to it takes
# $NARROW bytes; nobody but the router knows.
far_server() {
    local method=$1
    shift
    topo_router
    # Roles change places: the namespace behind the router serves, rs3 asks.
    FAR=$CLIENT CLIENT=$RS3
    in_ns router ip link set eth1 mtu "$NARROW"
    if [[ $method == nat ]]; then
        # Its way back leads through the director.
        in_ns router ip route add "$CLIENT/$HOST_BITS" via "$DIP"
    fi
    far_web_server
    # The director's gateway leads to the far server.
    director_args=(run --bridge br0 --address "$DIP/$NET_BITS" --tap tap0 --gateway "$ROUTER_IP")
    bridge_state >"$LAB_DIR/bridge.before"
    director_args+=(--service "tcp/$AT_VIP:80" --scheduler rr --server "$(bracketed "$FAR"),$method" "$@")
    director_start
}

# far_web_server: nginx in the client's namespace, which stands for a server far away.
far_web_server() {
    local dir=$SCRATCH/nginx-client
    mkdir -p "$dir/put" "$dir/tmp"
    : >"$LAB_DIR/nginx-client.access"
    nginx_config client "$dir" >"$dir/nginx.conf"
    spawn nginx-client client nginx -p "$dir" -c "$dir/nginx.conf" -e "$LAB_DIR/nginx-client.log"
    wait_for 10 "nginx far away" listens client tcp 8080
}

# upload_to_far MIB: from rs3, compared with what the far server stored.
upload_to_far() {
    local file
    file=$(payload "$1")
    in_ns rs3 curl --silent --show-error --max-time 20 --upload-file "$file" "http://$AT_VIP/put/upload" ||
        die "the upload over the narrow path failed"
    cmp "$SCRATCH/nginx-client/put/upload" "$file" || die "the upload over the narrow path differs"
}

# families: 4 6
test_paths_narrow_to_the_server_by_nat() {
    far_server nat
    upload_to_far 8
    expect_seen rs3 "$IS_TOO_BIG" "the news of the narrow path at the client"
}

# families: 4 6
test_paths_narrow_to_the_server_by_fullnat() {
    far_server fullnat --local-address "$LIP1"
    upload_to_far 8
    expect_seen rs3 "$IS_TOO_BIG" "the news of the narrow path at the client"
}

# families: 4 6
test_paths_narrow_to_the_server_by_tunnel() {
    far_server tunnel
    realserver client --tunnel
    upload_to_far 8
    expect_seen rs3 "$IS_TOO_BIG" "the news of the narrow path at the client"
}

# narrow_to_client METHOD: the client behind a router whose way to it takes $NARROW bytes; downloads meet it.
narrow_to_client() {
    topo_router
    in_ns router ip link set eth1 mtu "$NARROW"
    serve rs1
    case $1 in
        fullnat) serving "$AT_RS1:80,fullnat" ;;
        tunnel)
            realserver rs1 --tunnel
            serving "$AT_RS1,tunnel"
            ;;
    esac
    download 8
}

# families: 4 6
test_paths_narrow_to_the_client_by_fullnat() {
    narrow_to_client fullnat
    expect_seen rs1 "$IS_TOO_BIG and dst host $RS1" "the news at the real server"
}

# The replies do not cross the director, and neither does the news: it goes to the VIP, which the client's router sends
# to the director, which brings it to the real server inside the tunnel.
# families: 4 6
test_paths_narrow_to_the_client_by_tunnel() {
    narrow_to_client tunnel
    local inside="ip proto 4 and ip[29] == 1"
    [[ $FAMILY == 4 ]] || inside="ip6[6] == 41 and ip6[46] == 58 and ip6[80] == 2"
    expect_seen rs1 "$inside" "the news inside the tunnel"
}

# ---- fragments -------------------------------------------------------------------------------------------------

# echo_server ROLE...: sends every UDP datagram to port 7777 back to where it came from.
echo_server() {
    local role
    cat >"$LAB_DIR/echo.py" <<'PYTHON'
import socket, sys
# The answer must come from the address that was asked: a VIP on lo, in direct routing. So: IP_PKTINFO, IPV6_RECVPKTINFO.
six = ":" in sys.argv[1]
family, level, ask, info = (socket.AF_INET6, 41, 49, 50) if six else (socket.AF_INET, 0, 8, 8)
server = socket.socket(family, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 7777))
server.setsockopt(level, ask, 1)
while True:
    data, ancillary, _, peer = server.recvmsg(65535, 128)
    about = next(value for _, kind, value in ancillary if kind == info)
    about = about[:16] + bytes(4) if six else bytes(4) + about[4:8] * 2
    server.sendmsg([data], [(level, info, about)], 0, peer)
PYTHON
    for role; do
        spawn "echo-$role" "$role" python3 "$LAB_DIR/echo.py" "$ANYWHERE"
    done
    for role; do
        wait_for 10 "the echo server in $role" listens "$role" udp 7777
    done
}

# echoes COUNT SIZE: datagrams of that size, each from a socket of its own; all must come back as they went.
echoes() {
    in_ns client python3 - "$VIP" "$1" "$2" <<'PYTHON' || die "echoes of $2 bytes"
import errno, os, socket, sys
vip, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(count):
    probe = socket.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET, socket.SOCK_DGRAM)
    probe.settimeout(3)
    probe.connect((vip, 7777))
    data = os.urandom(size)
    probe.send(data)
    try:
        answer = probe.recv(65535)
    except OSError as error:
        # An IPv6 sender cuts its datagrams itself, and learns with the first one how small: less fits into a tunnel.
        if error.errno != errno.EMSGSIZE or number > 0:
            raise
        probe.send(data)
        answer = probe.recv(65535)
    assert answer == data, f"datagram {number}: {len(answer)} bytes of {size}, or other ones"
PYTHON
}

# fragments_last_first ADDRESS: one datagram of 3000 bytes in three pieces, sent last first; its echo is awaited.
fragments_last_first() {
    in_ns client python3 - "$CLIENT" "$1" <<'PYTHON'
import os, socket, struct, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
src, dst = (socket.inet_pton(family, word) for word in sys.argv[1:3])
data = os.urandom(3000)
answers = socket.socket(family, socket.SOCK_DGRAM)
answers.bind((sys.argv[1], 4567))
answers.settimeout(3)
datagram = struct.pack("!HHHH", 4567, 7777, len(data) + 8, 0) + data
if family == socket.AF_INET6:
    # Without a checksum it would be nobody's.
    words = src + dst + struct.pack("!II", len(datagram), 17) + datagram
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    datagram = datagram[:6] + struct.pack("!H", ~total & 0xffff or 0xffff) + data
raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
pieces = [(at, datagram[at:at + 1400]) for at in range(0, len(datagram), 1400)]
for at, piece in reversed(pieces):
    more = at + len(piece) < len(datagram)
    if family == socket.AF_INET6:
        header = struct.pack("!IHBB16s16s", 6 << 28, 8 + len(piece), 44, 64, src, dst) + struct.pack("!BBHI", 17, 0, at | more, 777)
    else:
        field = more << 13 | at // 8
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(piece), 777, field, 64, 17, 0, src, dst)
    raw.sendto(header + piece, (sys.argv[2], 0))
assert answers.recv(65535) == data, "another answer"
PYTHON
}

# fragments_by METHOD: real servers 1 and 2 by that method; datagrams in two pieces, in six and in 44, and one backwards.
fragments_by() {
    topo_onearm
    echo_server rs1 rs2
    case $1 in
        nat) replies_through_director rs1 rs2 ;;
        direct) realserver rs1 && realserver rs2 ;;
        tunnel) realserver rs1 --tunnel && realserver rs2 --tunnel ;;
    esac
    director --service "udp/$AT_VIP:7777" --scheduler rr --server "$AT_RS1,$1" --server "$AT_RS2,$1"
    echoes 40 2000
    echoes 40 8000
    echoes 4 60000
    fragments_last_first "$VIP" || die "a datagram whose last fragment came first"
}

# families: 4 6
test_fragments_by_nat() {
    fragments_by nat
    local is_fragment="ip[6:2] & 0x3fff != 0"
    [[ $FAMILY == 4 ]] || is_fragment="ip6[6] == 44"
    expect_seen rs1 "$is_fragment and dst host $RS1" "fragments at the real server"
}

# families: 4 6
test_fragments_by_fullnat() { fragments_by fullnat; }

# families: 4 6
test_fragments_by_direct_routing() { fragments_by direct; }

# families: 4 6
test_fragments_by_tunnel() { fragments_by tunnel; }

# shellcheck shell=bash
# Many directors: three behind a router that spreads conns over them (ECMP, by BIRD and BGP), and several that a name server
# deals to clients.
#
#      client         router, BIRD                    d1 d2 d3: br0 10.0.0.51 ..., BIRD, tapvs 10.0.0.11 ...    rs1 rs2 rs3
#   192.0.2.10   192.0.2.1 | 10.0.0.1                    |                                                        |
#       |            |           |                       |                                                        |
#       +------------+           +-----------------------+------- br0 of `director`, here a switch ---------------+
#                             198.51.100.1 via 10.0.0.11, .12, .13         rs2 by a tunnel; answers go to the router

DOCS=$(cd "$(dirname "${BASH_SOURCE[0]}")/../docs" && pwd)

# topo_cluster: the router and the servers; d1 to d3 are hosts without a director.
topo_cluster() {
    scripts/need bird birdc
    topo_router
    in_ns router ip route del "$FAR_NET"
    in_ns router sysctl -qw "net.$SYS.fib_multipath_hash_policy=1"
    # Over a veth the router takes the hash that the client's own kernel has given the conn. That one changes when a segment is
    # sent again, which is no thing of a router on a wire.
    in_ns client sysctl -qw net.core.txrehash=0
    local number
    for number in 1 2 3; do
        a_host "d$number" "${LINK}5$number"
    done
    realserver rs1 "$FAR_VIP"
    realserver rs2 "$FAR_VIP" --tunnel
    realserver rs3 "$FAR_VIP"
    serve rs1 rs2 rs3
    bird_of router "$DOCS/bird-router.conf"
}

# a_host ROLE ADDRESS: a host whose br0 has the address and is on the link.
a_host() {
    on_the_bridge "$1" "$2"
    in_ns "$1" ip link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0
    in_ns "$1" ip address flush dev eth0
    in_ns "$1" ip address add "$2/$NET_BITS" dev br0
    in_ns "$1" ip link set eth0 master br0
    in_ns "$1" ip link set br0 up
}

# bird_of ROLE FILE [SED-SCRIPT]: BIRD there, by a configuration of docs. Here it has some times as long to say that it lives:
# others keep the machine busy.
bird_of() {
    local other_words=""
    [[ $FAMILY == 4 ]] || other_words="s/ipv4/ipv6/; s/tapvs4/tapvs6/; s|local 10.0.0.1 |local $ROUTER_IP |; s|neighbor 10.0.0.1 |neighbor $ROUTER_IP |; s|10.0.0.0/24|$(link_net)|"
    sed "s/hold time 3/hold time 20/; s/multiplier 5/multiplier 20/; ${3:-}; $other_words; s|198.51.100.0/24{32,32}|$FAR_NET{$HOST_BITS,$HOST_BITS}|" \
        "$2" >"$LAB_DIR/bird-$1.conf"
    spawn "bird-$1" "$1" bird -f -c "$LAB_DIR/bird-$1.conf" -s "$LAB_DIR/bird-$1.ctl" -P "$LAB_DIR/bird-$1.pid"
    wait_for 10 "BIRD in $1" birdc -s "$LAB_DIR/bird-$1.ctl" show status
}

# cluster_director NUMBER SCHEDULER [LINE...]: one of the directors, with settings; the same services on each.
cluster_director() {
    {
        printf 'gateway = "%s"\n' "$ROUTER_IP"
        printf '[[link]]\nbridge = "br0"\ntap = "tap0"\naddress = "%s/%s"\n' "${LINK}1$1" "$NET_BITS"
        printf '[settings]\nunknown = "adopt"\n'
        printf '%s\n' "${@:3}"
        printf '[[service]]\ntcp = "%s:80"\nscheduler = "%s"\n' "$AT_FAR_VIP" "$2"
        [[ $2 != mh ]] || printf 'flags = ["mh-port", "mh-fallback"]\n'
        printf 'check = { kind = "tcp", interval = "1s" }\n'
        printf '[[service.server]]\naddress = "%s"\nmethod = "%s"\n' "$AT_RS1" direct "$AT_RS2" tunnel "$AT_RS3" direct
    } >"$LAB_DIR/d$1.toml"
    director_of_host "d$1"
}

# announced NUMBER: BIRD beside the director, and what tells it of addresses; until the router has its route.
announced() {
    local role=d$1
    spawn "announce-$role" "$role" env TAPVS_SOCKET="$LAB_DIR/$role.sock" "$TAPVS" announce --watch --bird "$LAB_DIR/announce-$role.conf" \
        -- birdc -s "$LAB_DIR/bird-$role.ctl" configure
    echo "$SPAWNED" >"$LAB_DIR/announce-$role.pid"
    wait_for 10 "the file for BIRD" test -s "$LAB_DIR/announce-$role.conf"
    bird_of "$role" "$DOCS/bird-director.conf" "s/10.0.0.51/10.0.0.5$1/; s|/run/tapvs/announce.conf|$LAB_DIR/announce-$role.conf|"
    wait_for 20 "the route to $role" has_route "$1"
}

has_route() { in_ns router ip "-$FAMILY" route show "$FAR_VIP" | grep -qF "via ${LINK}1$1 "; }

lacks_route() { ! has_route "$1"; }

# HOST COUNT FIRST-PORT DIRECTORY: so many conns that stay open, each from a port of its own. Each time that a file
# DIRECTORY/ask.N appears, N from 1 on, a request is made on each; DIRECTORY/said.N has a line `PORT ANSWER` for each, where
# one that has broken has the error for an answer.
CONNS='
import os, socket, sys, time
host, count, first, directory = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
conns, said, asked = {}, {}, 1

def ask(conn):
    conn.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b""
    while not answer.endswith(b"\n") or b"\r\n\r\n" not in answer:
        part = conn.recv(4096)
        if not part:
            return "closed"
        answer += part
    return answer.split()[-1].decode()

for port in range(first, first + count):
    conns[port] = socket.create_connection((host, 80), 30, ("", port))
while True:
    while not os.path.exists(f"{directory}/ask.{asked}"):
        time.sleep(0.05)
    for port, conn in list(conns.items()):
        try:
            said[port] = ask(conn)
        except OSError as error:
            said[port] = type(error).__name__
            del conns[port]
    with open(f"{directory}/said.new", "w") as out:
        out.writelines(f"{port} {answer}\n" for port, answer in said.items())
    os.rename(f"{directory}/said.new", f"{directory}/said.{asked}")
    asked += 1
'

# conns_open COUNT FIRST-PORT: that many, which have been asked once.
conns_open() {
    ASKED=0
    rm -f "$LAB_DIR"/ask.* "$LAB_DIR"/said.*
    spawn conns client python3 -c "$CONNS" "$FAR_VIP" "$1" "$2" "$LAB_DIR"
    conns_asked
    expect_eq "$(grep -c ' rs[123]$' "$LAB_DIR/said.1")" "$1" "conns with an answer"
}

# conns_asked: a request on each of them; the answers are in $LAB_DIR/said.$ASKED.
conns_asked() {
    touch "$LAB_DIR/ask.$((++ASKED))"
    wait_for 30 "answers on all conns" test -e "$LAB_DIR/said.$ASKED"
}

# changed [BEFORE]: how many have another answer than the time before, or than the time BEFORE.
changed() { diff "$LAB_DIR/said.${1:-$((ASKED - 1))}" "$LAB_DIR/said.$ASKED" | grep -c '^>' || true; }

# where NAME: keeps which ports each director knows now.
where() {
    local number
    for number in 1 2 3; do
        [[ ! -S $LAB_DIR/d$number.sock ]] || of_host "d$number" ipvsadm -Lcn | sed -nE "s/.* ESTABLISHED $(bracketed "$CLIENT" | sed 's/[][]/\\&/g'):([0-9]+) .*/\1/p" | sort >"$LAB_DIR/$1.d$number"
    done
}

# moved BEFORE AFTER ROLE...: how many conns these directors know after that they did not know before.
moved() {
    local role count=0
    for role in "${@:3}"; do
        count=$((count + $(comm -13 "$LAB_DIR/$1.$role" "$LAB_DIR/$2.$role" | wc -l)))
    done
    echo "$count"
}

# dies NUMBER: keeper and worker of that director, and nothing is left of it.
dies() {
    kill_director_of_host "d$1"
    rm -rf "$LAB_DIR/d$1".{sock,state}*
}

# families: 4 6
# limit: 90
# quiet
test_cluster_conns_go_on_at_other_directors_by_mh_alone() {
    topo_cluster
    local number share
    for number in 1 2 3; do
        cluster_director "$number" mh
        announced "$number"
    done
    conns_open 90 41000
    where first
    for number in 1 2 3; do
        expect_between 10 "$(wc -l <"$LAB_DIR/first.d$number")" 60 "conns that the router sends to d$number, of 90"
    done

    # A director dies; its routes are withdrawn at once, for BIRD beside it lives.
    dies 3
    wait_for 10 "the route to d3 to go" lacks_route 3
    conns_asked
    where without
    share=$(moved first without d1 d2)
    expect_between "$(wc -l <"$LAB_DIR/first.d3")" "$share" 65 "conns that another director has now, of 90"
    expect_eq "$(changed)" 0 "conns with another answer after d3 died, of $share that moved"
    echo "d3 died: $share of 90 conns at another director, 0 at another server"

    # It is added again, and knows no conn.
    cluster_director 3 mh
    wait_for 20 "the route to d3" has_route 3
    conns_asked
    where again
    : >"$LAB_DIR/without.d3"
    share=$(moved without again d3)
    expect_between 10 "$share" 60 "conns at the new director, of 90"
    expect_eq "$(changed)" 0 "conns with another answer after d3 was added"

    # Drained: routers send elsewhere, while it serves what still comes.
    of_host d1 set announce 0 >/dev/null
    wait_for 10 "the route to d1 to go" lacks_route 1
    conns_asked
    of_host d1 ipvsadm -Ln --rate >/dev/null || die "a drained director does not work any more"
    dies 1
    conns_asked
    expect_eq "$(changed)" 0 "conns with another answer after d1 was drained"

    # A server leaves, for new conns. Those that it has go on at the same director. At another one mh puts them elsewhere, and
    # none of those of other servers.
    for number in 2 3; do
        of_host "d$number" drain "tcp/$AT_FAR_VIP:80" "$RS3"
    done
    conns_asked
    expect_eq "$(changed)" 0 "conns with another answer after rs3 was drained"
    where drained
    # The power of the host of d2: nobody withdraws its routes, and BFD misses it long before BGP does.
    has_bfd_session 2 Up || die "no BFD session with d2: $(birdc -s "$LAB_DIR/bird-router.ctl" show bfd sessions)"
    in_ns d2 ip link set eth0 down
    wait_for 18 "the route to d2 to go before BGP's hold time" lacks_route 2
    ! has_bfd_session 2 Up || die "the route went, and not by BFD"
    conns_asked
    where alone
    share=$(moved drained alone d3)
    local broken others
    broken=$(changed)
    others=$(diff "$LAB_DIR/said.$((ASKED - 1))" "$LAB_DIR/said.$ASKED" | grep -c '^< .* rs[12]$' || true)
    echo "without rs3 and d2: of $share conns that moved $broken broke, $others of them of servers that are there"
    expect_eq "$others" 0 "conns of rs1 and rs2 that mh has put elsewhere"
    expect_between 1 "$((broken - others))" "$(grep -c ' rs3$' "$LAB_DIR/said.1")" "conns of rs3 that broke"
    expect_match "$(fetch "http://$AT_FAR_VIP/")" '^rs[12]' "a new conn"
}

# has_bfd_session NUMBER STATE: the router with the host of that director.
has_bfd_session() { birdc -s "$LAB_DIR/bird-router.ctl" show bfd sessions | grep -qE "^${LINK}5$1 .* $2 "; }

# knows_all COUNT ROLE...: these directors have so many conns as established.
knows_all() {
    local role
    for role in "${@:2}"; do
        (($(of_host "$role" ipvsadm -Lcn | grep -c " ESTABLISHED $CLIENT:") >= $1)) || return 1
    done
}

# limit: 60
# quiet
test_cluster_conns_go_on_at_other_directors_by_synchronisation() {
    topo_cluster
    local number both=('sync_threshold = "0 1"')
    both+=('[[sync]]' 'role = "master"' 'link = "tap0"' '[[sync]]' 'role = "backup"' 'link = "tap0"')
    for number in 1 2 3; do
        cluster_director "$number" rr "${both[@]}"
    done
    for number in 1 2 3; do
        announced "$number"
    done
    conns_open 60 42000
    wait_for 10 "all conns at all directors" knows_all 60 d1 d2 d3
    # For new conns there is another set of servers from now on.
    for number in 1 2 3; do
        of_host "d$number" drain "tcp/$FAR_VIP:80" "$RS3"
    done

    dies 3
    wait_for 10 "the route to d3 to go" lacks_route 3
    conns_asked
    expect_eq "$(changed)" 0 "conns with another answer after d3 died"

    # Added again, it is told of all conns before the router sends it any.
    cluster_director 3 rr "${both[@]}"
    wait_for 20 "the route to d3" has_route 3
    knows_all 60 d3 || die "the router sends to d3, which does not know all conns: $(of_host d3 sync)"
    conns_asked
    expect_eq "$(changed)" 0 "conns with another answer after d3 was added"

    of_host d1 set announce 0 >/dev/null
    wait_for 10 "the route to d1 to go" lacks_route 1
    dies 1
    in_ns d2 ip link set eth0 down
    wait_for 20 "the route to d2 to go" lacks_route 2
    conns_asked
    expect_eq "$(changed 1)" 0 "conns with another answer than at first, with d3 alone"
}

# says LINE COUNT: what tells routers of addresses has said it so often.
says() { (($(grep -c "^$1" "$LAB_DIR/exabgp.log") == $2)); }

# expect_announced CODE [ARGS...]: the exit status of tapvs announce.
expect_announced() {
    local code=0
    in_ns director "$TAPVS" announce "${@:2}" >"$LAB_DIR/announce.out" 2>&1 || code=$?
    expect_eq "$code" "$1" "exit status of tapvs announce ${*:2}: $(<"$LAB_DIR/announce.out")"
}

# router_hears ADDRESS: the route of that address has come to BIRD, with the director as its next hop.
router_hears() { birdc -s "$LAB_DIR/bird-client.ctl" show route "$1/32" | grep -q "via $DIP on eth0"; }

router_lacks() { ! birdc -s "$LAB_DIR/bird-client.ctl" show route | grep -q "^$1/32"; }

# limit: 60
# quiet
test_cluster_addresses_are_announced_while_they_are_served() {
    scripts/need bird birdc exabgp
    topo_onearm
    serve rs1 rs2
    local other=${LINK}101 address started
    # Of the director, and of all that ask it.
    export TAPVS_SOCKET=$LAB_DIR/tapvs.sock
    {
        printf '[[link]]\nbridge = "br0"\ntap = "tap0"\naddress = "%s/%s"\n' "$DIP" "$NET_BITS"
        printf '[[service]]\ntcp = "%s:80"\ncheck = { kind = "tcp", interval = "200ms" }\n' "$VIP"
        printf '[[service.server]]\naddress = "%s:8080"\nmethod = "nat"\n' "$RS1"
        printf '[[service]]\ntcp = "%s:80"\n[[service.server]]\naddress = "%s:8080"\nmethod = "nat"\n' "$other" "$RS2"
        printf '[[vrrp]]\nid = 7\naddress = "%s"\n' "$other"
    } >"$LAB_DIR/tapvs.toml"
    director_from_file
    # BIRD at the client is the router that ExaBGP tells.
    bird_of client "$DOCS/bird-router.conf" "s/10.0.0.1\b/$CLIENT/; s/198.51.100.0/10.0.0.0/"
    sed "s/10.0.0.1\b/$CLIENT/; s/10.0.0.51/$HOST_IP/; s|/usr/sbin/tapvs.*|$TAPVS announce --watch;|" "$DOCS/exabgp.conf" >"$LAB_DIR/exabgp.conf"
    spawn bgp director env exabgp.daemon.drop=false exabgp.api.cli=false exabgp.log.destination=stdout exabgp "$LAB_DIR/exabgp.conf"
    for address in "$VIP" "$other"; do
        wait_for 15 "the route to $address" router_hears "$address"
    done
    expect_announced 0
    expect_announced 0 --service "tcp/$VIP:80" --service "tcp/$other:80"

    # The same lines, to be counted.
    spawn exabgp director "$TAPVS" announce --watch
    local watch=$SPAWNED
    wait_for 10 "both addresses" says "announce route $other/32 next-hop $DIP" 1

    # A service without its quorum.
    in_ns rs1 ip link set eth0 down
    wait_for 15 "the route to go" router_lacks "$VIP"
    wait_for 5 "the line" says "withdraw route $VIP/32" 1
    expect_announced 0
    expect_announced 1 --service "tcp/$VIP:80"
    expect_match "$(<"$LAB_DIR/announce.out")" "$VIP/32 withdrawn: tcp/$VIP:80 has no quorum" "the reason"
    expect_announced 1 --service "tcp/$VIP:80" --service "tcp/$other:80"
    in_ns rs1 ip link set eth0 up
    wait_for 15 "the route to $VIP again" router_hears "$VIP"

    # The director stands by, and is drained.
    in_ns director "$TAPVS" standby on
    wait_for 10 "no route" router_lacks "$other"
    router_lacks "$VIP" || wait_for 2 "no route" router_lacks "$VIP"
    expect_announced 1
    in_ns director "$TAPVS" standby off
    wait_for 20 "the route to $other again" router_hears "$other"
    in_ns director "$TAPVS" set announce 0 >/dev/null
    wait_for 10 "no route" router_lacks "$other"
    in_ns director "$TAPVS" set announce 1 >/dev/null
    wait_for 10 "the route to $other again" router_hears "$other"

    # A virtual router that is not active.
    in_ns director "$TAPVS" vrrp failover
    wait_for 10 "no route" router_lacks "$other"
    wait_for 20 "the route to $other again" router_hears "$other"

    # A worker that is replaced is no reason; one that is stuck is.
    local before
    before=$(grep -c '^withdraw' "$LAB_DIR/exabgp.log")
    kill -KILL "$(worker)"
    wait_for 10 "the next worker" in_ns director "$TAPVS" status
    expect_announced 0
    in_ns director "$TAPVS" set announce 1 >/dev/null
    expect_eq "$(grep -c '^withdraw' "$LAB_DIR/exabgp.log")" "$before" "routes withdrawn while a worker was replaced"
    kill -STOP "$(worker)"
    wait_for 15 "no route" router_lacks "$VIP"
    kill -CONT "$(worker)"
    wait_for 15 "the route to $VIP again" router_hears "$VIP"

    # What tells routers ends, and the director.
    before=$(grep -c "^withdraw route $VIP/32" "$LAB_DIR/exabgp.log")
    started=$(start_time "$watch")
    end_process "$watch" "$started"
    expect says "withdraw route $VIP/32" $((before + 1))
    expect_announced 0 --bird "$LAB_DIR/announce.conf" -- touch "$LAB_DIR/told"
    expect_match "$(<"$LAB_DIR/announce.conf")" "route $VIP/32 via $DIP;" "routes for BIRD"
    expect test -e "$LAB_DIR/told"
    director_stop
    wait_for 10 "no route" router_lacks "$VIP"
    expect_announced 1 --bird "$LAB_DIR/announce.conf"
    expect_eq "$(grep -c route "$LAB_DIR/announce.conf")" 0 "routes for BIRD without a director"
}

# nat_director NUMBER ROLE...: a director of its own, with the virtual address ${LINK}10NUMBER and these servers by NAT.
nat_director() {
    local role address
    a_host "d$1" "${LINK}5$1"
    {
        printf '[[link]]\nbridge = "br0"\ntap = "tap0"\naddress = "%s/%s"\n' "${LINK}1$1" "$NET_BITS"
        printf '[[service]]\ntcp = "%s:80"\n' "${LINK}10$1"
        for role in "${@:2}"; do
            address=${role^^}
            printf '[[service.server]]\naddress = "%s:8080"\nmethod = "nat"\n' "${!address}"
            in_ns "$role" ip route replace "$CLIENT/32" via "${LINK}1$1"
        done
    } >"$LAB_DIR/d$1.toml"
    director_of_host "d$1"
}

# by_name COUNT: so many requests, each of which asks for the name; who answered how often.
by_name() {
    # With the resolv.conf of /etc/netns.
    ip netns exec "$(ns client)" bash -c "for ((n = 0; n < $1; n++)); do curl --silent --show-error --max-time 30 http://www.example.com/; done" |
        sort | uniq -c | awk '{ print $2 "=" $1 }' | xargs
}

# quiet
test_cluster_a_name_server_deals_directors_in_nat_to_clients() {
    topo_onearm
    serve rs1 rs2 rs3
    nat_director 1 rs1
    nat_director 2 rs2 rs3
    sed "s/192.0.2.1/${LINK}1/; s/local-ttl=.*/local-ttl=0/" "$DOCS/dnsmasq-hybrid.conf" >"$LAB_DIR/dnsmasq.conf"
    spawn dnsmasq director dnsmasq --keep-in-foreground --conf-file="$LAB_DIR/dnsmasq.conf" --no-resolv --no-hosts --user=root --pid-file=
    wait_for 10 dnsmasq listens director udp 53
    mkdir -p "/etc/netns/$(ns client)"
    defer rm -rf "/etc/netns/$(ns client)"
    echo "nameserver $HOST_IP" >"/etc/netns/$(ns client)/resolv.conf"

    local answers file curl
    answers=$(by_name 30)
    echo "of 30 requests by name: $answers"
    expect_match "$answers" "^rs1=(1[0-9]|20) rs2=[0-9]+ rs3=[0-9]+$" "who answered"

    # A director that dies takes its own conns with it, and no others; who asks anew tries the next address.
    file=$(payload 16)
    in_ns client curl --silent --show-error --max-time 60 --limit-rate 2M --local-port 40001 --output "$SCRATCH/got" \
        "http://${LINK}102/files/${file##*/}" 2>"$LAB_DIR/curl.errors" &
    curl=$!
    wait_for 10 "the download" knows_download d2
    kill_director_of_host d1
    answers=$(by_name 6)
    expect_match "$answers" "^(rs2=[0-9]+ rs3=[0-9]+|rs[23]=6)$" "who answered without d1"
    expect_eq "$(tr ' ' '\n' <<<"$answers" | awk -F= '{ sum += $2 } END { print sum }')" 6 "requests answered without d1"
    wait "$curl" || die "the download broke: $(cat "$LAB_DIR/curl.errors")"
    cmp "$file" "$SCRATCH/got" || die "the download differs"
}

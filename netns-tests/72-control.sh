# shellcheck shell=bash
# A running director, told what to do by ipvsadm: changes under load, ldirectord, the kernel's own test, hostile clients.

# served SERVER...: a service of these by NAT on the VIP.
served() {
    local server
    lb -A -t "$VIP:80" -s rr
    for server; do
        lb -a -t "$VIP:80" -r "$server" -m
    done
}

# a_socket: the director's control socket.
a_socket() { sed -n 's/.*control socket //p' "$LAB_DIR/tapvs.log"; }

# ---- changes under load ----------------------------------------------------------------------------------------

# limit: 60
# alone
test_changes_under_load_lose_nothing() {
    topo_onearm
    replies_through_director rs1 rs2 rs3
    serve rs1 rs2 rs3
    director
    with_ipvsadm
    served "$RS1:8080" "$RS2:8080"
    local before began=$SECONDS
    before=$(lb -Sn)
    slow_downloads 6 24
    spawn changes director env PATH="$LAB_DIR/bin:$PATH" bash -eu -c "$CHANGES" changes "$VIP" "$RS3:8080" 60 "$LAB_DIR"
    local changes=$SPAWNED started rounds=0
    started=$(start_time "$changes")

    while process_is "$changes" "$started"; do
        requests 400 "http://$VIP/"
        ((++rounds))
    done

    wait "$changes" || die "a change was refused: $(tail -n 3 "$LAB_DIR/changes.log")"
    ((rounds > 1)) || die "changes were made in $((SECONDS - began)) s, while there was hardly any load"
    expect_eq "$(lb -Sn)" "$before" "the rules after all changes were undone"
    expect_match "$(answered rs3)" "^[1-9]" "requests answered by the server that came and went"
    downloads_are_right
}

# What an operator's script does, over and over: a server comes, changes its weight, is quiesced, is empty, and goes; a
# whole service comes and goes.
# shellcheck disable=SC2016  # another shell's
CHANGES='
vip=$1 server=$2 rounds=$3 dir=$4
is_empty() { ipvsadm -Ln -t "$vip:80" | grep "> $server " | grep -qE " 0      0          [0-9]+ *$"; }
for ((round = 0; round < rounds; round++)); do
    ipvsadm -a -t "$vip:80" -r "$server" -m -w 1
    ipvsadm -e -t "$vip:80" -r "$server" -m -w $((1 + round % 5)) -x 1000
    ipvsadm -E -t "$vip:80" -s $( ((round % 2)) && echo wrr || echo rr)
    ipvsadm -A -t "$vip:$((2000 + round))" -s wlc -p 60
    ipvsadm -a -t "$vip:$((2000 + round))" -r "$server" -g -w 3
    ipvsadm -A -f $((1 + round)) -s sh
    ipvsadm -Z -t "$vip:80"
    ipvsadm -D -t "$vip:$((2000 + round))"
    ipvsadm -D -f $((1 + round))
    ipvsadm -e -t "$vip:80" -r "$server" -m -w 0
    until is_empty; do :; done
    ipvsadm -d -t "$vip:80" -r "$server"
done
ipvsadm -E -t "$vip:80" -s rr'

# slow_downloads COUNT MIB: that many of the client, a few seconds each, in the background; all have begun.
slow_downloads() {
    local file number
    file=$(payload "$2")
    for ((number = 0; number < $1; number++)); do
        spawn "slow-$number" client curl --silent --show-error --max-time 50 --limit-rate 6M \
            --output "$SCRATCH/slow-$number" "http://$VIP/files/${file##*/}"
        SLOW+=("$SPAWNED")
        wait_for 5 "a download to begin" test -s "$SCRATCH/slow-$number"
    done
    SLOW_FILE=$file
}
SLOW=() SLOW_FILE=

downloads_are_right() {
    local number
    for number in "${!SLOW[@]}"; do
        wait "${SLOW[number]}" || die "download $number: $(tail -n 1 "$LAB_DIR/slow-$number.log")"
        cmp "$SCRATCH/slow-$number" "$SLOW_FILE" || die "download $number differs"
    done
}

# ---- ldirectord ------------------------------------------------------------------------------------------------

test_ldirectord_takes_servers_out_and_back() {
    scripts/need ldirectord
    topo_onearm
    replies_through_director rs1 rs2
    serve rs1 rs2
    local rs2_server=$SPAWNED
    director
    with_ipvsadm
    ldirectord_for no wlc "$RS1:8080 masq 3" "$RS2:8080 masq"
    wait_for 10 "the first server in the list" lists "$RS1:8080 +Masq +3 "
    wait_for 10 "the second server in the list" lists "$RS2:8080 +Masq +1 "
    # With its first checks ldirectord takes servers out and adds them again.
    wait_for 10 "an answer" fetch "http://$VIP/"

    end_process "$rs2_server" "$(start_time "$rs2_server")"
    wait_for 10 "the dead server to be taken out" lacks_server "$RS2"
    requests 50 "http://$VIP/"
    serve rs2
    wait_for 10 "the server that is back in the list" lists "$RS2:8080 +Masq +1 "

    requests 50 "http://$VIP/"
    wait_for 3 "requests at the server that is back" grep -q "^$CLIENT " "$LAB_DIR/nginx-rs2.access"
}

# The recipe of README.md, on copies of /usr and of dpkg's database that nobody else sees.
test_ldirectord_as_debian_installs_it() {
    scripts/need ldirectord ipvsadm
    topo_onearm
    replies_through_director rs1
    serve rs1
    director
    with_ipvsadm
    ln -s "$TAPVS" "$LAB_DIR/bin/tapvs"
    cat >"$LAB_DIR/$LAB_NAME.cf" <<-LDIRECTORD
	checkinterval=1
	quiescent=no
	logfile="$LAB_DIR/ldirectord.log"
	virtual=$VIP:80
	        real=$RS1:8080 masq
	        checktype=on
	        scheduler=rr
	        protocol=tcp
	LDIRECTORD
    sed -n '/^tool=/,/^```/p' README.md | grep -v '^```' >"$LAB_DIR/recipe"
    expect_eq "$(wc -l <"$LAB_DIR/recipe")" 4 "lines of the recipe"
    local copies="mount -t tmpfs none '$LAB_DIR/copies' && cd '$LAB_DIR/copies' && mkdir usr usr.work dpkg dpkg.work &&
        mount -t overlay -o lowerdir=/usr,upperdir=usr,workdir=usr.work none /usr &&
        mount -t overlay -o lowerdir=/var/lib/dpkg,upperdir=dpkg,workdir=dpkg.work none /var/lib/dpkg && cd /"
    mkdir "$LAB_DIR/copies"
    spawn ldirectord director unshare --mount env PATH="$LAB_DIR/bin:$PATH" bash -euc "$copies
        source <(head -n 3 '$LAB_DIR/recipe')
        /usr/sbin/ldirectord -d '$LAB_DIR/$LAB_NAME.cf' start &
        child=\$!; trap 'kill \$child' TERM
        wait \$child || wait \$child || true
        source <(tail -n 1 '$LAB_DIR/recipe')
        cmp '$LAB_DIR/ipvsadm.before' \"\$tool\" && touch '$LAB_DIR/undone'"
    cp "$(dpkg -L ipvsadm | grep '/sbin/ipvsadm$')" "$LAB_DIR/ipvsadm.before"
    # It adds the server, takes it out and adds it again.
    wait_for 10 "ldirectord's first look" grep -q "Resetting soft failure count: $RS1:8080" "$LAB_DIR/ldirectord.log"
    wait_for 10 "the server of ldirectord in the list" lists "$RS1:8080 +Masq +1 "
    expect_eq "$(fetch "http://$VIP/")" rs1 "an answer"

    end_process "$SPAWNED" "$(start_time "$SPAWNED")"
    [[ -e $LAB_DIR/undone ]] || die "Debian's ipvsadm is not back: $(tail -n 3 "$LAB_DIR/ldirectord.log")"
}

# ---- init scripts ----------------------------------------------------------------------------------------------

test_save_and_restore_by_their_names() {
    topo_onearm
    director
    with_ipvsadm
    local name saved rules code=0
    for name in ipvsadm-save ipvsadm-restore; do
        ln -s "$TAPVS" "$LAB_DIR/bin/$name"
    done
    tool() { in_ns director "$LAB_DIR/bin/$1" "${@:2}"; }
    rules="-A -t $VIP:80 -s mh -b 7
-P -t $VIP:80 -z ${LINK}30
-P -t $VIP:80 -z ${LINK}31
-a -t $VIP:80 -r $RS1:8080 --fullnat -w 1 -x 9 -y 3
-A -u $VIP:53 -s rr -o
-a -u $VIP:53 -r $RS2:53 -g -w 65536"
    lb -A -t "$VIP:99" -s rr

    { echo "# saved" && echo "$rules"; } | tool ipvsadm-restore
    saved=$(tool ipvsadm-save -n)
    expect_eq "$saved" "$rules" "the rules that took the place of all others"
    expect_eq "$(lb -Sn)" "${rules/ -x 9 -y 3/}" "as ipvsadm -S saves them"

    { echo "$rules" && echo "-A -t nowhere -s rr"; } | tool ipvsadm-restore 2>"$LAB_DIR/said" || code=$?
    expect_match "$code $(<"$LAB_DIR/said")" "^[1-9].*line 7: .*nothing was changed" "what is said of a bad line"
    expect_eq "$(tool ipvsadm-save -n)" "$rules" "the rules after a bad line"
}

lacks_server() { lb -Ln | grep -q "^TCP" && ! lists "$1:8080"; }

# ---- the kernel's own test -------------------------------------------------------------------------------------

# The topology of tools/testing/selftests/net/netfilter/ipvs.sh; tapvs has the director's two devices.
#
#     client              director                    server
#   br0 10.0.0.2 --+-- tap1 10.0.0.1 tap0 172.16.0.1 --- 172.16.0.2 veth21
#                  +-------------------------------------- 10.0.0.3 veth20
#
three_namespaces() {
    scripts/need socat
    VIP=207.175.44.110
    ns_add client && ns_add director && ns_add server
    local bridge
    for bridge in bra brb; do
        in_ns director ip link add "$bridge" type bridge forward_delay 0 stp_state 0 mcast_snooping 0
        in_ns director ip link set "$bridge" up
    done
    in_ns client ip link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0
    ip link add veth01 netns "$(ns client)" type veth peer name veth10 netns "$(ns director)"
    ip link add veth02 netns "$(ns client)" type veth peer name veth20 netns "$(ns server)"
    ip link add veth12 netns "$(ns director)" type veth peer name veth21 netns "$(ns server)"
    in_ns client ip link set veth01 master br0 up
    in_ns client ip link set veth02 master br0 up
    in_ns director ip link set veth10 master bra up
    in_ns director ip link set veth12 master brb up
    in_ns client ip address add 10.0.0.2/24 dev br0
    in_ns client ip link set br0 up
    in_ns client ip route add "$VIP/32" via 10.0.0.1 dev br0
    in_ns server ip address add 172.16.0.2/24 dev veth21
    in_ns server ip link set veth21 up
    in_ns server ip address add 10.0.0.3/24 dev veth20
    in_ns server ip link set veth20 up
    printf '[[link]]\nbridge = "bra"\ntap = "tap1"\naddress = "10.0.0.1/24"\n' >"$LAB_DIR/tapvs.toml"
    printf '[[link]]\nbridge = "brb"\ntap = "tap0"\naddress = "172.16.0.1/24"\n' >>"$LAB_DIR/tapvs.toml"
    director_from_file
    with_ipvsadm
    lb -A -t "$VIP:8080" -s rr
}

# answers_directly: the server has the VIP, and may answer by another device than the packets came by.
answers_directly() {
    in_ns server sysctl -qw net.ipv4.conf.{all,default,veth21}.rp_filter=0
    in_ns server sysctl -qw net.ipv4.conf.all.{arp_ignore=1,arp_announce=2}
}

# transfer: the file arrives as it was sent.
transfer() {
    head -c 32 /dev/urandom >"$SCRATCH/sent"
    spawn receiver server bash -c "exec timeout 10 socat -u TCP4-LISTEN:8080,reuseaddr 'CREATE:$SCRATCH/received'"
    local receiver=$SPAWNED
    wait_for 5 "the receiver" listens server tcp 8080
    in_ns client timeout 5 socat -u "OPEN:$SCRATCH/sent" "TCP4:$VIP:8080,connect-timeout=2" || die "the client cannot send"
    wait "$receiver" || die "the receiver failed: $(tail -n 1 "$LAB_DIR/receiver.log")"
    cmp "$SCRATCH/sent" "$SCRATCH/received" || die "the file that arrived differs"
    expect_match "$(lb -Ln --stats -t "$VIP:8080" | tail -n 1)" "172.16.0.2:8080 +1 +[1-9]" "the server's counters"
}

test_kernel_selftest_direct() {
    three_namespaces
    answers_directly
    in_ns server ip address add "$VIP/32" dev lo
    lb -a -t "$VIP:8080" -r 172.16.0.2:8080
    transfer
}

test_kernel_selftest_nat() {
    three_namespaces
    in_ns server ip link delete veth20
    in_ns server ip route add default via 172.16.0.1
    lb -a -t "$VIP:8080" -r 172.16.0.2:8080 -m
    transfer
}

test_kernel_selftest_tunnel() {
    three_namespaces
    realserver server --tunnel
    answers_directly
    lb -a -t "$VIP:8080" -r 172.16.0.2:8080 -i
    transfer
}

# ---- hostile clients -------------------------------------------------------------------------------------------

test_hostile_clients_of_the_socket_delay_nothing() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    director
    with_ipvsadm
    served "$RS1:8080"
    local before
    before=$(resident)
    spawn hostile director python3 -c "$HOSTILE" "$(a_socket)"
    wait_for 5 "the hostile clients" grep -q "^begun" "$LAB_DIR/hostile.log"

    in_ns client ping -q -c 200 -i 0.01 -W 2 "$VIP" >"$LAB_DIR/ping.log" || die "ping: $(tail -n 2 "$LAB_DIR/ping.log")"
    requests 300 "http://$VIP/"
    lb -Ln >/dev/null || die "ipvsadm got no answer among hostile clients"
    wait_for 15 "the hostile clients to end" grep -q "^done" "$LAB_DIR/hostile.log"

    grep -q " 0% packet loss" "$LAB_DIR/ping.log" || die "pings were lost: $(tail -n 2 "$LAB_DIR/ping.log")"
    expect_between 0 "$(sed -n 's:.* = [0-9.]*/\([0-9]*\)\..*:\1:p' "$LAB_DIR/ping.log")" 5 "milliseconds that an echo took on average"
    expect_eq "$(grep -c '^answered' "$LAB_DIR/hostile.log")" 2 "sentences said to garbage: $(cat "$LAB_DIR/hostile.log")"
    expect_between 0 $(($(resident) - before)) 16000 "kilobytes that the hostile clients cost"
    expect_eq "$(lb -Ln -t "$VIP:80" | grep -c "$RS1:8080")" 1 "servers listed afterwards"
}

# resident: kilobytes of memory that the director holds.
resident() { awk '/^VmRSS/ { print $2 }' "/proc/$(worker)/status"; }

HOSTILE='
import json, socket, sys, time

def client():
    conn = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    conn.settimeout(5)
    conn.connect(sys.argv[1])
    return conn

def answer(conn):
    text = b""
    while not text.endswith(b"\n"):
        part = conn.recv(65536)
        if not part:
            break
        text += part
    return text

def says_error(conn):
    assert "error" in json.loads(answer(conn)), "garbage was not called so"
    print("answered", flush=True)

def pour(conn, bytes, seconds):
    """As much as it takes, and reads nothing."""
    conn.settimeout(0.01)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            conn.sendall(bytes)
        except TimeoutError:
            pass
        except OSError:
            return

# Garbage is told so, and the next line is served.
garbage = client()
garbage.sendall(b"\x00\xff{[garbage\n")
says_error(garbage)
garbage.sendall(b"\"timeouts\"\n")
assert "timeouts" in json.loads(answer(garbage)), "no answer after garbage"

# A line without end is told so, and cut off.
endless = client()
try:
    endless.sendall(b"x" * (10 << 20))
except OSError:
    pass
says_error(endless)

print("begun", flush=True)
crowd = [client() for _ in range(100)]
for conn in crowd:
    try:
        conn.sendall(b"{\"services\":")
    except OSError:
        pass
deaf = client()
pour(deaf, b"\"status\"\n" * 100, 3)
noisy = client()
pour(noisy, b"[" * 65000 + b"\n", 2)
print("done", flush=True)
'

test_another_user_is_refused() {
    scripts/need socat
    topo_onearm
    director
    with_ipvsadm
    served "$RS1:8080"
    chmod 755 "$LAB_DIR"
    cp "$TAPVS" "$LAB_DIR/bin/tapvs-copy"
    local code=0 said
    nobody() { in_ns director setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }

    said=$(nobody "$LAB_DIR/bin/tapvs-copy" ipvsadm -C 2>&1) || code=$?
    expect_eq "$code" 2 "exit code of ipvsadm for nobody: $said"
    expect_match "$said" "Permission denied \(you must be root\)" "what nobody is told"
    # Even where the file itself would let them in.
    chmod 666 "$(a_socket)"
    said=$(nobody socat -u "UNIX-CONNECT:$(a_socket)" -)
    expect_match "$said" "uid 65534 may not control this director; only root may" "what the director says to nobody"

    lists "$RS1:8080" || die "somebody else changed the services"
    # Root may, by the same words.
    said=$(echo '{"apply":"clear"}' | in_ns director socat -t 2 - "UNIX-CONNECT:$(a_socket)")
    expect_eq "$said" '"done"' "what the director says to root"
}

test_sockets_of_several_directors() {
    topo_onearm
    director --name first
    with_ipvsadm
    served "$RS1:8080"
    local said code=0
    said=$(in_ns director timeout 5 "$TAPVS" run --bridge br0 --address "${LINK}40/24" --tap tap9 --name first 2>&1) || code=$?
    expect_eq "$code" 1 "exit code of a second director of the same name"
    expect_match "$said" "another director answers there; choose another --name" "what it says"
    spawn second director "$TAPVS" run --bridge br0 --address "${LINK}40/24" --tap tap9 --socket "$LAB_DIR/second.sock"
    local second=$SPAWNED
    wait_for 5 "the second director" grep -qw ready "$LAB_DIR/second.log"

    lists "$RS1:8080" || die "the first director is not found by itself any more"
    expect_eq "$(TAPVS_SOCKET=$LAB_DIR/second.sock lb -Sn)" "" "services of the second director"
    expect_eq "$(in_ns director "$TAPVS" ipvsadm --socket "$LAB_DIR/second.sock" -Sn)" "" "services of the second director"
    kill -KILL "$second"
    wait "$second" 2>/dev/null || true
    [[ -S $LAB_DIR/second.sock ]] || die "a killed director removed its socket"
    spawn third director "$TAPVS" run --bridge br0 --address "${LINK}40/24" --tap tap9 --socket "$LAB_DIR/second.sock"
    local third=$SPAWNED
    wait_for 5 "the director in the place of a dead one" grep -qw ready "$LAB_DIR/third.log"
    end_process "$third" "$(start_time "$third")"
    [[ ! -e $LAB_DIR/second.sock ]] || die "the socket was not removed"
}

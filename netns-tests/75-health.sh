# shellcheck shell=bash
# Health checks with real servers: what is noticed, and what is said of it.
# shellcheck source-path=SCRIPTDIR source=health.sh
source "$(dirname "${BASH_SOURCE[0]}")/health.sh"

# families: 4 6
test_a_server_that_ends_is_masked_and_comes_back() {
    topo_onearm
    replies_through_director rs1 rs2
    serve rs1 rs2
    local nginx=$SPAWNED
    checking http:/ "$AT_RS1:8080,nat" "$AT_RS2:8080,nat"
    becomes "$AT_RS1:8080" serving
    becomes "$AT_RS2:8080" serving
    expect_eq "$(answers_of 10)" "rs1=5 rs2=5" "answers while both are up"

    kill -TERM "$nginx"
    becomes "$AT_RS2:8080" failed
    expect_match "$(tv health)" "connect: connection refused" "the reason"
    expect_eq "$(answers_of 10)" "rs1=10" "answers while one is down"
    with_ipvsadm
    expect_eq "$(lb -Ln | awk -v server="$AT_RS2:8080" '$2 == server { print $4 }')" 0 "the present weight of a failed server"
    expect_eq "$(lb -Sn | awk -v server="$AT_RS2:8080" '$5 == server { print $8 }')" 1 "the saved weight of a failed server"

    serve rs2
    becomes "$AT_RS2:8080" serving
    expect_eq "$(answers_of 10)" "rs1=5 rs2=5" "answers when it is back"
}

test_a_frozen_server_and_one_behind_a_firewall_are_masked() {
    topo_onearm
    replies_through_director rs1 rs2 rs3
    serve rs1 rs2 rs3
    local nginx=$SPAWNED worker
    checking http:/ "$RS1:8080,nat" "$RS2:8080,nat" "$RS3:8080,nat"
    becomes "$RS3:8080" serving
    becomes "$RS2:8080" serving
    worker=$(pgrep -P "$nginx")

    kill -STOP "$worker"
    becomes "$RS3:8080" failed
    expect_match "$(tv health)" "answer: timeout" "the reason of the frozen one"
    in_ns rs2 nft add table inet f
    in_ns rs2 nft add chain inet f in '{ type filter hook input priority 0; }'
    in_ns rs2 nft add rule inet f in tcp dport 8080 drop
    becomes "$RS2:8080" failed
    expect_match "$(tv health)" "connect: timeout" "the reason of the one behind a firewall"
    expect_eq "$(answers_of 10)" "rs1=10" "answers"

    kill -CONT "$worker"
    in_ns rs2 nft delete table inet f
    becomes "$RS3:8080" serving
    becomes "$RS2:8080" serving
}

# telling NEWS: a program that notes as whom it was run and for which service.
# shellcheck disable=SC2016  # the program's shell
telling() { printf '["/bin/sh", "-c", "echo $(id -un) $SERVICE >>%s/told/%s"]' "$LAB_DIR" "$1"; }

was_told() { grep -qxF "nobody tcp/$VIP:80" "$LAB_DIR/told/$1"; }

# quiet
test_the_sorry_server_takes_what_others_cannot() {
    topo_onearm
    replies_through_director rs1 rs2 rs3
    serve rs1 rs2 rs3
    local nginx
    config_health "check = { kind = \"http\", path = \"/\", interval = \"300ms\", fast_interval = \"100ms\", down_interval = \"300ms\", timeout = \"1s\" }" \
        "quorum = 2" "sorry_server = { address = \"$RS3:8080\", method = \"nat\" }" \
        "quorum_up = $(telling up)" "quorum_down = $(telling down)" 'quorum_user = "nobody"' -- "$RS1:8080" "$RS2:8080"
    mkdir -m 777 "$LAB_DIR/told"
    director_from_file
    becomes "$RS1:8080" serving
    becomes "$RS2:8080" serving
    expect_eq "$(answers_of 6)" "rs1=3 rs2=3" "answers with the quorum"
    nginx=$(nginx_of rs1)
    kill -TERM "$nginx"
    becomes "$RS1:8080" failed
    expect_match "$(tv health)" "tcp/$VIP:80 quorum lost" "the quorum"
    wait_for 5 "the program that is told of a lost quorum" was_told down
    expect_eq "$(answers_of 6)" "rs3=6" "answers without the quorum"
    serve rs1
    becomes "$RS1:8080" serving
    expect_eq "$(answers_of 6)" "rs1=3 rs2=3" "answers with the quorum again"
    wait_for 5 "the program that is told of a quorum" was_told up

    # Reload keeps verdicts: a server that is known to be up serves at once.
    sed -i 's/quorum = 2/quorum = 1/' "$LAB_DIR/tapvs.toml"
    expect_match "$(tv reload)" "~ checks of tcp/$VIP:80" "what the reload says"
    is_state "$RS1:8080" serving || die "a reload forgot a verdict"
    expect_eq "$(answers_of 6)" "rs1=3 rs2=3" "answers after the reload"
}

test_conns_of_a_failed_server_are_reset_after_their_grace() {
    topo_onearm
    replies_through_director rs1
    spawn echo rs1 socat "TCP-LISTEN:8080,fork,reuseaddr" EXEC:cat
    wait_for 5 "the echo server" listens rs1 tcp 8080
    config_health "check = { kind = \"tcp\", interval = \"300ms\", fast_interval = \"100ms\", timeout = \"200ms\" }" \
        "on_down = \"reset\"" "down_grace = \"1s\"" -- "$RS1:8080"
    director_from_file
    becomes "$RS1:8080" serving
    mkfifo "$LAB_DIR/words"
    spawn talk client bash -c "exec socat -d - TCP:$VIP:80 <>'$LAB_DIR/words'"
    local talk=$SPAWNED
    echo hello >"$LAB_DIR/words"
    wait_for 5 "the echo" grep -q hello "$LAB_DIR/talk.log"
    in_ns rs1 nft add table inet f
    in_ns rs1 nft add chain inet f in '{ type filter hook input priority 0; }'
    in_ns rs1 nft add rule inet f in tcp dport 8080 drop
    becomes "$RS1:8080" failed
    wait_for 10 "the client to be told" gone "$talk"
    expect_match "$(cat "$LAB_DIR/talk.log")" "Connection reset" "what the client was told"
}

# families: 4 6
test_a_path_shows_a_server_without_the_virtual_address() {
    topo_onearm
    realserver rs1
    realserver rs2
    serve rs1 rs2
    checking path "$AT_RS1:80,direct" "$AT_RS2:80,direct"
    becomes "$AT_RS1:80" serving
    becomes "$AT_RS2:80" serving
    expect_eq "$(answers_of 10)" "rs1=5 rs2=5" "answers while both have the virtual address"

    # The service goes on at the server's own address: a check of that would pass.
    in_ns rs2 ip address del "$VIP/$HOST_BITS" dev lo
    becomes "$AT_RS2:80" failed
    expect_match "$(tv health)" "answer: timeout" "the reason"
    expect_eq "$(answers_of 10)" "rs1=10" "answers while one lacks it"
    in_ns rs2 ip address add "$VIP/$HOST_BITS" dev lo
    becomes "$AT_RS2:80" serving
    expect_eq "$(answers_of 10)" "rs1=5 rs2=5" "answers when it has it again"

    in_ns rs2 nft add table inet f
    in_ns rs2 nft add chain inet f in '{ type filter hook input priority 0; }'
    in_ns rs2 nft add rule inet f in tcp dport 80 reject with tcp reset
    becomes "$AT_RS2:80" failed
    expect_match "$(tv health)" "connect: connection refused" "the reason of one that refuses"
}

# families: 4 6
test_echoes_and_neighbours_are_checked_by_own_packets() {
    topo_onearm
    replies_through_director rs1 rs2 rs3
    serve rs1 rs2 rs3
    director_options --check "icmp,$FAST" --check "neigh,$FAST"
    serving "$AT_RS1:80,nat" "$AT_RS2:80,nat" "$AT_RS3:80,nat"
    local last
    for last in "$AT_RS1" "$AT_RS2" "$AT_RS3"; do
        becomes "$last:80" serving
    done
    in_ns rs2 nft add table inet f
    in_ns rs2 nft add chain inet f in '{ type filter hook input priority 0; }'
    in_ns rs2 nft add rule inet f in icmp type echo-request drop
    in_ns rs2 nft add rule inet f in icmpv6 type echo-request drop
    becomes "$AT_RS2:80" failed
    in_ns rs3 ip link set eth0 down
    becomes "$AT_RS3:80" failed
    expect_match "$(tv health)" "neigh .*down" "the neighbour's check"
    expect_eq "$(answers_of 10)" "rs1=10" "answers"
    in_ns rs2 nft delete table inet f
    becomes "$AT_RS2:80" serving
}

test_tls_is_checked_with_and_without_verification() {
    topo_onearm
    replies_through_director rs1
    local dir=$LAB_DIR/pki
    authority "$dir"
    certificate "$dir" good 30
    certificate "$dir" expired -1
    tls_server "$dir" good 8443
    tls_server "$dir" expired 8444
    spawn garbage rs1 socat TCP-LISTEN:8445,fork,reuseaddr SYSTEM:"head -c 100000 /dev/urandom"
    wait_for 5 "the garbage" listens rs1 tcp 8445
    local verify="kind = \"https\", host = \"shop.example\", interval = \"300ms\", fast_interval = \"100ms\", timeout = \"300ms\""
    config_health "check = { $verify, verify = \"$dir/ca.pem\" }" -- "$RS1:8443" "$RS1:8444" "$RS1:8445"
    director_from_file
    becomes "$RS1:8443" serving
    becomes "$RS1:8444" failed
    becomes "$RS1:8445" failed
    expect_match "$(tv health)" "tls: invalid peer certificate: .*[Ee]xpired" "the reason of the expired one"
    config_health "check = { $verify }" -- "$RS1:8443" "$RS1:8444" "$RS1:8445"
    tv reload >/dev/null
    becomes "$RS1:8444" serving
    becomes "$RS1:8443" serving
    is_state "$RS1:8445" failed || die "garbage passed for TLS"
}

tls_server() {
    spawn "tls-$2" rs1 openssl s_server -quiet -accept "$3" -cert "$1/$2.pem" -key "$1/$2.key" -www
    wait_for 5 "the TLS server $2" listens rs1 tcp "$3"
}

test_each_kind_tells_good_servers_from_bad_ones() {
    topo_onearm
    serve rs1
    spawn servers rs1 python3 -c "$BAD_SERVERS" "$RS1"
    spawn dns rs1 dnsmasq --keep-in-foreground --no-resolv --no-hosts --port=5353 --address=/shop.example/192.0.2.7 --user=root
    wait_for 5 "the bad servers" grep -q ready "$LAB_DIR/servers.log"
    wait_for 5 "dnsmasq" listens rs1 udp 5353
    # It forks, and none of its processes heeds SIGTERM.
    printf '#!/bin/sh\ntrap "" TERM\n(while :; do sleep 600; done) &\n(while :; do sleep 600; done) &\nwait\n' >"$LAB_DIR/stubborn"
    chmod 755 "$LAB_DIR/stubborn"
    local times="interval = \"300ms\", fast_interval = \"100ms\", timeout = \"300ms\""
    {
        config_health "" --
        checked 1 "kind = \"http\", port = 8080, $times"
        checked 2 "kind = \"http\", port = 9001, $times"
        checked 3 "kind = \"http\", port = 9002, $times"
        checked 4 "kind = \"http\", port = 9003, $times, contains = \"never there\""
        checked 5 "kind = \"dns\", port = 5353, name = \"shop.example\", expect = \"192.0.2.7\", $times"
        checked 6 "kind = \"dns\", port = 9004, name = \"shop.example\", $times"
        checked 7 "kind = \"smtp\", port = 9005, $times"
        checked 8 "kind = \"udp\", port = 9006, payload = \"ping\", contains = \"pong\", $times"
        checked 9 "kind = \"udp\", port = 9007, payload = \"ping\", $times"
        checked 10 "kind = \"agent\", port = 9008, $times"
        checked 11 "kind = \"exec\", command = [\"/bin/sh\", \"-c\", \"exit 7\"], dynamic = true, $times"
        checked 12 "kind = \"exec\", command = [\"$LAB_DIR/stubborn\"], $times"
        checked 13 "kind = \"http\", port = 9009, $times"
        checked 14 "kind = \"tcp\", port = 9010, $times"
        checked 15 "kind = \"agent\", port = 9011, $times"
        checked 16 "kind = \"agent\", port = 9012, $times"
        checked 18 "kind = \"http\", port = 9013, $times"
        checked 17 "kind = \"smtp\", port = 9011, $times"
    } >"$LAB_DIR/checked"
    cat "$LAB_DIR/checked" >>"$LAB_DIR/tapvs.toml"
    director_from_file
    local good bad
    for good in 1 5 7 8 10 11; do
        becomes "$(checked_address $good):80" serving
    done
    for bad in 2 3 4 6 9 12 13 14 17 18; do
        becomes "$(checked_address $bad):80" failed
    done
    local health
    health=$(tv health)
    expect_match "$health" "answer: status 500" "a wrong status"
    expect_match "$health" "answer: more than 16384 bytes of headers" "a bomb of headers"
    expect_match "$health" "body: 'never there' is not in the first 65536 bytes" "an endless body"
    expect_match "$health" "answer: SERVFAIL" "a name server that fails"
    expect_match "$health" "answer: connection refused" "a closed UDP port"
    expect_match "$health" "answer: connection reset" "a reset behind the handshake"
    expect_match "$health" "run: timeout" "a program that does not end"
    # New shares of a service are applied once a second.
    wait_for 8 "an agent's half of the weight" weighs 10 "1 of 2"
    wait_for 8 "a program's weight" weighs 11 "5 of 2"
    # An agent that talks nonsense, without an end or with one, says nothing: the server is what it was.
    wait_for 8 "the reason of nonsense" says_health "'weight:-1' is no word of an agent"
    wait_for 8 "what an agent that does not end is told for" says_health "agent@.*unknown.* answer: (timeout|more than)"
    for bad in 15 16; do
        wait_for 8 "a server whose agent talks nonsense to serve" weighs $bad "2 of 2"
    done
    expect_between 1 "$(memory_of "$DIRECTOR")" 100000 "kilobytes of tapvs"

    # Two seconds after its time a program is killed with all that it has started.
    wait_for 20 "a program that does not heed SIGTERM" pgrep -f "$LAB_DIR/stubborn"
    sed -i '/stubborn/d' "$LAB_DIR/tapvs.toml"
    tv reload >/dev/null
    wait_for 20 "the last of them to be killed" no_stubborn_ones
}

# says_health PATTERN: a line of `tapvs health` is like this.
says_health() { tv health | grep -Eq "$1"; }

# weighs NUMBER WEIGHT: what `tapvs health` says of that server's weight.
weighs() { tv health | grep -Eq "^ *$(checked_address "$1"):80 .* weight $2,"; }

no_stubborn_ones() { ! pgrep -f "$LAB_DIR/stubborn"; }

# memory_of PID: of the process and its children.
memory_of() { ps -o rss= -p "$1" --ppid "$1" | awk '{ sum += $1 } END { print sum }'; }

checked_address() { echo "10.0.0.$((150 + $1))"; }

# checked NUMBER CHECK: a server that is checked at rs1, whatever its own address.
checked() { printf '[[service.server]]\naddress = "%s"\nmethod = "nat"\nweight = 2\ncheck = { %s, address = "%s" }\n' "$(checked_address "$1")" "$2" "$RS1"; }

read -rd '' BAD_SERVERS <<'PYTHON' || true
import socket, sys, threading, time
host = sys.argv[1]
def tcp(port, serve):
    listener = socket.create_server((host, port), backlog=64)
    def loop():
        while True:
            conn, _ = listener.accept()
            threading.Thread(target=guarded, args=(serve, conn), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()
def guarded(serve, conn):
    try:
        serve(conn)
    except OSError:
        pass
    conn.close()
def udp(port, answer):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((host, port))
    def loop():
        while True:
            data, peer = server.recvfrom(2000)
            server.sendto(answer(data), peer)
    threading.Thread(target=loop, daemon=True).start()
def endless(begin, part):
    def serve(conn):
        conn.recv(1000)
        conn.sendall(begin)
        while True:
            conn.sendall(part)
    return serve
def drip(conn):
    conn.recv(1000)
    for byte in b'HTTP/1.1 200 OK\r\nServer: drip\r\n' * 1000:
        conn.sendall(bytes([byte]))
        time.sleep(0.05)
def mail(conn):
    conn.sendall(b'220-hello\r\n220 mail\r\n')
    if conn.recv(1000).startswith(b'EHLO '):
        conn.sendall(b'250-SIZE\r\n250 HELP\r\n')
        conn.recv(10)
def once(text):
    def serve(conn):
        conn.sendall(text)
    return serve
def reset(conn):
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
    conn.recv(1000)
tcp(9013, reset)
tcp(9001, lambda conn: (conn.recv(1000), conn.sendall(b'HTTP/1.1 500 Oops\r\n\r\n')))
tcp(9002, endless(b'HTTP/1.1 200 OK\r\n', b'X-Bomb: boom\r\n' * 100))
tcp(9003, endless(b'HTTP/1.1 200 OK\r\n\r\n', b'x' * 65536))
udp(9004, lambda query: query[:2] + b'\x81\x82' + query[4:])
tcp(9005, mail)
udp(9006, lambda data: b'a pong to ' + data)
tcp(9008, once(b'50%\n'))
tcp(9009, drip)
tcp(9011, endless(b'', b'up? down! \x00\xff' * 5000))
tcp(9012, once(b'200% weight:-1 maxconn:x \x1b[2J up-and-away\n'))
print('ready', flush=True)
time.sleep(600)
PYTHON

# Probes come once a minute: what is said at once after each is what was held before.
#
# limit: 60
test_verdicts_outlive_reload_crash_upgrade_and_restart() {
    scripts/need jq
    topo_onearm
    replies_through_director rs1 rs2 rs3
    serve rs1 rs2 rs3
    config_health 'check = { kind = "tcp", interval = "60s", timeout = "3s" }' -- "$RS1:8080" "$RS2:8080" "$RS3:8080" "$RS1:9"
    director_from_file
    becomes "$RS1:8080" serving
    becomes "$RS2:8080" serving
    becomes "$RS3:8080" serving
    becomes "$RS1:9" failed
    tv force "tcp/$VIP:80" "$RS2:8080" down
    tv drain "tcp/$VIP:80" "$RS3:8080"
    local held before
    held=$(standings)
    expect_eq "$held" "$RS1:8080 up auto serving
$RS1:9 down auto failed
$RS2:8080 down down failed
$RS3:8080 up auto drained" "what is held before"

    tv reload >/dev/null
    expect_eq "$(standings)" "$held" "after a reload"
    before=$(worker)
    kill -KILL "$before"
    wait_for 10 "another worker" another_worker_than "$before"
    expect_eq "$(standings)" "$held" "after a crash of the worker"
    expect tv upgrade --ready 60 --proof 0 "$TAPVS"
    expect_eq "$(standings)" "$held" "after an upgrade"
    kill -KILL "$DIRECTOR"
    wait "$DIRECTOR" 2>/dev/null || true
    wait_for 5 "its worker's end" lacks_tap director
    director_start
    expect_eq "$(standings)" "$held" "after a restart"
    expect_eq "$(answers_of 4)" "rs1=4" "answers"
    tv force "tcp/$VIP:80" "$RS2:8080" auto
    tv undrain "tcp/$VIP:80" "$RS3:8080"
    becomes "$RS2:8080" serving
    becomes "$RS3:8080" serving
}

# standings: each server with its verdict, the administrator's word on it, and why it serves or does not.
standings() { tv health --json | jq -r '.[].servers[] | "\(.server) \(.verdict) \(.forced) \(.state)"' | sort; }

# Probes come once a minute, or when somebody asks for them.
test_all_probes_are_made_when_somebody_asks_for_them() {
    topo_onearm
    replies_through_director rs1 rs2
    serve rs1 rs2
    config_health 'check = { kind = "tcp", interval = "60s", down_interval = "60s", rise = 1, fall = 1 }' -- "$RS1:8080" "$RS2:8080"
    director_from_file
    becomes "$RS1:8080" serving
    becomes "$RS2:8080" serving
    refuse rs2 "tcp dport 8080 reject with tcp reset"
    expect_eq "$(tv check-now)" "2 probes started" "what check-now says"
    becomes "$RS2:8080" failed
    is_state "$RS1:8080" serving || die "a server that is well was masked"
    in_ns rs2 nft delete table ip fault
    tv check-now >/dev/null
    becomes "$RS2:8080" serving
}

# A page a second, each with the changes of every probe, the last failure with its stage, and when the next probe is due.
test_health_is_told_in_json_again_and_again() {
    scripts/need jq
    topo_onearm
    replies_through_director rs1
    serve rs1
    checking http:/ "$RS1:8080,nat"
    becomes "$RS1:8080" serving
    refuse rs1 "tcp dport 8080 reject with tcp reset"
    becomes "$RS1:8080" failed
    in_ns rs1 nft delete table ip fault
    becomes "$RS1:8080" serving
    spawn watch director "$TAPVS" health --json --watch
    wait_for 10 "three pages" has_pages 3
    expect_match "$(jq -rs '.[-1][0] | .service, .quorum, (.servers[0].probes[0] | .check, .verdict, (.history | map(.to) | join(" ")),
        .last_failure[0].stage, .last_failure[0].what, (.next_ms | type), (.took_ms | type))' "$LAB_DIR/watch.log" | xargs)" \
        "^tcp/$VIP:80 true http:/ up up down.* up connect connection refused number number$" "the last page"
}

has_pages() { (($(jq -s length "$LAB_DIR/watch.log") >= $1)); }

test_the_metrics_are_what_promtool_wants() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    director_options --check "http:/,$FAST" --metrics 127.0.0.1:9464
    serving "$RS1:8080,nat" "$NOBODY:8080,nat"
    becomes "$RS1:8080" serving
    becomes "$NOBODY:8080" failed
    requests 20 "http://$VIP/"
    in_ns director curl --silent --max-time 10 http://127.0.0.1:9464/metrics >"$LAB_DIR/metrics"
    promtool check metrics <"$LAB_DIR/metrics" >"$LAB_DIR/promtool" 2>&1 || die "promtool: $(head -5 "$LAB_DIR/promtool")"
    expect_eq "$(metric node_ipvs_connections_total)" 20 "conns"
    expect_eq "$(metric "node_ipvs_backend_weight{local_address=\"$VIP\",local_port=\"80\",remote_address=\"$NOBODY\",remote_port=\"8080\",proto=\"TCP\",local_mark=\"\"}")" 0 \
        "the weight of a failed server"
    expect_eq "$(metric "tapvs_server_up{service=\"tcp/$VIP:80\",server=\"$RS1:8080\"}")" 1 "a server that is up"
    expect_match "$(grep tapvs_server_down_info "$LAB_DIR/metrics")" "reason=\"connect: (timeout|host unreachable|no route to host)\"" \
        "the reason of one that is down"
    expect_match "$(tv proc ip_vs)" "-> 0A000015:1F90      Masq    1 " "ip_vs"
    expect_match "$(tv proc ip_vs_stats)" "      14 " "ip_vs_stats"
    expect_match "$(tv proc ip_vs_conn)" "TCP 0A000009 [0-9A-F]{4} 0A000064 0050 0A000015 1F90" "ip_vs_conn"
    expect_match "$(in_ns director curl --silent http://127.0.0.1:9464/)" "at /metrics" "another path"

    # Through FULL-NAT a port is gone while its conn lives. A worker that was killed is told with the reason.
    with_ipvsadm
    lb -A -t "$VIP:81" -s rr
    lb -a -t "$VIP:81" -r "$RS1:8080" --fullnat
    fetch "http://$VIP:81/" >/dev/null
    local before
    before=$(worker)
    kill -KILL "$before"
    wait_for 10 "another worker to tell of the end of the first" scraped '^tapvs_worker_restarts_total 1$'
    expect_match "$(cat "$LAB_DIR/metrics")" 'tapvs_worker_restart_info\{reason="killed by SIGKILL"\} 1' "why"
    wait_for 10 "one port less" scraped \
        "^tapvs_local_ports_left\\{service=\"tcp/$VIP:81\",server=\"$RS1:8080\",local=\"$DIP\",proto=\"TCP\"\\} 60535\$"
    promtool check metrics <"$LAB_DIR/metrics" >"$LAB_DIR/promtool" 2>&1 || die "promtool: $(head -5 "$LAB_DIR/promtool")"

    # A scraper that does not read costs packets nothing, and others get their answer.
    spawn slow director bash -c 'exec 3<>/dev/tcp/127.0.0.1/9464; printf "GET /metrics HTTP/1.1\r\n\r\n" >&3; sleep 60'
    requests 20 "http://$VIP/"
    expect_match "$(in_ns director curl --silent --max-time 10 http://127.0.0.1:9464/metrics)" "tapvs_flows " "the second scrape"
}

# scraped LINE: a scrape has a line like this.
scraped() {
    in_ns director curl --silent --max-time 10 http://127.0.0.1:9464/metrics >"$LAB_DIR/metrics" && grep -Eq "$1" "$LAB_DIR/metrics"
}

# metric NAME: its value.
metric() { awk -v name="$1" '$1 == name { print $2 }' "$LAB_DIR/metrics"; }

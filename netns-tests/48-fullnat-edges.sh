# shellcheck shell=bash
# FULL-NAT at its edges: narrow paths to servers that learn their client, what clients claim themselves, the last local ports.
# shellcheck disable=SC2153  # the topology's addresses

# shellcheck source-path=SCRIPTDIR source=told.sh
source "$(dirname "${BASH_SOURCE[0]}")/told.sh"

# topo_narrow: rs1 is behind a router, and the way from there takes 1400 bytes; its link, which says how large segments may be,
# takes 1500.
#
#      client            director namespace                      far                    rs1
#    10.0.0.9    br0 10.0.0.3   tapvs 10.0.0.2, VIP .100    10.0.0.24 | 192.0.2.1    192.0.2.10
#       +------------- br0 ---------+------------------------+           +--- 1400 ------+
#
topo_narrow() {
    CLIENT=${LINK}9 FAR=${LINK}24 RS1=${BEYOND}10
    AT_RS1=$(bracketed "$RS1")
    director_host
    on_the_bridge client "$CLIENT"
    on_the_bridge far "$FAR"
    forwards far
    beyond rs1 far "$RS1"
    in_ns far ip route replace "$RS1/$HOST_BITS" dev eth1 mtu lock 1400
    lab_captures client rs1
}

# told_by_header_and_option [OPTION]: rules of two services with that option: 9000 by a header, 80 by a TCP option.
told_by_header_and_option() {
    printf -- "-A -t $AT_VIP:%s -s rr ${1:-}\n-a -t $AT_VIP:%s -r $AT_RS1:%s -b --client-address %s\n" 9000 9000 9000 proxy-v2 80 80 80 toa
}

# ask_with LENGTH PORT: a request of so many bytes to that port of the VIP; what is answered.
ask_with() {
    in_ns client python3 - "$VIP" "$2" "$1" <<'PYTHON'
import socket, sys
conn = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
conn.settimeout(15)
conn.connect((sys.argv[1], int(sys.argv[2])))
head, tail = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: ", b"\r\n\r\n"
conn.sendall(head + b"x" * (int(sys.argv[3]) - len(head) - len(tail)) + tail)
said = b""
while part := conn.recv(65536):
    said += part
print(said.split(b"\r\n\r\n", 1)[1].decode().strip(), conn.getsockname()[1])
PYTHON
}

# families: 4 6
# limit: 300
test_a_narrow_path_to_servers_that_learn_their_client() {
    topo_narrow
    scripts/need python3
    AT_LOOPBACK=$(bracketed "$([[ $FAMILY == 4 ]] && echo 127.0.0.1 || echo ::1)")
    proxied rs1
    serve rs1
    told_by_header_and_option >"$LAB_DIR/rules"
    director --gateway "$FAR" --rules "$LAB_DIR/rules"
    local length got
    for length in 200 1270 1300 1320 1340 1346 1400 1448 4000; do
        in_ns client ip route flush cache
        got=$(ask_with "$length" 9000) || die "no answer to $length bytes behind a header"
        expect_eq "${got% *}" "$CLIENT ${got##* } $VIP:9000" "whom the server of a request of $length bytes takes for its client"
        in_ns client ip route flush cache
        got=$(ask_with "$length" 80) || die "no answer to $length bytes with an option"
        expect_eq "${got% *}" rs1 "the answer to $length bytes with an option"
        expect_seen rs1 "$(toa_seen "$CLIENT" "${got##* }" "$([[ $FAMILY == 4 ]] && echo 'ip[2:2] > 64' || echo 'ip6[4:2] > 60')")" \
            "the client of $length bytes"
    done
    upload 4 rs1
}

# claims PORT: what the server of that port makes of a client that says it is another one.
claims() {
    local other="TCP4 203.0.113.77 203.0.113.1"
    [[ $FAMILY == 4 ]] || other="TCP6 2001:db8:77::7 2001:db8:77::1"
    in_ns client python3 - "$VIP" "$1" "PROXY $other 7777 99" <<'PYTHON'
import socket, sys
conn = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
conn.sendall(sys.argv[3].encode() + b"\r\nGET / HTTP/1.0\r\n\r\n")
said = b""
try:
    while part := conn.recv(4096):
        said += part
    print(said.decode().split("\r\n\r\n", 1)[-1].strip() or "nothing")
except ConnectionResetError:
    print("reset")
PYTHON
}

# families: 4 6
# limit: 60
test_what_a_client_claims_is_heeded_as_it_is_set() {
    topo_onearm
    AT_LOOPBACK=$(bracketed "$([[ $FAMILY == 4 ]] && echo 127.0.0.1 || echo ::1)")
    proxied rs1
    printf -- "-A -t $AT_VIP:%s -s rr\n-a -t $AT_VIP:%s -r $AT_RS1:%s -b --client-address %s\n" 9000 9000 9000 proxy-v2 9002 9002 9002 proxy-v1 >"$LAB_DIR/rules"
    director --rules "$LAB_DIR/rules"
    local other="203.0.113.77 7777 203.0.113.1:99" port
    [[ $FAMILY == 4 ]] || other="2001:db8:77::7 7777 2001:db8:77::1:99"
    for port in 9000 9002; do
        expect_match "$(claims "$port")" "400 Bad Request|^nothing$" "what a server says of a header where a request should be"
        in_ns director "$TAPVS" set proxy_client_header pass >/dev/null
        expect_eq "$(claims "$port")" "$other" "whom the server takes for its client"
        in_ns director "$TAPVS" set proxy_client_header replace >/dev/null
        expect_match "$(claims "$port")" "^$CLIENT [0-9]+ $VIP:$port$" "whom the server takes for its client"
        in_ns director "$TAPVS" set proxy_client_header refuse >/dev/null
        expect_eq "$(claims "$port")" reset "what is left of a client that claims something"
        expect_match "$(fetch "http://$AT_VIP:$port/")" "^$CLIENT [0-9]+ $VIP:$port$" "another one"
        in_ns director "$TAPVS" set proxy_client_header data >/dev/null
    done
    director_stop
    expect_eq "$(ledger_of dropped.client-header)" 2 "segments that were dropped as client-header"
}

# families: 4 6
test_a_server_knows_its_conns_by_unique_ids() {
    topo_onearm
    scripts/need haproxy
    cat >"$LAB_DIR/ids.cfg" <<-HAPROXY
	defaults
	    mode http
	    timeout connect 5s
	    timeout client 30s
	    timeout server 30s
	listen ids
	    bind $ANYWHERE:9003 accept-proxy
	    http-request return status 200 content-type text/plain lf-string "%[src] %[fc_pp_unique_id,hex]\n"
	HAPROXY
    spawn ids rs1 haproxy -db -f "$LAB_DIR/ids.cfg"
    wait_for 10 haproxy listens rs1 tcp 9003
    director --sysctl proxy_unique_id=1 --service "tcp/$AT_VIP:9003" --scheduler rr --server "$AT_RS1:9003,fullnat,proxy=v2"
    local got
    got=$(for port in 40001 40002 40003; do told_by "$port" 9003; done)
    expect_eq "$(grep -cE "^$CLIENT [0-9A-F]{16}$" <<<"$got") $(sort -u <<<"$got" | wc -l)" "3 3" "ids, and different ones: $got"
    in_ns director "$TAPVS" set proxy_unique_id 0 >/dev/null
    expect_eq "$(told_by 40004 9003)" "$CLIENT " "without"
}

# families: 4 6
# limit: 120
test_the_last_local_ports_of_each_address_and_server() {
    topo_onearm
    serve rs1 rs2
    with_ipvsadm
    director --local-address "$LIP1" --service "tcp/$AT_VIP:80" --scheduler rr --limit leave-ports=60530 \
        --server "$AT_RS1:80,fullnat"
    # Six ports are not left to others.
    hold_open 10
    expect_eq "$(held_by rs1) $(grep -c 'refused ConnectionRefusedError' "$LAB_DIR/hold.log")" "6 4" "conns, and resets"
    expect_match "$(in_ns director "$TAPVS" status)" "local ports of $LIP1 towards TCP ${AT_RS1//[/\\[}:80: 60530 left" "the gauge"
    expect_match "$(<"$LAB_DIR/tapvs.log")" "$LIP1|local port" "the log"
    in_ns director "$TAPVS" set no_local_port drop >/dev/null
    hold_open 1
    expect_eq "$(<"$LAB_DIR/hold.log")" "refused TimeoutError"$'\n'done "a client that is told nothing"
    in_ns director "$TAPVS" set no_local_port icmp >/dev/null
    hold_open 1
    expect_eq "$(<"$LAB_DIR/hold.log")" "refused ConnectionRefusedError"$'\n'done "a client that is told by ICMP"
    expect_seen client "$IS_PORT_UNREACHABLE" "the error"
    # Another address has as many, and so has another server.
    lb -P -t "$AT_VIP:80" -z "$LIP2"
    hold_open 7
    # The client that was told nothing may have sent its SYN again.
    expect_between 5 "$(held_by rs1)" 6 "conns by another address"
    lb -a -t "$AT_VIP:80" -r "$AT_RS2:80" -b
    hold_open 13
    expect_eq "$(held_by rs1) $(held_by rs2)" "0 12" "conns to another server"
    lb -E -t "$AT_VIP:80" -s rr
    hold_open 4
    expect_eq "$(held_by rs1) $(held_by rs2)" "2 2" "conns of a service that leaves none"
}

# families: 4 6
test_rules_of_fullnat_are_saved_and_restored_as_they_are() {
    topo_onearm
    with_ipvsadm
    director
    local saved
    lb -R <<-RULES
	-A -t $AT_VIP:80 -s wrr -p 60 --limit new=100,burst=200,conns=1000,client-new=5,client-burst=10,client-conns=20,leave-ports=100 --syn-proxy auto
	-P -t $AT_VIP:80 -z $LIP1
	-P -t $AT_VIP:80 -z $LIP2
	-a -t $AT_VIP:80 -r $AT_RS1:81 --fullnat -w 3 -x 50 -y 20 --client-address proxy-v1
	-a -t $AT_VIP:80 -r $AT_RS2:82 -b -w 2 --client-address proxy-v2
	-a -t $AT_VIP:80 -r $AT_RS3:83 -b --client-address toa
	-A -u $AT_VIP:53 -s rr
	-a -u $AT_VIP:53 -r $AT_RS1:53 -b --client-address proxy-v2
	-A -f 7 -s rr $([[ $FAMILY == 4 ]] || echo -6)
	-a -f 7 $([[ $FAMILY == 4 ]] || echo -6) -r $RS1 -b --client-address toa
	RULES
    saved=$(lb -Sn)
    expect_eq "$(grep -c -- "--client-address" <<<"$saved")" 5 "servers that are told: $saved"
    lb -C
    lb -R <<<"$saved"
    expect_eq "$(lb -Sn)" "$saved" "what is restored of what was saved"
    # An edit changes what it names and nothing else; an existing rule may be told another way.
    lb -e -t "$AT_VIP:80" -r "$AT_RS3:83" -b -w 9 --client-address proxy-v1
    expect_match "$(lb -Ln --tun-info)" ":83 +FullNat +proxy-v1" "the listing"
    # The director goes on with them after a crash of all its processes.
    saved=$(lb -Sn)
    kill_at_once "$DIRECTOR" "$(worker)"
    wait_for 5 "the TAP to go" lacks_tap director
    director_start
    expect_eq "$(lb -Sn)" "$saved" "rules after a new start"
    local wrong
    for wrong in "-a -t $AT_VIP:80 -r $AT_RS1:84 -m --client-address toa" "-a -t $AT_VIP:80 -r $AT_RS1:84 -b --client-address v2" \
        "-a -u $AT_VIP:53 -r $AT_RS2:53 -b --client-address proxy-v1" "-a -u $AT_VIP:53 -r $AT_RS2:53 -b --client-address toa" \
        "-a -t $AT_VIP:80 -r $AT_RS1:84 -g --client-address proxy-v2" "-A -t $AT_VIP:81 --syn-proxy yes" "-A -u $AT_VIP:81 --syn-proxy on" \
        "-A -t $AT_VIP:81 --limit leave-ports=x" "-A -t $AT_VIP:81 --limit new" "-P -t $AT_VIP:80 -z nobody"; do
        # shellcheck disable=SC2086  # words
        ! lb $wrong 2>"$LAB_DIR/wrong" || die "this was taken: $wrong"
        echo "$wrong: $(<"$LAB_DIR/wrong")" >>"$LAB_DIR/wrongs"
    done
    expect_eq "$(lb -Sn)" "$saved" "rules after what was refused"
}

# sizes CLIENT-MTU SERVER-MTU: whole streams both ways to servers that learn their client.
sizes() {
    topo_router
    local end
    for end in client:eth0 router:eth1; do
        in_ns "${end%:*}" ip link set "${end#*:}" mtu "$1"
    done
    for end in rs1:eth0 rs2:eth0 rs3:eth0 director:to-rs1 director:to-rs2 director:to-rs3 router:eth0 director:to-router director:br0; do
        in_ns "${end%:*}" ip link set "${end#*:}" mtu "$2"
    done
    AT_LOOPBACK=$(bracketed "$([[ $FAMILY == 4 ]] && echo 127.0.0.1 || echo ::1)")
    proxied rs1
    serve rs1
    told_by_header_and_option >"$LAB_DIR/rules"
    director --rules "$LAB_DIR/rules"
    local file
    file=$(payload 32)
    fetch --max-time 60 "http://$AT_VIP:9000/files/${file##*/}" | cmp - "$file" || die "download behind a header"
    fetch --max-time 60 --upload-file "$file" "http://$AT_VIP:9000/put/up" || die "upload behind a header"
    cmp "$SCRATCH/proxied-rs1/put/up" "$file" || die "the upload differs"
    download 32
    upload 32 rs1
    local length got
    for length in 60 500 508 536 1200 1220 1420 1432 1448 1460 4000 7900; do
        got=$(ask_with "$length" 9000) || die "no answer to $length bytes behind a header"
        expect_eq "${got% *}" "$CLIENT ${got##* } $VIP:9000" "whom the server of a request of $length bytes takes for its client"
        got=$(ask_with "$length" 80) || die "no answer to $length bytes with an option"
        expect_seen rs1 "$(toa_seen "$CLIENT" "${got##* }" "$([[ $FAMILY == 4 ]] && echo 'ip[2:2] > 64' || echo 'ip6[4:2] > 60')")" \
            "the client of $length bytes"
    done
}

# families: 4 6
# limit: 300
test_small_packets_of_clients_to_servers_that_learn_their_client() { sizes "$([[ $FAMILY == 4 ]] && echo 576 || echo 1280)" 1500; }

# families: 4 6
# limit: 300
test_large_packets_of_clients_to_servers_that_learn_their_client() { sizes 9000 9000; }

# families: 4 6
# limit: 300
test_large_packets_of_clients_into_smaller_links() { sizes 9000 1500; }

# families: 4 6
# limit: 120
test_no_client_is_lost_between_workers() {
    topo_onearm
    AT_LOOPBACK=$(bracketed "$([[ $FAMILY == 4 ]] && echo 127.0.0.1 || echo ::1)")
    proxied rs1
    director --service "tcp/$AT_VIP:9000" --scheduler rr --server "$AT_RS1:9000,fullnat,proxy=v2"
    cat >"$LAB_DIR/many.py" <<'PYTHON'
import os, socket, sys, threading
vip, client, stop, served, lost = sys.argv[1], sys.argv[2], sys.argv[3], [0] * 24, []
def run(number):
    while not os.path.exists(stop):
        conn = socket.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET)
        conn.settimeout(20)
        said = b""
        try:
            conn.connect((vip, 9000))
            port = conn.getsockname()[1]
            conn.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while part := conn.recv(4096):
                said += part
            wanted = f"{client} {port} {vip}:9000\n"
            if not said.endswith(wanted.encode()):
                lost.append(f"{port} was told {said!r}")
        except OSError as error:
            lost.append(f"{conn} {error!r} after {said!r}")
        conn.close()
        served[number] += 1
threads = [threading.Thread(target=run, args=[number]) for number in range(len(served))]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(sum(served), "served", len(lost), "lost", *lost[:5])
PYTHON
    spawn many client python3 "$LAB_DIR/many.py" "$VIP" "$CLIENT" "$LAB_DIR/stop"
    local many=$SPAWNED old
    for _ in 1 2 3 4 5 6 7 8; do
        sleep 1
        old=$(worker)
        kill -KILL "$old"
        wait_for 10 "another worker" another_worker_than "$old"
    done
    sleep 1
    touch "$LAB_DIR/stop"
    wait "$many" || die "the clients ended: $(<"$LAB_DIR/many.log")"
    expect_match "$(<"$LAB_DIR/many.log")" "^[0-9]{3,} served 0 lost" "the clients of eight workers"
}

# idle_told OPTION SETTING...: conns of two services that say nothing after their first answer; time-outs are of two seconds.
idle_told() {
    local option=$1
    shift
    topo_onearm
    AT_LOOPBACK=$(bracketed "$([[ $FAMILY == 4 ]] && echo 127.0.0.1 || echo ::1)")
    proxied rs1
    serve rs1
    { echo "--set 2 2 2" && told_by_header_and_option "$option"; } >"$LAB_DIR/rules"
    director --rules "$LAB_DIR/rules" "$@"
    cat >"$LAB_DIR/idle.py" <<'PYTHON'
import socket, sys, time
held = []
for port in [9000, 80] * 3:
    conn = socket.create_connection((sys.argv[1], port), 10)
    conn.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    conn.recv(4096)
    held.append(conn)
print("done", flush=True)
time.sleep(120)
PYTHON
    spawn idle client python3 "$LAB_DIR/idle.py" "$VIP"
    wait_for 10 "six conns" file_says "$LAB_DIR/idle.log" "done"
    expect_eq "$(told_open client) $(told_open rs1)" "6 6" "conns open at the client and at the server"
}

told_open() { in_ns "$1" ss -Htn state established '( sport = :80 or dport = :80 or sport = :9000 or dport = :9000 )' | wc -l; }
told_none_at() { (($(told_open "$1") == 0)); }
told_none() { (($(told_open client) + $(told_open rs1) == 0)); }

# families: 4 6
# limit: 60
test_silent_conns_of_servers_that_know_their_client_are_reset() {
    idle_told ""
    wait_for 6 "both ends to know that the conns are over" told_none
}

# families: 4 6
# limit: 60
test_silent_conns_behind_a_syn_proxy_are_reset() {
    idle_told "--syn-proxy on"
    wait_for 6 "both ends to know that the conns are over" told_none
}

# families: 4 6
# limit: 90
test_silent_conns_behind_a_syn_proxy_are_asked_and_live_on() {
    idle_told "--syn-proxy on" --sysctl keepalive=2 --sysctl keepalive_interval=1
    sleep 12
    expect_eq "$(told_open client) $(told_open rs1)" "6 6" "conns open at the client and at the server"
    in_ns client ip link set eth0 down
    wait_for 20 "the server to know that its client is gone" told_none_at rs1
}

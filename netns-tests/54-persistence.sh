# shellcheck shell=bash
# shellcheck disable=SC2153  # CLIENT is the topology's
# Persistence with real clients: who stays with which server, for how long, over which ports.

# clients_behind_router ADDRESS...: more addresses of the client, all behind the router.
clients_behind_router() {
    topo_router
    replies_through_director rs1 rs2 rs3
    serve rs1 rs2 rs3
    local address
    for address; do
        in_ns client ip address add "$address/16" dev eth0
    done
    in_ns router ip route add 172.16.0.0/16 dev eth1
}

# answers_of ADDRESS COUNT [URL]: the servers that answer that client, counted.
answers_of() {
    local number
    for ((number = 0; number < $2; number++)); do
        fetch --interface "$1" "${3:-http://$VIP/}"
    done | sort | uniq -c | awk '{ print $2 "=" $1 }' | xargs
}

test_persistence_keeps_a_client_at_its_server() {
    clients_behind_router
    director --service "tcp/$VIP:80" --scheduler rr --persistent 60 \
        --server "$RS1:80,nat" --server "$RS2:80,nat" --server "$RS3:80,nat"
    expect_match "$(answers_of "$CLIENT" 20)" "^rs[123]=20$" "answers to one client"
}

test_persistence_by_netmask_keeps_neighbours_together() {
    clients_behind_router 172.16.1.1 172.16.1.200 172.16.2.1
    printf -- '-A -t %s:80 -s rr -p 60 -M 255.255.255.0\n' "$VIP" >"$LAB_DIR/rules"
    printf -- "-a -t $VIP:80 -r %s:80 -m\n" "$RS1" "$RS2" "$RS3" >>"$LAB_DIR/rules"
    director --rules "$LAB_DIR/rules"
    local one
    one=$(answers_of 172.16.1.1 3)
    expect_eq "$(answers_of 172.16.1.200 3)" "$one" "the server of another client of the same /24"
    [[ $(answers_of 172.16.2.1 3) != "$one" ]] || die "a client of another /24 got the same server, which rr does not give"
}

# ask_from_one_port: one question, always from the same socket's port; prints who answered.
ask_from_one_port() { in_ns client dig @"$VIP" who.test TXT -b "$CLIENT#23456" +short +time=2 +tries=1 | tr -d '"'; }

test_persistence_ends_with_its_time() {
    topo_onearm
    name_server rs1 rs2
    realserver rs1
    realserver rs2
    # One-packet scheduling: no conn keeps the template beyond its time, which is what is looked at here.
    printf -- '-A -u %s:53 -s rr -o -p 2\n' "$VIP" >"$LAB_DIR/rules"
    printf -- "-a -u $VIP:53 -r %s:53 -g\n" "$RS1" "$RS2" >>"$LAB_DIR/rules"
    director --rules "$LAB_DIR/rules"
    local first number
    first=$(ask_from_one_port)
    for number in 1 2 3; do
        sleep 1 # Each question renews the two seconds.
        expect_eq "$(ask_from_one_port)" "$first" "the server of question $number"
    done
    sleep 3
    [[ $(ask_from_one_port) != "$first" ]] || die "the same server long after the template's end, which rr does not give"
}

test_persistence_by_mark_joins_http_and_https() {
    clients_behind_router 172.16.1.1 172.16.1.2
    # nginx answers on 8080 what a browser would ask of 443: what matters is that the port is another.
    printf -- '-A -f 7 -s rr -p 60\n' >"$LAB_DIR/rules"
    printf -- '-a -f 7 -r %s:0 -m\n' "$RS1" "$RS2" "$RS3" >>"$LAB_DIR/rules"
    director --rules "$LAB_DIR/rules" --mark "7=tcp/$VIP:80" --mark "7=tcp/$VIP:8080"
    local client server
    for client in "$CLIENT" 172.16.1.1 172.16.1.2; do
        server=$(answers_of "$client" 3)
        expect_eq "$(answers_of "$client" 3 "http://$VIP:8080/")" "$server" "the server of $client on the other port"
    done
    expect_eq "$(cat "$LAB_DIR"/nginx-rs*.access | wc -l)" 18 "requests in all"
    local role
    for role in rs1 rs2 rs3; do
        expect_eq "$(answered "$role")" 6 "requests of one client each: rr goes on for new clients"
    done
}

test_persistence_of_all_ports() {
    clients_behind_router
    printf -- '-A -t %s:0 -s rr -p 60\n' "$VIP" >"$LAB_DIR/rules"
    printf -- "-a -t $VIP:0 -r %s:0 -m\n" "$RS1" "$RS2" >>"$LAB_DIR/rules"
    director --rules "$LAB_DIR/rules"
    local server
    server=$(answers_of "$CLIENT" 3)
    expect_eq "$(answers_of "$CLIENT" 3 "http://$VIP:8080/")" "$server" "the server on another port of the same VIP"
}

test_one_packet_scheduling_spreads_one_socket() {
    topo_onearm
    name_server rs1 rs2
    # Direct: a reply needs no conn there.
    realserver rs1
    realserver rs2
    director --service "udp/$VIP:53" --scheduler rr --ops --server "$RS1,direct" --server "$RS2,direct"
    local number
    # Always from the same port: with a conn all would go to one server.
    for number in 1 2 3 4 5 6; do
        ask_from_one_port
    done | sort | uniq -c | awk '{ print $2 "=" $1 }' | xargs >"$LAB_DIR/spread"
    expect_eq "$(cat "$LAB_DIR/spread")" "rs1=3 rs2=3" "answers to one socket"
}

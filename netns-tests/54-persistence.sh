# shellcheck shell=bash
# shellcheck disable=SC2153  # CLIENT is the topology's
# Persistence with real clients: who stays with which server, for how long, over which ports.

# Clients of two nets that a mask of that length tells apart.
if [[ $FAMILY == 6 ]]; then
    NEAR=2001:db8:e: MASK=64
    ONE=${NEAR}1::1 ITS_NEIGHBOUR=${NEAR}1::200 ANOTHER=${NEAR}2::1 NEAR_NET=${NEAR}:/48
else
    NEAR=172.16. MASK=255.255.255.0
    ONE=${NEAR}1.1 ITS_NEIGHBOUR=${NEAR}1.200 ANOTHER=${NEAR}2.1 NEAR_NET=${NEAR}0.0/16
fi

# clients_behind_router ADDRESS...: more addresses of the client, all behind the router.
clients_behind_router() {
    topo_router
    replies_through_director rs1 rs2 rs3
    serve rs1 rs2 rs3
    local address
    for address; do
        in_ns client ip address add "$address/${NEAR_NET#*/}" dev eth0
    done
    in_ns router ip route add "$NEAR_NET" dev eth1
}

# answers_of ADDRESS COUNT [URL]: the servers that answer that client, counted.
answers_of() {
    local number
    for ((number = 0; number < $2; number++)); do
        fetch --interface "$1" "${3:-http://$AT_VIP/}"
    done | sort | uniq -c | awk '{ print $2 "=" $1 }' | xargs
}

# families: 4 6
test_persistence_keeps_a_client_at_its_server() {
    clients_behind_router
    director --service "tcp/$AT_VIP:80" --scheduler rr --persistent 60 \
        --server "$AT_RS1:80,nat" --server "$AT_RS2:80,nat" --server "$AT_RS3:80,nat"
    expect_match "$(answers_of "$CLIENT" 20)" "^rs[123]=20$" "answers to one client"
}

# families: 4 6
test_persistence_by_netmask_keeps_neighbours_together() {
    clients_behind_router "$ONE" "$ITS_NEIGHBOUR" "$ANOTHER"
    printf -- '-A -t %s:80 -s rr -p 60 -M %s\n' "$AT_VIP" "$MASK" >"$LAB_DIR/rules"
    printf -- "-a -t $AT_VIP:80 -r %s:80 -m\n" "$AT_RS1" "$AT_RS2" "$AT_RS3" >>"$LAB_DIR/rules"
    director --rules "$LAB_DIR/rules"
    local one
    one=$(answers_of "$ONE" 3)
    expect_eq "$(answers_of "$ITS_NEIGHBOUR" 3)" "$one" "the server of another client of the same net"
    [[ $(answers_of "$ANOTHER" 3) != "$one" ]] || die "a client of another net got the same server, which rr does not give"
}

# ask_from_one_port: one question, always from the same socket's port; prints who answered.
ask_from_one_port() { in_ns client dig @"$VIP" who.test TXT -b "$CLIENT#23456" +short +time=2 +tries=1 | tr -d '"'; }

test_persistence_ends_with_its_time() {
    topo_onearm
    name_server rs1 rs2
    realserver rs1
    realserver rs2
    # One-packet scheduling: no conn keeps the template beyond its time, which is what is looked at here.
    printf -- '-A -u %s:53 -s rr -o -p 5\n' "$VIP" >"$LAB_DIR/rules"
    printf -- "-a -u $VIP:53 -r %s:53 -g\n" "$RS1" "$RS2" >>"$LAB_DIR/rules"
    director --rules "$LAB_DIR/rules"
    local first number
    first=$(ask_from_one_port)
    for number in 1 2 3; do
        sleep 1 # Each question renews the five seconds.
        expect_eq "$(ask_from_one_port)" "$first" "the server of question $number"
    done
    sleep 6
    [[ $(ask_from_one_port) != "$first" ]] || die "the same server long after the template's end, which rr does not give"
}

# serve_tls ROLE...: `/whoami` by HTTPS answers the role's name.
serve_tls() {
    local role dir
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=tapvs -days 2 \
        -keyout "$SCRATCH/tls.key" -out "$SCRATCH/tls.crt" 2>"$LAB_DIR/openssl.log"
    for role; do
        dir=$SCRATCH/tls-$role
        mkdir -p "$dir"
        echo "$role" >"$dir/whoami"
        spawn "tls-$role" "$role" env -C "$dir" openssl s_server -accept 443 -WWW -cert "$SCRATCH/tls.crt" -key "$SCRATCH/tls.key"
    done
    for role; do
        wait_for 10 "HTTPS in $role" listens "$role" tcp 443
    done
}

test_persistence_by_mark_joins_http_and_https() {
    clients_behind_router "$ONE" "$ITS_NEIGHBOUR"
    serve_tls rs1 rs2 rs3
    printf -- '-A -f 7 -s rr -p 60\n' >"$LAB_DIR/rules"
    printf -- '-a -f 7 -r %s:0 -m\n' "$RS1" "$RS2" "$RS3" >>"$LAB_DIR/rules"
    director --rules "$LAB_DIR/rules" --mark "7=tcp/$VIP:80" --mark "7=tcp/$VIP:443"
    local client servers=()
    for client in "$CLIENT" "$ONE" "$ITS_NEIGHBOUR"; do
        servers+=("$(answers_of "$client" 3)")
        expect_eq "$(fetch --interface "$client" --insecure "https://$VIP/whoami")=3" "${servers[-1]}" "the server of $client by HTTPS"
        expect_eq "$(answers_of "$client" 3)" "${servers[-1]}" "the server of $client by HTTP afterwards"
    done
    expect_eq "$(printf '%s\n' "${servers[@]}" | sort | xargs)" "rs1=3 rs2=3 rs3=3" "servers of three clients: rr goes on for new ones"
}

# families: 4 6
test_persistence_of_all_ports() {
    clients_behind_router
    printf -- '-A -t %s:0 -s rr -p 60\n' "$AT_VIP" >"$LAB_DIR/rules"
    printf -- "-a -t $AT_VIP:0 -r %s:0 -m\n" "$AT_RS1" "$AT_RS2" >>"$LAB_DIR/rules"
    director --rules "$LAB_DIR/rules"
    local server
    server=$(answers_of "$CLIENT" 3)
    expect_eq "$(answers_of "$CLIENT" 3 "http://$AT_VIP:8080/")" "$server" "the server on another port of the same VIP"
}

# families: 4 6
test_one_packet_scheduling_spreads_one_socket() {
    topo_onearm
    name_server rs1 rs2
    # Direct: a reply needs no conn there.
    realserver rs1
    realserver rs2
    director --service "udp/$AT_VIP:53" --scheduler rr --ops --server "$AT_RS1,direct" --server "$AT_RS2,direct"
    local number
    # Always from the same port: with a conn all would go to one server.
    for number in 1 2 3 4 5 6; do
        ask_from_one_port
    done | sort | uniq -c | awk '{ print $2 "=" $1 }' | xargs >"$LAB_DIR/spread"
    expect_eq "$(cat "$LAB_DIR/spread")" "rs1=3 rs2=3" "answers to one socket"
}

# servers_of_a_quiesced_client SYSCTL...: who answers a persistent client before, and twice after, its server is quiesced.
servers_of_a_quiesced_client() {
    topo_onearm
    replies_through_director rs1 rs2
    serve rs1 rs2
    director --service "tcp/$VIP:80" --scheduler rr --persistent 60 --server "$RS1:80,nat" --server "$RS2:80,nat" "$@"
    with_ipvsadm
    local before quiesced=$RS1
    before=$(fetch "http://$VIP/")
    [[ $before == rs1 ]] || quiesced=$RS2
    lb -e -t "$VIP:80" -r "$quiesced:80" -m -w 0
    SERVERS="$before $(fetch "http://$VIP/") $(fetch "http://$VIP/")"
}

test_persistence_outlasts_a_quiesced_server() {
    servers_of_a_quiesced_client
    expect_match "$SERVERS" "^(rs1 rs1 rs1|rs2 rs2 rs2)$" "servers of a client before, and after"
}

test_persistence_ends_with_a_quiesced_server_where_that_is_set() {
    servers_of_a_quiesced_client --sysctl expire_quiescent_template=1
    expect_match "$SERVERS" "^(rs1 rs2 rs2|rs2 rs1 rs1)$" "servers of a client before, and after"
}

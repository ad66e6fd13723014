# shellcheck shell=bash
# Handshakes that the director makes with clients before it opens a conn.

# served_through METHOD: all that clients do, through a SYN proxy, with and without timestamps at either end.
served_through() {
    local kind role
    serve rs1
    with_ipvsadm
    director_options --syn-proxy on
    serving "$AT_RS1:80,$1"
    for kind in "client 1" "client 0" "rs1 0"; do
        read -r role kind <<<"$kind"
        in_ns "$role" sysctl -qw "net.ipv4.tcp_timestamps=$kind"
        expect_eq "$(fetch "http://$AT_VIP/")" rs1 "the answer with timestamps $kind in $role"
        download 8
        upload 8 rs1
        in_ns client sysctl -qw net.ipv4.tcp_timestamps=1
    done
    in_ns rs1 sysctl -qw net.ipv4.tcp_timestamps=1
    requests 300 "http://$AT_VIP/"

    # What is known of a conn outlives the worker.
    idle_conn
    local before
    before=$(worker)
    kill -KILL "$before"
    wait_for 10 "another worker" another_worker_than "$before"
    idle_conn_answers
    expect_eq "$(fetch "http://$AT_VIP/")" rs1 "a new conn afterwards"

    # A port where nothing listens: the client is told, though its handshake was over.
    lb -A -t "$AT_VIP:81" -s rr --syn-proxy auto
    lb -a -t "$AT_VIP:81" -r "$AT_RS1:9" "$([[ $1 == nat ]] && echo -m || echo -b)"
    lb -E -t "$AT_VIP:81" -s rr --syn-proxy on
    local code=0
    fetch "http://$AT_VIP:81/" 2>"$LAB_DIR/refused" || code=$?
    # While it connects, or afterwards.
    expect_match "$code" "^(7|52|55|56)$" "curl's code of a conn that is reset: $(cat "$LAB_DIR/refused")"

    expect_eq "$(lb -Sn | grep -c -- '--syn-proxy on')" 2 "the services as saved"
    lb -a -t "$AT_VIP:81" -r "$AT_RS1:81" -g 2>"$LAB_DIR/refused" && die "direct routing behind a SYN proxy"
    expect_match "$(cat "$LAB_DIR/refused")" "use nat or fullnat" "the refusal of direct routing"
    director_stop
    expect_eq "$(ledger_of dropped.bad-cookie)" 0 "segments without a conn"
    expect_between 2 "$(ledger_of consumed.syn-cookie)" 100 "SYNs that were answered by a cookie since the worker was killed"
}

# families: 4 6
# limit: 120
test_clients_are_served_through_a_syn_proxy_by_nat() {
    topo_onearm
    replies_through_director rs1
    served_through nat
}

# families: 4 6
# limit: 120
test_clients_are_served_through_a_syn_proxy_by_fullnat() {
    topo_onearm
    served_through fullnat
}

fast_syns() { in_ns director "$TAPVS" status | sed -n 's/^fast path: SYNs answered by cookies //p'; }
kernel_answers() { (($(fast_syns) > $1)); }

# Under pressure the kernel answers, and what is served goes on as if there were none.
# limit: 90
test_a_flood_is_answered_in_the_kernel_and_others_are_served() {
    scripts/need gcc || skip "gcc is missing"
    gcc -O2 -o "$SCRATCH/syn-flood" benches/syn-flood.c
    topo_onearm
    serve rs1
    director_options --gateway "$CLIENT" --syn-proxy auto --sysctl syn_proxy_rate=10 --sysctl fast=auto
    serving "$AT_RS1:80,fullnat"
    ! grep -q 'fast path: none' "$LAB_DIR/tapvs.log" || skip "$(grep -o 'fast path: none.*' "$LAB_DIR/tapvs.log")"
    idle_conn
    local mac held count
    expect_eq "$(fetch "http://$AT_VIP/")" rs1 "an answer before the flood"
    mac=$(in_ns client ip neigh show "$VIP" | grep -oE '([0-9a-f]{2}:){5}[0-9a-f]{2}')
    spawn flood client "$SCRATCH/syn-flood" eth0 "$mac" "$VIP" 20000 8
    local flood=$SPAWNED
    wait_for 10 "the kernel to answer" kernel_answers 1000
    for count in 1 2 3 4 5; do
        expect_eq "$(fetch "http://$AT_VIP/")" rs1 "answer $count to a new client in the flood"
    done
    idle_conn_answers
    held=$(in_ns director "$TAPVS" ipvsadm -Lnc | grep -c "172\.16\." || true)
    # Those of the time before there was pressure.
    expect_between 0 "$held" 2000 "conns of the flood"
    wait "$flood" || die "the flood ended early"
    count=$(fast_syns)
    director_stop
    expect_between "$count" "$(ledger_of consumed.syn-cookie)" 170000 "SYNs that were answered by cookies"
}

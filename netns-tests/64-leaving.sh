# shellcheck shell=bash
# Conns whose server leaves, and conns that fall silent: what their two ends see of it.

# rules_of WEIGHT1 WEIGHT2: rs1 and rs2 by NAT; `-` leaves a server out.
rules_of() {
    {
        echo "-A -t $AT_VIP:80 -s rr"
        [[ $1 == - ]] || echo "-a -t $AT_VIP:80 -r $AT_RS1:8080 -m -w $1"
        [[ $2 == - ]] || echo "-a -t $AT_VIP:80 -r $AT_RS2:8080 -m -w $2"
    } >"$LAB_DIR/rules"
}

# rules_now WEIGHT1 WEIGHT2: the same, while the director runs.
rules_now() {
    local before
    before=$(reloads)
    rules_of "$@"
    kill -HUP "$DIRECTOR"
    wait_for 5 "the rules to be read again" reloads_exceed "$before"
}

reloads() { grep -cE 'reload: ([0-9]+ changes|nothing)' "$LAB_DIR/tapvs.log" || true; }

reloads_exceed() { (($(reloads) > $1)); }

# leaving OPTIONS...: two servers, and a transfer of 32 MiB from rs2 that takes some seconds.
leaving() {
    topo_onearm
    replies_through_director rs1 rs2
    serve rs1 rs2
    rules_of - 1
    director --rules "$LAB_DIR/rules" "$@"
    payload 32 >/dev/null
    # Slowly, with a small window: segments come and go all the time.
    fetch --max-time 30 --limit-rate 8M "http://$AT_VIP/files/payload-32" --output "$SCRATCH/got" 2>"$LAB_DIR/transfer.errors" &
    TRANSFER=$!
    wait_for 5 "the transfer's first bytes" test -s "$SCRATCH/got"
    rules_now 1 1
}

transfer_is_whole() {
    wait "$TRANSFER" || die "the transfer broke: $(cat "$LAB_DIR/transfer.errors")"
    cmp "$SCRATCH/got" "$(payload 32)" || die "the transfer differs"
}

size_of() { stat -c %s "$1"; }

# standstill: no byte of the transfer in half a second.
drops_for_a_gone_server() { in_ns director "$TAPVS" status | grep -q "dropped.dest-gone [1-9]"; }

standstill() {
    local before
    before=$(size_of "$SCRATCH/got")
    sleep 0.5
    (($(size_of "$SCRATCH/got") == before))
}

# families: 4 6
test_leaving_server_of_weight_0_keeps_what_it_has_and_gets_nothing_new() {
    leaving
    rules_now 1 0
    # Few, for the transfer must still go on when they are answered.
    requests 50 "http://$AT_VIP/"
    expect_shares rs1=50
    kill -0 "$TRANSFER" 2>/dev/null || die "the transfer was over before anything was seen of it"
    transfer_is_whole
}

# families: 4 6
# quiet
test_leaving_server_that_returns_goes_on_with_its_conns() {
    leaving
    rules_now 1 -
    # Between two bursts the transfer seems to stand still, too.
    wait_for 10 "a packet to the server that is gone" drops_for_a_gone_server
    wait_for 10 "the transfer to stand still" standstill
    expect_eq "$(fetch "http://$AT_VIP/")" rs1 "who answers meanwhile"
    kill -0 "$TRANSFER" 2>/dev/null || die "the transfer ended instead of waiting: $(cat "$LAB_DIR/transfer.errors")"
    rules_now 1 1
    transfer_is_whole
    fence client client "$DIP"
    expect_none client "src host $VIP and $IS_RESET" "a reset to the client"
    director_stop
    expect_between 1 "$(ledger_of dropped.dest-gone)" 1000000 "packets dropped in silence"
}

# families: 4 6
test_leaving_server_ends_its_conns_where_that_is_set() {
    leaving --sysctl expire_nodest_conn=1
    rules_now 1 -
    local code=0
    wait "$TRANSFER" || code=$?
    expect_eq "$code" 56 "what curl says of a conn that was reset: $(cat "$LAB_DIR/transfer.errors")"
    expect_seen client "src host $VIP and $IS_RESET" "the reset"
    expect_eq "$(fetch "http://$AT_VIP/")" rs1 "who answers the next request"
}

# ---- silence ---------------------------------------------------------------------------------------------------

# idle_conns METHOD OPTIONS...: three conns that say nothing after their first answer, and a time-out of two seconds.
idle_conns() {
    local method=$1
    shift
    topo_onearm
    replies_through_director rs1
    serve rs1
    printf -- "--set 2 2 2\n-A -t $AT_VIP:80 -s rr\n-a -t $AT_VIP:80 -r $AT_RS1:80 %s\n" "$method" >"$LAB_DIR/rules"
    director --rules "$LAB_DIR/rules" "$@"
    hold_open 3
    expect_eq "$(open_at client) $(open_at rs1)" "3 3" "conns open at the client and at the server"
}

# open_at ROLE: established conns there, of the service.
open_at() { in_ns "$1" ss -Htn state established '( sport = :80 or dport = :80 )' | wc -l; }

none_open() { (($(open_at client) + $(open_at rs1) == 0)); }

# families: 4 6
test_silent_conns_by_fullnat_are_reset_at_both_ends() {
    idle_conns --fullnat
    wait_for 6 "both ends to know that the conns are over" none_open
    expect_seen client "src host $VIP and $IS_RESET" "a reset at the client"
    expect_seen rs1 "src host $DIP and $IS_RESET" "a reset at the server"
}

# families: 4 6
test_silent_conns_by_nat_are_reset_where_that_is_set() {
    idle_conns -m --sysctl expire_reset=1
    wait_for 6 "both ends to know that the conns are over" none_open
}

# questions END ADDRESS: how often the ends of a conn were asked there. Only the director sends segments without timestamps.
questions() { captured "$1" "tcp[13] == 16 and ip[2:2] == 40 and src host $2"; }
were_asked() { (($(questions client "$VIP") >= $1 && $(questions rs1 "$DIP") >= $1)); }
none_open_at() { (($(open_at "$1") == 0)); }

# limit: 120
test_silent_conns_live_on_while_both_ends_answer() {
    idle_conns --fullnat --sysctl keepalive=2 --sysctl keepalive_interval=1
    wait_for 20 "three conns to be asked three times" were_asked 9
    expect_eq "$(open_at client) $(open_at rs1)" "3 3" "conns that are open still"
    expect_none rs1 "$IS_RESET" "a reset"
    # The client is gone: its server is told.
    in_ns client ip link set eth0 down
    wait_for 20 "the server to know that its client is gone" none_open_at rs1
    expect_seen rs1 "src host $DIP and $IS_RESET" "a reset at the server"
}

test_silent_conns_by_nat_end_in_silence() {
    idle_conns -m
    sleep 4
    expect_eq "$(open_at client) $(open_at rs1)" "3 3" "conns that both ends still believe in"
    fence client client "$DIP"
    expect_none client "$IS_RESET" "a reset"
    # The conn is gone all the same: what is said on it now is answered by a reset.
    expect_eq "$(fetch "http://$AT_VIP/")" rs1 "an answer to a new conn"
}

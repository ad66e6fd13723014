# shellcheck shell=bash
# Crashes, kills and new starts: what a client, a conn and an operator notice of them.

tv() { in_ns director "$TAPVS" "$@"; }

# is_judged SERVER STATE: as tapvs health says.
is_judged() { tv health | grep -qE "$1 .*, $2"; }

# survives_kills SERVER...: the load, and a new request each time, while the worker is killed again and again.
survives_kills() {
    serve rs1 rs2
    local round before failed=0
    serving_load "$@"
    load_begins
    for ((round = 1; round <= ${ROUNDS:-10}; round++)); do
        before=$(worker)
        moment
        kill -KILL "$before"
        [[ -n $(fetch "http://$AT_VIP/") ]] || failed=$((failed + 1))
        wait_for 5 "another worker" another_worker_than "$before"
    done
    expect_eq "$failed" 0 "requests that failed in ${ROUNDS:-10} kills"
    load_ended
}

# families: 4 6
# A new request right after the kill waits in the TAP's queue.
test_killed_workers_are_not_noticed_nat() {
    topo_onearm
    replies_through_director rs1 rs2
    survives_kills "$AT_RS1:8080,nat" "$AT_RS2:8080,nat"
}

# families: 4 6
test_killed_workers_are_not_noticed_fullnat() {
    topo_onearm
    survives_kills "$AT_RS1:8080,fullnat" "$AT_RS2:8080,fullnat"
}

# families: 4 6
test_killed_workers_are_not_noticed_direct() {
    topo_onearm
    realserver rs1
    realserver rs2
    survives_kills "$AT_RS1,direct" "$AT_RS2,direct"
}

# families: 4 6
test_killed_workers_are_not_noticed_tunnel() {
    topo_onearm
    realserver rs1 --tunnel
    realserver rs2 --tunnel
    survives_kills "$AT_RS1,tunnel" "$AT_RS2,tunnel"
}

# survives_a_stop SERVER...: a worker that stands still for five seconds and goes on, by `serving` of these servers.
survives_a_stop() {
    serve rs1 rs2
    local sum worker
    sum=$(md5sum <"$(payload 16)")
    serving "$@"
    long_download one
    idle_conn
    worker=$(worker)
    kill -STOP "$worker"
    defer quietly kill -CONT "$worker"
    sleep 5 # time itself: that is how long it stands still
    kill -CONT "$worker"
    expect_match "$(fetch "http://$AT_VIP/")" "rs[12]" "an answer afterwards"
    expect_eq "$(worker)" "$worker" "the worker"
    idle_conn_answers
    wait_for 60 "the end of the download" has_ended one
    expect_eq "$(cat "$LAB_DIR/one")" "$sum" "the checksum of the download"
}

# families: 4 6
test_a_stopped_worker_goes_on_when_it_may_nat() {
    topo_onearm
    replies_through_director rs1 rs2
    survives_a_stop "$AT_RS1:8080,nat" "$AT_RS2:8080,nat"
}

# families: 4 6
test_a_stopped_worker_goes_on_when_it_may_fullnat() {
    topo_onearm
    survives_a_stop "$AT_RS1:8080,fullnat" "$AT_RS2:8080,fullnat"
}

# families: 4 6
test_a_stopped_worker_goes_on_when_it_may_direct() {
    topo_onearm
    realserver rs1
    realserver rs2
    survives_a_stop "$AT_RS1,direct" "$AT_RS2,direct"
}

# families: 4 6
test_a_stopped_worker_goes_on_when_it_may_tunnel() {
    topo_onearm
    realserver rs1 --tunnel
    realserver rs2 --tunnel
    survives_a_stop "$AT_RS1,tunnel" "$AT_RS2,tunnel"
}

# A crash must change nothing, also where the file was edited, or broken, and not read again.
test_a_replaced_worker_goes_on_with_what_was_read_and_said() {
    topo_onearm
    replies_through_director rs1 rs2 rs3
    serve rs1 rs2
    printf '%s\n' "[[link]]" "bridge = \"br0\"" "tap = \"tap0\"" "address = \"$DIP/$NET_BITS\"" "[[service]]" \
        "tcp = \"$AT_VIP:80\"" "scheduler = \"rr\"" "check = { kind = \"tcp\", interval = \"300ms\", fast_interval = \"100ms\" }" \
        >"$LAB_DIR/tapvs.toml"
    printf '[[service.server]]\naddress = "%s"\nmethod = "nat"\n' "$RS1:8080" "$RS2:8080" "$RS3:8080" >>"$LAB_DIR/tapvs.toml"
    director_from_file
    wait_for 10 "the verdict on rs3" is_judged "$RS3:8080" failed
    tv drain "tcp/$VIP:80" "$RS2:8080" >/dev/null
    tv set sloppy_tcp 1 >/dev/null
    tv mark add "7=tcp/$VIP:81" >/dev/null
    echo "this is no configuration" >"$LAB_DIR/tapvs.toml"
    local before marks
    marks=$(tv mark list)
    before=$(worker)
    kill -KILL "$before"
    wait_for 5 "another worker" another_worker_than "$before"

    requests 30 "http://$AT_VIP/"
    expect_shares rs1=30
    expect_match "$(tv get sloppy_tcp)" "^1$" "the setting"
    expect_eq "$(tv mark list)" "$marks" "the mark rules"
    expect_match "$(tv reload 2>&1 || true)" "tapvs.toml:1" "what a reload says of the broken file"
}

test_conns_rules_and_counters_outlive_keeper_and_worker() {
    topo_onearm
    replies_through_director rs1 rs2
    serve rs1 rs2
    local sum
    sum=$(md5sum <"$(payload 16)")
    serving "$RS1:8080,nat" "$RS2:8080,nat"
    with_ipvsadm
    lb -A -t "$VIP:81" -s rr -p 300
    lb -a -t "$VIP:81" -r "$RS1:8080" -m -w 7
    fetch "http://$AT_VIP:81/" >/dev/null
    long_download one
    wait_for 5 "the download to run" lists 'Masq +1 +1 '
    local rules conns
    rules=$(lb -Sn | sort)
    conns=$(lb -Lnc | awk 'NR > 2 { print $1, $4, $5, $6 }' | sort)

    kill -KILL "$DIRECTOR"
    wait "$DIRECTOR" 2>/dev/null || true
    sleep 1 # time itself: clients have sent meanwhile
    wait_for 5 "its worker's end" lacks_tap director
    director_start

    expect_eq "$(lb -Sn | sort)" "$rules" "the rules after the kill"
    expect_eq "$(lb -Lnc | awk 'NR > 2 { print $1, $4, $5, $6 }' | sort)" "$conns" "the conns after the kill"
    expect_match "$(lb -Ln --stats)" "$VIP:81 +1 " "the service's counter of conns"
    wait_for 30 "the end of the download" has_ended one
    expect_eq "$(cat "$LAB_DIR/one")" "$sum" "the checksum of the download"
}

test_a_stop_leaves_the_state_and_fresh_and_forget_do_not() {
    topo_onearm
    serving "$RS1:8080,nat"
    with_ipvsadm
    lb -A -t "$VIP:81" -s rr
    director_stop
    director_start
    expect lists "$VIP:81"
    director_stop
    director_args+=(--fresh)
    director_start
    expect_eq "$(lb -Ln | grep -c "$VIP:81")" 0 "services of the run before, with --fresh"
    lb -A -t "$VIP:82" -s rr
    director_stop
    director_args[-1]=--forget
    director_start
    expect lists "$VIP:82"
    director_stop
    unset 'director_args[-1]'
    director_start
    expect_eq "$(lb -Ln | grep -c "$VIP:82")" 0 "services of the run before, which had --forget"
}

# damage FILE HOW: makes a state file unusable.
damage() {
    case $2 in
        cut) truncate -s 100000 "$1" ;;
        # The whole number: one byte of it may be the same by chance.
        header) printf '\xff%.0s' {1..8} | dd of="$1" bs=1 seek=40 conv=notrunc status=none ;;
        noise) head -c 1000000 /dev/urandom >"$1" ;;
        link) rm "$1" && ln -s /etc/hostname "$1" ;;
        others) chmod 666 "$1" ;;
        version) printf '\x09' | dd of="$1" bs=1 seek=8 conv=notrunc status=none ;;
        journal) printf '\xff' | dd of="$1" bs=1 seek=$((4096 + (64 << 20) + 40)) conv=notrunc status=none ;;
        directory) rm "$1" && mkdir "$1" ;;
        fifo) rm "$1" && mkfifo "$1" ;;
    esac
}

test_a_damaged_state_is_set_aside_with_one_line() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    serving "$RS1:8080,nat"
    local how state
    state=$(echo /run/tapvs/*"@$LAB_NAME-director.state")
    for how in cut header noise link others version journal directory fifo; do
        director_stop
        damage "$state" "$how"
        director_start
        expect_eq "$(fetch "http://$AT_VIP/")" rs1 "the answer after a state with damage '$how'"
        expect_eq "$(grep -c 'set aside' "$LAB_DIR/tapvs.log")" 1 "lines about damage '$how'"
    done
    expect_eq "$(cat /etc/hostname)" "$(hostname)" "the file that the link led to"
}

# Conns are then in the process alone, as before there was a file.
test_without_room_for_the_state_it_serves_all_the_same() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    mkdir "$LAB_DIR/small"
    mount -t tmpfs -o size=64k none "$LAB_DIR/small"
    defer umount -l "$LAB_DIR/small"
    export TAPVS_SOCKET=$LAB_DIR/small/lb.sock
    serving "$RS1:8080,nat"
    expect_eq "$(fetch "http://$AT_VIP/")" rs1 "the answer with a full file system"
    expect_match "$(cat "$LAB_DIR/tapvs.log")" "no state is kept: no room" "the line about it"
    director_stop
    # None of the names is free.
    rm -f "$LAB_DIR/small/lb.state"*
    mkdir "$LAB_DIR/small/lb.state" "$LAB_DIR/small/lb.state.bad-"{1..10}
    touch "$LAB_DIR/small/lb.state.bad-10/file"
    director_start
    expect_eq "$(fetch "http://$AT_VIP/")" rs1 "the answer without a place for the file"
    expect_match "$(cat "$LAB_DIR/tapvs.log")" "conns and rules will not outlive this run" "the line about that"
}

# has_failed_requests FILE: as wrk counts them.
has_failed_requests() { grep -qE "Socket errors|Non-2xx" "$LAB_DIR/$1.log"; }

# survives_kills_under_load METHOD FLAG PORT: iperf3, and wrk with and without keep-alive, while the worker is killed again and again.
survives_kills_under_load() {
    serve rs1 rs2
    spawn iperf3d rs1 iperf3 -s
    wait_for 10 "iperf3" listens rs1 tcp 5201
    local name before rounds=0
    serving "$AT_RS1$3,$1" "$AT_RS2$3,$1"
    with_ipvsadm
    lb -A -t "$AT_VIP:5201" -s rr
    lb -a -t "$AT_VIP:5201" -r "$AT_RS1:5201" "$2"
    spawn iperf3 client bash -c "iperf3 -c '$VIP' -t 6 --connect-timeout 20000 && echo ended"
    spawn keep client bash -c "wrk -t 1 -c 8 -d 6s --timeout 30s 'http://$AT_VIP/' && echo ended"
    spawn close client bash -c "wrk -t 1 -c 8 -d 6s --timeout 30s -H 'Connection: close' 'http://$AT_VIP/' && echo ended"
    until grep -q ended "$LAB_DIR/keep.log" && grep -q ended "$LAB_DIR/close.log" && grep -q ended "$LAB_DIR/iperf3.log"; do
        before=$(worker)
        kill -KILL "$before"
        wait_for 10 "another worker" another_worker_than "$before"
        rounds=$((rounds + 1))
        ((rounds < 500)) || die "the load does not end: $(tail -n 3 "$LAB_DIR/"{keep,close,iperf3}.log)"
        sleep 0.2 # time itself: what is killed has worked for a while
    done
    for name in keep close; do
        ! has_failed_requests "$name" || die "requests failed in $rounds kills: $(grep -E 'Socket|Non' "$LAB_DIR/$name.log")"
    done
    ! grep -q error "$LAB_DIR/iperf3.log" || die "iperf3 failed in $rounds kills: $(grep error "$LAB_DIR/iperf3.log")"
    ((rounds >= 1)) || die "no kill under load"
    echo "$rounds kills; $(grep -h Requests/sec "$LAB_DIR/keep.log" "$LAB_DIR/close.log" | tr -s '\n ' ' ')"
}

# families: 4 6
test_killed_workers_are_not_noticed_under_load_nat() {
    topo_onearm
    replies_through_director rs1 rs2
    survives_kills_under_load nat -m :8080
}

# families: 4 6
test_killed_workers_are_not_noticed_under_load_direct() {
    topo_onearm
    realserver rs1
    realserver rs2
    survives_kills_under_load direct -g ""
}

# service PORT SCHEDULER: a service of the file, with both servers.
service() {
    printf '%s\n' "[[service]]" "tcp = \"$AT_VIP:$1\"" "scheduler = \"$2\""
    printf '[[service.server]]\naddress = "%s"\nmethod = "nat"\n' "$AT_RS1:8080" "$AT_RS2:8080"
}

# families: 4 6
# As where a package's new configuration comes with a restart.
test_a_stop_and_a_start_with_a_changed_file_keep_conns_and_do_the_changes() {
    topo_onearm
    replies_through_director rs1 rs2
    serve rs1 rs2
    local sum link
    sum=$(md5sum <"$(payload 16)")
    link=$(printf '%s\n' "[[link]]" "bridge = \"br0\"" "tap = \"tap0\"" "address = \"$DIP/$NET_BITS\"")
    { echo "$link" && service 80 rr; } >"$LAB_DIR/tapvs.toml"
    director_from_file
    with_ipvsadm
    lb -A -t "$AT_VIP:82" -s rr
    lb -a -t "$AT_VIP:82" -r "$AT_RS1:8080" -m -w 5
    long_download one
    idle_conn
    wait_for 10 "the download's conn and the idle one" has_conns 2
    local client
    client=$(lb -Lnc | awk 'NR > 2 { print $1, $4, $6 }' | sort)
    director_stop
    { echo "$link" && service 80 wlc && service 81 lc; } >"$LAB_DIR/tapvs.toml"
    director_start
    expect_eq "$(lb -Lnc | awk 'NR > 2 { print $1, $4, $6 }' | sort)" "$client" "the conns after the start"
    expect_eq "$(lb -Sn | grep -c -e "-A -t .*:80 -s wlc" -e "-A -t .*:81 -s lc" -e "-A -t .*:82 -s rr" -e ":82 -r .* -w 5")" 4 \
        "changes of the file and rules made by hand"
    expect_match "$(fetch "http://$AT_VIP:81/")" "^rs[12]" "the answer of the service that is new"
    idle_conn_answers
    wait_for 60 "the end of the download" has_ended one
    expect_eq "$(cat "$LAB_DIR/one")" "$sum" "the checksum of the download"
}

# has_conns NUMBER: established ones at the service on port 80.
has_conns() { (($(lb -Lnc | grep -c "ESTABLISHED") >= $1)); }

# survives_new_starts SERVER...: a download and an idle conn while keeper and worker are killed, the worker stands still, and
# the director ends and is started with other flags.
survives_new_starts() {
    serve rs1 rs2
    local sum worker
    sum=$(md5sum <"$(payload 16)")
    serving "$@"
    with_ipvsadm
    long_download one
    idle_conn
    wait_for 10 "the download's conn and the idle one" has_conns 2

    worker=$(worker)
    kill_at_once "$DIRECTOR" "$worker"
    wait_for 5 "the TAP to go" lacks_tap director
    sleep 1 # time itself: clients have sent meanwhile
    director_start
    # The download may be over.
    expect has_conns 1

    worker=$(worker)
    kill -STOP "$worker"
    defer quietly kill -CONT "$worker"
    sleep 1 # time itself: that is how long it stands still
    kill -CONT "$worker"
    expect_eq "$(worker)" "$worker" "the worker that stood still"

    director_stop
    director_args=("${director_args[@]/#rr/wlc}")
    director_start
    expect has_conns 1
    expect lists "TCP +.*:80 wlc"
    idle_conn_answers
    wait_for 60 "the end of the download" has_ended one
    expect_eq "$(cat "$LAB_DIR/one")" "$sum" "the checksum of the download"
}

# families: 4 6
test_new_starts_are_survived_nat() {
    topo_onearm
    replies_through_director rs1 rs2
    survives_new_starts "$AT_RS1:8080,nat" "$AT_RS2:8080,nat"
}

# families: 4 6
test_new_starts_are_survived_fullnat() {
    topo_onearm
    survives_new_starts "$AT_RS1:8080,fullnat" "$AT_RS2:8080,fullnat"
}

# families: 4 6
test_new_starts_are_survived_direct() {
    topo_onearm
    realserver rs1
    realserver rs2
    survives_new_starts "$AT_RS1,direct" "$AT_RS2,direct"
}

# families: 4 6
test_new_starts_are_survived_tunnel() {
    topo_onearm
    realserver rs1 --tunnel
    realserver rs2 --tunnel
    survives_new_starts "$AT_RS1,tunnel" "$AT_RS2,tunnel"
}

# It is taken for what they die of. A worker is killed as soon as it is there, long before it has read anything.
test_a_state_that_workers_die_of_is_set_aside() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    serving "$RS1:8080,nat"
    local child until=$((SECONDS + 60))
    until [[ $(<"$LAB_DIR/tapvs.log") == *"again and again while they read it"* ]]; do
        ((SECONDS < until)) || die "no state was set aside: $(tail -n 3 "$LAB_DIR/tapvs.log")"
        # The file has no end of line.
        read -r child _ <"/proc/$DIRECTOR/task/$DIRECTOR/children" || [[ -z $child ]] || kill -KILL "$child" 2>/dev/null || true
    done
    expect_eq "$(fetch --retry 5 --retry-connrefused "http://$AT_VIP/")" rs1 "the answer without that state"
    expect_eq "$(echo /run/tapvs/*"@$LAB_NAME-director.state.bad"* | wc -w)" 1 "states set aside"
}

# While nothing is asked of it, it asks for no memory: it does not run.
test_a_keeper_sleeps_while_its_worker_works() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    serving "$RS1:8080,nat"
    with_ipvsadm
    requests 20 "http://$AT_VIP/"
    local before
    before=$(turns_of "$DIRECTOR")
    requests 200 "http://$AT_VIP/"
    expect lists "$VIP:80"
    expect_eq "$(turns_of "$DIRECTOR")" "$before" "how often the keeper was given a processor and gave it back"
}

turns_of() { awk '/ctxt_switches/ { sum += $2 } END { print sum }' "/proc/$1/status"; }

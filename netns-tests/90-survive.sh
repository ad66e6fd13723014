# shellcheck shell=bash
# Crashes, kills and new starts: what a client, a conn and an operator notice of them.

another_worker_than() { local now && now=$(worker) && [[ $now != "$1" ]]; }

# long_download FILE: a slow one of 16 MiB in the background; its checksum is in FILE when it ends, or what went wrong.
long_download() {
    local url=http://$AT_VIP/files/payload-16
    spawn "$1.log" client bash -c "set -o pipefail; sum=\$(curl --silent --max-time 90 --limit-rate 2M '$url' | md5sum) || sum=failed; echo \"\$sum\" >'$LAB_DIR/$1'"
}

has_ended() { [[ -s $LAB_DIR/$1 ]]; }

# survives_kills METHOD: a download and new requests while the worker is killed again and again.
survives_kills() {
    serve rs1 rs2
    local sum
    sum=$(md5sum <"$(payload 16)")
    serving "$RS1:$2,$1" "$RS2:$2,$1"
    long_download one
    sleep 0.5 # time itself: some of the download is through
    local round before failed=0
    for round in {1..20}; do
        before=$(worker)
        kill -KILL "$before"
        [[ -n $(fetch "http://$AT_VIP/") ]] || failed=$((failed + 1))
        wait_for 5 "another worker" another_worker_than "$before"
    done
    expect_eq "$failed" 0 "requests that failed in $round kills"
    wait_for 30 "the end of the download" has_ended one
    expect_eq "$(cat "$LAB_DIR/one")" "$sum" "the checksum of the download"
}

# A new request right after the kill waits in the TAP's queue.
test_killed_workers_are_not_noticed_nat() {
    topo_onearm
    replies_through_director rs1 rs2
    survives_kills nat 8080
}

test_killed_workers_are_not_noticed_fullnat() {
    topo_onearm
    survives_kills fullnat 8080
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
        header) printf '\xff' | dd of="$1" bs=1 seek=40 conv=notrunc status=none ;;
        noise) head -c 1000000 /dev/urandom >"$1" ;;
        link) rm "$1" && ln -s /etc/hostname "$1" ;;
        others) chmod 666 "$1" ;;
    esac
}

test_a_damaged_state_is_set_aside_with_one_line() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    serving "$RS1:8080,nat"
    local how state
    state=$(echo /run/tapvs/*"@$LAB_NAME-director.state")
    for how in cut header noise link others; do
        director_stop
        damage "$state" "$how"
        director_start
        expect_eq "$(fetch "http://$AT_VIP/")" rs1 "the answer after a state with damage '$how'"
        expect_eq "$(grep -c 'set aside' "$LAB_DIR/tapvs.log")" 1 "lines about damage '$how'"
    done
    expect_eq "$(cat /etc/hostname)" "$(hostname)" "the file that the link led to"
}

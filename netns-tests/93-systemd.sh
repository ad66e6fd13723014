# shellcheck shell=bash
# The service manager: what it is told, and when; and the unit that is offered.

tv() { in_ns director "$TAPVS" "$@"; }

# manager ADDRESS [USEC]: a service manager listens there, with a watchdog if it says how long.
manager() {
    spawn manager director netns-tests/listen-notify.py "$1"
    wait_for 10 "the manager" grep -q listening "$LAB_DIR/manager.log"
    export NOTIFY_SOCKET=$1
    [[ -z ${2:-} ]] || export WATCHDOG_USEC=$2
}

# told REGEX: how often it was told such a thing.
told() { grep -cE "$1" "$LAB_DIR/manager.log" || true; }

told_more_than() { (($(told "$1") > $2)); }

# config PORT: a configuration with a service.
config() {
    printf '%s\n' "[[link]]" "bridge = \"br0\"" "tap = \"tap0\"" "address = \"$DIP/$NET_BITS\"" "[[service]]" \
        "tcp = \"$AT_VIP:$1\"" "scheduler = \"rr\"" "[[service.server]]" "address = \"$RS1:8080\"" "method = \"nat\"" \
        >"$LAB_DIR/tapvs.toml"
}

test_a_manager_is_told_when_the_director_serves_reloads_and_ends() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    manager "$LAB_DIR/notify.sock"
    echo "this is no configuration" >"$LAB_DIR/tapvs.toml"
    expect_match "$(in_ns director "$TAPVS" run --config "$LAB_DIR/tapvs.toml" 2>&1 || true)" "tapvs.toml:1" "a start that fails"
    config 80
    director_from_file
    wait_for 10 "the first word" told_more_than '^READY=1\|STATUS=serving: worker [0-9]' 0
    expect_eq "$(grep -m 2 -n READY "$LAB_DIR/manager.log" | cut -d: -f1)" 2 "the place of the only READY among what was said"
    expect_eq "$(fetch "http://$AT_VIP/")" rs1 "the answer of who is ready"

    config 81
    tv reload >/dev/null
    wait_for 10 "the end of the reload" told_more_than '^READY=1' 1
    expect_eq "$(told '^RELOADING=1\|MONOTONIC_USEC=[0-9]+\|STATUS=')" 1 "reloads by the command"
    kill -HUP "$DIRECTOR"
    wait_for 10 "the end of the second reload" told_more_than '^READY=1' 2
    echo "this is no configuration" >"$LAB_DIR/tapvs.toml"
    tv reload >/dev/null 2>&1 || true
    wait_for 10 "the end of the reload that fails" told_more_than '^READY=1' 3
    expect_eq "$(told '^RELOADING=1\|MONOTONIC_USEC=[0-9]+\|STATUS=')" 3 "reloads by command and signal"

    kill -KILL "$(worker)"
    wait_for 10 "another worker" told_more_than '^READY=1' 4
    expect_eq "$(told '^STATUS=another worker is started: killed by SIGKILL')" 1 "what is said of the killed worker"
    director_stop
    expect_match "$(tail -n 1 "$LAB_DIR/manager.log")" '^STOPPING=1' "the last word"
}

# Only the loop that handles packets feeds the watchdog.
test_the_watchdog_hears_of_a_worker_that_works_and_of_no_other() {
    topo_onearm
    manager "@$LAB_NAME-notify" 600000
    serving "$RS1:8080,nat"
    wait_for 10 "signs of life" told_more_than '^WATCHDOG=1' 2
    local worker count
    worker=$(worker)
    kill -STOP "$worker"
    defer quietly kill -CONT "$worker"
    wait_for 10 "the worker to stand still" stands_still "$worker"
    count=$(told '^WATCHDOG=1')
    sleep 2 # time itself: more than the manager would wait
    # One may have been on its way.
    expect_between "$count" "$(told '^WATCHDOG=1')" $((count + 1)) "signs of life while the worker stands still"
    kill -CONT "$worker"
    wait_for 10 "signs of life again" told_more_than '^WATCHDOG=1' $((count + 1))
}

stands_still() { [[ $(process_state "$1") == T ]]; }

test_the_unit_is_sound_and_strict() {
    scripts/need systemd-analyze
    sed "s|/usr/sbin/tapvs|$TAPVS|" docs/tapvs.service >"$LAB_DIR/tapvs.service"
    # Of other units on this machine it may speak too, but does not fail for them.
    systemd-analyze verify --man=no "$LAB_DIR/tapvs.service" >"$LAB_DIR/verify" 2>&1 || die "$(cat "$LAB_DIR/verify")"
    ! grep tapvs "$LAB_DIR/verify" || die "systemd-analyze verify complains"
    systemd-analyze security --offline=yes --threshold=20 --no-pager "$LAB_DIR/tapvs.service" >"$LAB_DIR/security" ||
        die "$(grep -e '✗' -e Overall "$LAB_DIR/security")"
}

# shellcheck shell=bash
# What a director that was taken over could do: nothing but what its worker needs; and where it runs without root.

tv() { in_ns director "$TAPVS" "$@"; }

# right PID ROW: that row of /proc/PID/status, its first word.
right() { awk -v row="$2:" '$1 == row { print $2 }' "/proc/$1/status"; }

# expect_enclosed PID UID: a process of that user that has no rights and can gain none.
expect_enclosed() {
    local row
    expect_eq "$(right "$1" Uid)" "$2" "the worker's user"
    for row in CapInh CapPrm CapEff CapAmb; do
        expect_eq "$((16#$(right "$1" $row)))" 0 "$row of the worker"
    done
    expect_eq "$(right "$1" NoNewPrivs) $(right "$1" Seccomp)" "1 2" "the worker's no_new_privs and seccomp"
}

# expect_few_rights PID: a keeper that may change the network, and has no other right in force.
expect_few_rights() {
    local net_admin=$((1 << 12))
    expect_eq "$((16#$(right "$1" CapEff)))" "$net_admin" "the keeper's capabilities"
    expect_eq "$((16#$(right "$1" CapInh) + 16#$(right "$1" CapAmb)))" 0 "what the keeper would hand on"
    expect_eq "$(right "$1" NoNewPrivs) $(right "$1" Seccomp)" "1 2" "the keeper's no_new_privs and seccomp"
}

# writable_files PID: what it has open for writing and is neither socket, pipe, device nor anonymous.
writable_files() {
    local fd flags
    for fd in "/proc/$1/fd/"*; do
        flags=$(awk '/^flags/ { print $2 }' "/proc/$1/fdinfo/${fd##*/}" 2>/dev/null) || continue
        (((8#${flags:-0} & 3) == 0)) || readlink "$fd"
    done | grep -E '^/' | grep -vE '^/dev/' || true
}

test_a_worker_has_no_rights_and_its_keeper_few() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    serving "$RS1:8080,nat"
    local worker nobody threads
    worker=$(worker) nobody=$(id -u tapvs 2>/dev/null || id -u nobody)
    expect_enclosed "$worker" "$nobody"
    expect_eq "$((16#$(right "$worker" CapBnd)))" 0 "what the worker could gain"
    expect_few_rights "$DIRECTOR"
    for threads in "/proc/$worker/task/"*; do
        expect_eq "$(awk '/^Seccomp:/ { print $2 }' "$threads/status")" 2 "seccomp of each thread"
        expect_eq "$(awk '/^CapEff:/ { print $2 }' "$threads/status")" 0000000000000000 "capabilities of each thread"
    done
    expect_eq "$(writable_files "$worker" | grep -vE "\.state$|tapvs\.log$")" "" "files that the worker may write"
    expect_eq "$(fetch "http://$AT_VIP/")" rs1 "an answer"
    # A crash leaves the keeper with the means to start another one that has none.
    kill -KILL "$worker"
    wait_for 10 "another worker" another_worker_than "$worker"
    expect_eq "$(fetch "http://$AT_VIP/")" rs1 "an answer after a crash"
    expect_enclosed "$(worker)" "$nobody"
    expect_few_rights "$DIRECTOR"
    ! grep -q "sandbox refuses" "$LAB_DIR/tapvs.log" || die "the worker was refused a call: $(grep refuses "$LAB_DIR/tapvs.log")"
}

another_worker_than() { local now && now=$(worker) && [[ -n $now && $now != "$1" ]]; }

test_the_user_is_chosen_and_the_sandbox_left_out() {
    topo_onearm
    director_options --user 4711:4712
    serving "$RS1:8080,nat"
    expect_enclosed "$(worker)" 4711
    expect_eq "$(right "$(worker)" Gid)" 4712 "the worker's group"
    expect_eq "$(awk '/^Groups:/ { print NF }' "/proc/$(worker)/status")" 1 "the worker's other groups"
    director_stop
    director_options --no-sandbox
    serving "$RS1:8080,nat"
    expect_eq "$(right "$(worker)" Uid) $(right "$(worker)" Seccomp) $(right "$DIRECTOR" Seccomp)" "0 0 0" "without the sandbox"
    director_stop
    local said
    said=$(tv run --bridge br0 --address "$DIP/$NET_BITS" --user none-of-this-name 2>&1 || true)
    expect_match "$said" "--user none-of-this-name: there is no such user; make it, or name another" "a user that is not there"
}

# A program runs as who handles packets, and as another user where the configuration says so: without rights either way.
test_programs_of_checks_have_no_rights_either() {
    topo_onearm
    local times="interval = \"300ms\", timeout = \"5s\"" script
    script="grep -E '^(Uid|CapEff|CapPrm|NoNewPrivs):' /proc/self/status >\$0"
    touch "$LAB_DIR/one" "$LAB_DIR/two"
    chown 4711 "$LAB_DIR/one" "$LAB_DIR/two"
    {
        printf '%s\n' 'user = "4711"' "[[link]]" "bridge = \"br0\"" "tap = \"tap0\"" "address = \"$DIP/$NET_BITS\"" \
            "[[service]]" "tcp = \"$AT_VIP:80\"" "scheduler = \"rr\"" "[[service.server]]" "address = \"$RS1:8080\"" 'method = "nat"' \
            "check = [{ kind = \"exec\", command = [\"/bin/sh\", \"-c\", \"$script\", \"$LAB_DIR/one\"], $times }," \
            "  { kind = \"exec\", command = [\"/bin/sh\", \"-c\", \"$script\", \"$LAB_DIR/two\"], user = \"root\", $times }]"
    } >"$LAB_DIR/tapvs.toml"
    chmod 666 "$LAB_DIR/two"
    director_from_file
    wait_for 10 "both programs" both_have_run
    expect_eq "$(awk '{ printf "%s ", $2 }' "$LAB_DIR/one")" "4711 0000000000000000 0000000000000000 1 " "the worker's user's program"
    expect_eq "$(awk '{ printf "%s ", $2 }' "$LAB_DIR/two")" "0 0000000000001000 0000000000001000 1 " "root's program"
}

both_have_run() { (($(wc -l <"$LAB_DIR/one") == 4 && $(wc -l <"$LAB_DIR/two") == 4)); }

# limited COMMAND...: a director started by it, ready, and an answer through it.
limited() {
    bridge_state >"$LAB_DIR/bridge.before"
    : >"$LAB_DIR/tapvs.log"
    spawn tapvs director "$@" "$TAPVS" run --bridge br0 --tap tap0 --address "$DIP/$NET_BITS" --fresh \
        --service "tcp/$AT_VIP:80" --scheduler rr --server "$RS1:8080,nat"
    DIRECTOR=$SPAWNED
    wait_for 10 "tapvs to be ready" grep -qw ready "$LAB_DIR/tapvs.log"
    expect_eq "$(fetch "http://$AT_VIP/")" rs1 "an answer"
}

# Where a system does not let go of a right, one line says so, and the rest is given up all the same.
test_what_cannot_be_given_up_is_said_in_one_line() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    local nobody said
    nobody=$(id -u tapvs 2>/dev/null || id -u nobody)
    limited netns-tests/without-seccomp.py
    expect_eq "$(grep -c "cannot give up" "$LAB_DIR/tapvs.log")" 1 "lines about it"
    expect_match "$(<"$LAB_DIR/tapvs.log")" "keeps rights that it cannot give up here: seccomp: .*Invalid argument" "what is said"
    expect_eq "$(right "$(worker)" Uid) $((16#$(right "$(worker)" CapPrm)))" "$nobody 0" "the worker's user and capabilities"
    expect_eq "$((16#$(right "$DIRECTOR" CapEff)))" "$((1 << 12))" "the keeper's capabilities"
    director_stop

    limited env CAPSET=no netns-tests/without-seccomp.py
    expect_eq "$(grep -c "cannot give up" "$LAB_DIR/tapvs.log")" 1 "lines about it"
    expect_match "$(<"$LAB_DIR/tapvs.log")" "capabilities: .*not permitted .*, seccomp: " "what is said"
    expect_eq "$(right "$(worker)" Uid) $((16#$(right "$(worker)" CapPrm)))" "$nobody 0" "the worker's user and capabilities"
    director_stop

    # Root of a container that may not become another user.
    limited setpriv --bounding-set=-all,+net_admin --inh-caps=-all,+net_admin
    expect_match "$(<"$LAB_DIR/tapvs.log")" "the worker stays root, without rights" "what is said"
    expect_enclosed "$(worker)" 0
    expect_few_rights "$DIRECTOR"
    director_stop

    said=$(in_ns director netns-tests/without-seccomp.py "$TAPVS" run --sandbox --bridge br0 --address "$DIP/$NET_BITS" 2>&1 || true)
    expect_match "$said" "cannot give up rights: seccomp: .*; --no-sandbox keeps them all" "what was asked for and cannot be had"
}

# The end of a keeper is its worker's, whoever it is and whatever it does.
test_a_worker_that_stands_still_ends_with_its_keeper() {
    topo_onearm
    serving "$RS1:8080,nat"
    local worker started
    worker=$(worker) started=$(start_time "$worker")
    kill -STOP "$worker"
    kill -KILL "$DIRECTOR"
    wait "$DIRECTOR" 2>/dev/null || true
    DIRECTOR=
    wait_for 5 "the worker's end" is_gone "$worker" "$started"
}

is_gone() { ! process_is "$1" "$2"; }

# run_enclosed HOW...: a director by that command, which has a device of its own for TAPs; ready.
run_enclosed() {
    bridge_state >"$LAB_DIR/bridge.before"
    mknod "$LAB_DIR/tun" c 10 200 && chmod 666 "$LAB_DIR/tun"
    cp "$TAPVS" "$SCRATCH/tapvs" && chmod 755 "$SCRATCH" "$SCRATCH/tapvs"
    mkdir "$LAB_DIR/own" && chown 65534:65534 "$LAB_DIR/own"
    # shellcheck disable=SC2016
    spawn tapvs director unshare -m env "TAPVS_SOCKET=$LAB_DIR/own/sock" sh -c 'mount --bind "$0" /dev/net/tun && exec "$@"' \
        "$LAB_DIR/tun" "$@"
    DIRECTOR=$SPAWNED
    wait_for 10 "tapvs to be ready" grep -qw ready "$LAB_DIR/tapvs.log"
}

test_a_container_with_cap_net_admin_alone_is_enough() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    run_enclosed setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=+net_admin --ambient-caps=+net_admin \
        "--bounding-set=-all,+net_admin" --no-new-privs "$SCRATCH/tapvs" run --bridge br0 --tap tap0 --address "$DIP/$NET_BITS" \
        --service "tcp/$AT_VIP:80" --scheduler rr --server "$RS1:8080,nat" --check exec:/bin/true
    expect_eq "$(fetch "http://$AT_VIP/")" rs1 "an answer"
    expect_enclosed "$(worker)" 65534
    expect_few_rights "$DIRECTOR"
    in_ns director env TAPVS_SOCKET="$LAB_DIR/own/sock" "$TAPVS" health | grep -q "$RS1" || die "no answer on the control socket"
}

# The user has a user namespace of its own and in it a network: a service for what runs there.
test_a_user_runs_a_director_in_a_namespace_of_its_own() {
    topo_onearm
    # shellcheck disable=SC2016
    local run='ip link add br0 type bridge && ip link set br0 up && ip address add 10.9.0.1/24 dev br0 && ip link set lo up &&
        { "$0" run "$@" & director=$!; } && until ping -c 1 -W 1 10.9.0.2; do sleep 0.1; done; ip -br link show tap0
        grep CapEff /proc/$(ps -o pid= --ppid $director | tr -d " ")/status
        "$0" status; kill $director; wait $director; echo "exit $?"'
    mknod "$LAB_DIR/tun" c 10 200 && chmod 666 "$LAB_DIR/tun"
    cp "$TAPVS" "$SCRATCH/tapvs" && chmod 755 "$SCRATCH" "$SCRATCH/tapvs"
    mkdir "$LAB_DIR/own" && chown 65534:65534 "$LAB_DIR/own"
    # shellcheck disable=SC2016
    spawn rootless director unshare -m env "TAPVS_SOCKET=$LAB_DIR/own/sock" sh -c 'mount --bind "$0" /dev/net/tun && exec "$@"' \
        "$LAB_DIR/tun" setpriv --reuid 65534 --regid 65534 --clear-groups unshare -Ur -n sh -c "$run" "$SCRATCH/tapvs" \
        --bridge br0 --tap tap0 --address 10.9.0.2/24 --service tcp/10.9.0.100:80 --server 10.9.0.21:80,nat
    wait_for 20 "the end" grep -q "^exit" "$LAB_DIR/rootless.log"
    expect_match "$(<"$LAB_DIR/rootless.log")" "CapEff:.0000000000000000.*tap0.*exit 0" "what a director without root says"
}

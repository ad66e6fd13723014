# shellcheck shell=bash
# Established flows in the kernel (setting fast): they are counted as ever, they go on while no worker runs, and nothing goes
# the old way once a command has returned.
# shellcheck source-path=SCRIPTDIR source=health.sh
source "$(dirname "${BASH_SOURCE[0]}")/health.sh"

# fast_serving SERVER...: a service whose established flows the kernel forwards; skipped where it does not take the
# program.
fast_serving() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    fast_director "$@"
}

# fast_director SERVER...: the director of such a service.
fast_director() {
    director_options --sysctl fast=auto
    serving "$@"
    needs_fast_path
}

needs_fast_path() {
    ! grep -q 'fast path: none' "$LAB_DIR/tapvs.log" || skip "$(grep -o 'fast path: none.*' "$LAB_DIR/tapvs.log")"
}

fast_status() { in_ns director "$TAPVS" status; }
fast_frames() { fast_status | sed -n 's/^fast path by .*, \([0-9]*\) frames$/\1/p'; }
has_fast_conns() { fast_status | grep -q "^fast path by .*: $1 conns now"; }
has_passed() { (($(fast_frames) > $1)); }
has_grown() { (($(stat -c %s "$LAB_DIR/slow") > $1)); }
# slow_download MIB RATE: in the background, to $LAB_DIR/slow, by a conn that the kernel has.
slow_download() {
    spawn slow client curl --silent --show-error --max-time 60 --limit-rate "$2" --output "$LAB_DIR/slow" \
        "http://$AT_VIP/files/$(basename "$(payload "$1")")"
    SLOW=$SPAWNED
    wait_for 10 "the kernel to take the conn" has_fast_conns 1
}
is_over() { ! kill -0 "$SLOW" 2>/dev/null; }

test_fast_flows_are_the_kernels_and_are_counted() {
    fast_serving "$AT_RS1:80,nat"
    download 16
    upload 16 rs1
    (($(fast_frames) > 100)) || die "the kernel has forwarded $(fast_frames) frames: $(fast_status)"
    local counted
    counted=$(in_ns director "$TAPVS" ipvsadm -Ln --stats --exact | awk '/->/ && $2 ~ /:80$/ { print ($6 > 16 * 2 ^ 20 && $7 > 16 * 2 ^ 20) }')
    expect_eq "$counted" 1 "both transfers are in the server's bytes: $(in_ns director "$TAPVS" ipvsadm -Ln --stats --exact)"
    wait_for 10 "the conns to leave the kernel with their ends" has_fast_conns 0
}

test_fast_direct_routing() {
    topo_onearm
    realserver rs1
    serve rs1
    fast_director "$AT_RS1,direct"
    download 16
    upload 16 rs1
    (($(fast_frames) > 100)) || die "the kernel has forwarded $(fast_frames) frames: $(fast_status)"
}

test_fast_flows_go_on_while_no_worker_runs() {
    fast_serving "$AT_RS1:80,nat"
    slow_download 32 4M
    local stopped
    stopped=$(worker)
    kill -STOP "$stopped"
    local size
    size=$(stat -c %s "$LAB_DIR/slow")
    wait_for 20 "8 MiB more without a worker" has_grown $((size + (8 << 20)))
    kill -KILL "$stopped"
    wait_for 10 "another worker" grep -q 'another is started' "$LAB_DIR/tapvs.log"
    wait_for 30 "the end of the transfer" is_over
    expect cmp "$LAB_DIR/slow" "$(payload 32)"
    local bytes
    bytes=$(in_ns director "$TAPVS" ipvsadm -Ln --stats --exact | awk '/->/ && $2 ~ /:80$/ { print $7 }')
    # By the share of requests that nobody had counted: bytes of replies come near, not exactly.
    ((bytes > 16 << 20)) || die "what passed without a worker is not counted: $bytes bytes"
}

test_fast_flows_of_a_removed_server_end_with_the_command() {
    fast_serving "$AT_RS1:80,nat"
    slow_download 64 2M
    in_ns director "$TAPVS" ipvsadm -e -t "$AT_VIP:80" -r "$AT_RS1:80" -m -w 0
    has_fast_conns 1 || die "a weight takes no conn from the kernel: $(fast_status)"
    in_ns director "$TAPVS" ipvsadm -d -t "$AT_VIP:80" -r "$AT_RS1:80"
    capture_now after rs1 eth0
    has_fast_conns 0 || die "the conn of a removed server is still the kernel's: $(fast_status)"
    # What the server still sends is acknowledged by the client, and nothing of that may arrive.
    local size
    size=$(stat -c %s "$LAB_DIR/slow")
    wait_for 10 "dropped packets" dropped_for_it
    fence after rs1 "$DIP"
    expect_none after "src host $CLIENT and tcp dst port 80" "packets of a removed server's conn"
    ((size > 0)) || die "nothing had been transferred"
}
dropped_for_it() { fast_status | grep -q '^frames dropped.dest-gone'; }

# in_a_poorer_kernel COMMAND ERROR: the director of a service where bpf(2) does not know that command.
in_a_poorer_kernel() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    bridge_state >"$LAB_DIR/bridge.before"
    : >"$LAB_DIR/tapvs.log"
    spawn tapvs director netns-tests/without-bpf.py "$@" "$TAPVS" run --bridge br0 --tap tap0 --address "$DIP/$NET_BITS" --fresh \
        --service "tcp/$AT_VIP:80" --scheduler rr --server "$AT_RS1:80,nat"
    # shellcheck disable=SC2034  # read by programs.sh
    DIRECTOR=$SPAWNED
    wait_for 10 "tapvs to be ready" grep -qw ready "$LAB_DIR/tapvs.log"
}

test_fast_by_clsact_where_there_is_no_tcx() {
    in_a_poorer_kernel 28 EINVAL
    expect grep -q "forwarded in the kernel, by clsact" "$LAB_DIR/tapvs.log"
    download 16
    (($(fast_frames) > 100)) || die "the kernel has forwarded $(fast_frames) frames: $(fast_status)"
    # A crash leaves no second filter to the next worker.
    kill -KILL "$(worker)"
    wait_for 10 "another worker" grep -q 'another is started' "$LAB_DIR/tapvs.log"
    upload 16 rs1
    wait_for 10 "the conns to leave the kernel with their ends" has_fast_conns 0
}

test_fast_is_done_without_where_the_kernel_refuses() {
    in_a_poorer_kernel 5 EPERM
    expect_eq "$(grep -c "fast path: none, all packets are forwarded here: .*not permitted" "$LAB_DIR/tapvs.log")" 1 "lines about it"
    ! grep -qE "WARN|ERROR" "$LAB_DIR/tapvs.log" || die "more is said of it: $(grep -E "WARN|ERROR" "$LAB_DIR/tapvs.log")"
    download 16
    ! fast_status | grep -q "^fast path" || die "there is a fast path: $(fast_status)"
}

# limit: 90
test_fast_flows_go_on_through_upgrades() {
    fast_serving "$AT_RS1:80,nat"
    slow_download 64 3M
    local round
    for round in 1 2; do
        in_ns director "$TAPVS" upgrade --ready 60 --proof 0 "$TAPVS" >>"$LAB_DIR/upgrades" || die "upgrade $round failed"
        wait_for 10 "the kernel to take the conn from the next worker" has_fast_conns 1
    done
    wait_for 40 "the end of the transfer" is_over
    expect cmp "$LAB_DIR/slow" "$(payload 64)"
    local bytes
    bytes=$(in_ns director "$TAPVS" ipvsadm -Ln --stats --exact | awk '/->/ && $2 ~ /:80$/ { print $7 }')
    expect_between $((64 << 20)) "$bytes" $((72 << 20)) "bytes of the server that are counted"
}

# of_another_layout: a program for an upgrade, $OTHER, that does not know the maps of this keeper.
of_another_layout() {
    scripts/need gcc || skip "gcc is missing"
    OTHER=$SCRATCH/other-layout
    gcc -o "$OTHER" -DPROGRAM="\"$(realpath "$TAPVS")\"" netns-tests/other-layout.c
}

# limit: 90
test_fast_path_is_stopped_by_a_worker_that_does_not_know_its_maps() {
    of_another_layout
    fast_serving "$AT_RS1:80,nat"
    slow_download 32 2M
    in_ns director "$TAPVS" upgrade --ready 60 --proof 0 "$OTHER" >>"$LAB_DIR/upgrades" || die "the upgrade failed"
    wait_for 10 "a word about it" grep -q "fast path: none, .* maps of layout 9.*, this version's have layout" "$LAB_DIR/tapvs.log"
    ! fast_status | grep -q "^fast path" || die "there is a fast path: $(fast_status)"
    local read
    read=$(frames_read)
    wait_for 10 "frames of the conn here" has_read $((read + 100))
    in_ns director "$TAPVS" upgrade --ready 60 --proof 0 "$TAPVS" >>"$LAB_DIR/upgrades" || die "the way back failed"
    wait_for 10 "the kernel to take the conn from a worker that knows them" has_fast_conns 1
    wait_for 40 "the end of the transfer" is_over
    expect cmp "$LAB_DIR/slow" "$(payload 32)"
}
frames_read() { fast_status | awk '$1 == "frames" && $2 == "rx" { print $3 }'; }
has_read() { (($(frames_read) > $1)); }

test_fast_path_that_must_be_is_not_upgraded_away() {
    of_another_layout
    fast_serving "$AT_RS1:80,nat"
    director_stop
    director_options --sysctl fast=on
    serving "$AT_RS1:80,nat"
    ! in_ns director "$TAPVS" upgrade --ready 60 --proof 0 "$OTHER" 2>"$LAB_DIR/refused" || die "the upgrade succeeded"
    expect grep -q "setting fast: .* maps of layout 9" "$LAB_DIR/refused"
    download 16
    (($(fast_frames) > 100)) || die "the kernel has forwarded $(fast_frames) frames: $(fast_status)"
}

test_fast_flows_of_a_drained_server_end_with_their_time() {
    fast_serving "$AT_RS1:80,nat"
    slow_download 64 2M
    in_ns director "$TAPVS" drain "tcp/$AT_VIP:80" "$AT_RS1:80" --for 2s --then reset
    wait_for 10 "the reset" is_over
    has_fast_conns 0 || die "the conn of a drained server is still the kernel's: $(fast_status)"
    expect_seen client "src host $VIP and $IS_RESET" "a reset to the client"
}

test_fast_flows_of_a_failed_server_end_with_the_verdict() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    spawn checked rs1 socat TCP-LISTEN:9000,fork,reuseaddr EXEC:true
    local checked=$SPAWNED
    wait_for 5 "what is checked" listens rs1 tcp 9000
    config_health "check = { kind = \"tcp\", port = 9000, interval = \"300ms\", fast_interval = \"100ms\", timeout = \"2s\" }" \
        "on_down = \"reset\"" "down_grace = \"1s\"" -- "$AT_RS1:80"
    director_from_file
    needs_fast_path
    becomes "$AT_RS1:80" serving
    slow_download 64 2M
    kill "$checked"
    becomes "$AT_RS1:80" failed
    has_fast_conns 0 || die "the conn of a failed server is still the kernel's: $(fast_status)"
    wait_for 10 "the reset" is_over
    expect_seen client "src host $VIP and $IS_RESET" "a reset to the client"
}

test_fast_flows_follow_a_server_that_moves() {
    fast_serving "$AT_RS1:80,nat"
    slow_download 32 4M
    local old
    old=$(mac_of rs1 eth0)
    in_ns rs1 ip link set eth0 address 02:00:00:00:00:77
    in_ns rs1 ip neigh flush all
    in_ns rs1 ping -q -c 1 -W 5 "$DIP" >/dev/null || die "the server does not reach the director from its new MAC"
    capture_now after rs1 eth0
    wait_for 30 "the end of the transfer" is_over
    fence after rs1 "$DIP"
    expect_none after "ether dst $old and tcp" "packets to the MAC that the server had"
}

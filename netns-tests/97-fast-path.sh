# shellcheck shell=bash
# Established flows in the kernel (setting fast): they are counted as ever, they go on while no worker runs, and nothing goes
# the old way once a command has returned.

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

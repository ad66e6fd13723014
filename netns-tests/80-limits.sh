# shellcheck shell=bash
# What tapvs may cost while it does nothing, and how soon it does something.

# alone
test_limits_of_size_start_memory_and_idleness() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    expect_between 1 "$(stat -c %s "$TAPVS")" 4000000 "size of the binary in bytes, TLS included"

    expect_between 1 "$(cheapest_start)" 50000 "microseconds of work from the start until it is ready, the best of six"

    serving "$RS1:8080,nat"
    expect_eq "$(fetch "http://$VIP/")" rs1 "an answer through the service"
    expect_between 1 "$(kilobytes RssAnon)" 8192 "kilobytes of memory with room for 65536 conns"
    expect_between 1 "$(kilobytes VmRSS)" 10240 "kilobytes in memory, the program's own pages included"

    # Own addresses are announced twice, the conn's last timer is minutes away, neighbours are not asked unless used.
    wait_for 20 "three seconds without a wake-up" sleeps_through 3
}

# cheapest_start: microseconds on a processor, keeper and worker together, until the director is ready; the best of six.
# How long that takes is another matter on a machine that others use.
cheapest_start() {
    local best=999999999 took attempt
    serving "$RS1:8080,nat" >&2
    director_stop >&2
    for attempt in 1 2 3 4 5 6; do
        capture_now "start$attempt" rs1 eth0 >&2
        director_start >&2
        took=$((($(on_processor "$DIRECTOR") + $(on_processor "$(worker)")) / 1000))
        expect_seen "start$attempt" "arp src host $DIP" "the first announcement"
        ((took >= best)) || best=$took
        director_stop >&2
    done
    echo "$best"
}

# on_processor PID: nanoseconds that it ran.
on_processor() { cut -d' ' -f1 "/proc/$1/schedstat"; }

# kilobytes NAME: a line of the worker's /proc/PID/status.
kilobytes() { awk -v name="$1:" '$1 == name { print $2 }' "/proc/$(worker)/status"; }

wake_ups() { awk '/^voluntary_ctxt_switches/ { sum += $2 } END { print sum }' "/proc/$DIRECTOR/status" "/proc/$(worker)/status"; }

# sleeps_through SECONDS: neither keeper nor worker was woken once.
sleeps_through() {
    local before
    before=$(wake_ups)
    sleep "$1"
    (($(wake_ups) == before))
}

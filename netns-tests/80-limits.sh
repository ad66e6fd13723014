# shellcheck shell=bash
# What tapvs may cost while it does nothing, and how soon it does something.

MEBIBYTE=1048576

# alone
test_limits_of_size_start_memory_and_idleness() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    expect_between 1 "$(stat -c %s "$TAPVS")" $((3 * MEBIBYTE)) "size of the binary in bytes"

    expect_between 1 "$(quickest_start)" 50000 "microseconds from the start to the first frame, the best of three"

    serving "$RS1:8080,nat"
    expect_eq "$(fetch "http://$VIP/")" rs1 "an answer through the service"
    expect_between 1 "$(kilobytes RssAnon)" 8192 "kilobytes of memory with room for 65536 conns"
    expect_between 1 "$(kilobytes VmRSS)" 8192 "kilobytes in memory, the program's own pages included"

    # Own addresses are announced twice, the conn's last timer is minutes away, neighbours are not asked unless used.
    wait_for 20 "three seconds without a wake-up" sleeps_through 3
}

# quickest_start: microseconds from the start of tapvs to its first frame on the bridge, the best of three.
quickest_start() {
    local began best=999999 took attempt
    serving "$RS1:8080,nat" >&2
    director_stop >&2
    for attempt in 1 2 3; do
        capture_now "start$attempt" rs1 eth0 >&2
        began=${EPOCHREALTIME/./}
        director_start >&2
        expect_seen "start$attempt" "arp src host $DIP" "the first announcement"
        took=$(($(moment_of_first "start$attempt" "arp src host $DIP") - began))
        ((took >= best)) || best=$took
        director_stop >&2
    done
    echo "$best"
}

# moment_of_first CAPTURE FILTER: microseconds since 1970.
moment_of_first() { tcpdump -n -tt -c 1 -r "$LAB_DIR/$1.pcap" "$2" 2>/dev/null | cut -d' ' -f1 | tr -d .; }

# kilobytes NAME: a line of the director's /proc/PID/status.
kilobytes() { awk -v name="$1:" '$1 == name { print $2 }' "/proc/$DIRECTOR/status"; }

wake_ups() { awk '/^voluntary_ctxt_switches/ { print $2 }' "/proc/$DIRECTOR/status"; }

# sleeps_through SECONDS: the director was not woken once.
sleeps_through() {
    local before
    before=$(wake_ups)
    sleep "$1"
    (($(wake_ups) == before))
}

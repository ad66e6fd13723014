# shellcheck shell=bash
# How fast conns are told: the whole table to a director that begins, and new ones as they come. Sizes for
# scripts/sync-speed: CONNS, NEW, RATE.
# shellcheck source-path=SCRIPTDIR source=pair.sh
source "$(dirname "${BASH_SOURCE[0]}")/pair.sh"

# speed_director ROLE LAST PRIORITY: a director there that tells of a conn with its first packet.
speed_director() {
    local role=$1
    {
        printf '[[link]]\nbridge = "br0"\ntap = "tap0"\naddress = "%s/%s"\n' "$LINK$2" "$NET_BITS"
        printf '[settings]\nsync_threshold = "1 50"\n%s\n[timeouts]\nudp = 3600\n' "${MAX_FLOWS:+max_flows = $MAX_FLOWS}"
        printf '[[service]]\nudp = "%s:9"\nscheduler = "rr"\n' "$AT_VIP"
        printf '[[service.server]]\naddress = "%s:9"\nmethod = "nat"\n' "$AT_RS1" "$AT_RS2"
        printf '[[vrrp]]\nid = 51\nsync = true\npriority = %s\n' "$3"
    } >"$LAB_DIR/$role.toml"
    director_of_host "$role"
}

count_of() { of_host "$1" status | sed -nE '1s/.*, ([0-9]+) conns.*/\1/p'; }

has_conns() { (($(count_of "$1") >= $2)); }

# ticks_of ROLE: time of the processor that its worker has had, in hundredths of a second.
ticks_of() {
    sed 's/.*) //' "/proc/$(ps -o pid= --ppid "$(<"$LAB_DIR/tapvs-$1.pid")" | tr -d ' ')/stat" | awk '{ print $12 + $13 }'
}

# bytes_from ROLE: what its TAP has sent.
# With a /sys of that namespace, which in_ns does not mount.
bytes_from() { ip netns exec "$(ns "$1")" cat /sys/class/net/tap0/statistics/rx_bytes; }

opens_conns() {
    in_ns rs3 netns-tests/idle-conns.py eth0 00:00:5e:00:01:33 "$1" "$VIP" 9 "$2" "${@:3}"
}

# limit: 90
# alone
test_the_whole_table_and_new_conns_are_told_in_time() {
    # shellcheck disable=SC2034  # read by what makes the lab
    local LAB_CAPTURES=off conns=${CONNS:-5000} new=${NEW:-2000} began ticks other_ticks bytes took rate
    topo_pair
    speed_director director 4 150
    becomes_state director active
    # A machine that is busy loses some; the same datagrams again open those.
    until has_conns director "$conns"; do
        opens_conns 172.16.0.0 "$conns" "${FILL_RATE:-2000}" >/dev/null
    done

    ticks=$(ticks_of director) bytes=$(bytes_from director)
    speed_director other 5 100
    began=${EPOCHREALTIME/./} other_ticks=$(ticks_of other)
    wait_for 60 "the other one to know all" grep -q "another director has told all it knows" "$LAB_DIR/tapvs-other.log"
    took=$((${EPOCHREALTIME/./} - began))
    ticks=$(($(ticks_of director) - ticks)) other_ticks=$(($(ticks_of other) - other_ticks)) bytes=$(($(bytes_from director) - bytes))
    expect has_conns other "$conns"
    awk -v conns="$conns" -v took="$took" -v ticks="$ticks" -v other="$other_ticks" -v bytes="$bytes" 'BEGIN {
        seconds = took / 1e6
        printf "%d conns told in %.2f s, %.1f MB/s (%.1f %% of 1 Gbit/s), %.1f %% of a processor; to take them %.1f %%\n", conns, seconds,
            bytes / took, bytes * 8 / took / 10, ticks / seconds, other / seconds
    }'
    grep -o "[0-9]* of [0-9]* records have arrived; asking again" "$LAB_DIR/tapvs-other.log" || true

    becomes_state other backup
    ticks=$(ticks_of director) other_ticks=$(ticks_of other) began=${EPOCHREALTIME/./}
    rate=$(opens_conns 172.24.0.0 "$new" "${RATE:-500}")
    took=$((${EPOCHREALTIME/./} - began))
    conns=$(count_of director)
    wait_for 10 "the other one to know $conns conns" has_conns other "$conns"
    echo "$new new conns, $rate a second, of which $conns are in both tables; $((($(ticks_of director) - ticks) * 1000000 / took)) % and" \
        "$((($(ticks_of other) - other_ticks) * 1000000 / took)) % of a processor; $(of_host director sync | grep -o 'lag [0-9]* ms')"
    expect_between "$(($(count_of director)))" "$(count_of other)" "$(count_of director)" "conns of the other one"
}

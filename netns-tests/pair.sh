# shellcheck shell=bash
# Pairs of directors by VRRP: what several files of tests need.

# vrrp_director ROLE LAST PRIORITY [LINE...]: a director there with that address, the pair's services, and more lines of
# its virtual router.
vrrp_director() {
    local role=$1 last=$2 priority=$3
    {
        printf '[[link]]\nbridge = "br0"\ntap = "tap0"\naddress = "%s/%s"\n' "$LINK$last" "$NET_BITS"
        printf '[settings]\nsync_threshold = "0 1"\n'
        printf '[[service]]\ntcp = "%s:80"\nscheduler = "rr"\n' "$AT_VIP"
        printf '[[service.server]]\naddress = "%s:8080"\nmethod = "nat"\n' "$AT_RS1" "$AT_RS2"
        printf '[[vrrp]]\nid = 51\nsync = true\npriority = %s\naddress = [%s]\n' "$priority" "${VIRTUALS:-"\"$VIP\", \"$DIP\""}"
        printf '%s\n' "${@:4}"
    } >"$LAB_DIR/$role.toml"
    director_of_host "$role"
}

# state_is ROLE STATE: of its virtual router.
state_is() { of_host "$1" vrrp | grep -q " $2 for "; }

becomes_state() { wait_for 15 "$1 to be $2" state_is "$1" "$2"; }

# answered_within SECONDS: a new conn is served by then.
answered_within() { wait_for "$1" "an answer" fetch --fail --max-time 1 "http://$AT_VIP/"; }

# methods_director ROLE LAST PRIORITY [LINE...]: a director there with servers of all methods: NAT and FULL-NAT at port 80,
# direct routing and a tunnel at 8080; and more lines of its virtual router.
methods_director() {
    local role=$1
    {
        printf '[[link]]\nbridge = "br0"\ntap = "tap0"\naddress = "%s/%s"\n' "$LINK$2" "$NET_BITS"
        printf '[[service]]\ntcp = "%s:80"\nscheduler = "rr"\nlocal_address = "%s"\n' "$AT_VIP" "$DIP"
        printf '[[service.server]]\naddress = "%s:8080"\nmethod = "%s"\n' "$AT_RS1" nat "$AT_RS2" fullnat
        printf '[[service]]\ntcp = "%s:8080"\nscheduler = "rr"\n' "$AT_VIP"
        printf '[[service.server]]\naddress = "%s:8080"\nmethod = "%s"\n' "$AT_RS2" tunnel "$AT_RS3" direct
        printf '[[vrrp]]\nid = 51\npriority = %s\nsync = true\naddress = ["%s", "%s"]\n' "$3" "$VIP" "$DIP"
        printf '%s\n' "${@:4}"
    } >"$LAB_DIR/$role.toml"
    director_of_host "$role"
}

# longest_silence FILE: milliseconds between two answers to a ping.
longest_silence() {
    sed -nE 's/^\[([0-9.]+)\].*time=.*/\1/p' "$LAB_DIR/$1" |
        awk 'NR > 1 && $1 - last > most { most = $1 - last } { last = $1 } END { printf "%d", most * 1000 }'
}

power_cut() { in_ns "$1" ip link set "$2" down; }

# one_is_active ROLE OTHER: and the other one is backup.
one_is_active() {
    { state_is "$1" active && state_is "$2" backup; } || { state_is "$2" active && state_is "$1" backup; }
}

# moves: the director that is active is no more; the other one is active. Then there is a pair again.
moves() {
    local from=director to=other
    state_is director active || { from=other && to=director; }
    kill_director_of_host "$from"
    becomes_state "$to" active
}

pair_again() {
    local role=director
    [[ -n $(of_host director status 2>/dev/null) ]] && role=other
    director_of_host "$role"
    wait_for 20 "a pair" one_is_active director other
    wait_for 20 "the whole table" has_all "$role"
}

has_all() { [[ $(of_host "$1" sync --json) != *'"asking": true'* ]]; }

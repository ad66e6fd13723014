# shellcheck shell=bash
# What every lab needs: namespaces, processes, waits, expectations, captures, evidence.
#
# A lab is one process ($$): its namespaces are named tv<pid>-<role>, its files live in $LAB_DIR. Whatever creates
# something calls `defer` with the command that removes it; `lab_end` runs these backwards. The list is a file, so
# that a creation in a subshell counts too, and so that `scripts/demo --down` can take down a lab it did not start.

LAB_NAME=${LAB_NAME:-tv$$}
# Captures stop after so many packets an interface: a gigabyte must not become a gigabyte of evidence.
CAPTURE_LIMIT=${CAPTURE_LIMIT:-30000}

# ---- the lab ---------------------------------------------------------------------------------------------------

# lab_begin: the temporary directories; evidence in $LAB_DIR, large payloads in $SCRATCH (never kept).
lab_begin() {
    LAB_DIR=$(mktemp -d "${TMPDIR:-/tmp}/$LAB_NAME-lab.XXXXXX")
    SCRATCH=$(mktemp -d "$(roomy_directory)/$LAB_NAME-scratch.XXXXXX")
    chmod 755 "$LAB_DIR"
    : >"$LAB_DIR/cleanup"
    mkfifo "$LAB_DIR/silence"
    defer rm -rf "$SCRATCH"
}

# roomy_directory: memory where it has room for a few gigabytes, else the disk.
roomy_directory() {
    local kilobytes
    kilobytes=$(df --output=avail /dev/shm 2>/dev/null | tail -n 1 || true)
    ((${kilobytes:-0} > 4 << 20)) && echo /dev/shm && return
    echo "${TMPDIR:-/tmp}"
}

# defer CMD...: CMD runs when the lab ends; the last deferred runs first.
defer() {
    printf '%q ' "$@" >>"$LAB_DIR/cleanup"
    echo >>"$LAB_DIR/cleanup"
}

# quietly CMD...: for what may have been undone already.
quietly() { "$@" >/dev/null 2>&1 || true; }

# lab_end: undoes everything that was created, backwards. What fails to go is said, and does not stop the rest.
lab_end() {
    # What its directors have left for a next start.
    rm -rf /run/tapvs/*"@$LAB_NAME-"*.state*
    local line namespaces=''
    while IFS= read -r line; do
        # All at once behind everything else: the kernel takes those down together that go together.
        [[ $line != "ip netns delete "* ]] || { namespaces+="${line#ip }"$'\n' && continue; }
        eval "$line" || echo "cleanup failed: $line" >&2
    done < <(tac "$LAB_DIR/cleanup")
    [[ -z $namespaces ]] || ip -force -batch - <<<"$namespaces" || echo "cleanup failed: $namespaces" >&2
    : >"$LAB_DIR/cleanup"
}

# die MESSAGE...: the test failed.
die() {
    echo "    FAILED: $*" >&2
    exit 1
}

# skip MESSAGE...: this machine lacks what the test needs.
skip() {
    echo "    skipped: $*" >&2
    exit 4
}

# ---- namespaces and processes ----------------------------------------------------------------------------------

ns() { echo "$LAB_NAME-$1"; }

# in_ns ROLE CMD...: runs CMD in the namespace of that role. Only the network is another one: /sys is the host's, and what is
# mounted is mounted for all (`unshare --mount` before it), for a mount namespace a command (`ip netns exec`) costs more than
# most commands.
in_ns() {
    local name=$LAB_NAME-$1
    shift
    case $1 in
        # These go there by themselves.
        ip | bridge) "$1" -n "$name" "${@:2}" ;;
        ss) ss -N "$name" "${@:2}" ;;
        *) nsenter --net="/run/netns/$name" -- "$@" ;;
    esac
}

# ns_add ROLE [SYSCTL...]: a namespace whose devices will have these settings.
ns_add() {
    local role=$1
    shift
    ip netns add "$(ns "$role")"
    defer ip netns delete "$(ns "$role")"
    echo "$role" >>"$LAB_DIR/roles"
    # IPv6 only where it is tested, and quiet: no router solicitations among the packets that are counted, no waiting for
    # duplicates.
    if [[ ${FAMILY:-4} == 4 ]]; then
        in_ns "$role" sysctl -qw net.ipv6.conf.{all,default}.disable_ipv6=1 "$@"
    else
        in_ns "$role" sysctl -qw net.ipv6.conf.{all,default}.{accept_dad,accept_ra,router_solicitations}=0 "$@"
    fi
    in_ns "$role" ip link set lo up
}

# mac_of ROLE DEVICE: the device's Ethernet address.
mac_of() { in_ns "$1" ip -br link show dev "$2" | awk '{ print $3 }'; }

# start_time PID: when the process started, in clock ticks; tells it from a later one of the same number.
start_time() {
    local fields=()
    stat_of "$1"
    echo "${fields[19]:-}"
}

# stat_of PID: sets the array `fields` to what the kernel says of the process behind its name: state, parent, ...
stat_of() {
    local text=''
    { read -r text <"/proc/$1/stat"; } 2>/dev/null || true
    read -ra fields <<<"${text##*) }"
}

# spawn NAME ROLE CMD...: runs CMD in the background of that namespace, its output in $LAB_DIR/NAME.log, until the
# lab ends. Sets SPAWNED to its pid.
spawn() {
    local name=$1 role=$2
    shift 2
    nsenter --net="/run/netns/$(ns "$role")" -- "$@" </dev/null >>"$LAB_DIR/$name.log" 2>&1 &
    SPAWNED=$!
    defer end_process "$SPAWNED" "$(start_time "$SPAWNED")"
}

# process_is PID STARTED: it still runs.
process_is() {
    local fields=()
    stat_of "$1"
    [[ -n $2 && ${fields[19]:-} == "$2" && ${fields[0]} != Z ]]
}

process_state() {
    local fields=()
    stat_of "$1"
    echo "${fields[0]:-}"
}

# end_process PID STARTED: ends exactly that process, politely, then not.
end_process() {
    local pid=$1 started=$2 tries=0
    process_is "$pid" "$started" || return 0
    kill -TERM "$pid" 2>/dev/null || true
    while process_is "$pid" "$started"; do
        ((++tries != 60)) || kill -KILL "$pid" 2>/dev/null || true
        pause 0.05
    done
    wait "$pid" 2>/dev/null || true
}

# end_session PID: ends what is left of the session that PID led: a guest's processes are processes here.
end_session() {
    local stat text session
    for stat in /proc/[0-9]*/stat; do
        read -r text 2>/dev/null <"$stat" || continue
        # After the name: state, parent, group, session.
        read -r _ _ _ session _ <<<"${text##*) }"
        [[ $session != "$1" ]] || { stat=${stat#/proc/} && kill -KILL "${stat%/stat}" 2>/dev/null; } || true
    done
    # Says nothing of its end.
    wait "$1" 2>/dev/null || true
}

# ---- waiting and expecting -------------------------------------------------------------------------------------

# wait_for SECONDS WHAT CMD...: polls CMD; if it never succeeds, says what was awaited. A machine that others keep busy has
# PATIENCE times as long: that costs time only where a test fails.
wait_for() {
    local deadline=$((SECONDS + $1 * ${PATIENCE:-4})) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS <= deadline)) || die "still waiting for $what: $*"
        pause 0.05
    done
}

# pause SECONDS: without a program for it, of which waiting starts hundreds.
pause() { read -rt "$1" <>"$LAB_DIR/silence" || true; }

# file_says FILE TEXT: the text is in the file, which is not a large one.
file_says() { [[ -e $1 && $(<"$1") == *"$2"* ]]; }

# expect_eq GOT WANTED WHAT
expect_eq() { [[ $1 == "$2" ]] || die "$3: got '$1', wanted '$2'"; }

# expect_match TEXT REGEX WHAT
expect_match() { [[ $1 =~ $2 ]] || die "$3: '$1' does not match '$2'"; }

# expect_between LOW GOT HIGH WHAT
expect_between() { (($1 <= $2 && $2 <= $3)) || die "$4: got $2, wanted $1..$3"; }

# expect CMD...: CMD succeeds.
expect() { "$@" || die "this failed: $*"; }

# ---- captures --------------------------------------------------------------------------------------------------

# capture_start NAME ROLE INTERFACE [FILTER]: captures to $LAB_DIR/NAME.pcap; not ready before `captures_ready`.
capture_start() {
    local name=$1 role=$2 interface=$3
    spawn "$name.tcpdump" "$role" tcpdump --immediate-mode -U -Z root -n -s 256 -c "$CAPTURE_LIMIT" \
        -i "$interface" -w "$LAB_DIR/$name.pcap" "${@:4}"
    echo "$name" >>"$LAB_DIR/captures"
}

captures_ready() {
    local name
    while read -r name; do
        wait_for 10 "the capture $name" file_says "$LAB_DIR/$name.tcpdump.log" "listening on"
    done <"$LAB_DIR/captures"
}

# capture_now NAME ROLE INTERFACE: captures from here on.
capture_now() {
    capture_start "$@"
    captures_ready
}

# captured NAME FILTER: how many packets of that capture match.
captured() { tcpdump -n -r "$LAB_DIR/$1.pcap" "$2" 2>/dev/null | wc -l; }

has_captured() { (($(captured "$1" "$2") > 0)); }

# expect_seen NAME FILTER WHAT: within a second or two, the capture holds such a packet.
expect_seen() { wait_for 2 "$3 in capture $1" has_captured "$1" "$2"; }

# expect_none NAME FILTER WHAT: the capture holds no such packet. Call `fence` first, so that it holds all there were.
expect_none() {
    local count
    count=$(captured "$1" "$2")
    ((count == 0)) || die "$3: $count packets match '$2' in capture $1: $(tcpdump -n -c 1 -r "$LAB_DIR/$1.pcap" "$2" 2>/dev/null)"
    ! grep -q "packets captured" "$LAB_DIR/$1.tcpdump.log" || die "capture $1 ended early: it proves nothing about what is not in it"
}

# fence NAME ROLE ADDRESS: an echo request of an odd size from ROLE to ADDRESS is in the capture: all earlier packets are.
fence() {
    in_ns "$2" ping -q -c 1 -W 2 -s 37 "$3" >/dev/null || die "no echo reply from $3 to close capture $1"
    wait_for 5 "the mark in capture $1" has_captured "$1" "$IS_FENCE"
}

# ---- evidence --------------------------------------------------------------------------------------------------

# keep_evidence DIRECTORY: logs, captures and the state of every namespace. Called before the lab ends.
keep_evidence() {
    local to=$1 role
    rm -rf "${to%-*}"-[0-9]*
    mkdir -p "$to"
    while read -r role; do
        {
            in_ns "$role" ip -d -s link
            in_ns "$role" ip address
            in_ns "$role" ip route show table all
            in_ns "$role" ip neigh
            in_ns "$role" bridge fdb
            in_ns "$role" ss -tanpu
            in_ns "$role" nstat -as
        } >"$to/$role.state" 2>&1 || true
    done < <(cat "$LAB_DIR/roles" 2>/dev/null)
    cp -r "$LAB_DIR/." "$to/"
    rm -f "$to/silence"
    echo "    evidence: $to" >&2
    local pcap=$to/director.pcap
    [[ -e $pcap ]] || pcap=$(find "$to" -name '*.pcap' | head -n 1)
    [[ -z $pcap ]] || echo "    read it:  tcpdump -n -e -r $pcap | less" >&2
    [[ ! -e $to/tapvs.log ]] || tail -n 5 "$to/tapvs.log" | sed 's/^/    tapvs.log: /' >&2
}

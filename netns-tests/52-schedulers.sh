# shellcheck shell=bash
# Schedulers with real conns: the shares that their definitions predict, by models of a few lines that share no code
# with tapvs.

# by_load SCHEDULER COUNT WEIGHT1 WEIGHT2 WEIGHT3: conns held by rs1, rs2 and rs3 after COUNT that all stay open.
by_load() {
    python3 - "$@" <<'PYTHON'
import sys
name, count, weights = sys.argv[1], int(sys.argv[2]), [int(word) for word in sys.argv[3:]]
active = [0] * len(weights)
# The server added last stands first, and the first of equals wins.
order = list(reversed(range(len(weights))))
cost = {
    "lc": lambda i: active[i],
    "wlc": lambda i: active[i] / weights[i],
    "sed": lambda i: (active[i] + 1) / weights[i],
}
for _ in range(count):
    idle = [i for i in order if active[i] == 0]
    best = idle[0] if name == "nq" and idle else min(order, key=cost.get(name, cost["sed"]))
    active[best] += 1
print(*active)
PYTHON
}

# held_as_predicted SCHEDULER COUNT WEIGHT...: real conns go where the model says.
held_as_predicted() {
    local scheduler=$1 count=$2 wanted
    shift 2
    topo_onearm
    replies_through_director rs1 rs2 rs3
    serve rs1 rs2 rs3
    wanted=$(by_load "$scheduler" "$count" "$@")
    SCHEDULER=$scheduler serving "$AT_RS1:80,nat,weight=$1" "$AT_RS2:80,nat,weight=$2" "$AT_RS3:80,nat,weight=$3"
    hold_open "$count"
    expect_eq "$(held_by rs1) $(held_by rs2) $(held_by rs3)" "$wanted" "conns held by rs1, rs2, rs3 under $scheduler"
}

test_schedulers_lc_ignores_weights() { held_as_predicted lc 40 5 2 1; }

test_schedulers_wlc_follows_weights() { held_as_predicted wlc 40 5 2 1; }

test_schedulers_sed_counts_the_conn_to_come() { held_as_predicted sed 21 10 2 1; }

test_schedulers_nq_leaves_nobody_idle() { held_as_predicted nq 7 10 2 1; }

# ---- by address ------------------------------------------------------------------------------------------------

# clients COUNT: the client has so many addresses, the first ends in 10, all behind the router.
clients() {
    topo_router
    replies_through_director rs1 rs2 rs3
    serve rs1 rs2 rs3
    local last
    for ((last = 11; last < 10 + $1; last++)); do
        in_ns client ip address add "$BEYOND$last/$NET_BITS" dev eth0
    done
}

# who_serves COUNT: which server each client gets, one request each.
who_serves() {
    local last
    for ((last = 10; last < 10 + $1; last++)); do
        fetch --interface "$BEYOND$last" "http://$AT_VIP/"
    done | xargs
}

# by_hash ADDRESS...: the server of each under sh or dh with equal weights: 256 buckets dealt in turn, rs3 first.
by_hash() {
    python3 - "$@" <<'PYTHON'
import ipaddress, sys
servers = ["rs3", "rs2", "rs1"]

def number(text):
    """Of the words of an IPv6 address, what differs."""
    value = int(ipaddress.ip_address(text))
    return (value ^ value >> 32 ^ value >> 64 ^ value >> 96) % 2**32

bucket = lambda text: (number(text) * 0x61C88647 % 2**32) >> 24
print(*(servers[bucket(text) % 3] for text in sys.argv[1:]))
PYTHON
}

# families: 4 6
test_schedulers_sh_gives_each_client_its_server() {
    clients 24
    SCHEDULER='sh' serving "$AT_RS1:80,nat" "$AT_RS2:80,nat" "$AT_RS3:80,nat"
    local wanted
    wanted=$(by_hash "$BEYOND"{10..33})
    expect_eq "$(who_serves 24)" "$wanted" "the server of each client"
    expect_eq "$(who_serves 24)" "$wanted" "the same, asked again"
}

# by_maglev SERVER... -- CLIENT...: the server of each client under mh; of servers NAME=ADDRESS, equal in weight, that at
# the list's head first.
by_maglev() {
    python3 - "$@" <<'PYTHON'
import ipaddress, sys
SIZE, MASK = 4093, 2**64 - 1
rotate = lambda x, by: (x << by | x >> 64 - by) & MASK

def number(text):
    """Of the words of an IPv6 address, what differs."""
    value = int(ipaddress.ip_address(text))
    return (value ^ value >> 32 ^ value >> 64 ^ value >> 96) % 2**32

def round_of(a, b, c, d):
    a, c = (a + b) & MASK, (c + d) & MASK
    b, d, a = rotate(b, 13) ^ a, rotate(d, 16) ^ c, rotate(a, 32)
    c, a = (c + b) & MASK, (a + d) & MASK
    return a, rotate(b, 17) ^ c, rotate(c, 32), rotate(d, 21) ^ a

def siphash13(value, key):
    """Of four bytes; both halves of the key are the same."""
    a, b, c, d = (key ^ word for word in (0x736f6d6570736575, 0x646f72616e646f6d, 0x6c7967656e657261, 0x7465646279746573))
    last = 4 << 56 | value
    a, b, c, d = round_of(a, b, c, d ^ last)
    a, c = a ^ last, c ^ 0xff
    for _ in range(3):
        a, b, c, d = round_of(a, b, c, d)
    return (a ^ b ^ c ^ d) & 0xffffffff

first = lambda value: siphash13(value % 2**32, 2654435761)
second = lambda value: siphash13(value % 2**32, 2654446892)
split = sys.argv.index("--")
servers = [word.split("=") for word in sys.argv[1:split]]
wants = []
for name, address in servers:
    start, step = first(number(address) + 80) % SIZE, second(number(address) + 80) % (SIZE - 1) + 1
    wants.append(iter([(start + turn * step) % SIZE for turn in range(SIZE)]))
table = {}
while len(table) < SIZE:
    for (name, _), slots in zip(servers, wants):
        slot = next((slot for slot in slots if slot not in table), None)
        if slot is not None:
            table[slot] = name
print(*(table[first(number(client)) % SIZE] for client in sys.argv[split + 1:]))
PYTHON
}

# families: 4 6
test_schedulers_mh_moves_hardly_anybody_when_a_server_leaves() {
    clients 60
    SCHEDULER=mh serving "$AT_RS1:80,nat" "$AT_RS2:80,nat" "$AT_RS3:80,nat"
    local before after moved
    before=$(who_serves 60)
    expect_eq "$before" "$(by_maglev "rs3=$RS3" "rs2=$RS2" "rs1=$RS1" -- "$BEYOND"{10..69})" "the server of each client"
    director_stop
    SCHEDULER=mh serving "$AT_RS1:80,nat" "$AT_RS2:80,nat"
    after=$(who_serves 60)
    expect_eq "$after" "$(by_maglev "rs2=$RS2" "rs1=$RS1" -- "$BEYOND"{10..69})" "the server of each client without rs3"
    moved=$(paste -d' ' <(tr ' ' '\n' <<<"$before") <(tr ' ' '\n' <<<"$after") | awk '$1 != "rs3" && $1 != $2' | wc -l)
    expect_between 0 "$moved" 2 "clients of the other servers that moved, of 60"
    expect_between 8 "$(grep -o rs3 <<<"$before" | wc -l)" 32 "clients that rs3 had, of 60"
}

FAR=${FAR_VIP%1}

# marked SCHEDULER: eight addresses off the link are one service by mark.
marked() {
    clients 1
    local six=
    [[ $FAMILY == 4 ]] || six=' -6'
    printf -- '-A -f 7%s -s %s\n' "$six" "$1" >"$LAB_DIR/rules"
    printf -- "-a -f 7$six -r %s:0 -m\n" "$AT_RS1" "$AT_RS2" "$AT_RS3" >>"$LAB_DIR/rules"
    local last marks=()
    for last in 1 2 3 4 5 6 7 8; do
        marks+=(--mark "7=tcp/$(bracketed "$FAR$last"):80")
    done
    director --rules "$LAB_DIR/rules" "${marks[@]}"
}

# families: 4 6
test_schedulers_dh_gives_each_address_its_server() {
    marked dh
    local last answers=()
    for last in 1 2 3 4 5 6 7 8 1 2; do
        answers+=("$(fetch "http://$(bracketed "$FAR$last")/")")
    done
    expect_eq "${answers[*]}" "$(by_hash "$FAR"{1..8} "$FAR"{1..2})" "the server of each address"
}

# families: 4 6
test_schedulers_lblc_keeps_an_address_at_its_server_and_spreads_new_ones() {
    marked lblc
    # Each address is new when the ones before it hold a conn open, so it goes to the least loaded server: in turn.
    local last
    for last in 1 2 3 4 5 6; do
        hold_open 1 "$FAR$last"
        grep '^by' "$LAB_DIR/hold.log" >>"$LAB_DIR/first"
    done
    expect_eq "$(sort "$LAB_DIR/first" | uniq -c | awk '{ print $1 }' | xargs)" "2 2 2" "addresses that each server got"
    for last in 1 2 3 4 5 6; do
        expect_eq "by $(fetch "http://$(bracketed "$FAR$last")/")" "$(sed -n "${last}p" "$LAB_DIR/first")" "the server of address $last later"
    done
}

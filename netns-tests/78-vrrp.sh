# shellcheck shell=bash
# VRRP in the director: who has the virtual addresses, and how soon another one has them.
#
#      client   rs1 rs2     director: br0, tapvs 10.0.0.4     other: br0, tapvs 10.0.0.5 or keepalived on br0 10.0.0.6
#        |         |              |                              |
#        +---------+------------ br0 ----------------------------+        the VIP, and in NAT 10.0.0.2 for the servers
#
# shellcheck source-path=SCRIPTDIR source=pair.sh
source "$(dirname "${BASH_SOURCE[0]}")/pair.sh"

# kernel_has_conns ROLE: the kernel forwards conns of the director there.
kernel_has_conns() { of_host "$1" status | grep -qE '^fast path by .*: [1-9][0-9]* conns now'; }

# families: 4 6
# limit: 90
# quiet
test_a_pair_of_directors_takes_over_and_keeps_conns() {
    topo_pair
    vrrp_director director 4 150
    becomes_state director active
    vrrp_director other 5 100
    becomes_state other backup
    answered_within 5
    requests 50 "http://$AT_VIP/"

    # The first one ends as an operator ends it: the other one has the addresses at once, and a download goes on.
    local file curl
    file=$(payload 32)
    in_ns client curl --silent --show-error --max-time 60 --limit-rate 4M --local-port 40001 --output "$SCRATCH/got" "http://$AT_VIP/files/${file##*/}" \
        2>"$LAB_DIR/curl.errors" &
    curl=$!
    wait_for 10 "the download at the other one too" knows_download other
    ! of_host director status | grep -q '^fast path by' || wait_for 10 "the kernel to have the download" kernel_has_conns director
    of_host director vrrp failover
    ! kernel_has_conns director || die "the kernel forwards for a director that has given its addresses away"
    becomes_state other active
    becomes_state director backup
    answered_within 5
    wait "$curl" || die "the download broke: $(cat "$LAB_DIR/curl.errors")"
    cmp "$file" "$SCRATCH/got" || die "the download differs"
    requests 50 "http://$AT_VIP/"

    # A worker that dies is replaced before the other one misses an advertisement.
    kill -KILL "$(pgrep -P "$(<"$LAB_DIR/tapvs-other.pid")")"
    wait_for 5 "the next worker to be active" grep -q "it was active in the process before" "$LAB_DIR/tapvs-other.log"
    answered_within 5
    state_is director backup || die "the other one took the addresses of a director that goes on"

    # The one that works dies without a word; it returns, and does not take the addresses back.
    kill_director_of_host other
    becomes_state director active
    answered_within 5
    requests 50 "http://$AT_VIP/"
    director_of_host other
    becomes_state other backup
    state_is director active || die "the one that returned took the addresses"
    requests 50 "http://$AT_VIP/"

    # And with preemption.
    sed -i 's/^priority = .*/&\npreempt = true/; s/^priority = 100/priority = 200/' "$LAB_DIR/other.toml"
    of_host other reload >/dev/null
    becomes_state other active
    becomes_state director backup
    answered_within 5
    kill -TERM "$(<"$LAB_DIR/tapvs-other.pid")"
    becomes_state director active
    answered_within 5
}

# keepalived_peer VERSION PRIORITY [LINE...]: keepalived on the other host, which has the VIP on its bridge when it is
# master.
keepalived_peer() {
    {
        printf 'vrrp_instance pair {\n    state BACKUP\n    nopreempt\n    interface br0\n    virtual_router_id 51\n    version %s\n' "$1"
        printf '    priority %s\n    advert_int 1\n' "$2"
        printf '    %s\n' "${@:3}"
        printf '    virtual_ipaddress {\n        %s/%s\n' "$FIRST_ADDRESS" "$HOST_BITS"
        [[ $FAMILY == 4 ]] || printf '        %s/%s\n' "$VIP" "$HOST_BITS"
        printf '    }\n}\n'
    } >"$LAB_DIR/keepalived.conf"
    : >"$LAB_DIR/keepalived.log"
    spawn keepalived other keepalived --dont-fork --log-console --log-detail --vrrp --use-file "$LAB_DIR/keepalived.conf" \
        --pid "$LAB_DIR/keepalived.pid" --vrrp_pid "$LAB_DIR/keepalived-vrrp.pid"
    PEER=$SPAWNED
    wait_for 10 "keepalived" grep -q "Entering BACKUP STATE" "$LAB_DIR/keepalived.log"
}

peer_is() { [[ $(grep -oE "Entering (MASTER|BACKUP) STATE" "$LAB_DIR/keepalived.log" | tail -n 1) == "Entering $1 STATE" ]]; }

# with_keepalived VERSION LINES-OF-TAPVS LINES-OF-KEEPALIVED: both see each other, either way. Only the VIP moves, and the
# servers' gateway is the director's own address.
with_keepalived() {
    local started
    keepalived_peer "$1" 90 "$3"
    VIRTUALS="\"$VIP\"$([[ $FAMILY == 4 ]] || echo ", \"$FIRST_ADDRESS\"")" vrrp_director director 2 150 "$2"
    wait_for 15 "one of them to be active" one_of_them
    # Whoever is backup hears the other one, and takes over when it leaves.
    if ! state_is director active; then
        started=$(start_time "$PEER")
        end_process "$PEER" "$started"
        becomes_state director active
        keepalived_peer "$1" 90 "$3"
    fi
    wait_for 10 "keepalived to be heard or hear" peer_is BACKUP
    of_host director vrrp failover
    wait_for 10 "keepalived to take over" peer_is MASTER
    becomes_state director backup
    expect_match "$(of_host director vrrp)" "the last of .* with priority 90" "what it has heard"
    started=$(start_time "$PEER")
    end_process "$PEER" "$started"
    becomes_state director active
    ! of_host director vrrp | grep -q "not heeded" || die "advertisements of keepalived were not heeded: $(of_host director vrrp)"
    answered_within 5
    kill -TERM "$(<"$LAB_DIR/tapvs-director.pid")"
    wait "$(<"$LAB_DIR/tapvs-director.pid")" || true
}

one_of_them() { state_is director active || peer_is MASTER; }

# limit: 120
# quiet
test_keepalived_is_a_peer_by_both_versions() {
    scripts/need keepalived
    FIRST_ADDRESS=$VIP
    topo_pair
    with_keepalived 2 $'version = 2\nauth = "secret"' $'authentication {\n auth_type PASS\n auth_pass secret\n }'
    with_keepalived 3 'version = 3' ''
    with_keepalived 3 $'version = 3\nvirtual_mac = false\npeers = "10.0.0.6"' $'unicast_peer {\n 10.0.0.2\n }'
}

# limit: 90
# quiet
test_keepalived_is_a_peer_by_unicast_of_version_two_and_with_its_virtual_mac() {
    scripts/need keepalived
    FIRST_ADDRESS=$VIP
    topo_pair
    with_keepalived 2 $'version = 2\nauth = "secret"\npeers = "10.0.0.6"' \
        $'authentication {\n auth_type PASS\n auth_pass secret\n }\n unicast_peer {\n 10.0.0.2\n }'
    with_keepalived 3 'from = "10.0.0.6"' 'use_vmac'
}

# limit: 90
# quiet
test_keepalived_that_speaks_another_way_is_named() {
    scripts/need keepalived
    FIRST_ADDRESS=$VIP
    local started way
    topo_pair
    # Neither heeds the other, so that both are active; the director says why.
    for way in "2 ah auth_type.PASS" "3 multicast peers" "3 unicast peers"; do
        local version=${way%% *} reason=${way#* } lines='' more=''
        reason=${reason% *}
        case $reason in
            ah) more=$'authentication {\n auth_type AH\n auth_pass secret\n }' lines='version = 2' ;;
            multicast) lines='peers = "10.0.0.6"' ;;
            unicast) more=$'unicast_peer {\n 10.0.0.2\n }' ;;
        esac
        keepalived_peer "$version" 90 "$more"
        VIRTUALS="\"$VIP\"" vrrp_director director 2 150 "$lines"
        wait_for 15 "advertisements of keepalived ($reason)" has_refused director "$reason"
        wait_log director "${way##* }" >/dev/null
        started=$(start_time "$PEER")
        end_process "$PEER" "$started"
        kill -TERM "$(<"$LAB_DIR/tapvs-director.pid")"
        wait "$(<"$LAB_DIR/tapvs-director.pid")" || true
    done
}

# families: 6
# limit: 90
# quiet
test_keepalived_is_a_peer_by_version_three_of_ipv6() {
    scripts/need keepalived
    FIRST_ADDRESS=fe80::100
    topo_pair
    with_keepalived 3 'version = 3' ''
    with_keepalived 3 "peers = \"${LINK}6\"" "unicast_src_ip ${LINK}6"$'\n unicast_peer {\n '"$DIP"$'\n }'
}

last_line_is() { [[ $(tail -n 1 "$1") == "$2" ]]; }

# limit: 60
# quiet
test_what_a_director_tracks_moves_its_addresses_and_programs_are_told() {
    topo_pair
    local told=$SCRATCH/told
    printf '#!/bin/sh\necho "$*" >>%s\n' "$told" >"$SCRATCH/notify"
    chmod +x "$SCRATCH/notify"
    touch "$SCRATCH/well"
    vrrp_director director 4 150 "track = { script = [\"/usr/bin/test\", \"-e\", \"$SCRATCH/well\"], interval = \"200ms\" }" \
        "notify = \"$SCRATCH/notify\"" 'user = "root"'
    becomes_state director active
    vrrp_director other 5 100
    becomes_state other backup

    rm "$SCRATCH/well"
    becomes_state director fault
    becomes_state other active
    answered_within 5
    expect_match "$(of_host director vrrp)" "script /usr/bin/test -e .* has failed" "the reason"
    touch "$SCRATCH/well"
    becomes_state director backup
    wait_for 5 "the last notice" last_line_is "$told" "INSTANCE 51 BACKUP 150"
    expect_match "$(tr '\n' ' ' <"$told")" "INSTANCE 51 MASTER 150 INSTANCE 51 FAULT 150 INSTANCE 51 BACKUP 150 $" "what the program was told"

    # One that an operator has stand by is mute, so it cannot keep them.
    of_host other standby on
    becomes_state other fault
    becomes_state director active
    answered_within 5
    of_host other standby off
    becomes_state other backup
    answered_within 5
}

# has_been_active ROLE SECONDS: its virtual router, so long at least.
has_been_active() {
    local seconds
    seconds=$(of_host "$1" vrrp | sed -n 's/.* active for \([0-9]*\) s.*/\1/p')
    [[ -n $seconds ]] && ((seconds >= $2))
}

# download_to NAME PORT: a slow one from that port in the background.
download_to() {
    in_ns client curl --silent --show-error --max-time 100 --limit-rate 2M --local-port "$2" --output "$SCRATCH/$1" \
        "http://$AT_VIP/files/payload-32" 2>>"$LAB_DIR/curl.errors" &
    CURLS+=("$!")
}
CURLS=()

# downloads_end NAME...: each is whole.
downloads_end() {
    local curl name
    for curl in "${CURLS[@]}"; do
        wait "$curl" || die "a download broke: $(cat "$LAB_DIR/curl.errors")"
    done
    for name; do
        cmp "$(payload 32)" "$SCRATCH/$name" || die "the download $name differs"
    done
}

# split_of PRIORITY OTHER-PRIORITY: a pair, told one by one with a key, of which `other` is cut off for ten seconds.
split_of() {
    local peers key='sync_key = "0123456789abcdef0123456789abcdef"'
    peers="sync_peers = [\"${LINK}4\", \"${LINK}5\"]"
    payload 32 >/dev/null
    vrrp_director director 4 "$1" "$peers" "$key"
    vrrp_director other 5 "$2" "$peers" "$key"
    wait_for 20 "a pair" one_is_active director other
    answered_within 5
}

cut_off() {
    power_cut other eth0
    wait_for 40 "$1 to be active alone" has_been_active "$1" 10
    { state_is director active && state_is other active; } || die "not both are active while neither hears the other"
}

# heals LOSER: the cut is over, and that one gives up within an interval: once it has heard the other one, whose priority is
# 150, it advertises once more at most, for it does so once an interval.
heals() {
    capture_now healing "$1" tap0 "ip proto 112 or ip6 proto 112"
    in_ns other ip link set eth0 up
    becomes_state "$1" backup
    wait_for 15 "three advertisements of the winner" has_advertised 150 3
    local late
    late=$(advertisements | awk '$1 == 150 { heard = 1 } heard && $1 == 100 { ++late } END { print late + 0 }')
    expect_between 0 "$late" 1 "advertisements of the loser after it had heard the winner"
}

# advertisements: the priority of each in the capture, in their order.
advertisements() { tcpdump -n -r "$LAB_DIR/healing.pcap" 2>/dev/null | sed -nE 's/.* prio ([0-9]+).*/\1/p'; }

has_advertised() { (($(advertisements | grep -cx "$1") >= $2)); }

# families: 4 6
# limit: 120
# quiet
test_a_split_pair_heals_and_the_winner_keeps_its_conns() {
    topo_pair
    split_of 150 100
    state_is director active || of_host other vrrp failover
    becomes_state director active
    becomes_state other backup
    cut_off other
    # A conn that the other one cannot have been told of.
    download_to one 40001
    wait_for 10 "the download" knows_download director
    ! knows_download other || die "the other one was told of the download, across the cut"

    heals other
    state_is director active || die "the one with the higher priority gave up"
    # It was told what it has missed, and goes on with it.
    wait_for 15 "the download at the other one too" knows_download other
    of_host director vrrp failover
    becomes_state other active
    downloads_end one
    expect_none client "$IS_RESET and port 40001" "resets of the download"
    expect_match "$(of_host other sync)" "peers ${LINK}4 ${LINK}5 port 8848, with a key" "how they talk"
    ! of_host other sync | grep -q "not taken for key" || die "messages with the key were not taken: $(of_host other sync)"
}

# families: 4 6
# limit: 120
# quiet
test_a_split_pair_heals_where_the_one_that_was_cut_off_wins() {
    topo_pair
    split_of 100 150
    state_is other active || of_host director vrrp failover
    becomes_state other active
    becomes_state director backup
    download_to one 40001
    wait_for 10 "the download at both" knows_download director
    cut_off director
    # The first one goes on here, and another one begins; its packets find the winner before the winner is told of it.
    of_host director set unknown drop
    of_host other set unknown drop
    download_to two 40002
    wait_for 10 "the second download" knows_conn director 40002

    heals director
    state_is other active || die "the one with the higher priority gave up"
    wait_for 15 "the second download at the winner" knows_conn other 40002
    downloads_end one two
    expect_none client "$IS_RESET and port 40001" "resets of the first download"
    expect_none client "$IS_RESET and port 40002" "resets of the second download"
}

knows_conn() { of_host "$1" ipvsadm -Lcn | grep -qF "ESTABLISHED $(bracketed "$CLIENT"):$2 "; }

# limit: 60
# quiet
test_links_and_neighbours_that_are_tracked_move_the_addresses() {
    topo_pair
    vrrp_director other 5 100
    becomes_state other active
    vrrp_director director 4 150 'preempt = true' \
        'track = [{ link = "tap0" }, { link = "up0", weight = -60 }, { neighbour = "10.0.0.23", weight = -70 }]'
    expect_match "$(wait_log director 'priority 150 -> 90: link up0 does not exist')" . "the reason in the log"
    in_ns director ip link add up0 type veth peer name up1
    in_ns director ip link set up0 up
    in_ns director ip link set up1 up
    becomes_state director active
    becomes_state other backup

    in_ns director ip link set to-rs3 down
    wait_log director 'priority 150 -> 80: neighbour 10.0.0.23 does not answer'
    becomes_state other active
    in_ns director ip link set to-rs3 up
    becomes_state director active
    answered_within 5

    in_ns director ip link set up1 down
    wait_log director 'priority 150 -> 90: link up0 has no carrier'
    becomes_state other active
    in_ns director ip link set up1 up
    becomes_state director active
    expect_match "$(of_host director status)" "vrrp 51 IPv4 on tap0: active for" "the state"

    # Without carrier beyond the bridge it takes no part.
    in_ns director ip link set to-other down
    becomes_state other active
    local role
    for role in client rs1 rs2 rs3; do
        in_ns director ip link set "to-$role" down
    done
    becomes_state director fault
    expect_match "$(of_host director vrrp)" "link tap0 is on br0, of which no other port has carrier" "the reason"
}

# wait_log ROLE REGEX: the director there has logged it.
wait_log() { wait_for 10 "'$2' in the log of $1" grep -E "$2" "$LAB_DIR/tapvs-$1.log" && grep -E "$2" "$LAB_DIR/tapvs-$1.log" | tail -n 1; }

# flag_director ROLE LAST PRIORITY: a one-off director by flags, which has the addresses of all services.
flag_director() {
    : >"$LAB_DIR/tapvs-$1.log"
    spawn "tapvs-$1" "$1" env TAPVS_SOCKET="$LAB_DIR/$1.sock" RUST_LOG=info "$TAPVS" run --bridge br0 --tap tap0 \
        --address "$LINK$2/$NET_BITS" --vrrp "id=51,priority=$3" --fresh
    echo "$SPAWNED" >"$LAB_DIR/tapvs-$1.pid"
    wait_for 10 "tapvs in $1" grep -qw ready "$LAB_DIR/tapvs-$1.log"
}

# families: 4 6
# limit: 60
# quiet
test_addresses_of_services_that_ipvsadm_adds_move_too() {
    topo_pair
    replies_directly rs1
    realserver rs1
    flag_director director 4 150
    flag_director other 5 100
    local role second=${LINK}101
    for role in other director; do
        of_host "$role" ipvsadm -A -t "$AT_VIP:80" -s rr
        of_host "$role" ipvsadm -a -t "$AT_VIP:80" -r "$AT_RS1:80" -g
    done
    # On a busy machine the other one may have begun to wait first.
    wait_for 20 "a pair" one_is_active director other
    state_is director active || of_host other vrrp failover
    becomes_state director active
    becomes_state other backup
    answered_within 5
    # Another one, first on the backup: it is mute; nobody answers before the active one has it.
    in_ns rs1 "$TAPVS" realserver up --vip "$VIP" --vip "$second" >/dev/null
    of_host other ipvsadm -A -t "$(bracketed "$second"):80" -s rr
    of_host other ipvsadm -a -t "$(bracketed "$second"):80" -r "$AT_RS1:80" -g
    ! in_ns client ping -q -c 2 -W 1 "$second" >/dev/null || die "a backup answered for an address that was added"
    of_host director ipvsadm -A -t "$(bracketed "$second"):80" -s rr
    of_host director ipvsadm -a -t "$(bracketed "$second"):80" -r "$AT_RS1:80" -g
    wait_for 5 "an answer of the new service" fetch --fail --max-time 1 "http://$(bracketed "$second")/"
    expect_match "$(of_host director vrrp)" "address .*$second" "its addresses"
    of_host director vrrp failover
    becomes_state other active
    wait_for 5 "an answer of the new service" fetch --fail --max-time 1 "http://$(bracketed "$second")/"
    answered_within 5
}

# Sends COUNT false advertisements of each kind for virtual router 51, of version 3, as if for 10.0.0.100.
FALSE_ADVERTS='
import socket, struct, sys
count, own = int(sys.argv[1]), sys.argv[2]
group = "224.0.0.18"
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
def advert(priority, number=51, addresses=1, wrong=0):
    body = socket.inet_aton("10.0.0.100")
    head = struct.pack("!BBBBHH", 0x31, number, priority, addresses, 100, 0)
    pseudo = socket.inet_aton(own) + socket.inet_aton(group) + struct.pack("!BBH", 0, 112, len(head + body))
    return head[:6] + struct.pack("!H", checksum(pseudo + head + body) ^ wrong) + body
wire = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
wire.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
for number in range(count):
    for ttl, message in [(254, advert(200)), (255, advert(200, number=52)), (255, advert(200, wrong=1)), (255, advert(200, addresses=2)),
                         (255, advert(255)), (255, b"\x21" + advert(200)[1:])]:
        wire.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
        wire.sendto(message, (group, 0))
'

has_refused() {
    local reason
    for reason in "${@:2}"; do
        of_host "$1" vrrp | grep -qE "not heeded for $reason [1-9]" || return 1
    done
}

# limit: 60
# quiet
test_floods_of_false_advertisements_change_nothing() {
    topo_pair
    vrrp_director director 4 150
    becomes_state director active
    vrrp_director other 5 100
    becomes_state other backup
    in_ns rs3 python3 -c "$FALSE_ADVERTS" 500 "$RS3"
    local role
    for role in director other; do
        wait_for 5 "the counts in $role" has_refused "$role" ttl id checksum length owner
    done
    state_is director active || die "false advertisements took the addresses: $(of_host director vrrp)"
    state_is other backup || die "false advertisements moved the backup: $(of_host other vrrp)"
    expect_eq "$(of_host director vrrp --json | grep -A 3 transitions | tr -dc '0-9,')" "1,0," "how often it has come and gone"
    answered_within 5
}

# ocf ACTION: the agent of docs/ in the director's namespace; prints its exit code.
ocf() {
    local code=0
    in_ns director env TAPVS_SOCKET="$LAB_DIR/director.sock" HA_RSCTMP="$LAB_DIR" OCF_RESKEY_binary="$TAPVS" \
        OCF_RESKEY_config="$LAB_DIR/ocf.toml" OCF_RESKEY_log="$LAB_DIR/tapvs-ocf.log" docs/ocf-tapvs "$1" >"$LAB_DIR/ocf.out" 2>&1 || code=$?
    echo "$code"
}

# limit: 60
test_a_resource_agent_starts_promotes_and_stops_a_director() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    {
        printf '[[link]]\nbridge = "br0"\ntap = "tap0"\naddress = "%s/%s"\n[settings]\nstandby = true\n' "$DIP" "$NET_BITS"
        printf '[[service]]\ntcp = "%s:80"\n[[service.server]]\naddress = "%s:8080"\nmethod = "nat"\n' "$AT_VIP" "$AT_RS1"
    } >"$LAB_DIR/ocf.toml"
    expect_eq "$(ocf meta-data)" 0 "exit code of meta-data"
    python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' "$LAB_DIR/ocf.out"
    expect_eq "$(ocf validate-all)" 0 "exit code of validate-all"
    expect_eq "$(ocf monitor)" 7 "exit code of monitor before the start"
    expect_eq "$(ocf stop)" 0 "exit code of stop before the start"
    defer ocf stop
    expect_eq "$(ocf start)" 0 "exit code of start"
    expect_eq "$(ocf start)" 0 "exit code of a second start"
    expect_eq "$(ocf monitor)" 0 "exit code of monitor, mute"
    ! in_ns client ping -q -c 1 -W 1 "$VIP" >/dev/null || die "a mute director answers"
    expect_eq "$(ocf promote)" 0 "exit code of promote"
    expect_eq "$(ocf monitor)" 8 "exit code of monitor, promoted"
    answered_within 5
    expect_eq "$(ocf demote)" 0 "exit code of demote"
    expect_eq "$(ocf monitor)" 0 "exit code of monitor, demoted"
    expect_eq "$(ocf stop)" 0 "exit code of stop"
    expect_eq "$(ocf monitor)" 7 "exit code of monitor after the stop"
    echo "this is no configuration" >"$LAB_DIR/ocf.toml"
    expect_eq "$(ocf validate-all)" 6 "exit code of validate-all with a broken file"
}

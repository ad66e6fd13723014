# shellcheck shell=bash
# VRRP in the director: who has the virtual addresses, and how soon another one has them.
#
#      client   rs1 rs2     director: br0, tapvs 10.0.0.4     other: br0, tapvs 10.0.0.5 or keepalived on br0 10.0.0.6
#        |         |              |                              |
#        +---------+------------ br0 ----------------------------+        the VIP, and in NAT 10.0.0.2 for the servers

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

# families: 4 6
# limit: 90
# alone
test_a_pair_of_directors_takes_over_and_keeps_conns() {
    topo_pair
    vrrp_director director 4 150
    vrrp_director other 5 100
    becomes_state director active
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
    of_host director vrrp failover
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
# alone
test_keepalived_is_a_peer_by_both_versions() {
    scripts/need keepalived
    FIRST_ADDRESS=$VIP
    topo_pair
    with_keepalived 2 $'version = 2\nauth = "secret"' $'authentication {\n auth_type PASS\n auth_pass secret\n }'
    with_keepalived 3 'version = 3' ''
    with_keepalived 3 $'version = 3\nvirtual_mac = false\npeers = "10.0.0.6"' $'unicast_peer {\n 10.0.0.2\n }'
}

# families: 6
# limit: 60
# alone
test_keepalived_is_a_peer_by_version_three_of_ipv6() {
    scripts/need keepalived
    FIRST_ADDRESS=fe80::100
    topo_pair
    with_keepalived 3 'version = 3' ''
}

# methods_director ROLE LAST PRIORITY: a director there with servers of all methods: NAT and FULL-NAT at port 80, direct
# routing and a tunnel at 8080.
methods_director() {
    local role=$1
    {
        printf '[[link]]\nbridge = "br0"\ntap = "tap0"\naddress = "%s/%s"\n' "$LINK$2" "$NET_BITS"
        printf '[[service]]\ntcp = "%s:80"\nscheduler = "rr"\nlocal_address = "%s"\n' "$AT_VIP" "$DIP"
        printf '[[service.server]]\naddress = "%s:8080"\nmethod = "%s"\n' "$AT_RS1" nat "$AT_RS2" fullnat
        printf '[[service]]\ntcp = "%s:8080"\nscheduler = "rr"\n' "$AT_VIP"
        printf '[[service.server]]\naddress = "%s:8080"\nmethod = "%s"\n' "$AT_RS2" tunnel "$AT_RS3" direct
        printf '[[vrrp]]\nid = 51\npriority = %s\nsync = true\naddress = ["%s", "%s"]\n' "$3" "$VIP" "$DIP"
    } >"$LAB_DIR/$role.toml"
    director_of_host "$role"
}

# knows_conns ROLE PORT...: the director there has the client's conns from these ports as established.
knows_conns() {
    local port conns
    conns=$(of_host "$1" ipvsadm -Lcn)
    for port in "${@:2}"; do
        grep -qF "ESTABLISHED $(bracketed "$CLIENT"):$port " <<<"$conns" || return 1
    done
}

# downloads_outlive ROLE OTHER FIRST-PORT HOW...: four downloads, one by each method, go on at the other one when HOW ends
# the work of the active one.
downloads_outlive() {
    local role=$1 other=$2 first=$3 file number curls=()
    file=$(payload 16)
    for number in 0 1 2 3; do
        in_ns client curl --silent --show-error --max-time 60 --limit-rate 2M --local-port "$((first + number))" \
            --output "$SCRATCH/got$number" "http://$AT_VIP:$((number < 2 ? 80 : 8080))/files/${file##*/}" 2>>"$LAB_DIR/curl.errors" &
        curls+=("$!")
    done
    wait_for 15 "the downloads at the other one too" knows_conns "$other" "$first" "$((first + 1))" "$((first + 2))" "$((first + 3))"
    "${@:4}"
    becomes_state "$other" active
    for number in 0 1 2 3; do
        wait "${curls[number]}" || die "download $number broke after $4: $(cat "$LAB_DIR/curl.errors")"
        cmp "$file" "$SCRATCH/got$number" || die "download $number differs after $4"
    done
}

power_cut() { in_ns "$1" ip link set "$2" down; }

# one_is_active ROLE OTHER: and the other one is backup.
one_is_active() {
    { state_is "$1" active && state_is "$2" backup; } || { state_is "$2" active && state_is "$1" backup; }
}

# families: 4 6
# limit: 150
# alone
test_downloads_of_all_methods_outlive_their_director() {
    topo_pair
    replies_directly rs2
    serve rs3
    realserver rs2 --tunnel
    realserver rs3
    methods_director director 4 100
    methods_director other 5 150
    becomes_state other active
    becomes_state director backup
    answered_within 5

    # Keeper and worker die at once.
    downloads_outlive other director 41000 kill_director_of_host other
    expect_none client "$IS_RESET" "resets"
    director_of_host other
    becomes_state other backup

    # Stuck: it neither answers nor ends; when it goes on, with frames of conns that have ended since, one of them yields.
    local worker
    worker=$(pgrep -P "$(<"$LAB_DIR/tapvs-director.pid")")
    downloads_outlive director other 42000 kill -STOP "$worker"
    kill -CONT "$worker"
    wait_for 10 "one of them to yield" one_is_active other director

    # The power of its host.
    if ! state_is other active; then
        of_host director vrrp failover
        becomes_state other active
    fi
    downloads_outlive other director 43000 power_cut other eth0
    in_ns other ip link set eth0 up
    wait_for 10 "one of them to yield" one_is_active other director
    answered_within 5
}

last_line_is() { [[ $(tail -n 1 "$1") == "$2" ]]; }

# limit: 60
# alone
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
}

# has_been_active ROLE SECONDS: its virtual router, so long at least.
has_been_active() {
    local seconds
    seconds=$(of_host "$1" vrrp | sed -n 's/.* active for \([0-9]*\) s.*/\1/p')
    [[ -n $seconds ]] && ((seconds >= $2))
}

# limit: 120
# alone
test_a_split_pair_heals_and_the_winner_keeps_its_conns() {
    topo_pair
    local key='sync_key = "0123456789abcdef0123456789abcdef"' file curl
    # Told one by one, with a key; either has the same list.
    vrrp_director director 4 150 'sync_peers = ["10.0.0.4", "10.0.0.5"]' "$key"
    becomes_state director active
    vrrp_director other 5 100 'sync_peers = ["10.0.0.4", "10.0.0.5"]' "$key"
    becomes_state other backup
    answered_within 5

    power_cut other eth0
    wait_for 40 "the other one to be active alone" has_been_active other 10
    state_is director active || die "the first one did not stay active"
    # A conn that the other one cannot have been told of.
    file=$(payload 32)
    in_ns client curl --silent --show-error --max-time 100 --limit-rate 2M --local-port 40001 --output "$SCRATCH/got" \
        "http://$AT_VIP/files/${file##*/}" 2>"$LAB_DIR/curl.errors" &
    curl=$!
    wait_for 10 "the download" knows_download director
    ! knows_download other || die "the other one was told of the download, across the cut"

    in_ns other ip link set eth0 up
    becomes_state other backup
    state_is director active || die "the one with the higher priority gave up"
    # It was told what it has missed, and goes on with it.
    wait_for 15 "the download at the other one too" knows_download other
    of_host director vrrp failover
    becomes_state other active
    wait "$curl" || die "the download broke: $(cat "$LAB_DIR/curl.errors")"
    cmp "$file" "$SCRATCH/got" || die "the download differs"
    expect_none client "$IS_RESET and port 40001" "resets of the download"
    expect_match "$(of_host other sync)" "peers 10.0.0.4 10.0.0.5 port 8848, with a key" "how they talk"
    ! of_host other sync | grep -q "not taken for key" || die "messages with the key were not taken: $(of_host other sync)"
}

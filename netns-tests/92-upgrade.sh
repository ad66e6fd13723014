# shellcheck shell=bash
# Upgrades: what a client, a conn and an operator notice when another program goes on.

tv() { in_ns director "$TAPVS" "$@"; }

# another_version: a copy of the program that says another version; sets OTHER and both versions.
another_version() {
    OTHER=$SCRATCH/tapvs-other
    VERSION=$("$TAPVS" --version) && VERSION=${VERSION#tapvs }
    OTHER_VERSION=${VERSION%?}X
    netns-tests/patch-program.py "$TAPVS" "$OTHER" version "$VERSION" "$OTHER_VERSION"
    expect_eq "$("$OTHER" --version)" "tapvs $OTHER_VERSION" "what the copy says"
}

# upgraded BINARY: the upgrade succeeds, however busy the machine is; nobody waits for its proof.
upgraded() {
    moment
    expect tv upgrade --ready 60 --proof 0 "$1" >>"$LAB_DIR/upgrades"
    wait_for 10 "the end of the old worker" has_one_worker
    expect_eq "$(awk '{ print $41 }' "/proc/$(worker)/stat")" 0 "the policy by which the new worker is scheduled once it works"
}

has_one_worker() { [[ $(ps -o pid= --ppid "$DIRECTOR" | wc -l) == 1 ]]; }

says_version() { [[ $(tv status | head -n 1) == "tapvs $1,"* ]]; }

# survives_upgrades SERVER...: the load while one program follows the other; with IDLE_CONNS=N that many UDP conns besides.
survives_upgrades() {
    serve rs1 rs2
    another_version
    local round before rounds=${ROUNDS:-6}
    serving_load "$@"
    [[ -z ${IDLE_CONNS:-} ]] || fill_table "$IDLE_CONNS"
    load_begins
    for ((round = 2; round <= rounds; round += 2)); do
        before=$(worker)
        upgraded "$OTHER"
        expect says_version "$OTHER_VERSION"
        upgraded "$TAPVS"
        expect says_version "$VERSION"
        expect another_worker_than "$before"
    done
    load_ended
    expect_match "$(tv status)" "0 restarts, $((rounds / 2 * 2)) upgrades" "what status says"
}

# families: 4 6
test_upgrades_are_not_noticed_nat() {
    topo_onearm
    replies_through_director rs1 rs2
    survives_upgrades "$AT_RS1:8080,nat" "$AT_RS2:8080,nat"
}

# families: 4 6
test_upgrades_are_not_noticed_fullnat() {
    topo_onearm
    survives_upgrades "$AT_RS1:8080,fullnat" "$AT_RS2:8080,fullnat"
}

# families: 4 6
test_upgrades_are_not_noticed_direct() {
    topo_onearm
    realserver rs1
    realserver rs2
    survives_upgrades "$AT_RS1,direct" "$AT_RS2,direct"
}

# families: 4 6
test_upgrades_are_not_noticed_tunnel() {
    topo_onearm
    realserver rs1 --tunnel
    realserver rs2 --tunnel
    survives_upgrades "$AT_RS1,tunnel" "$AT_RS2,tunnel"
}

# refused WORDS BINARY OPTION...: the command says so and exits 1, and the worker is the one that was there.
refused() {
    local words=$1 binary=$2 before said code=0
    shift 2
    before=$(worker)
    said=$(tv upgrade "$@" "$binary" 2>&1) || code=$?
    expect_eq "$code" 1 "the exit code of an upgrade to $binary ($said)"
    expect_match "$said" "$words" "what is said of an upgrade to $binary"
    expect_match "$said" "the old one goes on" "what becomes of the director"
    expect_eq "$(worker)" "$before" "the worker after an upgrade to $binary"
}

test_a_program_that_cannot_go_on_is_not_gone_on_with() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    serving "$RS1:8080,nat"
    idle_conn
    netns-tests/patch-program.py "$TAPVS" "$SCRATCH/hangs" hangs
    netns-tests/patch-program.py "$TAPVS" "$SCRATCH/dies" dies
    echo "#!/bin/sh" >"$SCRATCH/script" && chmod 755 "$SCRATCH/script"
    cp "$SCRATCH/script" "$SCRATCH/plain" && chmod 644 "$SCRATCH/plain"
    cp /bin/true "$SCRATCH/others" && chmod 777 "$SCRATCH/others"
    refused "none: cannot be opened: No such file" "$SCRATCH/none"
    refused "is a directory" "$SCRATCH"
    refused "is not executable" "$SCRATCH/plain"
    refused "no ELF file" "$SCRATCH/script"
    refused "may write it" "$SCRATCH/others"
    refused "/bin/true: ended with exit status 0; is it tapvs" /bin/true
    refused "dies: killed by SIGILL" "$SCRATCH/dies"
    refused "did not say within 1 s that it is prepared" "$SCRATCH/hangs" --ready 1
    # As if the new one were of another layout.
    local state
    state=$(echo /run/tapvs/*"@$LAB_NAME-director.state")
    dd if="$state" of="$LAB_DIR/layout" bs=1 skip=8 count=1 status=none
    printf '\x99' | dd of="$state" bs=1 seek=8 conv=notrunc status=none
    refused "the state cannot be taken over: its layout is 153, this version knows" "$TAPVS"
    dd if="$LAB_DIR/layout" of="$state" bs=1 seek=8 conv=notrunc status=none
    upgraded "$TAPVS"
    idle_conn_answers
    expect_match "$(tv status)" "0 restarts, 1 upgrades" "what status says"
}

upgrade_ended() { [[ -s $LAB_DIR/upgrade.code ]]; }

test_a_program_that_dies_after_it_took_over_is_given_up() {
    topo_onearm
    replies_through_director rs1 rs2
    serve rs1 rs2
    another_version
    serving "$RS1:8080,nat" "$RS2:8080,nat"
    idle_conn
    loop_of requests "curl --silent --show-error --max-time 20 'http://$AT_VIP/'"
    spawn upgrade director bash -c "'$TAPVS' upgrade --ready 60 --proof 600 '$OTHER'; echo \$? >'$LAB_DIR/upgrade.code'"
    wait_for 60 "the new version" says_version "$OTHER_VERSION"
    expect_match "$(tv upgrade "$OTHER" 2>&1 || true)" "another upgrade is on its way" "a second one"
    wait_for 10 "the end of the old worker" has_one_worker
    kill -KILL "$(worker)"
    wait_for 10 "the end of the upgrade" upgrade_ended
    expect_eq "$(cat "$LAB_DIR/upgrade.code")" 1 "the exit code"
    expect_match "$(cat "$LAB_DIR/upgrade.log")" "killed by SIGKILL; not upgraded, the old one goes on" "what is said"
    wait_for 10 "the old version" says_version "$VERSION"
    loop_ended requests
    idle_conn_answers
}

test_an_upgrade_keeps_what_was_done_by_hand_and_what_is_counted() {
    topo_onearm
    replies_through_director rs1 rs2 rs3
    serve rs1 rs2
    serving "$RS1:8080,nat" "$RS2:8080,nat"
    with_ipvsadm
    lb -A -t "$VIP:81" -s lc -p 300
    lb -a -t "$VIP:81" -r "$RS1:8080" -m -w 7 -x 100 -y 50
    lb -A -t "$VIP:82" -s lc
    lb -a -t "$VIP:82" -r "$RS1:8080" -m -x 1
    lb -a -t "$VIP:82" -r "$RS2:8080" -m
    tv set sloppy_tcp 1 >/dev/null
    tv mark add "7=tcp/$VIP:82" >/dev/null
    fetch "http://$AT_VIP:81/" >/dev/null
    fetch "http://$AT_VIP:82/" >/dev/null
    idle_conn
    local before after worker
    all() {
        lb -Sn && lb -Ln && lb -Ln --stats && lb -Lnc | awk 'NR > 2 { print $1, $4, $5, $6 }' | sort
        tv get sloppy_tcp && tv mark list
    }
    before=$(all)
    upgraded "$TAPVS"
    after=$(all)
    expect_eq "$after" "$before" "lists after the upgrade"
    worker=$(worker)
    kill -KILL "$worker"
    wait_for 10 "another worker" another_worker_than "$worker"
    after=$(all)
    expect_eq "$after" "$before" "lists after a crash"
    idle_conn_answers
}

# What systemd does of `systemctl reload-or-restart tapvs` while it runs: the commands of the unit, one after the other.
test_the_units_reload_goes_on_as_the_program_that_lies_there_and_reads_the_file() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    local installed=$LAB_DIR/tapvs command
    cp "$TAPVS" "$installed"
    another_version
    configured 80
    TAPVS=$installed director_from_file
    idle_conn
    mv "$OTHER" "$installed"
    configured 80 81
    while read -r command; do
        in_ns director bash -c "${command//\/usr\/sbin\/tapvs/$installed}" >/dev/null || die "'$command' failed"
    done < <(sed -n 's/^ExecReload=-\?//p' docs/tapvs.service)
    expect says_version "$OTHER_VERSION"
    expect_eq "$(fetch "http://$AT_VIP:81/")" rs1 "an answer of the service that the file has now"
    idle_conn_answers
}

# configured PORT...: a file of services at these ports.
configured() {
    local port
    {
        printf '[[link]]\nbridge = "br0"\ntap = "tap0"\naddress = "%s/%s"\n' "$DIP" "$NET_BITS"
        for port in "$@"; do
            printf '[[service]]\ntcp = "%s:%s"\nscheduler = "rr"\n' "$AT_VIP" "$port"
            printf '[[service.server]]\naddress = "%s:8080"\nmethod = "nat"\n' "$RS1"
        done
    } >"$LAB_DIR/tapvs.toml"
}

# shellcheck shell=bash
# `tapvs exec`: programs of the kernel's IPVS, unmodified, drive a director over netlink.

# wrapped ARGS...: a program under `tapvs exec` in the director's namespace.
wrapped() { in_ns director timeout --kill-after=2 60 "$TAPVS" exec -- "$@"; }

# says CODE REGEX CMD...: that exit code, and a line on stderr that matches.
says() {
    local wanted=$1 regex=$2 code=0
    shift 2
    in_ns director timeout --kill-after=2 60 "$@" >"$LAB_DIR/said.out" 2>"$LAB_DIR/said.err" </dev/null || code=$?
    expect_eq "$code" "$wanted" "exit code of: $*: $(cat "$LAB_DIR/said.err")"
    expect_match "$(cat "$LAB_DIR/said.err")" "$regex" "what it said about: $*"
}

a_director() {
    topo_onearm
    director
    with_ipvsadm
}

# ---- programs ----------------------------------------------------------------------------------------------------

test_the_kernels_ipvsadm_drives_a_director() {
    scripts/need ipvsadm
    a_director
    wrapped ipvsadm -A -t "$VIP:80" -s mh -b mh-port -p 300
    wrapped ipvsadm -a -t "$VIP:80" -r "$RS1:8080" -m -w 3 -x 100 -y 50
    wrapped ipvsadm -a -t "$VIP:80" -r "$RS2" -i --tun-type gue --tun-port 6080
    wrapped ipvsadm -A -t "[2001:db8::80]:443" -s rr
    wrapped ipvsadm -A -f 7 -s wlc
    wrapped ipvsadm --set 100 0 30
    wrapped ipvsadm --start-daemon master --mcast-interface tap0 --syncid 5
    local layout
    for layout in -Ln "-Ln --stats" "-Ln --rate" "-Ln --thresholds" "-Ln --persistent-conn" "-Ln --tun-info" "-Ln --nosort" \
        "-Ln --timeout" "-Ln --daemon" -Sn; do
        # shellcheck disable=SC2086  # several words
        expect_eq "$(wrapped ipvsadm $layout)" "$(lb $layout)" "what the kernel's ipvsadm $layout prints"
    done
    says 255 "^Service already exists$" "$TAPVS" exec -- ipvsadm -A -t "$VIP:80"
    # What the kernel's ipvsadm cannot say stays as it is.
    lb -a -t "$VIP:80" -r "$RS3:80" --fullnat --client-address proxy-v2
    wrapped ipvsadm -e -t "$VIP:80" -r "$RS3:80" -m -w 7
    lb -Sn | grep -qE -- "-r $RS3:80 --fullnat -w 7 --client-address proxy-v2" || die "an edited server: $(lb -Sn)"
    lb -d -t "$VIP:80" -r "$RS3:80"
    wrapped ipvsadm -Sn | sed 's/rr$/wrr/' >"$LAB_DIR/rules"
    wrapped ipvsadm -C
    wrapped ipvsadm -R <"$LAB_DIR/rules"
    lists "TCP +\[2001:db8::80\]:443 wrr" || die "rules were not restored: $(lb -Sn)"
}

test_raw_netlink_sockets_behave_as_the_kernels() {
    a_director
    wrapped python3 netns-tests/netlink-client.py "$VIP" 1000 >"$LAB_DIR/client.log" 2>&1 ||
        die "netlink-client.py: $(tail -n 3 "$LAB_DIR/client.log")"
    lists "TCP +$VIP:1000 rr" || die "what it configured last is not there: $(lb -Ln)"
}

# limit: 120
test_go_clients_of_the_field_drive_a_director() {
    local libraries=/usr/share/gocode
    scripts/need go "$libraries"/src/github.com/{moby/ipvs,mdlayher/genetlink} ||
        skip "golang-go, golang-github-docker-docker-dev or golang-github-mdlayher-genetlink-dev cannot be installed"
    GO111MODULE=off GOPATH=$libraries GOCACHE=$SCRATCH go build -o "$LAB_DIR/client" netns-tests/netlink-client.go 2>"$LAB_DIR/build.log" ||
        die "netlink-client.go: $(head -n 5 "$LAB_DIR/build.log")"
    a_director
    wrapped "$LAB_DIR/client" "$VIP" "$RS1" >"$LAB_DIR/client.log" 2>&1 || die "netlink-client.go: $(tail -n 3 "$LAB_DIR/client.log")"
    lists "TCP +$VIP:80 rr" || die "what it configured last is not there: $(lb -Ln)"
}

test_ldirectord_needs_no_ipvsadm_of_ours() {
    scripts/need ldirectord ipvsadm
    a_director
    replies_through_director rs1 rs2
    serve rs1 rs2
    local rs2_server=$SPAWNED
    printf '%s\n' "checktimeout=10" "checkinterval=1" "quiescent=no" "logfile=\"$LAB_DIR/ldirectord.log\"" \
        "virtual=$VIP:80" "        real=$RS1:8080 masq" "        real=$RS2:8080 masq 3" "        service=http" \
        "        request=\"/\"" "        receive=\"rs[0-9]\"" "        checktype=negotiate" >"$LAB_DIR/$LAB_NAME.cf"
    # It goes into the background; what answers it goes with it.
    wrapped /usr/sbin/ldirectord "$LAB_DIR/$LAB_NAME.cf" start
    defer quietly ip netns exec "$(ns director)" /usr/sbin/ldirectord "$LAB_DIR/$LAB_NAME.cf" stop
    local server
    for server in "$RS1" "$RS2"; do
        # It adds a server, takes it out and adds it again.
        wait_for 10 "ldirectord's first look at $server" grep -q "Resetting soft failure count: $server:8080" "$LAB_DIR/ldirectord.log"
    done
    wait_for 10 "both servers in the list" lists "$RS2:8080 +Masq +3 "
    wait_for 10 "both servers in the list" lists "$RS1:8080 +Masq +1 "
    end_process "$rs2_server" "$(start_time "$rs2_server")"
    wait_for 10 "the dead server to be taken out" lacks "$RS2"
    # A machine that others keep busy may have had it answer late.
    wait_for 10 "the other one" lists "$RS1:8080 +Masq +1 "
    requests 20 "http://$VIP/"
    in_ns director /usr/sbin/ldirectord "$LAB_DIR/$LAB_NAME.cf" stop
    wait_for 10 "ldirectord to take its service out" lacks "^TCP"
}

lacks() { ! lists "$1"; }

# ---- how it starts and ends --------------------------------------------------------------------------------------

test_it_ends_as_the_program_ends() {
    a_director
    says 7 "" "$TAPVS" exec -- sh -c 'exit 7'
    # By the same signal, which a shell counts from 128.
    says 143 "" bash -c "'$TAPVS' exec -- sh -c 'kill -TERM \$\$'; exit"
    says 127 "tapvs: no-such-program: no such program" "$TAPVS" exec -- no-such-program
    says 126 "tapvs: /etc/passwd: cannot be started: Permission denied" "$TAPVS" exec -- /etc/passwd
    says 125 "tapvs: no program; write tapvs exec -- PROGRAM" "$TAPVS" exec
    # Bytes that are no UTF-8 reach the program.
    expect_eq "$(wrapped printf %s $'\xff\xfe' | od -An -tx1 | xargs)" "ff fe" "arguments of any bytes"

    local wrapper program
    # A shell's background process ignores SIGINT and SIGQUIT.
    for signal in TERM HUP USR1 USR2; do
        spawn "told-$signal" director "$TAPVS" exec -- bash -c "trap 'echo got $signal; exit 3' $signal; echo ready; while :; do sleep 0.05; done"
        wrapper=$SPAWNED
        wait_for 10 "the program" grep -q ready "$LAB_DIR/told-$signal.log"
        kill "-$signal" "$wrapper"
        local code=0
        wait "$wrapper" || code=$?
        expect_eq "$code $(tail -n 1 "$LAB_DIR/told-$signal.log")" "3 got $signal" "a program told SIG$signal"
    done

    spawn orphan director "$TAPVS" exec -- bash -c 'trap "echo told; exit" TERM; echo ready; while :; do sleep 0.05; done'
    wrapper=$SPAWNED
    wait_for 10 "the program" grep -q ready "$LAB_DIR/orphan.log"
    program=$(pgrep -P "$wrapper")
    kill -KILL "$wrapper"
    wait_for 5 "the program to end with its wrapper" test ! -e "/proc/$program"
    expect_eq "$(tail -n 1 "$LAB_DIR/orphan.log")" told "what the program heard"
}

# Calls that are no netlink's cost what they cost without a wrapper: it sleeps all the time.
test_a_program_without_netlink_does_not_wake_the_wrapper() {
    a_director
    cat >"$LAB_DIR/busy.py" <<-'BUSY'
	import fcntl, os, socket, sys, time
	def wait_for(name):
	    while not os.path.exists(name):
	        time.sleep(0.05)
	here, there = socket.socketpair()
	udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
	udp.bind(("127.0.0.1", 0))
	route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
	open("ready", "w").close()
	wait_for("go")
	for _ in range(2000):
	    os.getppid()
	    here.sendmsg([b"x"])
	    there.recvmsg(8)
	    udp.sendto(b"x", udp.getsockname())
	    udp.recvfrom(8)
	    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
	    fcntl.fcntl(there, fcntl.F_GETFL)
	    os.close(os.dup(0))
	    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
	    route.getsockname()
	open("done", "w").close()
	wait_for("end")
	BUSY
    spawn busy director env -C "$LAB_DIR" "$TAPVS" exec -- python3 busy.py
    local wrapper=$SPAWNED before
    wait_for 20 "the program to begin" test -e "$LAB_DIR/ready"
    before=$(switches_of "$wrapper")
    touch "$LAB_DIR/go"
    wait_for 30 "the program's calls" test -e "$LAB_DIR/done"
    local woken=$(($(switches_of "$wrapper") - before))
    ((woken < 100)) || die "the wrapper was woken $woken times by 26000 calls that are none of its own"
    touch "$LAB_DIR/end"
}

switches_of() { awk '/^voluntary_ctxt_switches/ { print $2 }' "/proc/$1/status"; }

# What a list costs is waiting: for each service the program waits for the wrapper five times (socket, getsockname, two
# questions, close), and the director is asked for many services at once.
test_a_long_list_has_the_wrapper_wait_five_times_a_service() {
    scripts/need ipvsadm
    a_director
    local number vip server
    for ((number = 0; number < 1000; number++)); do
        vip=10.1.$((number / 200)).$((number % 200)):80
        echo "-A -t $vip -s wlc"
        for server in 1 2 3 4 5; do
            echo "-a -t $vip -r 10.200.$((number % 200)).$server:80 -m -w $server"
        done
    done >"$LAB_DIR/rules"
    lb -R <"$LAB_DIR/rules"
    spawn listing director env -C "$LAB_DIR" "$TAPVS" exec -- sh -c 'ipvsadm -Ln >listed; touch done; until test -e end; do sleep 0.05; done'
    wait_for 30 "the list" test -e "$LAB_DIR/done"
    local waits
    waits=$(switches_of "$SPAWNED")
    # The list of services takes some of its own.
    expect_between 1 "$waits" 5500 "times that the wrapper waited"
    expect cmp "$LAB_DIR/listed" <(lb -Ln)
    touch "$LAB_DIR/end"
}

# libnl's sockets stay in the program's files from one to the next, and nobody can tell.
test_sockets_that_stay_are_as_new_ones() {
    a_director
    wrapped netns-tests/many-sockets.py >"$LAB_DIR/sockets.log" 2>&1 || die "many-sockets.py: $(tail -n 5 "$LAB_DIR/sockets.log")"
    expect_match "$(head -n 1 "$LAB_DIR/sockets.log")" "^kept [1-9]" "sockets that had the number of the one before"
    expect_eq "$(tail -n 1 "$LAB_DIR/sockets.log")" another_program "what was tried last"
}

# A signal interrupts the call in which a program asks, and has it made again: nothing is asked twice.
test_what_an_interrupted_program_asks_is_asked_once() {
    a_director
    expect_match "$(wrapped netns-tests/libnl-client.py 3000)" "^[1-9][0-9]+$" "times that a program was interrupted"
}

test_what_stays_in_the_background_is_served() {
    scripts/need ipvsadm
    a_director
    local began=$SECONDS
    wrapped bash -c "(until test -e '$LAB_DIR/go'; do sleep 0.05; done; ipvsadm -A -t '$VIP:80'; echo done >'$LAB_DIR/gone') >/dev/null 2>&1 & exit 4" ||
        expect_eq $? 4 "exit code of a program that leaves a process behind"
    ((SECONDS - began < 10)) || die "it waited for what the program left behind"
    touch "$LAB_DIR/go"
    wait_for 10 "what was left behind to add its service" lists "TCP +$VIP:80 wlc"
    wait_for 10 "its end" test -e "$LAB_DIR/gone"
    wait_for 5 "the end of what served it" no_process "$TAPVS exec"
}

no_process() { ! pgrep -f "^$1" >/dev/null || ! pgrep -f "^$1" | xargs -I{} readlink /proc/{}/ns/net | grep -qx "$(in_ns director readlink /proc/self/ns/net)"; }

test_what_keeps_it_from_working_is_said() {
    scripts/need ipvsadm setpriv
    a_director
    make_deny
    says 125 "tapvs: $LAB_DIR/none.sock: there is no socket; is the director running" "$TAPVS" exec --socket "$LAB_DIR/none.sock" -- ipvsadm -Ln
    says 125 "tapvs: ipvsadm: .* that takes Linux 5.14 or later.* and this is $(uname -r)" python3 "$LAB_DIR/deny.py" 22 317 "$TAPVS" exec -- ipvsadm -Ln
    says 125 "tapvs: ipvsadm: seccomp is forbidden here; allow" python3 "$LAB_DIR/deny.py" 1 317 "$TAPVS" exec -- ipvsadm -Ln
    local call
    for call in 310/process_vm_readv 311/process_vm_writev 438/pidfd_getfd; do
        says 125 "tapvs: the memory and the files of a child cannot be reached here \(${call#*/}: .*\); in a container, add CAP_SYS_PTRACE" \
            python3 "$LAB_DIR/deny.py" 1 "${call%/*}" "$TAPVS" exec -- ipvsadm -Ln
    done
    says 125 "somebody else answers its system calls already: 'tapvs exec' within 'tapvs exec'" "$TAPVS" exec -- "$TAPVS" exec -- ipvsadm -Ln
    says 125 "the limit of open files is 100, too few .*\(ulimit -n\)" bash -c "ulimit -n 100; exec '$TAPVS' exec -- ipvsadm -Ln"
    # The program says it to whoever may not ask the director, as on a kernel.
    says 2 "Can't initialize ipvs: Permission denied \(you must be root\)" setpriv --reuid 65534 --regid 65534 --clear-groups \
        "$TAPVS" exec --socket "$(sed -n 's/.*control socket //p' "$LAB_DIR/tapvs.log")" -- ipvsadm -Ln
    # Without CAP_SYS_ADMIN it works all the same, but the program gains no privileges.
    expect_match "$(in_ns director setpriv --bounding-set -sys_admin,-sys_ptrace "$TAPVS" exec -- ipvsadm -Ln)" "IP Virtual Server version 1.2.1" \
        "a list without CAP_SYS_ADMIN"
    expect_eq "$(in_ns director "$TAPVS" exec -- sed -n 's/NoNewPrivs:\t//p' /proc/self/status)" 0 "no_new_privs with CAP_SYS_ADMIN"
    says 2 "does not emulate: a limit of open files below that of 'tapvs exec' \(ulimit -n\)" "$TAPVS" exec -- bash -c "ulimit -n 500; exec ipvsadm -Ln"
    # What is not emulated is named, once.
    says 0 "the program uses what 'tapvs exec' does not emulate: the old interface of IPVS" "$TAPVS" exec -- python3 -c "
import socket
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for _ in range(3):
    try:
        raw.getsockopt(socket.SOL_IP, 1153, 64)
    except OSError:
        pass
"
    expect_eq "$(grep -c "does not emulate" "$LAB_DIR/said.err")" 1 "how often it was named"
}

# A program's children that have given up the right to administer a network have no say, whoever the wrapper is.
test_who_may_not_administer_a_network_is_told_so_as_by_a_kernel() {
    scripts/need ipvsadm setpriv unshare
    a_director
    local nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups) add=(ipvsadm -A -t "$VIP:80")
    says 2 "Can't initialize ipvs: Permission denied \(you must be root\)" "$TAPVS" exec -- "${nobody[@]}" "${add[@]}"
    # Root of a user namespace of its own has every capability there, and none here.
    says 2 "Can't initialize ipvs: Permission denied" "$TAPVS" exec -- "${nobody[@]}" unshare --user --map-root-user "${add[@]}"
    expect_eq "$(lb -Sn)" "" "what they have configured"
    wrapped setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps +net_admin --ambient-caps +net_admin "${add[@]}"
    expect_eq "$(lb -Sn)" "-A -t $VIP:80 -s wlc" "what a user with CAP_NET_ADMIN has configured"
    wrapped setpriv --bounding-set -all --inh-caps -all ipvsadm -D -t "$VIP:80"
    expect_eq "$(lb -Sn)" "" "what root without capabilities has left, who may ask the director"
}

# make_deny: a program that forbids itself a system call, by an error, and becomes another: ERRNO CALL PROGRAM...
make_deny() {
    cat <<-'PYTHON' >"$LAB_DIR/deny.py"
	import ctypes, os, struct, sys
	code = [(0x20, 0, 0, 0), (0x15, 0, 1, int(sys.argv[2])), (0x06, 0, 0, 0x50000 | int(sys.argv[1])), (0x06, 0, 0, 0x7FFF0000)]
	program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in code))
	libc = ctypes.CDLL(None, use_errno=True)
	assert libc.prctl(38, 1, 0, 0, 0) == 0
	filter = struct.pack("=HxxxxxxQ", len(code), ctypes.addressof(program))
	assert libc.prctl(22, 2, ctypes.create_string_buffer(filter), 0, 0) == 0, ctypes.get_errno()
	os.execv(sys.argv[3], sys.argv[3:])
	PYTHON
}

# ---- in a container ------------------------------------------------------------------------------------------------

# The recipe of README.md: a host of its own, a root directory with programs and little else, no capability at all, and the
# host's /run/tapvs.
test_in_a_container_keepalived_drives_the_hosts_director() {
    scripts/need ipvsadm keepalived unshare setpriv
    topo_onearm
    on_the_bridge box 10.0.0.7
    director
    with_ipvsadm
    serve rs1
    local socket
    socket=$(sed -n 's/.*control socket //p' "$LAB_DIR/tapvs.log")
    container sh -c 'grep -E "CapEff|CapBnd" /proc/self/status; ls /' >"$LAB_DIR/container"
    expect_eq "$(grep -c '	0*$' "$LAB_DIR/container")" 2 "capabilities in the container: $(cat "$LAB_DIR/container")"
    expect_eq "$(container /opt/tapvs exec --socket "$socket" -- ipvsadm -Ln)" "$(lb -Ln)" "the list in a container"
    expect_eq "$(container env TAPVS_SOCKET="$socket" /opt/tapvs exec -- ipvsadm -Ln)" "$(lb -Ln)" "the same, by TAPVS_SOCKET"

    printf '%s\n' "virtual_server $VIP 80 {" "    delay_loop 1" "    lb_algo rr" "    lb_kind NAT" "    protocol TCP" \
        "    real_server $RS1 8080 {" "        TCP_CHECK {" "            connect_timeout 1" "        }" "    }" \
        "    real_server $RS2 8080 {" "        TCP_CHECK {" "            connect_timeout 1" "        }" "    }" "}" >"$LAB_DIR/box.conf"
    container /opt/tapvs exec --socket "$socket" -- keepalived --dont-fork --log-console --check --use-file /etc/box.conf \
        --pid /tmp/keepalived.pid --checkers_pid /tmp/checkers.pid >"$LAB_DIR/box.log" 2>&1 &
    defer end_process $! "$(start_time $!)"
    wait_for 10 "keepalived in the container to add its service" lists "$RS1:8080 +Masq +1 "
    wait_for 20 "it to take the server out that does not answer" lacks "$RS2:8080"
}

# container CMD...: in one on the host `box`.
container() {
    # shellcheck disable=SC2016  # another shell's
    in_ns box timeout --kill-after=2 100 unshare --mount --pid --ipc --uts --fork --kill-child bash -ec '
        lab=$1 tapvs=$2 root=$1/root
        shift 2
        mkdir -p "$root"
        mount -t tmpfs tmpfs "$root"
        mkdir -p "$root"/{usr,etc,proc,tmp,opt,dev,run/tapvs}
        cp -P /bin /sbin /lib* "$root/" 2>/dev/null || true
        cp /etc/passwd /etc/group /etc/protocols "$lab"/*.conf "$root/etc/" 2>/dev/null || true
        cp -a /dev/null /dev/urandom "$root/dev/"
        cp "$tapvs" "$root/opt/tapvs"
        mount --bind /usr "$root/usr"
        mount --bind /run/tapvs "$root/run/tapvs"
        mount -t proc proc "$root/proc"
        exec chroot "$root" setpriv --bounding-set -all --inh-caps -all --no-new-privs "$@"
    ' container "$LAB_DIR" "$TAPVS" "$@"
}

# ---- units -----------------------------------------------------------------------------------------------------------

test_units_of_systemd_are_sound() {
    scripts/need systemd-analyze keepalived || skip "systemd cannot be installed"
    local units=$LAB_DIR/units unit
    mkdir -p "$units"
    cp /lib/systemd/system/keepalived.service "$units/"
    cp -r docs/tapvs.service docs/keepalived.service.d "$units/"
    sed -i "s:/usr/sbin/tapvs:$TAPVS:" "$units"/tapvs.service "$units"/*.d/*
    for unit in tapvs keepalived; do
        expect_eq "$(SYSTEMD_UNIT_PATH="$units:" systemd-analyze verify --man=no "$units/$unit.service" 2>&1 | grep -E "tapvs|keepalived")" "" \
            "what is wrong with $unit.service"
    done
    # It would say so.
    sed -i 's/^KillMode/KillMood/' "$units/keepalived.service.d/tapvs.conf"
    expect_match "$(SYSTEMD_UNIT_PATH="$units:" systemd-analyze verify --man=no "$units/keepalived.service" 2>&1)" KillMood "a fault that was put in"
}

# ---- a director that goes ------------------------------------------------------------------------------------------

test_a_restarted_director_is_given_what_the_program_had_configured() {
    scripts/need ipvsadm
    a_director
    cat >"$LAB_DIR/steps" <<-STEPS
	ipvsadm -A -t $VIP:80 -s wrr
	ipvsadm -a -t $VIP:80 -r $RS1:8080 -m -w 1
	ipvsadm -a -t $VIP:80 -r $RS2:8080 -m -w 1
	ipvsadm -e -t $VIP:80 -r $RS1:8080 -m -w 5
	ipvsadm -d -t $VIP:80 -r $RS2:8080
	ipvsadm -A -u $VIP:53 -s rr -o
	ipvsadm -A -f 9
	ipvsadm -D -f 9
	ipvsadm --set 77 0 0
	ipvsadm --start-daemon backup --mcast-interface tap0 --syncid 3
	touch $LAB_DIR/configured
	until test -e $LAB_DIR/down; do sleep 0.05; done
	ipvsadm -Ln >$LAB_DIR/listed && touch $LAB_DIR/answered
	sleep 30
	STEPS
    spawn steps director "$TAPVS" exec -- bash -e "$LAB_DIR/steps"
    wait_for 10 "the program to configure" test -e "$LAB_DIR/configured"
    local before
    before=$(lb -Sn; lb -Ln --timeout; lb -Ln --daemon)

    local started
    started=$(start_time "$DIRECTOR")
    kill -KILL "$DIRECTOR"
    wait_for 5 "the director's end" process_is_not "$DIRECTOR" "$started"
    in_ns director ip link delete tap0 2>/dev/null || true
    touch "$LAB_DIR/down"
    wait_for 5 "the wrapper to say so" grep -q "the director has gone" "$LAB_DIR/steps.log"
    [[ ! -e $LAB_DIR/answered ]] || die "it was answered by nobody"
    director_start
    wait_for 5 "the answer" test -e "$LAB_DIR/answered"
    expect_eq "$(lb -Sn; lb -Ln --timeout; lb -Ln --daemon)" "$before" "what the new director has"
    expect_eq "$(cat "$LAB_DIR/listed")" "$(lb -Ln)" "what was asked while there was none"
}

# A director that stays away does not stop the program: what it changes is kept for the one that comes.
test_what_is_changed_while_there_is_no_director_is_not_lost() {
    scripts/need ipvsadm
    a_director
    cat >"$LAB_DIR/steps" <<-STEPS
	ipvsadm -A -t $VIP:80 -s rr
	ipvsadm -a -t $VIP:80 -r $RS1 -m
	ipvsadm -A -t $VIP:81 -s rr
	touch $LAB_DIR/configured
	until test -e $LAB_DIR/down; do sleep 0.05; done
	ipvsadm -a -t $VIP:80 -r $RS2 -m
	ipvsadm -d -t $VIP:80 -r $RS1
	ipvsadm -D -t $VIP:81
	touch $LAB_DIR/changed
	sleep 100
	STEPS
    spawn steps director "$TAPVS" exec --wait 1 -- bash -e "$LAB_DIR/steps"
    wait_for 10 "the program to configure" test -e "$LAB_DIR/configured"
    local started once
    started=$(start_time "$DIRECTOR")
    spawn once director "$TAPVS" exec --wait 1 -- bash -c "touch $LAB_DIR/waits; until test -e $LAB_DIR/down; do sleep 0.05; done; exec ipvsadm -A -t $VIP:82"
    once=$SPAWNED
    wait_for 10 "the other program to begin" test -e "$LAB_DIR/waits"
    kill -KILL "$DIRECTOR"
    wait_for 5 "the director's end" process_is_not "$DIRECTOR" "$started"
    wait_for 5 "its TAP to go" lacks_tap
    touch "$LAB_DIR/down"
    wait_for 10 "the program to go on" test -e "$LAB_DIR/changed"
    expect grep -q "is kept until the director is back" "$LAB_DIR/steps.log"
    # A program that ends before has not done what it says.
    local code=0
    wait "$once" || code=$?
    expect_eq "$code" 125 "exit code of the wrapper of a program that ends before the director is back"
    expect_match "$(tail -n 1 "$LAB_DIR/once.log")" "the director did not come back: 1 changes of the program were not made" "what it says"

    director_start
    wait_for 5 "the changes" lists "$RS2:80 "
    expect_eq "$(lb -Sn)" "-A -t $VIP:80 -s rr
-a -t $VIP:80 -r $RS2:80 -m -w 1" "what the new director has"
}

lacks_tap() { ! in_ns director ip link show tap0 >/dev/null 2>&1; }

# A director that is there and does not answer: signals and everything that is not netlink go on.
test_a_director_that_hangs_does_not_hang_the_program() {
    scripts/need ipvsadm
    a_director
    spawn steps director "$TAPVS" exec -- bash -c "ipvsadm -A -t $VIP:80; touch $LAB_DIR/configured
        trap 'echo reload' HUP; trap 'exit 3' TERM
        until test -e $LAB_DIR/frozen; do sleep 0.05; done
        ipvsadm -A -t $VIP:81 & while :; do echo goes on; sleep 0.05; done"
    local wrapper=$SPAWNED code=0 began worker
    wait_for 10 "the program to configure" test -e "$LAB_DIR/configured"
    worker=$(worker)
    defer quietly kill -CONT "$worker"
    kill -STOP "$worker"
    touch "$LAB_DIR/frozen"
    wait_for 5 "the program to go on" grep -q "goes on" "$LAB_DIR/steps.log"
    kill -HUP "$wrapper"
    began=$SECONDS
    wait_for 5 "a signal to arrive" grep -q reload "$LAB_DIR/steps.log"
    kill -TERM "$wrapper"
    wait "$wrapper" || code=$?
    expect_eq "$code" 3 "exit code of the program that was told to end"
    ((SECONDS - began < 20)) || die "it took $((SECONDS - began)) s: as long as the director was waited for"
    kill -CONT "$worker"
}

process_is_not() { ! process_is "$@"; }

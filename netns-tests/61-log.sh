# shellcheck shell=bash
# What becomes of the log, of descriptors and of a start where the world does not do its part: nobody reads stderr, the
# disk is full, memory or descriptors run out, the rules are no file.

# logging_to STDERR ARGS...: the director of the lab, whose stderr is opened for the command `STDERR`; ready when it answers.
logging_to() {
    local stderr=$1
    shift
    bridge_state >"$LAB_DIR/bridge.before"
    # shellcheck disable=SC2016  # expanded by the inner shell
    spawn tapvs director bash -c 'exec 2>"$1" && shift && exec "$@"' stderr "$stderr" "$TAPVS" run --bridge br0 --tap tap0 \
        --address "$DIP/$NET_BITS" --service "tcp/$AT_VIP:80" --scheduler rr --server "$AT_RS1:8080,nat" "$@"
    DIRECTOR=$SPAWNED
    # By its own socket: without a name another test's director, the only one there is, would answer.
    wait_for 10 "tapvs to answer" in_ns director "$TAPVS" status --socket "/run/tapvs/tap0@$(ns director).sock"
}

# ends_well: SIGTERM ends the director with 0, and its TAP goes with it.
ends_well() {
    local pid=$DIRECTOR code=0
    DIRECTOR=
    kill -TERM "$pid"
    wait "$pid" || code=$?
    expect_eq "$code" 0 "exit code of tapvs, $1"
    bridge_state >"$LAB_DIR/bridge.after"
    diff "$LAB_DIR/bridge.before" "$LAB_DIR/bridge.after" >&2 || die "tapvs left its host changed, $1"
}

test_log_that_nobody_reads_stops_no_packet() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    mkfifo "$LAB_DIR/pipe"
    # Holds it open and reads nothing.
    spawn reader client sleep 60 3<>"$LAB_DIR/pipe"
    # Every line that the program has, until the pipe is full, which a pipe of one page soon is.
    in_ns client python3 -c 'import fcntl, sys; fcntl.fcntl(open(sys.argv[1], "r+b", 0), 1031, 4096)' "$LAB_DIR/pipe"
    RUST_LOG=trace logging_to "$LAB_DIR/pipe"
    local number
    for number in {1..30}; do
        kill -USR1 "$DIRECTOR"
        expect_eq "$(fetch "http://$AT_VIP/")" rs1 "an answer after ledger $number"
    done
    ends_well "while nobody reads its log"
}

test_log_on_a_full_disk_or_without_a_reader_ends_nothing() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    mkfifo "$LAB_DIR/pipe"
    local where
    for where in /dev/full "$LAB_DIR/pipe"; do
        # Of the pipe the reader goes after a byte.
        [[ $where != *pipe ]] || head -c 1 "$where" >/dev/null &
        logging_to "$where"
        kill -USR1 "$DIRECTOR"
        expect_eq "$(fetch "http://$AT_VIP/")" rs1 "an answer while the log goes to $where"
        kill -USR1 "$DIRECTOR"
        expect_eq "$(fetch "http://$AT_VIP/")" rs1 "another one"
        ends_well "while its log goes to $where"
    done
}

test_log_of_absent_neighbours_is_limited_and_the_rest_counted() {
    topo_onearm
    director --service "tcp/$VIP:80" --scheduler rr --server "$RS1:8080,nat"
    # Hosts of the link that are not there, asked for by way of the director.
    in_ns client ip route add 10.0.0.128/25 via "$DIP"
    in_ns client python3 - <<-'PYTHON'
		import socket, time
		probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		for host in range(129, 229):
		    probe.sendto(b"anyone?", (f"10.0.0.{host}", 9))
		    time.sleep(0.005)
	PYTHON
    wait_for 10 "neighbours to be given up" gave_up
    director_stop
    expect_between 0 "$(grep -c "does not answer" "$LAB_DIR/tapvs.log")" 30 "lines about a hundred absent neighbours"
}

gave_up() { in_ns director "$TAPVS" status | grep -q "neighbour-unreachable"; }

test_commands_into_a_full_disk_or_a_closed_pipe_do_not_abort() {
    director_host
    local words code
    for words in "run --help" "completion bash" "completion zsh" "--version" "--help" "check /nowhere.toml" "ipvsadm -h" "nonsense"; do
        code=0
        # shellcheck disable=SC2086  # words
        "$TAPVS" $words >/dev/full 2>/dev/full || code=$?
        expect_match "$code" "^(0|1|2|255)$" "exit code of: $words, into a full disk"
        # shellcheck disable=SC2086  # words
        { "$TAPVS" $words 2>&1 || echo $? >"$LAB_DIR/code"; } | true
        expect_match "$(cat "$LAB_DIR/code" 2>/dev/null || echo 0)" "^(0|1|2|255)$" "exit code of: $words, into a pipe that nobody reads"
    done
    code=0
    "$TAPVS" completion bash >/dev/full 2>"$LAB_DIR/said" || code=$?
    expect_match "$code $(cat "$LAB_DIR/said")" "^1 tapvs: cannot write to stdout: No space left" "what is said of a full disk"
}

test_start_without_memory_for_the_table_touches_nothing() {
    director_host
    in_ns director ip tuntap add dev tap5 mode tap
    # shellcheck disable=SC2016  # expanded by the inner shell
    refused 1 "max-flows" bash -c 'ulimit -v 400000 && exec "$@"' limited "$TAPVS" run --bridge br0 --tap tap5 \
        --address "$DIP/24" --max-flows 20000000 --service "tcp/$VIP:80" --scheduler rr --server "$RS1:80,nat"
}

test_clients_beyond_the_descriptors_are_accepted_when_others_go() {
    topo_onearm
    director_args=(run --bridge br0 --address "$DIP/24" --tap tap0)
    bridge_state >"$LAB_DIR/bridge.before"
    # shellcheck disable=SC2016  # expanded by the inner shell
    spawn tapvs director bash -c 'ulimit -n 28 && exec "$@"' limited "$TAPVS" "${director_args[@]}"
    DIRECTOR=$SPAWNED
    wait_for 10 "tapvs to be ready" director_ready_or_gone
    in_ns director timeout 60 python3 - "$(sed -n 's/.*control socket //p' "$LAB_DIR/tapvs.log")" <<-'PYTHON' || die "a client that waited was not served"
		import socket, sys
		def client():
		    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
		    one.settimeout(20)
		    one.connect(sys.argv[1])
		    return one
		def asks(one):
		    one.sendall(b'"timeouts"\n')
		    return one.recv(1000)
		served, waiting = [], []
		while not waiting:
		    one = client()
		    one.settimeout(2)
		    try:
		        asks(one)
		        served.append(one)
		    except TimeoutError:
		        waiting.append(one)
		for one in served: one.close()
		waiting[0].settimeout(30)
		assert b"tcp" in waiting[0].recv(1000)
	PYTHON
}

test_reload_of_what_is_no_file_changes_nothing_and_waits_for_nobody() {
    topo_onearm
    replies_through_director rs1
    serve rs1
    mkfifo "$LAB_DIR/rules"
    printf -- '-A -t %s:80 -s rr\n-a -t %s:80 -r %s:8080 -m\n' "$VIP" "$VIP" "$RS1" >"$LAB_DIR/said"
    cat "$LAB_DIR/said" >"$LAB_DIR/rules" &
    director --rules "$LAB_DIR/rules"
    kill -HUP "$DIRECTOR"
    wait_for 5 "the reload" grep -q "reload: 0 changes" "$LAB_DIR/tapvs.log"
    expect_eq "$(fetch "http://$VIP/")" rs1 "an answer afterwards"
}

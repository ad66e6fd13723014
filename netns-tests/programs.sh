# shellcheck shell=bash
# The programs of a lab: tapvs itself, real web and name servers, real clients.

# ---- tapvs -----------------------------------------------------------------------------------------------------

# director ARGS...: `tapvs run` on br0 as $DIP, ready. The bridge is compared with now when it stops.
director() {
    bridge_state >"$LAB_DIR/bridge.before"
    local gateway=()
    [[ $CLIENT == "$LINK"* ]] || gateway=(--gateway "$ROUTER_IP")
    director_args=(run --bridge br0 --address "$DIP/$NET_BITS" --tap tap0 "${gateway[@]}" "$@")
    director_start --fresh
}

# director_from_file: `tapvs run` with the configuration file of the lab, ready.
director_from_file() {
    bridge_state >"$LAB_DIR/bridge.before"
    director_args=(run --config "$LAB_DIR/tapvs.toml" "$@")
    director_start --fresh
}

# director_start [--fresh]: starts what `director` was told; again, after it was killed, with the state that it left.
director_start() {
    : >"$LAB_DIR/tapvs.log"
    echo "tapvs ${director_args[*]}" >>"$LAB_DIR/commands"
    spawn tapvs director env "RUST_LOG=${RUST_LOG:-info}" "$TAPVS" "${director_args[@]}" "$@"
    DIRECTOR=$SPAWNED
    wait_for 10 "tapvs to be ready" director_ready_or_gone
    kill -0 "$DIRECTOR" 2>/dev/null || die "tapvs did not start: $(tail -n 3 "$LAB_DIR/tapvs.log")"
}

# director_of_host ROLE: tapvs there, by the file $LAB_DIR/ROLE.toml; for labs with several directors.
director_of_host() {
    : >"$LAB_DIR/tapvs-$1.log"
    spawn "tapvs-$1" "$1" env TAPVS_SOCKET="$LAB_DIR/$1.sock" RUST_LOG=info "$TAPVS" run --config "$LAB_DIR/$1.toml"
    echo "$SPAWNED" >"$LAB_DIR/tapvs-$1.pid"
    wait_for 10 "tapvs in $1" grep -qw ready "$LAB_DIR/tapvs-$1.log"
}

# of_host ROLE ARGS...: a command of tapvs to the director there.
of_host() { in_ns "$1" env TAPVS_SOCKET="$LAB_DIR/$1.sock" "$TAPVS" "${@:2}"; }

# knows_download ROLE [PORT]: the director there has the client's conn from port 40001, or that one, as established. A conn by
# its port, for older ones may still be listed.
knows_download() { of_host "$1" ipvsadm -Lcn | grep -qF "ESTABLISHED $(bracketed "$CLIENT"):${2:-40001} "; }

# kill_director_of_host ROLE: keeper and worker end at once, and their TAP with them.
kill_director_of_host() {
    local keeper
    keeper=$(<"$LAB_DIR/tapvs-$1.pid")
    kill_at_once "$keeper" "$(ps -o pid= --ppid "$keeper" | tr -d ' ')"
    wait_for 5 "the TAP to go" lacks_tap "$1"
}

lacks_tap() { ! in_ns "$1" ip link show tap0 >/dev/null 2>&1; }

# kill_at_once PID...: none of them has time for anything.
kill_at_once() {
    kill -STOP "$@" 2>/dev/null || true
    kill -KILL "$@" 2>/dev/null || true
    # Says nothing of their end.
    wait "$@" 2>/dev/null || true
}

# worker: the process that handles frames; $DIRECTOR is its keeper.
worker() { ps -o pid=,comm= --ppid "$DIRECTOR" | awk '$2 == "tapvs-worker" { print $1; exit }'; }

director_ready_or_gone() { file_says "$LAB_DIR/tapvs.log" " ready" || ! kill -0 "$DIRECTOR" 2>/dev/null; }

# serving ARGS...: one service on $VIP:80 by rr; ARGS are `--server` values.
serving() {
    local server args=()
    for server; do
        args+=(--server "$server")
    done
    director --service "tcp/$AT_VIP:80" --scheduler "${SCHEDULER:-rr}" "${args[@]}" "${DIRECTOR_OPTIONS[@]}"
}
DIRECTOR_OPTIONS=()

# director_options ARGS...: what `serving` gives the director beyond its service.
director_options() { DIRECTOR_OPTIONS=("$@"); }

# director_stop: ends tapvs as an operator would and checks what it promised: exit 0, no TAP, the bridge as it was, the
# ledger balanced, no panic.
director_stop() {
    [[ -n ${DIRECTOR:-} ]] || return 0
    local pid=$DIRECTOR code=0
    DIRECTOR=
    local started tries=0
    started=$(start_time "$pid")
    kill -TERM "$pid" 2>/dev/null || die "tapvs was gone before it was stopped: $(tail -n 3 "$LAB_DIR/tapvs.log")"
    while process_is "$pid" "$started"; do
        ((++tries < 600)) || die "tapvs does not end on SIGTERM"
        pause 0.05
    done
    wait "$pid" || code=$?
    expect_eq "$code" 0 "exit code of tapvs after SIGTERM"
    bridge_state >"$LAB_DIR/bridge.after"
    diff "$LAB_DIR/bridge.before" "$LAB_DIR/bridge.after" >&2 || die "tapvs left its host changed"
    ! grep -q panicked "$LAB_DIR/tapvs.log" || die "tapvs panicked"
    check_ledger
}

# bridge_state: what tapvs could have changed on its host and must give back. Carrier and what follows from it (port
# state, queueing discipline, link-local addresses and their groups) is the world's doing; the header format of a
# persistent TAP is its last user's.
bridge_state() {
    in_ns director ip -d link show |
        sed -E 's/ [a-z_]+_timer +[0-9.]+//g; s/(NO-CARRIER,|,LOWER_UP)//; s/ (qdisc|state|vnet_hdr) [a-z_A-Z]+//g'
    in_ns director ip address show | sed -nE '/scope link/d; /^ +inet6? /p'
    in_ns director ip route show
    in_ns director ip -6 route show | sed '/fe80/d'
    in_ns director bridge fdb show | grep -E 'permanent|static' | sed '/^33:33:ff:/d' | sort
    in_ns director sysctl net.ipv4.conf net.ipv4.ip_forward net.bridge 2>/dev/null | grep -v 'tap[0-9]' | sort
}

# ledger_block: the last ledger that tapvs printed, `NAME COUNT` a line.
ledger_block() {
    grep -oE 'ledger: [a-z0-9_.-]+ +[0-9]+' "$LAB_DIR/tapvs.log" | awk '
        $2 == "rx" { lines = "" }
        { lines = lines $2 " " $3 "\n" }
        END { printf "%s", lines }'
}

# ledger_of NAME: the count of that reason, 0 if it is not listed.
ledger_of() { ledger_block | awk -v name="$1" '$1 == name { sum += $2 } END { print sum + 0 }'; }

# check_ledger: every frame is accounted for: rx + generated = tx + consumed + dropped + held.
check_ledger() {
    ledger_block >"$LAB_DIR/ledger"
    grep -q '^rx ' "$LAB_DIR/ledger" || die "tapvs printed no ledger"
    awk '
        $1 == "rx" || $1 == "generated" { came += $2; next }
        $1 == "tx" || $1 == "held" || $1 ~ /^(consumed|dropped)\./ { went += $2 }
        END { if (came != went) { print "rx + generated = " came ", tx + consumed + dropped + held = " went; exit 1 } }
    ' "$LAB_DIR/ledger" >&2 || die "the ledger does not balance"
    # What real programs on sound links never cause: a defect of tapvs if it is there.
    ! grep -E '^dropped\.(malformed|header-checksum|truncated-l4|offload|no-headroom|device-refused) [1-9]' "$LAB_DIR/ledger" >&2 ||
        die "drops that no lab should see"
}

# with_ipvsadm: a directory with tapvs under the name ipvsadm; a director without services is what it finds.
with_ipvsadm() {
    mkdir "$LAB_DIR/bin"
    ln -s "$TAPVS" "$LAB_DIR/bin/ipvsadm"
}

# lb ARGS...: ipvsadm on the director's host; it finds the director of its namespace by itself.
lb() { in_ns director "$LAB_DIR/bin/ipvsadm" "$@"; }

# lists REGEX: the list of services has such a line.
lists() { lb -Ln | grep -qE "$1"; }

# realserver ROLE [ADDRESS] [--tunnel]: prepares that namespace for DR or tunnels, the VIP included.
realserver() {
    local role=$1 address=$VIP
    shift
    if [[ ${1:-} == [0-9]* ]]; then
        address=$1
        shift
    fi
    if [[ ${1:-} != --tunnel ]]; then
        # What it remembers of this namespace lies outside of it.
        defer quietly ip netns exec "$(ns "$role")" "$TAPVS" realserver down
        in_ns "$role" "$TAPVS" realserver up --vip "$address" >>"$LAB_DIR/realserver-$role.log" 2>&1 ||
            die "realserver up in $role: $(tail -n 2 "$LAB_DIR/realserver-$role.log")"
        return
    fi
    # Where the kernel has ipip, `up` sets it up and returns; elsewhere tapvs decapsulates and stays.
    spawn "realserver-$role" "$role" "$TAPVS" realserver up --vip "$address" --tunnel
    wait_for 10 "the VIP in $role" has_address "$role" "$address"
    wait_for 10 "a tunnel device in $role" has_tunnel "$role"
}

has_address() { [[ -n $(in_ns "$1" ip -o address show to "$2/$HOST_BITS") ]]; }

has_tunnel() { in_ns "$1" ip -o link show up | grep -qE 'tunl0|tun|tapvs'; }

# realserver_state ROLE: what `tapvs realserver` may change.
realserver_state() {
    in_ns "$1" ip -o address show | sed 's/valid_lft.*//'
    in_ns "$1" ip -o link show | cut -d: -f2
    in_ns "$1" ip route show table all
    in_ns "$1" sysctl net.ipv4.conf net.ipv4.ip_forward 2>/dev/null | sort
}

# ---- servers ---------------------------------------------------------------------------------------------------

# serve ROLE...: nginx on ports 80 and 8080 of each; `/` answers the role's name, /put/ takes uploads, /files/ gives payloads.
serve() {
    local role dir
    for role; do
        dir=$SCRATCH/nginx-$role
        mkdir -p "$dir/put" "$dir/tmp"
        : >"$LAB_DIR/nginx-$role.access"
        nginx_config "$role" "$dir" >"$dir/nginx.conf"
        spawn "nginx-$role" "$role" nginx -p "$dir" -c "$dir/nginx.conf" -e "$LAB_DIR/nginx-$role.log"
    done
    for role; do
        wait_for 10 "nginx in $role" listens "$role" tcp 8080
    done
}

nginx_config() {
    local role=$1 dir=$2
    cat <<-NGINX
	daemon off;
	user root;
	worker_processes 1;
	pid $dir/nginx.pid;
	error_log $LAB_DIR/nginx-$role.log warn;
	events { worker_connections 4096; }
	http {
	    log_format who '\$remote_addr \$server_addr:\$server_port \$status \$request_method \$uri';
	    access_log $LAB_DIR/nginx-$role.access who;
	    client_body_temp_path $dir/tmp; proxy_temp_path $dir/tmp; fastcgi_temp_path $dir/tmp;
	    uwsgi_temp_path $dir/tmp; scgi_temp_path $dir/tmp;
	    client_max_body_size 0; client_body_buffer_size 1m; sendfile on; default_type application/octet-stream; server_tokens off;
	    client_header_timeout 1h; ${NGINX_MORE:-}
	    server {
	        listen $(bracketed "$ANYWHERE"):80 backlog=4096;
	        $([[ $ANYWHERE != :: ]] || echo "listen 0.0.0.0:80 backlog=4096;")
	        listen $(bracketed "$ANYWHERE"):8080 backlog=4096;
	        location / { return 200 "$role\n"; }
	        location /files/ { alias ${PAYLOADS:-$SCRATCH}/; }
	        location /put/ { root $dir; dav_methods PUT; }
	    }
	}
	NGINX
}

# home NAME: a directory that the server of that name may fill.
home() {
    mkdir -p "$SCRATCH/$1"
    chmod 777 "$SCRATCH" "$SCRATCH/$1"
    echo "$SCRATCH/$1"
}

# smtp_server [WORD]: takes mail for lab.test in rs1; WORD of its listener's.
smtp_server() {
    local dir
    dir=$(home smtp)
    mkdir -p "$dir/spool"
    chmod 711 "$dir/spool"
    cat >"$dir/conf" <<-SMTPD
		listen on 0.0.0.0 port 25 hostname lab.test ${1:-}
		action "keep" maildir "$dir/mail"
		match from any for domain "lab.test" action "keep"
	SMTPD
    # Its sockets and its queue have fixed names.
    # shellcheck disable=SC2016  # expanded by the inner shell
    spawn smtp rs1 unshare --mount bash -c 'mount -t tmpfs none /run && mount --bind "$1/spool" /var/spool &&
        exec smtpd -d -f "$1/conf"' smtpd "$dir"
}

# name_server ROLE...: dnsmasq that answers `TXT who.test` with the role's name.
name_server() {
    local role
    for role; do
        spawn "dnsmasq-$role" "$role" dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts \
            --user=root --pid-file= --txt-record="who.test,$role" --log-queries --log-facility=-
    done
    for role; do
        wait_for 10 "dnsmasq in $role" listens "$role" udp 53
    done
}

listens() { in_ns "$1" ss "-ln${2:0:1}" | grep -qE "[:.]$3 "; }

# refuse ROLE RULE, redirect ROLE PROTOCOL PORT TO: faults, until the table `fault` is deleted.
refuse() {
    in_ns "$1" nft add table ip fault
    in_ns "$1" nft add chain ip fault in '{ type filter hook input priority 0; }'
    # shellcheck disable=SC2086  # several words
    in_ns "$1" nft add rule ip fault in $2
}

redirect() {
    in_ns "$1" nft add table ip fault
    in_ns "$1" nft add chain ip fault pre '{ type nat hook prerouting priority -100; }'
    in_ns "$1" nft add rule ip fault pre "$2" dport "$3" counter redirect to ":$4"
}

# shellcheck disable=SC2034  # of tests that source this
read -rd '' SERVFAIL <<'PYTHON' || true
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(('0.0.0.0', 9053))
while True:
    query, peer = server.recvfrom(2000)
    server.sendto(query[:2] + b'\x81\x82' + query[4:], peer)
PYTHON

# shellcheck disable=SC2034  # of tests that source this
read -rd '' STATUS_500 <<'PYTHON' || true
import http.server
class Wrong(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(500)
http.server.ThreadingHTTPServer(('0.0.0.0', 9080), Wrong).serve_forever()
PYTHON

# ---- clients ---------------------------------------------------------------------------------------------------

# fetch URL: one request of the client; prints the answer.
fetch() { in_ns client curl --silent --show-error --max-time 10 "$@"; }

# requests COUNT URL: that many, each over a connection of its own, 32 at a time; all must be answered.
requests() {
    local count=$1 url=$2
    in_ns client timeout 25 curl --silent --show-error --parallel --parallel-immediate --parallel-max 32 --max-time 20 \
        --header 'Connection: close' --output /dev/null --write-out '%{http_code} %{num_connects}\n' \
        "$url?[1-$count]" >"$LAB_DIR/answers" 2>"$LAB_DIR/curl.errors" ||
        die "of $count requests $(grep -c '^200 ' "$LAB_DIR/answers") answered: $(sort "$LAB_DIR/curl.errors" | uniq -c | head -n 3)"
    expect_eq "$(grep -c '^200 ' "$LAB_DIR/answers")" "$count" "requests answered with 200"
    expect_eq "$(awk '{ sum += $2 } END { print sum }' "$LAB_DIR/answers")" "$count" "connections opened"
}

# answered ROLE: how many requests that real server logged.
answered() { wc -l <"$LAB_DIR/nginx-$1.access"; }

# expect_shares ROLE=COUNT...: the real servers answered exactly so many.
expect_shares() {
    local share
    for share; do
        wait_for 3 "${share#*=} requests in the log of ${share%=*}, now $(answered "${share%=*}")" \
            has_answered "${share%=*}" "${share#*=}"
    done
}

has_answered() {
    local off=$(($(answered "$1") - $2))
    ((off == 0)) || ((${off#-} <= $(ports_used_again)))
}

# ports_used_again: how often the client opened a conn from a port that it had used before. Where the director sees no
# replies the old conn is still in FIN_WAIT, and such a one keeps its server, as in the kernel: it is not in the turn.
ports_used_again() {
    tcpdump -n -r "$LAB_DIR/client.pcap" 'tcp[tcpflags] == tcp-syn or (ip6 and ip6[6] == 6 and ip6[53] == 2)' 2>/dev/null |
        awk '{ opened[$3 " " $5]++ } END { for (pair in opened) again += opened[pair] - 1; print again + 0 }'
}

forget_answers() {
    local log
    for log in "$LAB_DIR"/nginx-*.access; do
        : >"$log"
    done
}

# answers_between_families NAME SERVER6 SERVER4 KIND: with such a tunnel NAME answers an IPv4 client through IPv6, where it
# is SERVER6, and an IPv6 client through IPv4, where it is SERVER4.
answers_between_families() {
    local name=$1 server6=$2 server4=$3 kind=$4
    director --address 10.0.0.2/24 --service tcp/10.0.0.100:80 --server "$server6,$kind"
    expect_eq "$(fetch http://10.0.0.100/)" "$name" "answer to an IPv4 client through IPv6, $kind"
    director_stop
    director --address 10.0.0.2/24 --service "tcp/$AT_VIP:80" --server "$server4,$kind"
    expect_eq "$(fetch "http://$AT_VIP/")" "$name" "answer to an IPv6 client through IPv4, $kind"
    director_stop
}

# expect_sources ADDRESSES ROLE...: these, and no others, are the client addresses that the servers logged.
expect_sources() {
    local wanted=$1 role
    shift
    for role; do
        expect_eq "$(cut -d' ' -f1 "$LAB_DIR/nginx-$role.access" | sort -u | xargs)" "$wanted" "client addresses logged by $role"
    done
}

# payload MIB: a file of random bytes, made once for all tests of a run; prints its path.
payload() {
    local file=${PAYLOADS:-$SCRATCH}/payload-$1
    if [[ ! -e $file ]]; then
        # Of two tests that make it at once either's will do, but none may read half of it.
        head -c "$1M" /dev/zero | openssl enc -aes-128-ctr -pass pass:tapvs -nosalt -pbkdf2 >"$file.$$"
        mv "$file.$$" "$file"
    fi
    echo "$file"
}

# Mebibytes that transfers in bulk have; `scripts/endurance transfers` has a gibibyte.
MIB=${MIB:-256}

# download MIB: from the service, compared byte for byte on the way.
download() {
    local file
    file=$(payload "$1")
    fetch --max-time "${TRANSFER_SECONDS:-60}" "http://$AT_VIP/files/${file##*/}" | cmp - "$file" || die "download of $1 MiB differs"
}

# upload MIB ROLE: to the service, compared with what that real server stored.
upload() {
    local file stored=$SCRATCH/nginx-$2/put/upload
    file=$(payload "$1")
    fetch --max-time "${TRANSFER_SECONDS:-60}" --upload-file "$file" "http://$AT_VIP/put/upload" || die "upload of $1 MiB failed"
    cmp "$stored" "$file" || die "upload of $1 MiB differs"
    rm "$stored"
}

# filter_of KIND: what its packets have that others lack; bytes are counted from behind the outer IP header.
filter_of() {
    local behind="ip6[40" proto="ip6[6]"
    [[ $FAMILY == 6 ]] || behind="ip[20" proto="ip[9]"
    case $1 in
        gre) echo "$proto == 47 and $behind + 0:2] == 0" ;;
        gre,csum) echo "$proto == 47 and $behind + 0:2] == 0x8000" ;;
        gue) echo "$proto == 17 and $behind + 2:2] == 6080 and $behind + 6:2] == 0" ;;
        gue,csum) echo "$proto == 17 and $behind + 2:2] == 6080 and $behind + 6:2] != 0 and $behind + 10:2] == 0" ;;
        # The remote checksum is for packets whose own is unfinished: those that came with offloads.
        gue,remcsum) echo "$proto == 17 and $behind + 2:2] == 6080 and $behind + 6:2] != 0 and $behind + 10:2] == 1" ;;
    esac
}

# queries COUNT: `dig` asks the service that often, each from a socket of its own; prints the answers counted.
queries() {
    local count=$1 number
    for ((number = 0; number < count; number++)); do
        # A source port of its own, or the query would belong to the conn of an earlier one.
        echo "who.test TXT -b $ANYWHERE#$((20000 + number)) +short +time=2 +tries=1"
    done >"$LAB_DIR/questions"
    in_ns client dig @"${2:-$VIP}" -f "$LAB_DIR/questions" | sort | uniq -c | awk '{ print $2 "=" $1 }' | tr -d '"' | xargs
}

# pings COUNT ADDRESS [BYTES]: every echo request is answered.
pings() {
    in_ns client ping -q -c "$1" -i 0.02 -W 2 -s "${3:-56}" "$2" >"$LAB_DIR/ping.log" || die "ping $2: $(tail -n 2 "$LAB_DIR/ping.log")"
    grep -q " 0% packet loss" "$LAB_DIR/ping.log" || die "ping $2: $(tail -n 2 "$LAB_DIR/ping.log")"
}

# udp_probe ADDRESS PORT: what a connected UDP socket of the client hears: answer, refused or silence.
udp_probe() {
    in_ns client python3 - "$@" <<'PYTHON'
import socket, sys
probe = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
probe.settimeout(2)
probe.connect((sys.argv[1], int(sys.argv[2])))
probe.send(b"anyone?")
try:
    probe.recv(100)
    print("answer")
except ConnectionRefusedError:
    print("refused")
except TimeoutError:
    print("silence")
PYTHON
}

# hold_open COUNT [ADDRESS]: so many conns of the client to the service that stay open, each after an answer, until the lab
# ends. Who answered: held_by.
hold_open() {
    cat >"$LAB_DIR/hold.py" <<'PYTHON'
import socket, sys, time
held, refused = [], 0
for number in range(int(sys.argv[2])):
    conn = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_STREAM)
    conn.settimeout(2)
    try:
        conn.connect((sys.argv[1], 80))
        conn.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        print("by", conn.recv(4096).split()[-1].decode(), flush=True)
        held.append(conn)
    except OSError as error:
        print("refused", type(error).__name__, flush=True)
print("done", flush=True)
time.sleep(30)
PYTHON
    : >"$LAB_DIR/hold.log"
    spawn hold client python3 "$LAB_DIR/hold.py" "${2:-$VIP}" "$1"
    wait_for 15 "$1 conns held" grep -q '^done' "$LAB_DIR/hold.log"
}

held_by() { grep -c "^by $1" "$LAB_DIR/hold.log" || true; }

# refused CODE REGEX ARGS...: tapvs ends with CODE and one line on stderr that matches; the host stays as it was.
refused() {
    local wanted=$1 regex=$2 code=0
    shift 2
    bridge_state >"$LAB_DIR/bridge.before"
    in_ns director timeout --kill-after=2 5 "$@" >"$LAB_DIR/refused.out" 2>"$LAB_DIR/refused.err" </dev/null || code=$?
    bridge_state >"$LAB_DIR/bridge.after"
    echo "$* -> $code: $(cat "$LAB_DIR/refused.err")" >>"$LAB_DIR/refused.log"
    expect_eq "$code" "$wanted" "exit code of: $*: $(cat "$LAB_DIR/refused.err")"
    expect_eq "$(grep -c . "$LAB_DIR/refused.err")" 1 "lines on stderr of: $*: $(cat "$LAB_DIR/refused.err")"
    expect_match "$(cat "$LAB_DIR/refused.err")" "$regex" "what it said about: $*"
    diff "$LAB_DIR/bridge.before" "$LAB_DIR/bridge.after" >&2 || die "left something behind: $*"
}

# ---- what outlives its process -----------------------------------------------------------------------------------

another_worker_than() { local now && now=$(worker) && [[ $now != "$1" ]]; }

# long_download FILE: a slow one of 16 MiB in the background; its checksum is in FILE when it ends, or what went wrong.
long_download() {
    local url=http://$AT_VIP/files/payload-${DOWNLOAD:-16}
    spawn "$1" client bash -c "set -o pipefail; sum=\$(curl --silent --max-time ${PATIENCE:-90} --limit-rate ${DOWNLOAD_RATE:-2M} '$url' | md5sum) || sum=failed; echo \"\$sum\" >'$LAB_DIR/$1'"
}

has_ended() { [[ -s $LAB_DIR/$1 ]]; }

# serving_load SERVER...: `serving`, and what `load_begins` needs besides.
serving_load() {
    local server address
    local -A letters=([nat]=-m [fullnat]=--fullnat [direct]=-g [tunnel]=-i)
    name_server rs1 rs2
    serving "$@"
    with_ipvsadm
    lb -A -u "$AT_VIP:53" -s rr
    for server; do
        address=${server%,*}
        lb -a -u "$AT_VIP:53" -r "${address%:8080}:53" "${letters[${server##*,}]}"
    done
    [[ -n ${HEAVY_LOAD:-} ]] || return 0
    spawn iperf3d rs1 iperf3 -s
    address=${1%,*}
    lb -A -t "$AT_VIP:5201" -s rr
    lb -a -t "$AT_VIP:5201" -r "${address%:8080}:5201" "${letters[${1##*,}]}"
}

# load_begins: what clients do while something happens to the director: a download of ${DOWNLOAD:-16} MiB with a checksum,
# requests and questions one after the other, a conn that says nothing, and pings; with HEAVY_LOAD=1 iperf3 and wrk, too.
# For a director of `serving_load`.
load_begins() {
    LOAD_SUM=$(md5sum <"$(payload "${DOWNLOAD:-16}")")
    long_download one
    idle_conn
    loop_of requests "curl --silent --show-error --max-time 20 'http://$AT_VIP/'"
    loop_of questions "dig @$VIP who.test TXT +short +tries=4 +time=5"
    spawn ping client ping -D -n -i 0.005 "$VIP"
    [[ -n ${HEAVY_LOAD:-} ]] || return 0
    spawn wrk-close client wrk -t1 -c4 -d3600 -H "Connection: close" "http://$AT_VIP/"
    WRKS=("$SPAWNED")
    spawn wrk-keep client wrk -t1 -c4 -d3600 "http://$AT_VIP/"
    WRKS+=("$SPAWNED")
    spawn iperf3 client iperf3 -c "$VIP" -t 3600 -b 20M
    IPERF3=$SPAWNED
}

# fill_table COUNT: that many UDP conns from as many clients, which say nothing any more. A frame that finds the TAP's
# queue full is lost, so all are sent again until each has its conn.
fill_table() {
    local mac tries=0 clients=172.16.0.0
    [[ $FAMILY == 4 ]] || clients=2001:db8:f::
    mac=$(in_ns director "$TAPVS" status | sed -nE 's/^link tap0 mac ([0-9a-f:]+).*/\1/p')
    lb -A -u "$AT_VIP:9" -s rr
    lb -a -u "$AT_VIP:9" -r "$AT_RS1:9" -m
    lb --set 0 0 3600
    until (($(conns_now) >= $1)); do
        ((++tries <= 30)) || die "the table does not fill: $(conns_now) conns of $1"
        in_ns rs3 netns-tests/idle-conns.py eth0 "$mac" "$clients" "$VIP" 9 $(($1 + $1 / 50))
    done
    echo "conns in the table: $(conns_now)"
}

conns_now() { in_ns director "$TAPVS" status | sed -nE '1s/.*, ([0-9]+) conns.*/\1/p'; }

# load_ended: nothing of it has failed.
load_ended() {
    local kind wrk
    for kind in requests questions; do
        loop_ended "$kind"
    done
    idle_conn_answers
    wait_for "${PATIENCE:-60}" "the end of the download" has_ended one
    expect_eq "$(cat "$LAB_DIR/one")" "$LOAD_SUM" "the checksum of the download"
    silences ping.log
    [[ -n ${HEAVY_LOAD:-} ]] || return 0
    kill -0 "$IPERF3" || die "iperf3 has ended: $(tail -n 3 "$LAB_DIR/iperf3.log")"
    for wrk in "${WRKS[@]}"; do
        kill -INT "$wrk"
        wait "$wrk" || true
    done
    expect_match "$(cat "$LAB_DIR"/wrk-*.log)" "requests in.*requests in" "what wrk says"
    ! grep -E "Socket errors|Non-2xx" "$LAB_DIR"/wrk-*.log || die "requests were lost"
}

# loop_of NAME COMMAND: the command again and again until `loop_ended NAME`; each time that it fails or has no answer leaves
# a line.
loop_of() {
    spawn "$1" client bash -c "until [[ -e '$LAB_DIR/$1.end' ]]; do
        { $2 >'$LAB_DIR/$1.answer' && grep -q rs '$LAB_DIR/$1.answer'; } || echo failed
        echo asked; sleep 0.02; done; echo ended" # pace: the machine has others to serve
    wait_for 5 "the first of the $1" grep -q asked "$LAB_DIR/$1.log"
}

loop_ended() {
    touch "$LAB_DIR/$1.end"
    wait_for 30 "the last of the $1" grep -q ended "$LAB_DIR/$1.log"
    expect_eq "$(grep -cv -e asked -e ended "$LAB_DIR/$1.log")" 0 "$1 that failed of $(grep -c asked "$LAB_DIR/$1.log")"
}

# idle_conn: a conn that says nothing until `idle_conn_answers`.
idle_conn() {
    spawn idle client bash -c "exec 3<>/dev/tcp/$VIP/80 && touch '$LAB_DIR/idle.open'
        until [[ -e '$LAB_DIR/idle.go' ]]; do sleep 0.05; done
        printf 'GET / HTTP/1.0\r\n\r\n' >&3 && timeout 10 cat <&3 >'$LAB_DIR/idle.answer'; echo end >'$LAB_DIR/idle.end'"
    wait_for 5 "the idle conn" test -e "$LAB_DIR/idle.open"
}

idle_conn_answers() {
    touch "$LAB_DIR/idle.go"
    wait_for 15 "an end of the idle conn" test -e "$LAB_DIR/idle.end"
    expect_match "$(tail -n 1 "$LAB_DIR/idle.answer")" "^rs[12]" "the answer on the idle conn"
}

# moment: something is about to be done that may silence the director; `silences` says for how long it did.
moment() { date +%s.%N >>"$LAB_DIR/moments"; }

# silences FILE: the longest time between two answers to a ping after each moment: median and longest of all.
silences() {
    sed -nE 's/^\[([0-9.]+)\].*time=.*/\1/p' "$LAB_DIR/$1" >"$LAB_DIR/answers"
    touch "$LAB_DIR/moments"
    awk 'FILENAME ~ /moments$/ { moment[++count] = $1; next }
        { while (at < count && moment[at + 1] <= $1) at++
          if (last && $1 - last > gap[at]) gap[at] = $1 - last
          last = $1 }
        END { for (number = 1; number <= count; number++) printf "%d\n", gap[number] * 1000 }' \
        "$LAB_DIR/moments" "$LAB_DIR/answers" | sort -n |
        awk '{ gap[NR] = $1 } END { if (NR) print "silences in ms of " NR ": median " gap[int((NR + 1) / 2)] ", longest " gap[NR] }'
}

# ldirectord_for QUIESCENT SCHEDULER REAL...: ldirectord with a service of these servers, which it asks for a page. With -d it
# stays in the foreground and takes the ipvsadm of its directory, for the lab's director alone: after that one's end ipvsadm
# would find another lab's, if only one is left.
ldirectord_for() {
    local quiescent=$1 scheduler=$2
    shift 2
    {
        printf '%s\n' checktimeout=2 checkinterval=1 negotiatetimeout=2 "quiescent=$quiescent" \
            "logfile=\"$LAB_DIR/ldirectord.log\"" "virtual=$VIP:80"
        printf '        real=%s\n' "$@"
        printf '        %s\n' service=http 'request="/"' 'receive="rs[0-9]"' checktype=negotiate "scheduler=$scheduler" protocol=tcp
    } >"$LAB_DIR/$LAB_NAME.cf"
    spawn ldirectord director env TAPVS_SOCKET="/run/tapvs/tap0@$(ns director).sock" \
        bash -c "cd '$LAB_DIR/bin' && exec /usr/sbin/ldirectord -d '$LAB_DIR/$LAB_NAME.cf' start"
}

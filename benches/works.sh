# shellcheck shell=bash
# shellcheck disable=SC2034  # what scripts/bench reads
# The works of scripts/bench: each loads the contender at $TARGET and prints lines of `METRIC VALUE`.

WORKS=(down1 up1 down4 up4 keepalive close udp64 udp1400 latency mixed few million)
BULK_PORT=5201 UDP_PORT=5202

describe_work() {
    case $1 in
        down1) echo "iperf3, one TCP stream from the server" ;;
        up1) echo "iperf3, one TCP stream to the server" ;;
        down4) echo "iperf3, four TCP streams from the server" ;;
        up4) echo "iperf3, four TCP streams to the server" ;;
        keepalive) echo "wrk, 32 connections, requests of a few bytes" ;;
        close) echo "wrk, 32 at a time, each request on a connection of its own" ;;
        udp64) echo "iperf3, datagrams of 64 bytes as fast as they are sent, counted at the receiver" ;;
        udp1400) echo "iperf3, the same with 1400 bytes" ;;
        latency) echo "wrk, one connection, one request at a time" ;;
        mixed) echo "the same while four TCP streams run from the server" ;;
        few) echo "datagrams of 256 clients in random order, as many as can be sent, counted at the receiver" ;;
        million) echo "the same of 1,048,576 clients, after all of them have their conns" ;;
    esac
}

# ---- the real server -------------------------------------------------------------------------------------------

web_server() {
    cat >"$LAB_DIR/web.conf" <<-CONF
	daemon off; user root; worker_processes 2; worker_rlimit_nofile 65536; pid $LAB_DIR/web.pid; error_log $LAB_DIR/web.log error;
	events { worker_connections 20000; multi_accept on; }
	http {
	    access_log off; keepalive_requests 100000000; keepalive_timeout 300s; tcp_nodelay on; server_tokens off;
	    client_body_temp_path $LAB_DIR/t; proxy_temp_path $LAB_DIR/t; fastcgi_temp_path $LAB_DIR/t;
	    uwsgi_temp_path $LAB_DIR/t; scgi_temp_path $LAB_DIR/t;
	    server { listen 80 backlog=4096 reuseport; listen [::]:80 backlog=4096 reuseport; location / { return 200 "ok\n"; } }
	    server { listen 81 proxy_protocol backlog=4096 reuseport; location / { return 200 "ok\n"; } }
	}
	CONF
    spawn web rs1 nginx -c "$LAB_DIR/web.conf"
    spawn iperf-bulk rs1 iperf3 --server --port "$BULK_PORT"
    spawn iperf-udp rs1 iperf3 --server --port "$UDP_PORT" --bind "$RS1"
    wait_for 10 "the web server" listens rs1 tcp 80
    wait_for 10 "iperf3" listens rs1 tcp "$BULK_PORT"
    wait_for 10 "iperf3 for datagrams" listens rs1 tcp "$UDP_PORT"
}

# udp_server ADDRESS: datagrams must be answered from where they were sent to: the VIP where it is the server's own.
udp_server() {
    ip netns exec "$(ns rs1)" iperf3 --server --port "$UDP_PORT" --bind "$1" </dev/null >>"$LAB_DIR/iperf-vip.log" 2>&1 &
    undo end_process $! "$(start_time $!)"
    wait_for 10 "iperf3 on $1" listens_at rs1 "$1" "$UDP_PORT"
}

listens_at() { in_ns "$1" ss -ltn | grep -qF " $(bracketed "$2"):$3 "; }

# ---- works -----------------------------------------------------------------------------------------------------

# iperf SECONDS ARGS...: the client's report as JSON.
iperf() {
    local seconds=$1
    shift
    in_ns client timeout $((seconds + 8)) iperf3 --client "$TARGET" --time "$seconds" --json "$@"
}

# bulk_report, udp_report: from iperf3's report on stdin.
bulk_report() {
    python3 -c 'import json, sys; print("Gbit/s", json.load(sys.stdin)["end"]["sum_received"]["bits_per_second"] / 1e9)'
}

udp_report() {
    python3 -c '
import json, sys
end = json.load(sys.stdin)["end"]["sum"]
received = end["packets"] - end["lost_packets"]
print("kpps", received / end["seconds"] / 1e3)
print("loss%", end["lost_percent"])'
}

# wrk_report: requests per second and latencies in microseconds, from wrk's report on stdin.
wrk_report() {
    awk '
        function microseconds(text) {
            if (text ~ /us$/) return text + 0
            if (text ~ /ms$/) return text * 1000
            return text * 1000000
        }
        $1 == "50%" { print "p50us", microseconds($2) }
        $1 == "99%" { print "p99us", microseconds($2) }
        $1 == "Requests/sec:" { print "req/s", $2 }
        /Socket errors/ { print "errors", $4 + $6 + $8 + $10 }'
}

request() {
    local seconds=$1
    shift
    in_ns client timeout $((seconds + 8)) wrk --threads 1 --duration "${seconds}s" --latency "$@" "http://$(bracketed "$TARGET")/" | wrk_report
}

work_down1() { iperf "$BULK_SECONDS" --port "$BULK_PORT" --reverse | bulk_report; }
work_up1() { iperf "$BULK_SECONDS" --port "$BULK_PORT" | bulk_report; }
work_down4() { iperf "$BULK_SECONDS" --port "$BULK_PORT" --reverse --parallel 4 | bulk_report; }
work_up4() { iperf "$BULK_SECONDS" --port "$BULK_PORT" --parallel 4 | bulk_report; }
work_keepalive() { request "$BULK_SECONDS" --connections 32; }
work_close() { request "$BULK_SECONDS" --connections 32 --header 'Connection: close'; }
work_udp64() { iperf 1 --port "$UDP_PORT" --udp --bitrate 0 --length 64 | udp_report; }
work_udp1400() { iperf 1 --port "$UDP_PORT" --udp --bitrate 0 --length 1400 | udp_report; }
work_latency() { request 1 --connections 1; }

work_mixed() {
    iperf $((BULK_SECONDS + 1)) --port "$BULK_PORT" --reverse --parallel 4 >"$LAB_DIR/mixed.json" &
    local bulk=$!
    sleep 0.5
    request "$BULK_SECONDS" --connections 1
    wait "$bulk"
    bulk_report <"$LAB_DIR/mixed.json"
}

# received: frames that have come to rs1.
received() { in_ns rs1 ip -s -j link show dev eth0 | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["stats64"]["rx"]["packets"])'; }

# senders COUNT WARM ADDRESS PORT: datagrams from random addresses and ports, as trafgen has them; what arrives in two seconds
# after WARM seconds. Nobody answers: rs1 throws them away when they have been counted.
senders() {
    local count=$1 warm=$2 address=$3 port=$4 mac before
    scripts/need trafgen nft
    in_ns rs1 nft "add table ip senders; add chain ip senders come { type filter hook prerouting priority -300; }
        add rule ip senders come udp dport $UDP_PORT drop"
    in_ns client ping -q -c 1 -W 1 "$TARGET" >/dev/null || true
    mac=$(in_ns client ip neigh show "$TARGET" | grep -oE '([0-9a-f]{2}:){5}[0-9a-f]{2}')
    cat >"$LAB_DIR/senders" <<-CONF
	{ 0x${mac//:/, 0x}, 2, 0, 0, 0, 0, 9, c16(0x0800), 0x45, 0, c16(46), drnd(2), 0, 0, 64, 17, csumip(14, 33),
	$address, ${TARGET//./, }, $port, c16($UDP_PORT), c16(26), csumudp(14, 34), fill(0x41, 18) }
	CONF
    # Ends by itself. It binds itself to the first processor, which is not the director's.
    in_ns client timeout $((warm + 12)) trafgen --dev eth0 --conf "$LAB_DIR/senders" --cpus 1 --no-cpu-stats \
        --num "$count" >/dev/null 2>&1 &
    sleep "$warm"
    before=$(received)
    sleep 2
    echo "kpps $((($(received) - before) / 2000))"
    wait $! || true
    in_ns rs1 nft delete table ip senders
}

work_few() { senders 4000000 1 "172, 16, 0, drnd(1)" "c16(4096)"; }
# 65,536 addresses, and 16 ports of each. For the fast path all have sent the packets that a conn has before it asks for it.
work_million() {
    local count=20000000 warm=12
    [[ -z ${FAST_PATH:-} ]] || count=40000000 warm=100
    senders "$count" "$warm" "172, 16, drnd(2)" "16, dinc(0, 15, 1)"
}

# applies CONTENDER WORK: whether that can be measured and says something.
applies() {
    case $1-$2 in
        haproxy-udp*) return 1 ;;
        # Large frames do not fit a tunnel, and cutting them is not its job.
        reflector-tunnel*-down? | reflector-tunnel*-keepalive | reflector-tunnel*-close | reflector-tunnel*-latency) return 0 ;;
        reflector-tunnel*) return 1 ;;
        reflector-few | reflector-million | tapvs-nat-few | tapvs-nat-million | tapvs-fast-few | tapvs-fast-million) return 0 ;;
        *-few | *-million) return 1 ;;
        reflector-mixed | tapvs-nat-mixed | tapvs-fast-mixed | null-program-mixed | haproxy-mixed | nginx-mixed | nftables-mixed) return 0 ;;
        *-mixed) return 1 ;;
    esac
}

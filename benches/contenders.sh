# shellcheck shell=bash
# shellcheck disable=SC2034  # what scripts/bench reads
# The contenders of scripts/bench: each puts something between the client and rs1 that answers at $TARGET.
#
# up_NAME makes it ready and sets TARGET and DIRECTOR_PID (0 where no process does the work); what it starts or changes
# it hands to `undo`, which runs when the contender's turn is over. A contender that cannot be had says so with `lacks`.

CONTENDERS=(direct reflector tapvs-nat tapvs-nat6 tapvs-fullnat reflector-dr tapvs-dr reflector-tunnel tapvs-tunnel
    reflector-tunnel-kernel tapvs-tunnel-kernel null-program tapvs-fast tapvs-fast-dr tapvs-fast-tunnel nftables haproxy
    nginx ipvs-uml)
# Ways to run tapvs, to choose the default by: only when asked for.
VARIANTS=(tapvs-unpinned tapvs-batch tapvs-plain tapvs-fullnat-proxy)

describe() {
    case $1 in
        direct) echo "no director: the client talks to the real server over the bridge" ;;
        reflector) echo "null reflector: reads a TAP, rewrites with constants, writes; the limit of a TAP" ;;
        reflector-dr) echo "null reflector of direct routing: changes the MACs of requests; replies do not cross it" ;;
        reflector-tunnel) echo "null reflector of tunnels: puts a constant header before requests; no superframes" ;;
        reflector-tunnel-kernel) echo "the same, taken apart as for tapvs-tunnel-kernel" ;;
        tapvs-nat) echo "tapvs, masquerading" ;;
        tapvs-nat6) echo "tapvs, masquerading, IPv6 from client to real server" ;;
        tapvs-fullnat) echo "tapvs, FULL-NAT" ;;
        tapvs-dr) echo "tapvs, direct routing" ;;
        tapvs-tunnel) echo "tapvs, IP tunnel, taken apart by 'tapvs realserver' where the kernel has no ipip" ;;
        tapvs-tunnel-kernel) echo "tapvs, IP tunnel, taken apart by an eBPF program, as a kernel with ipip would" ;;
        null-program) echo "null program: rewrites with constants at the egress of a TAP, in the kernel; the limit of the fast path" ;;
        nftables) echo "DNAT by the kernel's nftables" ;;
        haproxy) echo "HAProxy, mode tcp, one thread" ;;
        nginx) echo "nginx stream, one worker" ;;
        tapvs-unpinned) echo "tapvs-nat where the scheduler puts it" ;;
        tapvs-batch) echo "tapvs-nat, pinned and under SCHED_BATCH" ;;
        tapvs-plain) echo "tapvs-nat without offloads" ;;
        tapvs-fullnat-proxy) echo "tapvs-fullnat with a header of the PROXY protocol in front of each stream" ;;
        tapvs-fast) echo "tapvs-nat with the fast path in the kernel" ;;
        tapvs-fast-dr) echo "tapvs-dr with the fast path in the kernel" ;;
        tapvs-fast-tunnel) echo "tapvs-tunnel-kernel with the fast path in the kernel" ;;
        ipvs-uml) echo "the kernel's IPVS, masquerading, in user-mode-linux on a TAP of the same bridge" ;;
    esac
}

# undo CMD...: CMD runs when this contender's turn is over.
undo() {
    printf '%q ' "$@" >>"$LAB_DIR/undo"
    echo >>"$LAB_DIR/undo"
}

turn_over() {
    local line
    while IFS= read -r line; do
        eval "$line" >&2 || true
    done < <(tac "$LAB_DIR/undo")
    : >"$LAB_DIR/undo"
}

# lacks WORDS...: this contender cannot be had here.
lacks() {
    echo "$*" >"$LAB_DIR/lacks"
    return 4
}

# run_pinned NAME ROLE CMD...: a program that does the director's work, on its processor; sets DIRECTOR_PID.
run_pinned() {
    local name=$1 role=$2
    shift 2
    : >"$LAB_DIR/$name.log"
    ip netns exec "$(ns "$role")" taskset --cpu-list "$DIRECTOR_CPU" "$@" </dev/null >>"$LAB_DIR/$name.log" 2>&1 &
    DIRECTOR_PID=$!
    undo end_process "$DIRECTOR_PID" "$(start_time "$DIRECTOR_PID")"
}

ready_or_gone() { grep -qw "$2" "$LAB_DIR/$1.log" || ! kill -0 "$DIRECTOR_PID" 2>/dev/null; }

await_ready() {
    wait_for 20 "$1 to be ready" ready_or_gone "$1" "$2"
    kill -0 "$DIRECTOR_PID" 2>/dev/null || die "$1 ended: $(tail -n 3 "$LAB_DIR/$1.log")"
}

# replies_by ADDRESS: rs1 answers the client by way of it.
replies_by() {
    in_ns rs1 ip route replace "$CLIENT/$HOST_BITS" via "$1"
    undo in_ns rs1 ip route flush "$CLIENT/$HOST_BITS"
}

# host_has_vip: the director's kernel answers for the VIP.
host_has_vip() {
    in_ns director ip address add "$VIP/32" dev br0
    undo in_ns director ip address delete "$VIP/32" dev br0
}

# with_ipv6: in this turn the roles' addresses are those of IPv6. Nowhere else is there any, so nothing of it is measured.
with_ipv6() {
    local role
    addresses_of 6
    CLIENT=${LINK}9
    for role in client rs1; do
        undo in_ns "$role" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
        in_ns "$role" sysctl -qw net.ipv6.conf.{all,eth0}.{accept_dad,accept_ra,router_solicitations}=0 \
            net.ipv6.conf.all.disable_ipv6=0
    done
    in_ns client ip address add "$CLIENT/$NET_BITS" dev eth0 nodad
    in_ns rs1 ip address add "$RS1/$NET_BITS" dev eth0 nodad
    udp_server "$RS1"
}

up_direct() { TARGET=$RS1 DIRECTOR_PID=0; }

reflector_by() {
    TARGET=$VIP
    run_pinned reflector director "$REFLECTOR" "$1" br0 tap0 "$DIP" "$VIP" "$(mac_of client eth0)" "$RS1" "$(mac_of rs1 eth0)"
    await_ready reflector ready
}

up_reflector() { replies_by "$DIP" && reflector_by nat; }

up_reflector-dr() { vip_on_server && reflector_by direct; }

up_reflector-tunnel() { vip_behind_tunnel && reflector_by tunnel; }

up_reflector-tunnel-kernel() { unpacked_by_ebpf && vip_on_server && reflector_by tunnel; }

# up_null-program: as the reflector, which has the TAP and answers for the VIP; but it has next to nothing to read.
up_null-program() {
    command -v clang >/dev/null || lacks "no clang to make the eBPF program" || return
    clang -O2 -target bpf "-I/usr/include/$(uname -m)-linux-gnu" "-DVIP=$(as_number "$VIP")" "-DRS1=$(as_number "$RS1")" \
        "-DCLIENT=$(as_number "$CLIENT")" "-DRS1_MAC=$(as_bytes "$(mac_of rs1 eth0)")" "-DCLIENT_MAC=$(as_bytes "$(mac_of client eth0)")" \
        "-DOWN_MAC=$(as_bytes 02:00:00:00:00:02)" -c benches/forward.c -o "$LAB_DIR/forward.o" 2>"$LAB_DIR/forward.log" ||
        lacks "clang does not compile benches/forward.c" || return
    up_reflector
    in_ns director tc qdisc add dev tap0 clsact
    in_ns director tc filter add dev tap0 egress bpf direct-action object-file "$LAB_DIR/forward.o" section tc \
        2>"$LAB_DIR/forward.log" || lacks "no eBPF programs at egress in this kernel" || return
}

# as_number IPV4: as a little-endian machine reads it from a packet. as_bytes MAC: with commas.
as_number() {
    local a b c d
    IFS=. read -r a b c d <<<"$1"
    printf '0x%02x%02x%02x%02xu' "$d" "$c" "$b" "$a"
}

as_bytes() {
    local bytes=0x${1//:/,0x}
    echo "$bytes"
}

# tapvs_by METHOD ARGS...: METHOD as `ipvsadm -a` has it; FAST_PATH=on has the kernel forward established flows. It starts
# without the conns that another contender's director has left: the client's ports come again within their time, and such a
# conn keeps its method.
tapvs_by() {
    local method=$1 service told
    shift
    TARGET=$VIP
    for service in "-t $AT_VIP:80" "-t $AT_VIP:$BULK_PORT" "-t $AT_VIP:$UDP_PORT" "-u $AT_VIP:$UDP_PORT"; do
        echo "-A $service -s rr"
        case ${TOLD-}$service in
            told*:80) told="$AT_RS1:81 --client-address proxy-v2" ;;
            told-t*:"$BULK_PORT") told="$AT_RS1:$BULK_PORT --client-address toa" ;;
            *) told=$AT_RS1:${service##*:} ;;
        esac
        echo "-a $service -r $told $method -w 1"
    done >"$LAB_DIR/rules"
    # shellcheck disable=SC2086  # words
    run_pinned tapvs director "$TAPVS" run --bridge br0 --address "$DIP/$NET_BITS" --tap tap0 --max-flows 2097152 \
        --fresh --fast "${FAST_PATH:-off}" --sysctl fast_flows=1200000 --rules "$LAB_DIR/rules" $TAPVS_OPTIONS "$@"
    await_ready tapvs ready
}

up_tapvs-nat() { replies_by "$DIP" && tapvs_by -m; }

up_tapvs-nat6() { with_ipv6 && replies_by "$DIP" && tapvs_by -m; }

up_tapvs-unpinned() { replies_by "$DIP" && DIRECTOR_CPU=0-$(($(nproc) - 1)) tapvs_by -m; }

up_tapvs-batch() { replies_by "$DIP" && tapvs_by -m && chrt --batch --pid 0 "$DIRECTOR_PID"; }

up_tapvs-plain() { replies_by "$DIP" && tapvs_by -m --no-offload; }

up_tapvs-fast() { replies_by "$DIP" && FAST_PATH=on && tapvs_by -m; }

up_tapvs-fast-dr() { vip_on_server && FAST_PATH=on && tapvs_by -g; }

up_tapvs-fast-tunnel() { unpacked_by_ebpf && vip_on_server && FAST_PATH=on && tapvs_by -i; }

up_tapvs-fullnat() { tapvs_by --fullnat --local-address "$LIP1" --local-address "$LIP2"; }

# What has no header in front of its stream (iperf3) has a TCP option instead.
up_tapvs-fullnat-proxy() { TOLD=told tapvs_by --fullnat --local-address "$LIP1" --local-address "$LIP2"; }

# realserver_down: a process that ended by itself has undone it already.
realserver_down() { in_ns rs1 "$TAPVS" realserver down 2>/dev/null || true; }

# vip_on_server: the real server has the VIP and says so to nobody, as direct routing needs it.
vip_on_server() {
    in_ns rs1 "$TAPVS" realserver up --vip "$VIP" >"$LAB_DIR/realserver.log" 2>&1
    undo realserver_down
    udp_server "$VIP"
}

# vip_behind_tunnel: the same, and it takes tunnels apart.
vip_behind_tunnel() {
    ip netns exec "$(ns rs1)" "$TAPVS" realserver up --vip "$VIP" --tunnel >"$LAB_DIR/realserver.log" 2>&1 &
    undo realserver_down
    undo end_process $! "$(start_time $!)"
    wait_for 10 "the VIP in rs1" has_address rs1 "$VIP"
    wait_for 10 "a tunnel device in rs1" has_tunnel rs1
    udp_server "$VIP"
}

# unpacked_by_ebpf: the kernel of rs1 takes tunnels apart, by a program for one that has no ipip.
unpacked_by_ebpf() {
    command -v clang >/dev/null || lacks "no clang to make the eBPF program" || return
    clang -O2 -target bpf "-I/usr/include/$(uname -m)-linux-gnu" -c benches/unpack.c -o "$LAB_DIR/unpack.o" \
        2>"$LAB_DIR/unpack.log" || lacks "clang does not compile benches/unpack.c" || return
    undo in_ns rs1 tc qdisc delete dev eth0 clsact
    in_ns rs1 tc qdisc add dev eth0 clsact
    in_ns rs1 tc filter add dev eth0 ingress bpf direct-action object-file "$LAB_DIR/unpack.o" section tc \
        2>"$LAB_DIR/unpack.log" || lacks "no eBPF programs at ingress in this kernel" || return
}

up_tapvs-dr() { vip_on_server && tapvs_by -g; }

up_tapvs-tunnel() { vip_behind_tunnel && tapvs_by -i; }

up_tapvs-tunnel-kernel() { unpacked_by_ebpf && vip_on_server && tapvs_by -i; }

up_nftables() {
    TARGET=$VIP DIRECTOR_PID=0
    command -v nft >/dev/null || lacks "no nft" || return
    in_ns director sysctl -qw net.ipv4.ip_forward=1
    undo in_ns director sysctl -qw net.ipv4.ip_forward=0
    host_has_vip
    replies_by "$HOST_IP"
    undo in_ns director nft delete table ip bench
    in_ns director nft -f - <<-RULES || lacks "no NAT in this kernel's nftables" || return
	table ip bench {
	    chain in { type nat hook prerouting priority -100; ip daddr $VIP dnat to $RS1; }
	    chain out { type nat hook postrouting priority 100; }
	}
	RULES
}

up_haproxy() {
    TARGET=$VIP
    command -v haproxy >/dev/null || lacks "no haproxy" || return
    host_has_vip
    {
        printf 'global\n  nbthread 1\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n'
        local port
        for port in 80 "$BULK_PORT"; do
            printf 'listen p%s\n  bind %s:%s backlog 4096\n  server rs1 %s:%s\n' "$port" "$VIP" "$port" "$RS1" "$port"
        done
    } >"$LAB_DIR/haproxy.cfg"
    run_pinned haproxy director haproxy -db -f "$LAB_DIR/haproxy.cfg"
    wait_for 10 "haproxy to listen" listens director tcp 80
}

up_nginx() {
    TARGET=$VIP
    local module=/usr/lib/nginx/modules/ngx_stream_module.so
    [[ -e $module ]] || lacks "no stream module for nginx (libnginx-mod-stream)" || return
    host_has_vip
    cat >"$LAB_DIR/stream.conf" <<-CONF
	load_module $module;
	daemon off; user root; worker_processes 1; worker_rlimit_nofile 65536; pid $LAB_DIR/stream.pid; error_log $LAB_DIR/stream.log error;
	events { worker_connections 20000; }
	stream {
	    access_log off;
	    server { listen $VIP:80 backlog=4096; proxy_pass $RS1:80; }
	    server { listen $VIP:$BULK_PORT; proxy_pass $RS1:$BULK_PORT; }
	    server { listen $VIP:$UDP_PORT; proxy_pass $RS1:$UDP_PORT; }
	    server { listen $VIP:$UDP_PORT udp; proxy_pass $RS1:$UDP_PORT; proxy_timeout 3s; }
	}
	CONF
    run_pinned nginx director nginx -c "$LAB_DIR/stream.conf"
    wait_for 10 "nginx stream to listen" listens director tcp 80
}

up_ipvs-uml() {
    TARGET=$VIP
    local program modules
    program=$(command -v linux.uml) || lacks "no user-mode-linux" || return
    modules=$(find /usr/lib/uml/modules -mindepth 1 -maxdepth 1 -type d | head -n 1)
    [[ -n $modules && -x /usr/sbin/ipvsadm && -x /bin/busybox ]] || lacks "no modules, ipvsadm or busybox for the guest" || return
    in_ns director ip tuntap add tap1 mode tap
    undo in_ns director ip link delete tap1
    in_ns director ip link set tap1 master br0 up
    replies_by "$DIP"
    mkdir -p "$LAB_DIR/uml"
    local preload
    preload=$(uml_preload)
    # A session of its own: the guest's host processes are found by it.
    run_pinned uml director env -u TMPDIR "LD_PRELOAD=$preload" setsid "$program" mem=256M "uml_dir=$LAB_DIR/uml/" umid=bench \
        root=/dev/root rootfstype=hostfs rootflags=/ ro "init=$PWD/benches/uml-guest" con=null con0=null,fd:1 ssl=null quiet \
        loglevel=1 selinux=0 vec0:transport=tap,ifname=tap1,depth=128,gro=1 "B_MODULES=$modules" "B_ADDRESS=$DIP" "B_VIP=$VIP" \
        "B_REAL=$RS1" "B_PORTS=80,$BULK_PORT,$UDP_PORT"
    undo end_session "$DIRECTOR_PID"
    await_ready uml ready
}

# end_session PID: all processes of the session that this one leads, which are the guest's.
end_session() {
    local stat fields
    for stat in /proc/[0-9]*/stat; do
        { read -r fields <"$stat"; } 2>/dev/null || continue
        read -ra fields <<<"${fields##*) }"
        [[ ${fields[3]} != "$1" ]] || kill -KILL "${stat//[!0-9]/}" 2>/dev/null || true
    done
}

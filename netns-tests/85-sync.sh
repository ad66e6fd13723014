# shellcheck shell=bash
# Connection synchronisation: a download goes on through another director, which was told of its conn. One of the two may
# be a kernel's IPVS, in a user-mode-linux guest; with it a second download goes on after messages of version 0.
# shellcheck source-path=SCRIPTDIR source=uml.sh
source "$(dirname "${BASH_SOURCE[0]}")/uml.sh"

GUEST=10.0.0.41

# sync_lab: two real servers for direct routing; whom the client takes for the VIP is set by `client_uses`.
sync_lab() {
    topo_onearm
    realserver rs1
    realserver rs2
    serve rs1 rs2
}

# sync_rules ROLE INTERFACE: the service and the daemon, as ipvsadm takes them.
sync_rules() {
    cat <<-RULES
	-A -t $VIP:80 -s rr
	-a -t $VIP:80 -r $RS1 -g
	-a -t $VIP:80 -r $RS2 -g
	--start-daemon $1 --mcast-interface $2 --syncid 9
	RULES
}

# kernel_director ROLE: a guest with the same service and that role.
kernel_director() {
    "$(dirname "${BASH_SOURCE[0]}")/../scripts/need" linux.uml busybox gcc ipvsadm ||
        skip "user-mode-linux cannot be installed: there is no kernel with IPVS here"
    uml_guest uml0 "$(kernel_script "$1")" ipv6 ip_vs ip_vs_rr
    wait_for 20 "the guest's IPVS" test -s "$LAB_DIR/uml0.ready"
}

kernel_script() {
    cat <<-SCRIPT
	for knob in all/rp_filter=0 vec0/rp_filter=0 all/arp_ignore=1 all/arp_announce=2 all/send_redirects=0 vec0/send_redirects=0; do
	    echo "\${knob#*=}" >"/proc/sys/net/ipv4/conf/\${knob%=*}"
	done
	/bin/ip link set vec0 up
	/bin/ip address add $GUEST/24 dev vec0
	/bin/ip address add $VIP/32 dev lo
	cat /sys/class/net/vec0/address >/tmp/lab/uml0.mac
	$(sync_rules "$1" vec0 | sed 's/^/ipvsadm /')
	ipvsadm -L --daemon >/tmp/lab/uml0.ready
	while :; do
	    [ ! -e /tmp/lab/uml0.sync_version ] || cat /tmp/lab/uml0.sync_version >/proc/sys/net/ipv4/vs/sync_version
	    cat /proc/sys/net/ipv4/vs/sync_version >/tmp/lab/uml0.uses_version
	    ipvsadm -Lcn >/tmp/lab/uml0.new && mv /tmp/lab/uml0.new /tmp/lab/uml0.conns
	    sleep 0.2
	done
	SCRIPT
}

# client_uses MAC: the client takes that station for the VIP.
client_uses() { in_ns client ip neigh replace "$VIP" lladdr "$1" dev eth0 nud permanent; }

mac_in_log() { grep -oE 'mac [0-9a-f:]{17}' "$LAB_DIR/$1.log" | head -n 1 | cut -d' ' -f2; }

# HOST PATH DIRECTORY: reads a little of http://HOST/PATH, tells its port in DIRECTORY/port, and reads the rest once
# DIRECTORY/moved exists.
PAUSING_DOWNLOAD='
import http.client, os, shutil, sys, time
host, path, directory = sys.argv[1:]
server = http.client.HTTPConnection(host)
server.connect()
port = server.sock.getsockname()[1]
server.request("GET", path)
download = server.getresponse()
sys.stdout.buffer.write(download.read(65536))
with open(f"{directory}/port", "w") as told:
    told.write(str(port))
while not os.path.exists(f"{directory}/moved"):
    time.sleep(0.05)
shutil.copyfileobj(download, sys.stdout.buffer)
'

# goes_on_through MAC TOLD...: in the middle of a download, waits until TOLD succeeds, and moves the client to that station;
# what comes there is in the capture `other`.
goes_on_through() {
    local mac=$1 file
    shift
    file=$(payload 16)
    rm -f "$LAB_DIR/moved" "$LAB_DIR/port"
    in_ns client timeout 60 python3 -c "$PAUSING_DOWNLOAD" "$VIP" "/files/${file##*/}" "$LAB_DIR" \
        >"$SCRATCH/got" 2>"$LAB_DIR/download.errors" &
    local download=$!
    wait_for 10 "the download to begin" test -s "$LAB_DIR/port"
    wait_for 8 "the other director to be told" "$@"
    kill -0 "$download" || die "the download ended too early to prove anything"
    client_uses "$mac"
    : >"$LAB_DIR/moved"
    wait "$download" || die "the download broke off: $(cat "$LAB_DIR/download.errors")"
    cmp "$SCRATCH/got" "$file" || die "the download differs"
    expect_seen other "ether dst $mac and src host $CLIENT and dst host $VIP and tcp dst port 80" "the client's packets there"
}

# kernel_knows: the guest lists the download's conn as established.
kernel_knows() { lists_conn <"$LAB_DIR/uml0.conns"; }

# tapvs_knows [SOCKET]: tapvs does.
tapvs_knows() { in_ns director "$TAPVS" ipvsadm ${1:+--socket "$1"} -Lcn | lists_conn; }

# By the port: the conn of the download before is still there.
lists_conn() { grep -qE "ESTABLISHED $CLIENT:$(<"$LAB_DIR/port") +$VIP:80"; }

# by_version_0 CMD...: CMD succeeds, and the capture `other` has messages of version 0, which begin with the number of conns.
by_version_0() { "$@" && has_captured other 'udp dst port 8848 and udp[8] > 0'; }

test_sync_tapvs_tells_a_kernel() {
    sync_lab
    kernel_director backup
    sync_rules master tap0 >"$LAB_DIR/rules"
    capture_now other director uml0
    director --rules "$LAB_DIR/rules"
    client_uses "$(mac_in_log tapvs)"

    goes_on_through "$(cat "$LAB_DIR/uml0.mac")" kernel_knows

    in_ns director "$TAPVS" set sync_version 0
    client_uses "$(mac_in_log tapvs)"
    goes_on_through "$(cat "$LAB_DIR/uml0.mac")" by_version_0 kernel_knows
}

test_sync_a_kernel_tells_tapvs() {
    sync_lab
    kernel_director master
    sync_rules backup tap0 >"$LAB_DIR/rules"
    director --rules "$LAB_DIR/rules"
    capture_now other director tap0
    client_uses "$(cat "$LAB_DIR/uml0.mac")"

    goes_on_through "$(mac_in_log tapvs)" tapvs_knows

    echo 0 >"$LAB_DIR/uml0.sync_version"
    wait_for 10 "the guest's sync_version" grep -qx 0 "$LAB_DIR/uml0.uses_version"
    client_uses "$(cat "$LAB_DIR/uml0.mac")"
    goes_on_through "$(mac_in_log tapvs)" by_version_0 tapvs_knows
}

test_sync_tapvs_tells_tapvs() {
    sync_lab
    sync_rules backup tap1 >"$LAB_DIR/rules1"
    spawn tapvs1 director env RUST_LOG=info "$TAPVS" run --bridge br0 --address 10.0.0.4/24 --tap tap1 \
        --rules "$LAB_DIR/rules1" --socket "$LAB_DIR/tapvs1.sock"
    wait_for 10 "the other tapvs" grep -qw ready "$LAB_DIR/tapvs1.log"
    sync_rules master tap0 >"$LAB_DIR/rules"
    capture_now other director tap1
    director --rules "$LAB_DIR/rules"
    client_uses "$(mac_in_log tapvs)"

    goes_on_through "$(mac_in_log tapvs1)" tapvs_knows "$LAB_DIR/tapvs1.sock"
}

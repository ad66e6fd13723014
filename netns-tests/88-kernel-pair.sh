# shellcheck shell=bash
# A pair of tapvs and a machine with the kernel's IPVS and keepalived, which is a user-mode-linux guest: VRRP and
# synchronisation both ways, NAT and direct routing.
#
#      client   rs1 rs2 (NAT)   rs3 (DR)        director: br0, tapvs 10.0.0.4        uml0: kernel 10.0.0.41, keepalived
#        |         |             |                   |                                  |
#        +---------+-------------+------------------ br0 -------------------------------+     the VIP, and 10.0.0.2 for rs1, rs2
# shellcheck source-path=SCRIPTDIR source=uml.sh
source "$(dirname "${BASH_SOURCE[0]}")/uml.sh"

GUEST=10.0.0.41

# kernel_pair: tapvs is active, keepalived backup.
kernel_pair() {
    scripts/need linux.uml busybox gcc ipvsadm keepalived ||
        skip "user-mode-linux cannot be installed: there is no kernel with IPVS here"
    topo_onearm
    replies_through_director rs1 rs2
    realserver rs3
    serve rs1 rs2 rs3
    # The guest's device forwards no superframe.
    local role
    for role in client rs1 rs2 rs3; do
        in_ns "$role" ip link set eth0 gso_max_segs 1
    done
    {
        printf '[[link]]\nbridge = "br0"\ntap = "tap0"\naddress = "%s/%s"\n' "${LINK}4" "$NET_BITS"
        printf '[settings]\nsync_threshold = "0 1"\n'
        printf '[[service]]\ntcp = "%s:80"\nscheduler = "rr"\n' "$VIP"
        printf '[[service.server]]\naddress = "%s:8080"\nmethod = "nat"\n' "$RS1" "$RS2"
        printf '[[service]]\ntcp = "%s:8080"\nscheduler = "rr"\n' "$VIP"
        printf '[[service.server]]\naddress = "%s:8080"\nmethod = "direct"\n' "$RS3"
        printf '[[vrrp]]\nid = 51\npriority = 150\nsync = true\naddress = ["%s", "%s"]\n' "$VIP" "$DIP"
    } >"$LAB_DIR/director.toml"
    keepalived_conf >"$LAB_DIR/keepalived.conf"
    director_of_host director
    wait_for 15 "tapvs to be active" tapvs_is active
    : >"$LAB_DIR/keepalived.log"
    uml_guest uml0 "$(kernel_script)" ipv6 ip_vs ip_vs_rr
    wait_for 30 "keepalived in the guest" keepalived_is BACKUP
}

keepalived_conf() {
    cat <<-CONF
	global_defs {
	    lvs_sync_daemon vec0 pair
	}
	vrrp_instance pair {
	    state BACKUP
	    nopreempt
	    interface vec0
	    virtual_router_id 51
	    version 3
	    priority 100
	    advert_int 1
	    virtual_ipaddress {
	        $VIP/32
	        $DIP/32
	    }
	}
	CONF
}

# kernel_script: what the guest does; keepalived runs while there is no file uml0.stop.
kernel_script() {
    cat <<-SCRIPT
	for knob in all/rp_filter=0 vec0/rp_filter=0 all/send_redirects=0 vec0/send_redirects=0 all/forwarding=1; do
	    echo "\${knob#*=}" >"/proc/sys/net/ipv4/conf/\${knob%=*}"
	done
	/bin/ip link set vec0 up
	/bin/ip address add $GUEST/24 dev vec0
	echo "3 10" >/proc/sys/net/ipv4/vs/sync_threshold
	ipvsadm -A -t $VIP:80 -s rr
	ipvsadm -a -t $VIP:80 -r $RS1:8080 -m
	ipvsadm -a -t $VIP:80 -r $RS2:8080 -m
	ipvsadm -A -t $VIP:8080 -s rr
	ipvsadm -a -t $VIP:8080 -r $RS3:8080 -g
	run() { keepalived --dont-fork --log-console --vrrp --use-file /tmp/lab/keepalived.conf >>/tmp/lab/keepalived.log 2>&1 & }
	run
	running=yes
	while :; do
	    if [ -e /tmp/lab/uml0.stop ] && [ \$running ]; then kill \$! && wait \$!; running=; fi
	    if [ ! -e /tmp/lab/uml0.stop ] && [ ! \$running ]; then run; running=yes; fi
	    ipvsadm -L --daemon >/tmp/lab/uml0.daemons
	    ipvsadm -Lcn >/tmp/lab/uml0.new && mv /tmp/lab/uml0.new /tmp/lab/uml0.conns
	    sleep 0.2
	done
	SCRIPT
}

tapvs_is() { of_host director vrrp | grep -q " $1 for "; }

keepalived_is() { [[ $(grep -oE "Entering (MASTER|BACKUP|FAULT) STATE" "$LAB_DIR/keepalived.log" | tail -n 1) == "Entering $1 STATE" ]]; }

kernel_list() { cat "$LAB_DIR/uml0.conns"; }

tapvs_list() { of_host director ipvsadm -Lcn; }

# knows LIST PORT...: the list has the client's conns from these ports as established.
knows() {
    local port conns
    conns=$("$1")
    for port in "${@:2}"; do
        grep -qE "ESTABLISHED $CLIENT:$port " <<<"$conns" || return 1
    done
}

# HOST-AND-PORT PATH FROM-PORT FILE: reads it slowly, or asks again and again if it is nothing but /, and fast once FILE
# exists; then it asks once more on the same conn.
CONN='
import http.client, os, shutil, sys, time
host, path, port, file = sys.argv[1:]
server = http.client.HTTPConnection(host, timeout=60, source_address=("", int(port)))

def answer(path):
    server.request("GET", path)
    return server.getresponse()

download = answer(path)
server.auto_open = 0
while not os.path.exists(file):
    part = download.read(8192)
    sys.stdout.buffer.write(part)
    if path == "/":
        download = answer(path)
    time.sleep(0.1)
shutil.copyfileobj(download, sys.stdout.buffer)
sys.exit(answer("/").status != 200)
'

# downloads_outlive LIST FIRST-PORT ACTIVE HOW...: a download by NAT, one by direct routing, and a conn of small requests go
# on when HOW ends the work of one of the two and ACTIVE succeeds for the other, which had them in LIST.
downloads_outlive() {
    local list=$1 first=$2 active=$3 file number pids=()
    file=$(payload 8)
    rm -f "$LAB_DIR/go"
    for number in 0 1 2; do
        in_ns client timeout 100 python3 -c "$CONN" "$VIP:$((number < 2 ? 80 : 8080))" "$( ((number == 0)) && echo / || echo "/files/${file##*/}")" \
            "$((first + number))" "$LAB_DIR/go" >"$SCRATCH/got$number" 2>>"$LAB_DIR/download.errors" &
        pids+=("$!")
    done
    wait_for 15 "the conns at the other one too" knows "$list" "$first" "$((first + 1))" "$((first + 2))"
    "${@:4}"
    wait_for 20 "the other one to be active" eval "$active"
    : >"$LAB_DIR/go"
    for number in 0 1 2; do
        wait "${pids[number]}" || die "conn $number broke after $4: $(tail -n 3 "$LAB_DIR/download.errors")"
        ((number == 0)) || cmp "$file" "$SCRATCH/got$number" || die "download $number differs after $4"
    done
}

# Its device would not come back from a TAP that was down.
cut_guest() { in_ns director ip link set uml0 nomaster; }

stop_keepalived() { : >"$LAB_DIR/uml0.stop"; }

# quiet
# limit: 90
test_kernel_pair_conns_go_on_both_ways() {
    kernel_pair
    # The director dies without a word.
    downloads_outlive kernel_list 41000 "keepalived_is MASTER" kill_director_of_host director
    expect_match "$(fetch "http://$VIP/")" '^rs[12]' "a new conn by the kernel, NAT"
    expect_match "$(fetch "http://$VIP:8080/")" '^rs3' "a new conn by the kernel, direct routing"
    wait_for 5 "the guest's master daemon" grep -q master "$LAB_DIR/uml0.daemons"

    # It returns, takes nothing, and is told of what begins meanwhile; then the guest's power is cut.
    director_of_host director
    wait_for 15 "tapvs to be backup" tapvs_is backup
    downloads_outlive tapvs_list 42000 "tapvs_is active" cut_guest
    expect_match "$(fetch "http://$VIP/")" '^rs[12]' "a new conn by tapvs"

    # The guest is back, a master still, and yields to the higher priority; tapvs hands over.
    in_ns director ip link set uml0 master br0
    wait_for 20 "keepalived to yield" keepalived_is BACKUP
    tapvs_is active || die "tapvs has yielded to a lower priority"
    downloads_outlive kernel_list 43000 "keepalived_is MASTER" of_host director vrrp failover
    tapvs_is backup || die "tapvs is not backup after it handed over"
    # And keepalived does.
    downloads_outlive tapvs_list 44000 "tapvs_is active" stop_keepalived
    ! of_host director vrrp | grep -q "not heeded" || die "advertisements of keepalived were not heeded: $(of_host director vrrp)"
}

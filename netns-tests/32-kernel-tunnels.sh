# shellcheck shell=bash
# Tunnels that a real kernel unpacks: the real server is a user-mode-linux guest with ipip, gre and fou (GUE), and nginx.
# shellcheck source-path=SCRIPTDIR source=uml.sh
source "$(dirname "${BASH_SOURCE[0]}")/uml.sh"

# The guest's addresses: GRE without a checksum goes to one, with to the other, for a device takes only what it expects.
GUEST=10.0.0.41 GUEST_SUM=10.0.0.42

# kernel_lab: client, director and the guest `uml0`, which serves the VIP.
#
#      client            director namespace                       guest (its own kernel)
#    10.0.0.9    br0 10.0.0.3     tapvs 10.0.0.2, VIP .100      10.0.0.41, .42, VIP on lo
#       |             |                | tap0                         | vec0 = uml0
#       +-------------+------ br0 -----+------------------------------+                     10.0.0.0/24
#
kernel_lab() {
    "$(dirname "${BASH_SOURCE[0]}")/../scripts/need" linux.uml busybox gcc ||
        skip "user-mode-linux cannot be installed: there is no kernel with these tunnels here"
    CLIENT=10.0.0.9
    director_host
    on_the_bridge client "$CLIENT"
    lab_captures client
    mkdir -p "$LAB_DIR/guest/put" "$LAB_DIR/guest/tmp"
    : >"$LAB_DIR/nginx-guest.access"
    LAB_DIR=/tmp/lab nginx_config guest /tmp/lab/guest >"$LAB_DIR/guest/nginx.conf"
    uml_guest uml0 "$(guest_script)" ipv6 ipip ip_gre fou
    CAPTURE_LIMIT=100000 capture_now guest director uml0
    wait_for 20 "the guest's web server" fetch "http://$GUEST/"
    GUEST_ANSWERED=1
    expect_shares guest=1
}

guest_script() {
    cat <<-SCRIPT
	for knob in all/rp_filter=0 default/rp_filter=0 vec0/rp_filter=0 all/arp_ignore=1 all/arp_announce=2; do
	    echo "\${knob#*=}" >"/proc/sys/net/ipv4/conf/\${knob%=*}"
	done
	# busybox has an ip of its own, which knows less.
	ip=/bin/ip
	\$ip address add $GUEST/24 dev vec0
	\$ip address add $GUEST_SUM/24 dev vec0
	\$ip address add $VIP/32 dev lo
	\$ip link set vec0 up
	\$ip link set tunl0 up
	\$ip link add gre1 type gre local $GUEST remote $DIP
	\$ip link add gre2 type gre local $GUEST_SUM remote $DIP icsum
	\$ip link set gre1 up
	\$ip link set gre2 up
	\$ip fou add port 6080 gue
	nginx -p /tmp/lab/guest -c /tmp/lab/guest/nginx.conf -e /tmp/lab/nginx-guest.log
	SCRIPT
}

# unpacked_by_the_kernel SERVER FILTER: requests and an upload reach the guest through that tunnel, whole.
unpacked_by_the_kernel() {
    local server=$1 filter=$2
    serving "$server"

    requests 50 "http://$VIP/"

    expect_shares guest=$((GUEST_ANSWERED += 50))
    expect_sources "$CLIENT" guest
    expect_seen guest "$filter and src host $DIP" "tunnel packets to the guest"
    fetch --max-time 20 --upload-file "$(payload 8)" "http://$VIP/put/upload" || die "upload of 8 MiB failed"
    cmp "$LAB_DIR/guest/put/upload" "$(payload 8)" || die "upload of 8 MiB differs"
    expect_shares guest=$((GUEST_ANSWERED += 1))
    director_stop
}

# limit: 90
test_tunnels_unpacked_by_a_real_kernel() {
    kernel_lab
    unpacked_by_the_kernel "$GUEST,tunnel" "proto 4"
    unpacked_by_the_kernel "$GUEST,gre" "proto 47 and ip[20:2] = 0"
    unpacked_by_the_kernel "$GUEST_SUM,gre,csum" "proto 47 and ip[20:2] = 0x8000"
    unpacked_by_the_kernel "$GUEST,gue" "udp dst port 6080 and udp[6:2] = 0"
    unpacked_by_the_kernel "$GUEST,gue,csum" "udp dst port 6080 and udp[6:2] != 0 and udp[10:2] = 0"
    unpacked_by_the_kernel "$GUEST,gue,remcsum" "udp dst port 6080 and udp[10:2] = 1"
}

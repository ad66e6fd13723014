# shellcheck shell=bash
# Tunnels that a real kernel unpacks: the real server is a user-mode-linux guest with ipip, ip6_tunnel, gre, fou (GUE) and
# nginx.
# shellcheck source-path=SCRIPTDIR source=uml.sh
source "$(dirname "${BASH_SOURCE[0]}")/uml.sh"

# The guest's addresses: GRE without a checksum goes to one, with to the other, for a device takes only what it expects.
GUEST=${LINK}41 GUEST_SUM=${LINK}42
AT_GUEST=$(bracketed "$GUEST") AT_GUEST_SUM=$(bracketed "$GUEST_SUM")

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
    CLIENT=${LINK}9
    director_host
    on_the_bridge client "$CLIENT"
    lab_captures client
    mkdir -p "$LAB_DIR/guest/put" "$LAB_DIR/guest/tmp"
    : >"$LAB_DIR/nginx-guest.access"
    LAB_DIR=/tmp/lab nginx_config guest /tmp/lab/guest >"$LAB_DIR/guest/nginx.conf"
    if [[ $FAMILY == 6 ]]; then
        uml_guest uml0 "$(guest_of_both_families && guest_script ip6gre ip6tnl0 -6)" ipv6 ip6_tunnel ip6_gre fou fou6 sit
    else
        uml_guest uml0 "$(guest_script gre tunl0)" ipv6 ipip ip_gre fou
    fi
    CAPTURE_LIMIT=100000 capture_now guest director uml0
    wait_for 20 "the guest's web server" fetch "http://$AT_GUEST/"
    GUEST_ANSWERED=1
    expect_shares guest=1
}

# guest_script GRE DEVICE [-6]: what the guest does; GRE is its kind of GRE device, DEVICE unpacks IP in IP.
guest_script() {
    cat <<-SCRIPT
	for knob in all/rp_filter=0 default/rp_filter=0 vec0/rp_filter=0 all/arp_ignore=1 all/arp_announce=2; do
	    echo "\${knob#*=}" >"/proc/sys/net/ipv4/conf/\${knob%=*}"
	done
	echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad
	echo 0 >/proc/sys/net/ipv6/conf/vec0/accept_dad
	# busybox has an ip of its own, which knows less.
	ip=/bin/ip
	\$ip link set vec0 up
	\$ip address add $GUEST/$NET_BITS dev vec0
	\$ip address add $GUEST_SUM/$NET_BITS dev vec0
	\$ip address add $VIP/$HOST_BITS dev lo
	\$ip link set $2 up
	\$ip link add gre1 type $1 local $GUEST remote $DIP
	\$ip link add gre2 type $1 local $GUEST_SUM remote $DIP icsum
	\$ip link set gre1 up
	\$ip link set gre2 up
	\$ip fou add port 6080 gue ${3:-}
	nginx -p /tmp/lab/guest -c /tmp/lab/guest/nginx.conf -e /tmp/lab/nginx-guest.log
	SCRIPT
}

# guest_of_both_families: what makes the IPv6 guest one of IPv4 too; sit0 unpacks IPv6 from IPv4, both6 either from IPv6.
guest_of_both_families() {
    cat <<-SCRIPT
	/bin/ip address add 10.0.0.41/24 dev vec0
	/bin/ip address add 10.0.0.100/32 dev lo
	/bin/ip link set sit0 up
	/bin/ip link add both6 type ip6tnl mode any local $GUEST remote $DIP
	/bin/ip link set both6 up
	SCRIPT
}

# unpacked_by_the_kernel SERVER FILTER: requests and an upload reach the guest through that tunnel, whole.
unpacked_by_the_kernel() {
    local server=$1 filter=$2
    serving "$server"

    requests 50 "http://$AT_VIP/"

    expect_shares guest=$((GUEST_ANSWERED += 50))
    expect_sources "$CLIENT" guest
    expect_seen guest "$filter and src host $DIP" "tunnel packets to the guest"
    fetch --max-time 20 --upload-file "$(payload 8)" "http://$AT_VIP/put/upload" || die "upload of 8 MiB failed"
    cmp "$LAB_DIR/guest/put/upload" "$(payload 8)" || die "upload of 8 MiB differs"
    expect_shares guest=$((GUEST_ANSWERED += 1))
    director_stop
}

# limit: 90
# families: 4 6
test_tunnels_unpacked_by_a_real_kernel() {
    kernel_lab
    unpacked_by_the_kernel "$AT_GUEST,tunnel" "$IS_IPIP"
    unpacked_by_the_kernel "$AT_GUEST,gre" "$(filter_of gre)"
    unpacked_by_the_kernel "$AT_GUEST_SUM,gre,csum" "$(filter_of gre,csum)"
    unpacked_by_the_kernel "$AT_GUEST,gue" "$(filter_of gue)"
    unpacked_by_the_kernel "$AT_GUEST,gue,csum" "$(filter_of gue,csum)"
    unpacked_by_the_kernel "$AT_GUEST,gue,remcsum" "$(filter_of gue,remcsum)"
}

# IPv4 in IPv6 and IPv6 in IPv4.
# limit: 90
# families: 6
test_tunnels_between_families_unpacked_by_a_real_kernel() {
    kernel_lab
    in_ns client ip address add 10.0.0.9/24 dev eth0

    answers_between_families guest "$AT_GUEST" 10.0.0.41 tunnel
    expect_sources "10.0.0.9 $CLIENT" guest
    fence guest director "$GUEST"
    expect_seen guest "ip6[6] == 4 and src host $DIP" "IPv4 in IPv6 to the guest"
    expect_seen guest "ip proto 41 and src host 10.0.0.2" "IPv6 in IPv4 to the guest"
}

# The director leaves superframes in GUE to the host's kernel, which cuts them before the guest's link: none of them is
# longer there, and the guest's kernel finds every checksum right.
# limit: 90
# families: 4 6
test_tunnel_gue_superframes_cut_by_the_hosts_kernel() {
    kernel_lab
    local kind
    for kind in gue gue,csum gue,remcsum; do
        director_options --fast off
        serving "$AT_GUEST,$kind"
        CAPTURE_LIMIT=20000 capture_now "tap-$kind" director tap0
        fetch --max-time 20 --upload-file "$(payload 8)" "http://$AT_VIP/put/upload" || die "upload of 8 MiB failed"
        cmp "$LAB_DIR/guest/put/upload" "$(payload 8)" || die "upload of 8 MiB differs"
        expect_seen "tap-$kind" "udp dst port 6080 and greater 3000" "superframes from the director"
        director_stop
        expect_eq "$(ledger_of consumed.segmented)" 0 "superframes cut by the director"
    done
    fence guest director "$GUEST"
    expect_seen guest "udp dst port 6080 and greater 1400" "their segments"
    expect_none guest "udp dst port 6080 and greater 1600" "packets longer than the guest's link"
    expect_none guest "src host $GUEST and $IS_UNREACHABLE" "complaints of the guest"
}

# shellcheck shell=bash
# SIP: messages name addresses and ports, and the descriptions of sessions in them where media are waited for. In NAT and FULL-NAT
# the director reads and rewrites them.

# shellcheck source-path=SCRIPTDIR source=sip.sh
source "$(dirname "${BASH_SOURCE[0]}")/sip.sh"

# calls_with_media METHOD: five calls to a server that sends back what it hears; all of it comes back, from where the answer said.
calls_with_media() {
    scripts/need sipp
    local count seen from
    answering rs1 5060 -rtp_echo -mp 7000
    caller callee '<nop><action><exec play_pcap_audio="/usr/share/sip-tester/dtmf_2833_1.pcap"/></action></nop><pause milliseconds="1500"/>'
    director --service "${SIP_BY:-udp}/$AT_VIP:5060" --scheduler rr --server "$AT_RS1:5060,$1" "${DIRECTOR_OPTIONS[@]}"

    phone 5070 caller -mp 6000 -m 5 -l 1

    count=$(captured client "udp and src host $CLIENT and src port 6000 and dst host $VIP and dst port 7000")
    expect_between 50 "$count" 5000 "datagrams of media"
    expect_seen client "udp and src host $VIP and src port 7000 and dst port 6000" "media from the VIP"
    seen=$(captured client "udp and src host $VIP and src port 7000 and dst port 6000")
    expect_eq "$seen" "$count" "datagrams that came back"
    expect_none client "(udp or tcp) and host $RS1" "packets of the server's own address"
    ! grep -qF "$RS1" "$LAB_DIR/caller.messages" || die "the client read the server's address: $(grep -F "$RS1" "$LAB_DIR/caller.messages" | head -n 3)"
    from=$CLIENT
    if [[ $1 == fullnat ]]; then
        from=${LOCAL:-$DIP}
        expect_none rs1 "(udp or tcp) and host $CLIENT" "packets of the client's own address"
        ! grep -qF "$CLIENT" "$LAB_DIR/callee.messages" || die "the server read the client's address: $(grep -F "$CLIENT" "$LAB_DIR/callee.messages" | head -n 3)"
    fi
    expect_eq "$(captured rs1 "udp and src host $from and dst port 7000")" "$count" "datagrams at the server"
    expect_eq "$(captured rs1 "udp and src port 7000 and dst host $from")" "$count" "datagrams of the server"
}

# families: 4 6
test_sip_calls_and_their_media_by_fullnat() {
    topo_onearm
    in_ns rs1 ip route add unreachable "$CLIENT"
    calls_with_media fullnat
}

# families: 4 6
test_sip_calls_and_their_media_by_nat() {
    topo_onearm
    replies_through_director rs1
    calls_with_media nat
}

# families: 4 6
# A client of one family, a server of the other.
test_sip_calls_and_their_media_between_families() {
    topo_onearm
    local other=2001:db8:: bits=64
    [[ $FAMILY == 4 ]] || other=10.0.0. bits=24
    in_ns rs1 sysctl -qw net.ipv6.conf.{all,eth0}.accept_dad=0 net.ipv6.conf.{all,eth0}.disable_ipv6=0
    in_ns rs1 ip address flush dev eth0 scope global
    RS1=${other}21 AT_RS1=$(bracketed "${other}21") LOCAL=${other}30
    in_ns rs1 ip address add "$RS1/$bits" dev eth0
    DIRECTOR_OPTIONS=(--address "${other}2/$bits" --local-address "$LOCAL")
    calls_with_media fullnat
}

# families: 4 6
test_sip_calls_over_tcp_by_fullnat() {
    topo_onearm
    in_ns rs1 ip route add unreachable "$CLIENT"
    SIP_BY=tcp calls_with_media fullnat
}

# families: 4 6
test_sip_calls_over_tcp_by_nat() {
    topo_onearm
    replies_through_director rs1
    SIP_BY=tcp calls_with_media nat
}

# kamailio_server: a registrar and proxy on rs1, which sees to it that dialogs go by it, and to nothing else.
kamailio_server() {
    scripts/need kamailio
    cat >"$LAB_DIR/kamailio.cfg" <<-CFG
		log_stderror=yes
		children=1
		disable_tcp=no
		tcp_children=1
		auto_aliases=no
		listen=udp:$AT_RS1:5060
		listen=tcp:$AT_RS1:5060
		alias="$AT_VIP:5060"
		loadmodule "sl.so"
		loadmodule "tm.so"
		loadmodule "rr.so"
		loadmodule "pv.so"
		loadmodule "siputils.so"
		loadmodule "usrloc.so"
		loadmodule "registrar.so"
		request_route {
		    if (has_totag()) {
		        if (loose_route()) { t_relay(); exit; }
		        if (method == "ACK") { exit; }
		        sl_send_reply("404", "Not here");
		        exit;
		    }
		    if (method == "REGISTER") { save("location"); exit; }
		    if (method == "INVITE") { record_route(); }
		    if (\$rU == "callee") { \$du = "sip:$AT_RS1:5090"; t_relay(); exit; }
		    if (!lookup("location")) { sl_send_reply("404", "Not found"); exit; }
		    t_relay();
		}
	CFG
    spawn kamailio rs1 kamailio -DD -E -f "$LAB_DIR/kamailio.cfg" -Y "$LAB_DIR" -P "$LAB_DIR/kamailio.pid" -m 32 -M 8
    wait_for 10 kamailio listens rs1 udp 5060
}

# Two phones of one proxy: it reaches the one that has registered by what the director has told it, what follows goes by the
# proxy too, and media from phone to phone.
# families: 4 6
test_sip_phones_of_a_proxy_by_fullnat() {
    topo_onearm
    scripts/need sipp
    in_ns rs1 ip route add unreachable "$CLIENT"
    kamailio_server
    director --service "udp/$AT_VIP:5060" --scheduler rr --server "$AT_RS1:5060,fullnat"
    sip_scenario register <<-XML
	<send retrans="500"><![CDATA[

	REGISTER sip:[remote_ip] SIP/2.0
	Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]
	Max-Forwards: 70
	From: <sip:b@[remote_ip]>;tag=[call_number]
	To: <sip:b@[remote_ip]>
	Call-ID: [call_id]
	CSeq: 1 REGISTER
	Contact: <sip:b@[local_ip]:[local_port]>
	Expires: 600
	Content-Length: 0

	]]></send>
	<recv response="200"/>
	XML
    phone 5080 register -m 1
    expect grep -qF "Contact: <sip:b@$(bracketed "$CLIENT"):5080>" "$LAB_DIR/register.messages"

    answering client 5080 -m 3 -mp 6100
    caller b '<pause milliseconds="100"/>'
    phone 5070 caller -mp 6000 -m 3 -l 1
    wait_for 10 "the end of the phone that was called" phone_is_over
    expect_seen rs1 "udp and src host $DIP and dst host $RS1" "messages from the director's address"
    expect_none rs1 "udp and host $CLIENT" "packets of the client's own address"
    local medium
    for medium in "caller 6100" "callee 6000"; do
        expect grep -q "^c=IN IP$FAMILY $CLIENT" "$LAB_DIR/${medium% *}.messages"
        expect grep -q "^m=audio ${medium#* } " "$LAB_DIR/${medium% *}.messages"
    done
    expect_none client "udp and host $RS1" "packets of the server's own address"
}

# A proxy between a phone of the client, by TCP, and one beside it, by UDP: what follows goes by the routes that it has recorded.
# families: 4 6
test_sip_routes_over_tcp_by_fullnat() {
    topo_onearm
    scripts/need sipp
    in_ns rs1 ip route add unreachable "$CLIENT"
    kamailio_server
    answering rs1 5090 -m 3 -mp 6100
    director --service "tcp/$AT_VIP:5060" --scheduler rr --server "$AT_RS1:5060,fullnat"
    caller callee '<pause milliseconds="100"/>'
    SIP_BY=tcp phone 5070 caller -mp 6000 -m 3 -l 1
    wait_for 10 "the end of the phone that was called" phone_is_over
    expect grep -qE "^Record-Route: .*$VIP.*transport=tcp" "$LAB_DIR/caller.messages"
    ! grep -E "^(Via|Record-Route|Route):.*$RS1" "$LAB_DIR/caller.messages" || die "the client read the proxy's own address"
    expect_none rs1 "(udp or tcp) and host $CLIENT" "packets of the client's own address"
    expect_none client "(udp or tcp) and host $RS1" "packets of the server's own address"
}

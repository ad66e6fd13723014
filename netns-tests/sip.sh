# shellcheck shell=bash
# Phones that call and answer by sipp: what several files of tests need.

# sip_scenario NAME: writes $LAB_DIR/NAME.xml, for sipp, of what stands in standard input, where blank lines end messages.
sip_scenario() { { echo '<?xml version="1.0" encoding="ISO-8859-1"?><scenario name="lab">' && cat && echo '</scenario>'; } >"$LAB_DIR/$1.xml"; }

SESSION='v=0
o=- 1 1 IN IP[media_ip_type] [media_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 8
a=rtpmap:8 PCMA/8000'

# caller USER [ACTION]: calls sip:USER at the VIP, goes where the answer says (ACK, BYE), and does ACTION in between.
caller() {
    local to="To: <sip:$1@[remote_ip]>" of='[call_number]'
    local head="Max-Forwards: 70
From: <sip:caller@lab.test>;tag=[pid]$of
Call-ID: [call_id]
Contact: <sip:caller@[local_ip]:[local_port]>"
    local via='Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]'
    sip_scenario caller <<-XML
	<send retrans="500"><![CDATA[

	INVITE sip:$1@[remote_ip]:[remote_port] SIP/2.0
	$via
	$to
	$head
	CSeq: 1 INVITE
	Content-Type: application/sdp
	Content-Length: [len]

	$SESSION
	]]></send>
	<recv response="100" optional="true"/>
	<recv response="180" optional="true"/>
	<recv response="200" rrs="true"/>
	<send><![CDATA[

	ACK [next_url] SIP/2.0
	$via
	[routes]
	To: <sip:$1@[remote_ip]>[peer_tag_param]
	$head
	CSeq: 1 ACK
	Content-Length: 0

	]]></send>
	${2:-}
	<send retrans="500"><![CDATA[

	BYE [next_url] SIP/2.0
	$via
	[routes]
	To: <sip:$1@[remote_ip]>[peer_tag_param]
	$head
	CSeq: 2 BYE
	Content-Length: 0

	]]></send>
	<recv response="200"/>
	XML
}

# callee: answers calls.
callee() {
    local head='[last_Via:]
[last_Record-Route:]
[last_From:]
[last_To:];tag=[pid][call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:callee@[local_ip]:[local_port]>'
    sip_scenario callee <<-XML
	<recv request="INVITE" crlf="true"/>
	<send><![CDATA[

	SIP/2.0 180 Ringing
	$head
	Content-Length: 0

	]]></send>
	<send retrans="500"><![CDATA[

	SIP/2.0 200 OK
	$head
	Content-Type: application/sdp
	Content-Length: [len]

	$SESSION
	]]></send>
	<recv request="ACK"/>
	<recv request="BYE"/>
	<send><![CDATA[

	SIP/2.0 200 OK
	[last_Via:]
	[last_From:]
	[last_To:]
	[last_Call-ID:]
	[last_CSeq:]
	Content-Length: 0

	]]></send>
	XML
}

# sipp_words ROLE PORT SCENARIO WORDS...: sets WORDS to the command of a phone there; its messages are kept.
sipp_words() {
    local role=$1 address
    address=$(bracketed "$([[ $role == client ]] && echo "$CLIENT" || echo "$RS1")")
    WORDS=(sipp -sf "$LAB_DIR/$3.xml" -i "$address" -p "$2" -mi "$address" -nostdin -cid_str "%u-%p" -trace_msg -message_file "$LAB_DIR/$3.messages"
        -trace_err -error_file "$LAB_DIR/$3.errors" "${@:4}")
    [[ ${SIP_BY:-udp} == udp ]] || WORDS+=(-t t1)
}

# By UDP, or by TCP, one conn for all calls, where SIP_BY says so.
#
# phone PORT SCENARIO WORDS...: a phone of the client; what it complains of if it fails.
phone() {
    sipp_words client "$@" "$AT_VIP:5060"
    in_ns client timeout 60 "${WORDS[@]}" >"$LAB_DIR/$2.out" 2>&1 || die "$2: $(tail -n 3 "$LAB_DIR/$2".{errors,out} 2>/dev/null)"
}

# answering ROLE PORT WORDS...: a phone that answers, in the background.
answering() {
    callee
    sipp_words "$1" "$2" callee "${@:3}"
    spawn callee "$1" "${WORDS[@]}"
    PHONE=$SPAWNED
    wait_for 10 "the phone" listens "$1" "${SIP_BY:-udp}" "$2"
}

phone_is_over() { ! kill -0 "$PHONE" 2>/dev/null; }

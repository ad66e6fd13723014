# shellcheck shell=bash
# A pair of directors and the conns that helpers announce: data conns of FTP and media of calls go on through the other one, and
# what was announced just before is opened there.
# shellcheck source-path=SCRIPTDIR source=pair.sh
source "$(dirname "${BASH_SOURCE[0]}")/pair.sh"
# shellcheck source-path=SCRIPTDIR source=ftp.sh
source "$(dirname "${BASH_SOURCE[0]}")/ftp.sh"
# shellcheck source-path=SCRIPTDIR source=sip.sh
source "$(dirname "${BASH_SOURCE[0]}")/sip.sh"

# announcing_pair METHOD: two directors, of which `director` is active.
announcing_pair() {
    local role last priority service method=$1
    topo_pair
    for role in director other; do
        if [[ $role == director ]]; then last=4 priority=150; else last=5 priority=100; fi
        {
            printf '[[link]]\nbridge = "br0"\ntap = "tap0"\naddress = "%s/%s"\n' "$LINK$last" "$NET_BITS"
            for service in "tcp 21" "udp 5060"; do
                printf '[[service]]\n%s = "%s:%s"\nscheduler = "rr"\n' "${service% *}" "$AT_VIP" "${service#* }"
                [[ $method == nat ]] || printf 'local_address = "%s"\n' "$DIP"
                printf '[[service.server]]\naddress = "%s:%s"\nmethod = "%s"\n' "$AT_RS1" "${service#* }" "$method"
            done
            printf '[[vrrp]]\nid = 51\nsync = true\ninterval = "200ms"\npriority = %s\naddress = ["%s", "%s"]\n' "$priority" "$VIP" "$DIP"
        } >"$LAB_DIR/$role.toml"
        director_of_host "$role"
    done
    becomes_state director active
    becomes_state other backup
}

# families: 4 6
# limit: 120
# alone
test_announced_ftp_fullnat_goes_on_at_the_other_director() {
    announcing_pair fullnat
    in_ns rs1 ip route replace unreachable "$CLIENT"
    FROM_PORT_20=NO ftp_server rs1
    session_goes_on passive
    session_goes_on active
    fence rs1 rs1 "$RS2"
    expect_none rs1 "tcp and host $CLIENT" "packets of the client's own address"
}

# families: 4 6
# limit: 120
# alone
test_announced_ftp_nat_goes_on_at_the_other_director() {
    announcing_pair nat
    ftp_server rs1
    session_goes_on passive
    session_goes_on active
}

# HOST ADDRESS FAMILY DIRECTORY: a phone that calls, waits until DIRECTORY/moved.1 exists, and then sends a medium and gets it
# back, hangs up, and is answered.
CALLER='
import os, re, socket, sys, time
host, own, family, directory = sys.argv[1:]
kind = socket.AF_INET6 if family == "6" else socket.AF_INET
phone, medium = (socket.socket(kind, socket.SOCK_DGRAM) for _ in range(2))
phone.bind((own, 5070))
medium.bind((own, 6000))
named = f"[{own}]" if family == "6" else own

def say(method, more="", body=""):
    phone.sendto((f"{method} sip:b@{named} SIP/2.0\r\nVia: SIP/2.0/UDP {named}:5070;branch=z9hG4bK-{method}\r\n"
        f"From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>{more}\r\nCall-ID: 7@x\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n"
        f"Contact: <sip:a@{named}:5070>\r\nContent-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode(), (host, 5060))

def answer(what, again=None):
    phone.settimeout(2)
    for _ in range(15):
        try:
            said = phone.recv(4096).decode()
        except TimeoutError:
            if again:
                again()
            continue
        if said.startswith(what):
            return said
    sys.exit(f"no {what}")

invite = lambda: say("INVITE", body=f"v=0\r\no=- 1 1 IN IP{family} {own}\r\ns=-\r\nc=IN IP{family} {own}\r\nt=0 0\r\nm=audio 6000 RTP/AVP 8\r\n")
invite()
said = answer("SIP/2.0 200", invite)
tag = ";tag=" + re.search("To:.*;tag=([^;\\s]+)", said).group(1)
at = re.search("c=IN IP. (\\S+)", said).group(1), int(re.search("m=audio (\\d+)", said).group(1))
say("ACK", tag)
open(f"{directory}/at.1", "w").close()
while not os.path.exists(f"{directory}/moved.1"):
    time.sleep(0.05)
medium.settimeout(1)
for number in range(20):
    medium.sendto(b"\x80\x08" + bytes(170), at)
    try:
        if medium.recvfrom(2048)[1][:2] == at:
            break
    except TimeoutError:
        pass
else:
    sys.exit("no medium came back")
bye = lambda: say("BYE", tag)
bye()
answer("SIP/2.0 200", bye)
print("called", *at, flush=True)
'

# families: 4 6
# limit: 60
# alone
test_announced_media_pass_through_the_other_director() {
    scripts/need sipp
    announcing_pair fullnat
    in_ns rs1 ip route replace unreachable "$CLIENT"
    answering rs1 5060 -rtp_echo -mp 7000
    spawn call client python3 -c "$CALLER" "$VIP" "$CLIENT" "$FAMILY" "$LAB_DIR"
    wait_for 30 "the call" test -e "$LAB_DIR/at.1"
    expect_none client "udp port 7000" "media before the other director is active"
    moves
    touch "$LAB_DIR/moved.1"
    wait_for 40 "the end of the call" grep -q "^called $VIP 7000" "$LAB_DIR/call.log"
    expect_none rs1 "udp and host $CLIENT" "packets of the client's own address"
}

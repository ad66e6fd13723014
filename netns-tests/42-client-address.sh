# shellcheck shell=bash
# Servers behind FULL-NAT learn who their client is, by the PROXY protocol.

# shellcheck source-path=SCRIPTDIR source=told.sh
source "$(dirname "${BASH_SOURCE[0]}")/told.sh"

# families: 4 6
# limit: 60
test_servers_learn_their_client_by_the_proxy_protocol() {
    topo_onearm
    with_ipvsadm
    AT_LOOPBACK=$(bracketed "$([[ $FAMILY == 4 ]] && echo 127.0.0.1 || echo ::1)")
    proxied rs1
    {
        local port
        for port in 9000 9001 9002; do
            echo "-A -t $AT_VIP:$port -s rr"
            echo "-a -t $AT_VIP:$port -r $AT_RS1:$port -b --client-address proxy-v$((port == 9002 ? 1 : 2))"
        done
    } >"$LAB_DIR/rules"
    director --rules "$LAB_DIR/rules"

    expect_eq "$(told_by 40001 9000)" "$CLIENT 40001 $VIP:9000" "what nginx knows of its client"
    expect_eq "$(told_by 40002 9002)" "$CLIENT 40002 $VIP:9002" "what haproxy hands on"
    expect_eq "$(in_ns client timeout 10 socat -u "TCP:$AT_VIP:9001,sourceport=40003" -)" "220 $CLIENT 40003" \
        "the greeting of a server that speaks first"

    # What goes over the wire is the file and nothing else, both ways.
    local file
    file=$(payload 32)
    in_ns client curl --silent --max-time 30 "http://$AT_VIP:9000/files/${file##*/}" | cmp - "$file" || die "download"
    in_ns client curl --silent --max-time 30 --upload-file "$file" "http://$AT_VIP:9000/put/up" || die "upload"
    cmp "$SCRATCH/proxied-rs1/put/up" "$file" || die "the upload differs"

    # Saved, listed and restored as given.
    expect_match "$(lb -Ln --tun-info)" "FullNat +proxy-v2" "the listing"
    expect_eq "$(lb -Sn | grep -c -- '--client-address proxy-v')" 3 "the rules that say so"
}

# Every fifth segment is lost, each of the first five in turn, on the way to the server and on the way back.
# limit: 120
test_the_clients_address_comes_whatever_segment_is_lost() {
    topo_onearm
    AT_LOOPBACK=127.0.0.1
    proxied rs1
    with_ipvsadm
    director --service "tcp/$AT_VIP:9000" --scheduler rr --server "$AT_RS1:9000,fullnat,proxy=v2"
    lb -A -t "$AT_VIP:9001" -s rr
    lb -a -t "$AT_VIP:9001" -r "$AT_RS1:9001" -b --client-address proxy-v1
    local way lost port=41000
    for way in dport sport; do
        for lost in 0 1 2 3 4; do
            in_ns rs1 nft -f - <<-NFT
			table inet f
			delete table inet f
			table inet f {
			    chain c {
			        type filter hook $([[ $way == dport ]] && echo input || echo output) priority 0;
			        tcp $way 9000-9001 numgen inc mod 5 == $lost drop
			    }
			}
			NFT
            port=$((port + 1))
            expect_eq "$(told_by "$port" 9000)" "$CLIENT $port $VIP:9000" "with segment $lost by $way lost"
            port=$((port + 1))
            expect_eq "$(in_ns client timeout 20 socat -u "TCP:$AT_VIP:9001,sourceport=$port" -)" "220 $CLIENT $port" \
                "the greeting with segment $lost by $way lost"
        done
    done
}

# families: 4 6
# limit: 60
test_servers_learn_their_client_by_a_tcp_option() {
    topo_onearm
    scripts/need python3
    serve rs1
    with_ipvsadm
    director
    lb -A -t "$AT_VIP:80" -s rr
    lb -a -t "$AT_VIP:80" -r "$AT_RS1:80" -b --client-address toa

    expect_eq "$(in_ns client curl --silent --max-time 20 --local-port 40001 "http://$AT_VIP/")" rs1 "the answer"
    local syn data
    [[ $FAMILY == 4 ]] && syn='tcp[13]==2' data='(tcp[13]&8)!=0' || syn='ip6[53]==2' data='(ip6[53]&8)!=0'
    expect_seen rs1 "$(toa_seen "$CLIENT" 40001 "$data")" "the request with its client's address"
    expect_none rs1 "$(toa_seen "$CLIENT" 40001 "$syn")" "a SYN with an option"

    # Bulk goes both ways beside it; a client that does not believe the SYN+ACK is served too.
    download 64
    upload 64 rs1
    expect_match "$(lb -Ln --tun-info)" "FullNat +toa" "the listing"
    expect_eq "$(lb -Sn | grep -c -- '--client-address toa')" 1 "the rules that say so"
}

# limit: 60
test_the_option_comes_whatever_segment_is_lost() {
    topo_onearm
    scripts/need python3
    serve rs1
    director --service "tcp/$AT_VIP:80" --scheduler rr --server "$AT_RS1:80,fullnat,toa"
    local lost port=41000
    for lost in 0 1 2 3 4; do
        in_ns rs1 nft -f - <<-NFT
			table inet f
			delete table inet f
			table inet f {
			    chain c { type filter hook input priority 0; tcp dport 80 numgen inc mod 5 == $lost drop; }
			}
			NFT
        port=$((port + 1))
        expect_eq "$(in_ns client curl --silent --max-time 20 --local-port "$port" "http://$AT_VIP/")" rs1 \
            "the answer with segment $lost lost"
        expect_seen rs1 "$(toa_seen "$CLIENT" "$port" '(tcp[13]&8)!=0')" "the client with segment $lost lost"
    done
}

# faulty_topo ROLE PORT...: topo_onearm, with a wire before that host on which one segment of each conn to these ports comes to
# harm; no superframes anywhere.
faulty_topo() {
    local role=$1 address=$RS1
    shift
    scripts/need python3 ethtool
    CLIENT=${LINK}9
    [[ $role == client ]] && address=$CLIENT
    director_host
    on_the_bridge client "$CLIENT"
    on_the_bridge rs1 "$RS1"
    ns_add wire
    in_ns "$role" ip link set eth0 netns "$(ns wire)" name left
    ip link add eth0 netns "$(ns "$role")" type veth peer name right netns "$(ns wire)"
    in_ns "$role" ip address add "$address/$NET_BITS" dev eth0
    in_ns "$role" ip link set eth0 up
    in_ns wire ip link set left up
    in_ns wire ip link set right up
    local end
    for end in client:eth0 rs1:eth0 wire:left wire:right director:to-client director:to-rs1; do
        in_ns "${end%:*}" ethtool -K "${end#*:}" tx off sg off tso off gso off gro off >/dev/null
    done
    lab_captures client rs1
    spawn wire wire python3 netns-tests/faulty-wire.py left right "$@"
}

# all_at_once FIRST COMMAND...: COMMAND with each of 40 ports of the client from FIRST on, $AT_ONCE at a time; prints what each
# says, in order.
all_at_once() {
    local first=$1 dir port
    shift
    dir=$(mktemp -d "$LAB_DIR/at-once.XXXX")
    for port in $(seq "$first" $((first + 39))); do
        "$@" "$port" >"$dir/$port" 2>&1 &
        (((port - first + 1) % ${AT_ONCE:-10} > 0)) || wait
    done
    wait
    cat "$dir"/*
}

greeting_of() { in_ns client timeout 60 socat -u "TCP:$AT_VIP:9001,sourceport=$1" -; }
upload_from() {
    in_ns client curl --silent --show-error --max-time 60 --local-port "$1" -H Expect: --upload-file "$LAB_DIR/data" -o /dev/null -D - \
        "http://$AT_VIP:9000/put/$1" | tr -d '\r' | grep '^Client:' | cut -d' ' -f2-
}
by_haproxy() { in_ns client curl --silent --show-error --max-time 60 --local-port "$1" "http://$AT_VIP:9002/"; }

# clients_from PORT: the client with each of 40 ports.
clients_from() { local port; for port in $(seq "$1" $(($1 + 39))); do echo "$CLIENT $port"; done; }

# whole_streams_over_a_wire_at ROLE [OPTION]: each of the first five segments of either direction is dropped, doubled, swapped
# with the next one and delayed, one in each conn. Services whose clients speak first have OPTION.
whole_streams_over_a_wire_at() {
    local port option=${2:-}
    faulty_topo "$1" 9000 9001 9002
    AT_LOOPBACK=$(bracketed "$([[ $FAMILY == 4 ]] && echo 127.0.0.1 || echo ::1)")
    proxied rs1
    for port in 9000 9001 9002; do
        echo "-A -t $AT_VIP:$port -s rr $([[ $port == 9001 ]] || echo "$option")"
        echo "-a -t $AT_VIP:$port -r $AT_RS1:$port -b --client-address proxy-v$((port == 9001 ? 1 : 2))"
    done >"$LAB_DIR/rules"
    director --no-offload --rules "$LAB_DIR/rules"
    head -c 9000 /dev/urandom >"$LAB_DIR/data"
    expect_eq "$(all_at_once 41000 upload_from)" "$(clients_from 41000)" "whom nginx takes for its clients"
    for port in $(seq 41000 41039); do
        cmp "$SCRATCH/proxied-rs1/put/$port" "$LAB_DIR/data" || die "what client $port sent did not come whole"
    done
    expect_eq "$(all_at_once 42000 greeting_of)" "$(clients_from 42000 | sed 's/^/220 /')" "the greetings of a server that speaks first"
    expect_eq "$(all_at_once 43000 by_haproxy)" "$(clients_from 43000 | sed "s/\$/ $VIP:9002/")" "whom haproxy takes for its clients"
}

# families: 4 6
# limit: 300
test_the_clients_address_and_the_whole_stream_come_whatever_becomes_of_segments() { whole_streams_over_a_wire_at rs1; }

# families: 4 6
# limit: 300
test_the_clients_address_and_the_whole_stream_come_whatever_the_client_loses() { whole_streams_over_a_wire_at client; }

# families: 4 6
# limit: 300
test_behind_a_syn_proxy_whole_streams_come_whatever_becomes_of_segments() { whole_streams_over_a_wire_at rs1 "--syn-proxy on"; }

# families: 4 6
# limit: 300
test_behind_a_syn_proxy_whole_streams_come_whatever_the_client_loses() { whole_streams_over_a_wire_at client "--syn-proxy on"; }

mail_from() {
    printf 'From: a@lab.test\r\nSubject: %s\r\n\r\n' "$1" | cat - "$LAB_DIR/text" >"$LAB_DIR/message-$1"
    in_ns client curl --silent --show-error --max-time 60 --local-port "$1" "smtp://$VIP/client" --mail-from a@lab.test \
        --mail-rcpt nobody@lab.test --upload-file "$LAB_DIR/message-$1"
}

has_mail() { (($(find "$SCRATCH/smtp/mail/new" -type f 2>/dev/null | wc -l) >= $1)); }

# mail_over_a_wire_at ROLE: the same to a mail server.
mail_over_a_wire_at() {
    scripts/need smtpd
    faulty_topo "$1" 25
    smtp_server proxy-v2
    wait_for 10 SMTP listens rs1 tcp 25
    director --no-offload --service "tcp/$AT_VIP:25" --scheduler rr --server "$AT_RS1:25,fullnat,proxy=v2"
    seq 3000 | sed 's/$/\r/' >"$LAB_DIR/text"

    # Its queue of new conns is short. A server that answers by cookies waits for an acknowledgement that may be lost, and
    # that nobody sends again if the server is to speak first.
    in_ns rs1 sysctl -qw net.ipv4.tcp_syncookies=0
    expect_eq "$(AT_ONCE=5 all_at_once 41000 mail_from)" "" "what the senders complain of"
    wait_for 10 "all messages" has_mail 40
    local port mail
    for port in $(seq 41000 41039); do
        mail=$(grep -lr "^Subject: $port" "$SCRATCH/smtp/mail/new") || die "the message of $port"
        expect_match "$(cat "$mail")" "Received: from [^[]*\[$CLIENT\]" "whom the mail server takes for the sender"
        expect_eq "$(grep -c '^[0-9]*$' "$mail")" 3001 "lines of the message, and the one behind its headers"
    done
}

# limit: 300
test_a_mail_server_knows_who_sent_each_message_whatever_becomes_of_segments() { mail_over_a_wire_at rs1; }

# limit: 300
test_a_mail_server_knows_who_sent_each_message_whatever_the_client_loses() { mail_over_a_wire_at client; }

page_for() { in_ns client curl --silent --show-error --max-time 60 --local-port "$1" "http://$AT_VIP/"; }

# the_option_over_a_wire_at ROLE: the same of TOA.
the_option_over_a_wire_at() {
    faulty_topo "$1" 80
    serve rs1
    director --no-offload --service "tcp/$AT_VIP:80" --scheduler rr --server "$AT_RS1:80,fullnat,toa"

    expect_eq "$(all_at_once 41000 page_for | sort | uniq -c | xargs)" "40 rs1" "the answers"
    local port
    for port in $(seq 41000 41039); do
        expect_seen rs1 "$(toa_seen "$CLIENT" "$port" '(tcp[13]&8)!=0')" "the request of $port with its client"
    done
}

# limit: 300
test_the_option_comes_whatever_becomes_of_segments() { the_option_over_a_wire_at rs1; }

# limit: 300
test_the_option_comes_whatever_the_client_loses() { the_option_over_a_wire_at client; }

# families: 4 6
# limit: 60
test_a_server_of_datagrams_learns_its_client() {
    topo_onearm
    scripts/need python3
    cat >"$LAB_DIR/echo.py" <<'PYTHON'
import ipaddress, socket, sys
server = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 5300))
while True:
    said, peer = server.recvfrom(65536)
    if said[:13] != b"\r\n\r\n\0\r\nQUIT\n\x21":
        server.sendto(b"no header", peer)
        continue
    size = {0x12: 4, 0x22: 16}[said[13]]
    client, port = ipaddress.ip_address(said[16 : 16 + size]), int.from_bytes(said[16 + 2 * size :][:2], "big")
    rest = said[16 + int.from_bytes(said[14:16], "big") :]
    server.sendto(f"{client} {port} {len(rest)}".encode(), peer)
PYTHON
    cat >"$LAB_DIR/ask.py" <<'PYTHON'
import socket, sys
client = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(1)
client.bind(("", int(sys.argv[2])))
client.connect((sys.argv[1], 5300))
for attempt in range(10):
    # The first one may be refused by its size: from then on the system sends it in fragments.
    try:
        client.send(b"x" * int(sys.argv[3]))
        print(client.recv(100).decode())
        break
    except OSError:
        pass
PYTHON
    spawn echo rs1 python3 "$LAB_DIR/echo.py" "$RS1"
    wait_for 10 "the server" listens rs1 udp 5300
    director --service "udp/$AT_VIP:5300" --scheduler rr --server "$AT_RS1:5300,fullnat,proxy=v2"
    local size
    for size in 1 1000 1400 1450 1472 8000; do
        expect_eq "$(in_ns client timeout 20 python3 "$LAB_DIR/ask.py" "$VIP" 41000 "$size")" "$CLIENT 41000 $size" "what the server knows"
    done
}

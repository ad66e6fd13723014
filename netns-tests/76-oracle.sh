# shellcheck shell=bash
# keepalived's checkers as the oracle of our own: the same servers, the same faults, the same turns.
# shellcheck source-path=SCRIPTDIR source=keepalived.sh
source "$(dirname "${BASH_SOURCE[0]}")/keepalived.sh"
# shellcheck source-path=SCRIPTDIR source=health.sh
source "$(dirname "${BASH_SOURCE[0]}")/health.sh"

# The same servers are checked twice: by keepalived at port 81 and following, by tapvs at 91 and following. What turns at
# one turns at the other, in the same order.
KINDS=(tcp http icmp dns udp https smtp exec dynamic)

# oracle_lab NUMBER...: both check, by these kinds.
oracle_lab() {
    own_checks "$@" >"$LAB_DIR/tapvs.toml"
    director_from_file
    with_ipvsadm
    CONF=$LAB_DIR/keepalived.conf
    keepalived_checks "$@" >"$CONF"
    keepalived_start
    local number
    for number; do
        both_say "${KINDS[number - 1]}" "$RS1" up
        both_say "${KINDS[number - 1]}" "$RS2" up
    done
}

# limit: 150
# quiet
test_own_checks_turn_as_keepalived_does() {
    scripts/need jq nft
    topo_onearm
    replies_through_director rs1 rs2
    serve rs1 rs2
    local nginx=$SPAWNED
    name_server rs2 rs1
    local names=$SPAWNED names_start
    names_start=$(start_time "$names")
    oracle_lab 1 2 3 4 5

    # A web server that accepts and does not answer, a name server that fails.
    local frozen
    frozen=$(pgrep -P "$nginx")
    kill -STOP "$frozen"
    spawn servfail rs1 python3 -c "$SERVFAIL"
    wait_for 5 "the failing name server" listens rs1 udp 9053
    redirect rs1 udp 53 9053
    both_say http "$RS2" down
    both_say dns "$RS1" down
    kill -CONT "$frozen"
    in_ns rs1 nft delete table ip fault
    both_say http "$RS2" up
    both_say dns "$RS1" up

    # A closed port of each protocol, and a host that does not answer echoes.
    in_ns rs1 sysctl -qw net.ipv4.icmp_echo_ignore_all=1
    end_process "$names" "$names_start"
    refuse rs2 "tcp dport 8080 reject with tcp reset"
    both_say tcp "$RS2" down
    both_say http "$RS2" down
    both_say icmp "$RS1" down
    both_say dns "$RS1" down
    both_say udp "$RS1" down
    in_ns rs1 sysctl -qw net.ipv4.icmp_echo_ignore_all=0
    name_server rs1
    in_ns rs2 nft delete table ip fault
    local kind
    for kind in tcp http icmp dns udp; do
        both_say "$kind" "$RS1" up
        both_say "$kind" "$RS2" up
    done

    # A wrong status, and a firewall that drops.
    spawn wrong rs2 python3 -c "$STATUS_500"
    wait_for 5 "the server of status 500" listens rs2 tcp 9080
    redirect rs2 tcp 8080 9080
    refuse rs1 "tcp dport 8080 drop"
    both_say http "$RS2" down
    both_say tcp "$RS1" down
    both_say http "$RS1" down
    in_ns rs1 nft delete table ip fault
    in_ns rs2 nft delete table ip fault
    both_say http "$RS2" up
    both_say tcp "$RS1" up
    both_say http "$RS1" up

    expect_eq "$(own_turns)" "$(keepalived_turns)" "the turns of each check of each server"
    expect_eq "$(own_turns | awk '$1 == "tcp" && $2 == "'"$RS2"'" { print $3 }' | xargs)" "down up" \
        "the turns of a TCP check of a server that froze, refused and answered 500"
}

# limit: 150
# quiet
test_own_checks_of_tls_mail_and_programs_turn_as_keepalived_does() {
    scripts/need jq nft
    faulty_lab
    oracle_lab 6 7 8 9
    local kind

    # What is closed, speaks no TLS, is not willing, or ends with another code or late.
    redirect rs1 tcp 443 9001
    redirect rs1 tcp 25 9025
    refuse rs2 "tcp dport { 25, 443 } reject with tcp reset"
    program_does "$RS1" "exit 1"
    program_does "$RS2" "sleep 60"
    for kind in https smtp exec dynamic; do
        both_say "$kind" "$RS1" down
        both_say "$kind" "$RS2" down
    done
    mend_both https smtp exec dynamic

    # What says 500 inside TLS, accepts and is silent, refuses the greeting, or is killed. Only for a dynamic check is 2 no
    # failure.
    redirect rs1 tcp 443 9500
    redirect rs1 tcp 25 9550
    redirect rs2 tcp 443 9002
    redirect rs2 tcp 25 9002
    # shellcheck disable=SC2016  # of the program
    program_does "$RS1" 'kill -KILL $$'
    program_does "$RS2" "exit 2"
    for kind in https smtp exec; do
        both_say "$kind" "$RS1" down
        both_say "$kind" "$RS2" down
    done
    both_say dynamic "$RS1" down
    wait_for 10 "2 to be a weight of 0" both_weigh "$RS2" 0
    mend_both https smtp exec dynamic

    # Neither looks at certificates unless it is told to.
    redirect rs1 tcp 443 9444
    wait_for 30 "six handshakes with an expired certificate" has_redirected rs1 6
    both_say https "$RS1" up
    in_ns rs1 nft delete table ip fault

    # Exit codes are weights, whatever came before.
    local code
    for code in 9 255 2 3 0; do
        program_does "$RS1" "exit $code"
        wait_for 15 "the weight of exit code $code" both_weigh "$RS1" "$((code > 0 ? code - 2 : 5))"
    done
    program_does "$RS1" "exit 1"
    both_say dynamic "$RS1" down
    program_does "$RS1" "exit 12"
    wait_for 15 "the weight of one that is back" both_weigh "$RS1" 10
    # To the check that is not dynamic these codes are failures.
    both_say exec "$RS1" down
    program_does "$RS1" "exit 0"
    both_say exec "$RS1" up
    wait_for 15 "the configured weight" both_weigh "$RS1" 5

    expect_eq "$(own_turns)" "$(keepalived_turns)" "the turns of each check of each server"
    expect_eq "$(own_turns | awk '$1 == "exec" && $2 == "'"$RS2"'" { print $3 }' | xargs)" "down up down up" \
        "the turns of a program that was late and ended with 2"
}

# Here keepalived has faults that its users report, or accepts what is no sign of health.
#
# limit: 120
# quiet
test_where_own_checks_judge_otherwise_than_keepalived_on_purpose() {
    scripts/need jq nft
    faulty_lab
    name_server rs1 rs2
    VERIFY="host = \"shop.example\", verify = \"$LAB_DIR/pki/ca.pem\", "
    oracle_lab 2 4 6 7

    # An answer without an end: no read of keepalived's is late. A name server that has nothing to say. A certificate that
    # has expired, where that is looked at.
    redirect rs1 tcp 8080 9003
    redirect rs1 udp 53 9053
    redirect rs1 tcp 443 9444
    own_says http "$RS1" down
    own_says dns "$RS1" down
    own_says https "$RS1" down
    wait_for 30 "an answer that goes on for 8 s" grep -q "for 8 s" "$LAB_DIR/faulty-rs1.log"
    wait_for 30 "queries and handshakes" has_redirected rs1 12
    # An answer that is whole in a conn that stays open: its length tells. A greeting of several lines.
    redirect rs2 tcp 8080 9004
    redirect rs2 tcp 25 9220
    wait_for 30 "keepalived to say down of http" last_turn keepalived_turns http "$RS2" down
    wait_for 30 "keepalived to say down of smtp" last_turn keepalived_turns smtp "$RS2" down
    expect_eq "$(own_turns)" "dns $RS1 down
http $RS1 down
https $RS1 down" "what turned at tapvs"
    expect_eq "$(keepalived_turns)" "http $RS2 down
smtp $RS2 down" "what turned at keepalived"
}

own_says() { wait_for 30 "tapvs to say $3 of $2 by $1" last_turn own_turns "$@"; }

# mend_both KIND...: every fault of both servers is over.
mend_both() {
    local kind
    in_ns rs1 nft delete table ip fault
    in_ns rs2 nft delete table ip fault
    program_does "$RS1" "exit 0"
    program_does "$RS2" "exit 0"
    for kind; do
        both_say "$kind" "$RS1" up
        both_say "$kind" "$RS2" up
    done
}

# program_does SERVER COMMAND: what the program does that checks this server.
program_does() {
    echo "$2" >"$LAB_DIR/does-$1.new"
    mv "$LAB_DIR/does-$1.new" "$LAB_DIR/does-$1"
}

# both_weigh SERVER WEIGHT: of the service that the dynamic check is of.
both_weigh() {
    local port
    for port in 89 99; do
        lb -Ln -t "$VIP:$port" | awk -v server="$1:8080" -v weight="$2" '$2 == server && $4 == weight { found = 1 } END { exit !found }' || return 1
    done
}

# has_redirected ROLE COUNT: so many conns went elsewhere.
has_redirected() {
    (($(in_ns "$1" nft list table ip fault | awk '/redirect/ { for (i = 1; i < NF; i++) if ($i == "packets") sum += $(i + 1) } END { print sum }') >= $2))
}

# faulty_lab: servers of web, mail and TLS, and beside them those that are at fault.
faulty_lab() {
    topo_onearm
    replies_through_director rs1 rs2
    serve rs1 rs2
    local dir=$LAB_DIR/pki role
    authority "$dir"
    certificate "$dir" good 30
    certificate "$dir" expired -1
    # shellcheck disable=SC2016  # the program's shell
    echo '. "${0%/*}/does-${1:-$RIP}"' >"$LAB_DIR/program"
    for role in rs1 rs2; do
        spawn "tls-$role" "$role" openssl s_server -quiet -www -accept 443 -cert "$dir/good.pem" -key "$dir/good.key"
        spawn "expired-$role" "$role" openssl s_server -quiet -www -accept 9444 -cert "$dir/expired.pem" -key "$dir/expired.key"
        spawn "faulty-$role" "$role" python3 -uc "$FAULTY" "$dir/good.pem" "$dir/good.key"
        wait_for 10 "TLS in $role" listens "$role" tcp 443
        wait_for 10 "TLS with an expired certificate in $role" listens "$role" tcp 9444
        wait_for 10 "the faulty servers in $role" grep -q ready "$LAB_DIR/faulty-$role.log"
    done
    program_does "$RS1" "exit 0"
    program_does "$RS2" "exit 0"
}

read -rd '' FAULTY <<'PYTHON' || true
import socket, ssl, sys, threading, time
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
def tcp(port, serve):
    listener = socket.create_server(('0.0.0.0', port), backlog=64)
    def loop():
        while True:
            threading.Thread(target=guarded, args=(serve, listener.accept()[0]), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()
def guarded(serve, conn):
    with conn:
        try:
            serve(conn)
        except OSError:
            pass
def silent(conn):
    while conn.recv(1000):
        pass
def drip(conn):
    conn.recv(1000)
    conn.sendall(b'HTTP/1.0 200 OK\r\nServer: ')
    for tick in range(1000):
        conn.sendall(b'x')
        if tick == 80:
            print('for 8 s')
        time.sleep(0.1)
def stay_open(conn):
    conn.recv(1000)
    conn.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    silent(conn)
def status_500(conn):
    with context.wrap_socket(conn, server_side=True) as inside:
        inside.recv(1000)
        inside.sendall(b'HTTP/1.0 500 Oops\r\n\r\n')
def mail(banner, hello):
    def serve(conn):
        conn.sendall(banner)
        while word := conn.recv(1000):
            conn.sendall(b'221 bye\r\n' if word.startswith(b'QUIT') else hello)
    return serve
def without_answers():
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(('0.0.0.0', 9053))
    while True:
        query, peer = names.recvfrom(2000)
        names.sendto(query[:2] + b'\x81\x80' + query[4:], peer)
tcp(25, mail(b'220 lab\r\n', b'250 lab\r\n'))
tcp(9025, mail(b'554 not me\r\n', b'250 lab\r\n'))
tcp(9550, mail(b'220 lab\r\n', b'550 not you\r\n'))
tcp(9220, mail(b'220-lab\r\n220 mail\r\n', b'250 lab\r\n'))
tcp(9001, lambda conn: (conn.recv(1000), conn.sendall(b'no TLS here\r\n' * 100)))
tcp(9002, silent)
tcp(9003, drip)
tcp(9004, stay_open)
tcp(9500, status_500)
print('ready')
without_answers()
PYTHON

# own_checks, keepalived_checks NUMBER...: a service for each kind, by the same times: two failures take a server out, one
# success brings it back.
own_checks() {
    local number times="interval = \"1s\", fast_interval = \"1s\", down_interval = \"1s\", timeout = \"2s\", rise = 1, fall = 2"
    local program="kind = \"exec\", command = [\"/bin/sh\", \"$LAB_DIR/program\"]"
    printf '%s\n' "[[link]]" "bridge = \"br0\"" "tap = \"tap0\"" "address = \"$DIP/$NET_BITS\""
    for number; do
        printf '[[service]]\n%s = "%s:%s"\nscheduler = "rr"\npassive = false\n' "$(proto_of "$number")" "$VIP" "9$number"
        case $number in
            1) echo "check = { kind = \"tcp\", $times }" ;;
            2) echo "check = { kind = \"http\", path = \"/\", status = \"200\", $times }" ;;
            3) echo "check = { kind = \"icmp\", $times }" ;;
            4) echo "check = { kind = \"dns\", name = \"who.test\", type = \"TXT\", $times }" ;;
            5) echo "check = { kind = \"udp\", payload_hex = \"$QUERY\", $times }" ;;
            6) echo "check = { kind = \"https\", path = \"/\", status = \"200\", ${VERIFY:-}$times }" ;;
            7) echo "check = { kind = \"smtp\", $times }" ;;
            8) echo "check = { $program, $times }" ;;
            9) echo "check = { $program, dynamic = true, $times }" ;;
        esac
        printf '[[service.server]]\naddress = "%s"\nmethod = "nat"\nweight = 5\n' "$RS1:$(port_of "$number")" "$RS2:$(port_of "$number")"
    done
}

keepalived_checks() {
    local number times="connect_timeout 2
        retry 1
        delay_before_retry 1"
    printf '%s\n' "global_defs {" "    router_id lab" "    script_user root" "    enable_script_security" "}"
    for number; do
        checked "8$number" "$(proto_of "$number" | tr '[:lower:]' '[:upper:]')" "$(port_of "$number")" "$(keepalived_check "$number")
        $times
        }"
    done | sed 's/weight 1$/weight 5/; /misc/,/}/{/connect_timeout/d}'
}

# keepalived_check NUMBER: its first lines.
keepalived_check() {
    local url="url {
            path /
            status_code 200
        }"
    case $1 in
        1) echo "TCP_CHECK {" ;;
        2) printf '%s\n' "HTTP_GET {" "        $url" ;;
        3) echo "PING_CHECK {" ;;
        4) printf '%s\n' "DNS_CHECK {" "        type TXT" "        name who.test" ;;
        5) printf '%s\n' "UDP_CHECK {" "        payload $QUERY" "        require_reply" ;;
        6) printf '%s\n' "SSL_GET {" "        $url" ;;
        7) printf '%s\n' "SMTP_CHECK {" "        helo_name lab" ;;
        8) printf '%s\n' "MISC_CHECK {" "        misc_path \"/bin/sh $LAB_DIR/program REAL\"" "        misc_timeout 2" ;;
        9) printf '%s\n' "MISC_CHECK {" "        misc_path \"/bin/sh $LAB_DIR/program REAL\"" "        misc_timeout 2" "        misc_dynamic" ;;
    esac
}

QUERY=0000010000010000000000000377686f04746573740000100001

PROTOCOLS=(tcp tcp tcp udp udp tcp tcp tcp tcp)
PORTS=(8080 8080 8080 53 53 443 25 8080 8080)
proto_of() { echo "${PROTOCOLS[$1 - 1]}"; }
port_of() { echo "${PORTS[$1 - 1]}"; }

# both_say KIND ADDRESS VERDICT: keepalived and tapvs come to it.
both_say() {
    wait_for 30 "keepalived to say $3 of $2 by $1" last_turn keepalived_turns "$@"
    wait_for 30 "tapvs to say $3 of $2 by $1" last_turn own_turns "$@"
}

# last_turn TURNS KIND ADDRESS VERDICT; without a turn a server is up, as keepalived has it. tapvs must have seen it.
last_turn() {
    local last
    last=$("$1" | awk -v kind="$2" -v server="$3" '$1 == kind && $2 == server { last = $3 } END { print last }')
    [[ $1 != own_turns ]] || own_verdicts | grep -qx "$2 $3 $4" || return 1
    [[ ${last:-up} == "$4" ]]
}

# keepalived_turns, own_turns: `kind server up|down`, by kind and server in the order in which they came.
keepalived_turns() {
    sed -nE 's/.*(Removing|Adding) service \[([0-9.]+)\]:(tcp|udp):[0-9]+ (from|to) VS \[[0-9.]+\]:(tcp|udp):8([1-9])$/\6 \2 \1/p' \
        "$LAB_DIR/keepalived.log" | sed 's/Removing/down/; s/Adding/up/' | named_kinds
}

own_turns() {
    in_ns director "$TAPVS" health --json |
        jq -r '.[] | .service[-1:] as $kind | .servers[] | .server as $server | .probes[].history[1:][] | "\($kind) \($server) \(.to)"' |
        sed -E 's/:[0-9]+ / /' | named_kinds
}

own_verdicts() {
    in_ns director "$TAPVS" health --json |
        jq -r '.[] | .service[-1:] as $kind | .servers[] | "\($kind) \(.server) \(.verdict)"' | sed -E 's/:[0-9]+ / /' | named_kinds
}

named_kinds() { awk -v kinds="${KINDS[*]}" '{ split(kinds, name, " "); print name[$1], $2, $3 }' | sort -s -k1,2; }

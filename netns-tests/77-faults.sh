# shellcheck shell=bash
# Servers that fail under load, each in another way, and servers that are drained: how soon that is noticed, and that no
# request is lost afterwards.
# shellcheck source-path=SCRIPTDIR source=health.sh
source "$(dirname "${BASH_SOURCE[0]}")/health.sh"

# Faults are noticed soon, and a busy machine is no fault. HEALTH_TIMES=default: as without a word in the configuration.
times() {
    [[ ${HEALTH_TIMES:-} == default ]] || echo ', interval = "300ms", fast_interval = "100ms", down_interval = "300ms", timeout = "1s"'
}

# ---- the load ------------------------------------------------------------------------------------------------------

# load_on PORT [CA]: wrk as fast as it can, and beside it requests one after the other, each with its outcome in counted.log.
load_on() {
    local scheme=http
    [[ -z ${2:-} ]] || scheme=https
    spawn wrk client wrk -t1 -c8 -d300 --timeout 2s -H "Connection: close" "$scheme://$VIP:$1/"
    WRK="$SPAWNED $(start_time "$SPAWNED")"
    spawn counted client python3 -uc "$REQUESTS" "$VIP" "$1" "${2:-}"
}

read -rd '' REQUESTS <<'PYTHON' || true
import socket, ssl, sys, time
context = ssl.create_default_context(cafile=sys.argv[3]) if sys.argv[3] else None
def request():
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 3) as conn:
        if context:
            conn = context.wrap_socket(conn, server_hostname='shop.example')
        conn.sendall(b'GET / HTTP/1.0\r\nHost: shop.example\r\n\r\n')
        answer = b''
        while part := conn.recv(4096):
            answer += part
    return 'ok ' + answer.split()[-1].decode() if b' 200 ' in answer[:20] else 'failed ' + repr(answer[:20])
while True:
    try:
        print(request())
    except OSError as error:
        print('failed', type(error).__name__)
    time.sleep(0.005)
PYTHON

# counted_from: the first line of requests that begin from now on; one may be under way.
counted_from() { echo $(($(wc -l <"$LAB_DIR/counted.log") + 2)); }

has_counted() { (($(wc -l <"$LAB_DIR/counted.log") >= $1)); }

# expect_no_loss WHAT SERVER: the next 100 requests are answered, none by that server; requests of wrk too.
expect_no_loss() {
    local from
    from=$(counted_from)
    wait_for 30 "100 requests after $1" has_counted $((from + 100))
    tail -n "+$from" "$LAB_DIR/counted.log" >"$LAB_DIR/after"
    ! grep -qv '^ok' "$LAB_DIR/after" || die "lost after $1: $(grep -v '^ok' "$LAB_DIR/after" | sort | uniq -c)"
    ! grep -q " $2\$" "$LAB_DIR/after" || die "$2 was asked after $1"
    [[ -z ${WRK:-} ]] || expect_wrk_loses_none "$1"
}

# expect_wrk_loses_none WHAT: longer than wrk waits for an answer, or what hangs at its end would be no error.
expect_wrk_loses_none() {
    local url
    url=$(tr '\0' '\n' <"/proc/${WRK% *}/cmdline" | tail -n 1)
    in_ns client wrk -t1 -c8 -d3 --timeout 2s -H "Connection: close" "$url" >"$LAB_DIR/wrk.after"
    expect_match "$(cat "$LAB_DIR/wrk.after")" "requests in" "what wrk says after $1"
    ! grep -E "Socket errors|Non-2xx" "$LAB_DIR/wrk.after" || die "wrk lost requests after $1"
}

answers_again() { tail -n "+$2" "$LAB_DIR/counted.log" | grep -q "^ok $1\$"; }

# fault WHAT SERVER REASON CMD...: that happens to rs3, which is SERVER; it is masked for that reason, and nothing is lost then.
fault() {
    local what=$1 server=$2 reason=$3 began=${EPOCHREALTIME/./}
    shift 3
    "$@"
    becomes "$server" failed 15
    echo "$what: masked after $(((${EPOCHREALTIME/./} - began) / 1000)) ms, $(grep -c failed "$LAB_DIR/counted.log") requests failed so far"
    expect_match "$(tv health | grep -A1 -F "$server ")" "$reason" "the reason of $what"
    expect_no_loss "$what" rs3
}

# mended SERVER CMD...: the fault is over; it is back, and serves.
mended() {
    local server=$1 from
    shift
    "$@"
    becomes "$server" serving 15
    from=$(counted_from)
    wait_for 10 "an answer of the server that is back" answers_again rs3 "$from"
}

# ---- faults ----------------------------------------------------------------------------------------------------------

# limit: 120
test_no_request_is_lost_after_a_server_is_masked_whatever_its_fault() {
    topo_onearm
    replies_through_director rs1 rs2 rs3
    serve rs1 rs2 rs3
    local nginx=$SPAWNED server="$RS3:8080"
    config_health "check = { kind = \"http\", path = \"/\"$(times) }" "passive = false" -- "$RS1:8080" "$RS2:8080" "$server"
    director_from_file
    becomes "$server" serving
    becomes "$RS1:8080" serving
    load_on 80
    wait_for 10 "requests at rs3" answers_again rs3 1

    fault "nginx ended" "$server" "connect: connection refused" end_process "$nginx" "$(start_time "$nginx")"
    mended "$server" serve rs3
    nginx=$SPAWNED
    local worker
    worker=$(pgrep -P "$nginx")
    fault "nginx stopped" "$server" "answer: timeout" kill -STOP "$worker"
    mended "$server" kill -CONT "$worker"
    fault "a firewall that drops" "$server" "connect: timeout" refuse rs3 "tcp dport 8080 drop"
    mended "$server" in_ns rs3 nft delete table ip fault
    spawn wrong rs3 python3 -c "$STATUS_500"
    wait_for 5 "the server of status 500" listens rs3 tcp 9080
    fault "status 500" "$server" "answer: status 500" redirect rs3 tcp 8080 9080
    mended "$server" in_ns rs3 nft delete table ip fault
}

# limit: 90
test_no_request_is_lost_after_a_certificate_has_expired() {
    topo_onearm
    replies_through_director rs1 rs2 rs3
    local dir=$LAB_DIR/pki server="$RS3:443" role
    authority "$dir"
    certificate "$dir" good 30
    certificate "$dir" expired -1
    for role in rs1 rs2 rs3; do
        has_certificate "$role" good
        tls_nginx "$role"
    done
    local nginx=$SPAWNED
    config_health "check = { kind = \"https\", host = \"shop.example\", verify = \"$dir/ca.pem\"$(times) }" -- \
        "$RS1:443" "$RS2:443" "$server"
    sed -i "s/$VIP:80/$VIP:443/" "$LAB_DIR/tapvs.toml"
    director_from_file
    becomes "$server" serving
    becomes "$RS1:443" serving
    load_on 443 "$dir/ca.pem"
    wait_for 10 "requests at rs3" answers_again rs3 1

    has_certificate rs3 expired
    fault "an expired certificate" "$server" "tls: invalid peer certificate: .*[Ee]xpired" kill -HUP "$nginx"
    has_certificate rs3 good
    mended "$server" kill -HUP "$nginx"
}

has_certificate() {
    cp "$LAB_DIR/pki/$2.pem" "$LAB_DIR/pki/$1.pem"
    cp "$LAB_DIR/pki/$2.key" "$LAB_DIR/pki/$1.key"
}

# tls_nginx ROLE: the web server of `serve`, by TLS at port 443 too.
tls_nginx() {
    local role=$1 dir=$SCRATCH/nginx-$1
    mkdir -p "$dir/put" "$dir/tmp"
    nginx_config "$role" "$dir" | sed "s|listen .*:8080 .*|& listen 0.0.0.0:443 ssl backlog=4096; ssl_certificate $LAB_DIR/pki/$role.pem; ssl_certificate_key $LAB_DIR/pki/$role.key;|" \
        >"$dir/nginx.conf"
    spawn "nginx-$role" "$role" nginx -p "$dir" -c "$dir/nginx.conf" -e "$LAB_DIR/nginx-$role.log"
    wait_for 10 "nginx in $role" listens "$role" tcp 443
}

# limit: 90
test_no_request_is_lost_after_a_server_loses_the_virtual_address() {
    topo_onearm
    local role server="$RS3:80"
    for role in rs1 rs2 rs3; do
        realserver "$role"
    done
    serve rs1 rs2 rs3
    config_health "check = { kind = \"path\"$(times) }" -- "$RS1:80" "$RS2:80" "$server"
    sed -i 's/"nat"/"direct"/' "$LAB_DIR/tapvs.toml"
    director_from_file
    becomes "$server" serving
    becomes "$RS1:80" serving
    load_on 80
    wait_for 10 "requests at rs3" answers_again rs3 1
    fault "no virtual address" "$server" "answer: timeout" in_ns rs3 ip address del "$VIP/$HOST_BITS" dev lo
    mended "$server" in_ns rs3 ip address add "$VIP/$HOST_BITS" dev lo
}

# limit: 90
test_no_query_is_lost_after_a_name_server_fails() {
    topo_onearm
    replies_through_director rs1 rs2 rs3
    name_server rs1 rs2 rs3
    spawn servfail rs3 python3 -c "$SERVFAIL"
    wait_for 5 "the failing name server" listens rs3 udp 9053
    local server="$RS3:53" number
    config_health "check = { kind = \"dns\", name = \"who.test\", type = \"TXT\"$(times) }" -- "$RS1:53" "$RS2:53" "$server"
    sed -i "s/tcp = \"$VIP:80\"/udp = \"$VIP:53\"/" "$LAB_DIR/tapvs.toml"
    director_from_file
    becomes "$server" serving
    becomes "$RS1:53" serving
    for number in 1 2 3; do
        spawn "other$number" client python3 -uc "$QUERIES" "$VIP"
    done
    spawn counted client python3 -uc "$QUERIES" "$VIP"
    wait_for 10 "queries at rs3" answers_again rs3 1
    fault "SERVFAIL" "$server" "answer: SERVFAIL" redirect rs3 udp 53 9053
    mended "$server" in_ns rs3 nft delete table ip fault
}

read -rd '' QUERIES <<'PYTHON' || true
import socket, sys, time
query = bytes.fromhex('000701000001000000000000') + b'\x03who\x04test\0\0\x10\0\x01'
while True:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(3)
        asking.connect((sys.argv[1], 53))
        try:
            asking.send(query)
            answer = asking.recv(2000)
            print('failed' if answer[3] & 15 else 'ok ' + answer[-3:].decode())
        except OSError as error:
            print('failed', type(error).__name__)
    time.sleep(0.005)
PYTHON

# Its check comes once a minute: that it is down is known from what clients are answered.
test_a_server_that_refuses_clients_is_masked_at_once() {
    three_clients
    serve rs1 rs2
    local nginx=$SPAWNED
    director_options --check "tcp,interval=60s"
    serving "$RS1:8080,nat" "$RS2:8080,nat"
    becomes "$RS1:8080" serving
    becomes "$RS2:8080" serving
    end_process "$nginx" "$(start_time "$nginx")"
    wait_for 10 "the server that refuses to be masked" is_masked_under_requests "$RS2:8080"
    expect_match "$(tv health)" "clients are refused|connection refused" "the reason"
    expect_eq "$(answers_of 10)" "rs1=10" "answers while one is down"
}

# Nobody checks it: it is tried again after 5 s, and after twice as long each time.
#
# limit: 90
test_a_server_that_nobody_checks_is_masked_for_a_while_if_it_refuses_clients() {
    three_clients
    serve rs1 rs2
    local nginx=$SPAWNED
    config_health "passive = true" -- "$RS1:8080" "$RS2:8080"
    director_from_file
    expect_eq "$(answers_of 10)" "rs1=5 rs2=5" "answers while both serve"
    end_process "$nginx" "$(start_time "$nginx")"
    wait_for 10 "the server that refuses to be masked" is_masked_under_requests "$RS2:8080"
    expect_match "$(tv health)" "$RS2:8080 down .* connect: clients are refused; tried again in [0-9]+ s" "the reason"
    wait_for 60 "answers of the other one alone" answers_while_masked "$RS2:8080" "rs1=4"
    serve rs2
    becomes "$RS2:8080" serving 60
    expect_eq "$(answers_of 10)" "rs1=5 rs2=5" "answers when it is back"
}

# answers_while_masked SERVER ANSWERS: one client alone cannot have it masked anew in between.
answers_while_masked() {
    is_masked_under_requests "$1" && [[ $(answers_of 4) == "$2" ]] && is_state "$1" failed
}

# three_clients: three addresses of one client; what one alone is refused may be its own fault.
three_clients() {
    topo_onearm
    replies_through_director rs1 rs2
    local address
    for address in 10.0.0.10 10.0.0.11; do
        in_ns client ip address add "$address/24" dev eth0
        in_ns rs1 ip route add "$address" via "$DIP"
        in_ns rs2 ip route add "$address" via "$DIP"
    done
}

# is_masked_under_requests SERVER: after some requests of three clients.
is_masked_under_requests() {
    local address
    for address in "$CLIENT" 10.0.0.10 10.0.0.11 "$CLIENT" 10.0.0.10 10.0.0.11; do
        in_ns client curl --silent --max-time 1 --interface "$address" -o /dev/null "http://$VIP/" || true
    done
    is_state "$1" failed
}

# ---- drain -----------------------------------------------------------------------------------------------------------

test_no_request_is_lost_when_a_server_is_drained() {
    topo_onearm
    replies_through_director rs1 rs2 rs3
    serve rs1 rs2 rs3
    config_health "check = { kind = \"http\", path = \"/\"$(times) }" -- "$RS1:8080" "$RS2:8080" "$RS3:8080"
    director_from_file
    with_ipvsadm
    becomes "$RS1:8080" serving
    becomes "$RS3:8080" serving
    load_on 80
    wait_for 10 "requests at rs3" answers_again rs3 1
    tv drain "tcp/$VIP:80" "$RS3:8080"
    becomes "$RS3:8080" drained
    wait_for 10 "the conns of the drained server to end" has_no_active_conns "$RS3:8080"
    expect_no_loss "a drain" rs3
    ! grep -v '^ok' "$LAB_DIR/counted.log" || die "requests were lost while a server was drained"
    # shellcheck disable=SC2086  # pid and start
    kill -INT ${WRK% *}
    wait_for 10 "what wrk says" grep -q "requests in" "$LAB_DIR/wrk.log"
    ! grep -E "Socket errors|Non-2xx" "$LAB_DIR/wrk.log" || die "wrk lost requests while a server was drained"
    tv undrain "tcp/$VIP:80" "$RS3:8080"
    becomes "$RS3:8080" serving
    wait_for 10 "an answer of the server that is back" answers_again rs3 "$(counted_from)"
}

# A service for each end, each with one server and a conn that says nothing unless it is told to.
ENDS=([81]=reset [82]=drop [83]=keep)

test_drained_conns_end_at_the_deadline_as_was_said() {
    topo_onearm
    replies_through_director rs1
    spawn echo rs1 socat "TCP-LISTEN:8080,fork,reuseaddr" EXEC:cat
    wait_for 5 "the echo server" listens rs1 tcp 8080
    director
    with_ipvsadm
    local port
    for port in "${!ENDS[@]}"; do
        lb -A -t "$VIP:$port" -s rr
        lb -a -t "$VIP:$port" -r "$RS1:8080" -m
        mkfifo "$LAB_DIR/words-$port"
        spawn "talk-$port" client bash -c "exec socat -d - TCP:$VIP:$port <>'$LAB_DIR/words-$port'"
        TALKS[port]=$SPAWNED
        echoes "$port" before
        tv drain "tcp/$VIP:$port" "$RS1:8080" --for 20s --then "${ENDS[port]}"
        expect_match "$(tv health)" "$RS1:8080 .*, drained for [0-9]+ (s|ms) more, weight 0 of 1, 1 conns" "$port: drained, with a deadline"
        echoes "$port" meanwhile
        expect_eq "$(fetch --max-time 2 "http://$VIP:$port/" 2>&1 | grep -c '^curl')" 1 "$port: a new conn of a drained server, refused"
    done
    # A second word shortens the time.
    for port in "${!ENDS[@]}"; do
        tv drain "tcp/$VIP:$port" "$RS1:8080" --for 1s --then "${ENDS[port]}"
    done
    wait_for 10 "the client to be told by a reset" gone "${TALKS[81]}"
    expect_match "$(cat "$LAB_DIR/talk-81.log")" "Connection reset" "what the client was told"
    wait_for 10 "the conn to end in silence" lacks_conn 82
    expect kill -0 "${TALKS[82]}"
    wait_for 10 "the deadline of the one that is kept" is_past_its_deadline 83
    echoes 83 after
    ! lacks_conn 83 || die "the conn that was to be kept has ended"
    tv undrain "tcp/$VIP:81" "$RS1:8080"
    spawn again client bash -c "echo again | socat - TCP:$VIP:81"
    wait_for 5 "an answer of the server that is not drained any more" grep -q again "$LAB_DIR/again.log"

    expect_refused "use drop, reset or keep" drain "tcp/$VIP:81" "$RS1:8080" --for 1s --then shoot
    expect_refused "not a time" drain "tcp/$VIP:81" "$RS1:8080" --for soon
    expect_refused "without --for" drain "tcp/$VIP:81" "$RS1:8080" --then drop
    expect_refused "is no server of" drain "tcp/$VIP:81" "$RS2:8080"
    expect_refused "no such service" drain "tcp/$VIP:99" "$RS1:8080"
}
TALKS=()

echoes() {
    echo "$2" >"$LAB_DIR/words-$1"
    wait_for 5 "$1: the echo of '$2'" grep -q "^$2" "$LAB_DIR/talk-$1.log"
}

lacks_conn() { ! lb -Lnc | grep -q "ESTABLISHED .*$VIP:$1 "; }

is_past_its_deadline() { tv health | grep -A1 ":$1" | grep -q ", drained, "; }

# expect_refused REGEX ARGS...: tapvs says so, in one line.
expect_refused() {
    local regex=$1 code=0
    shift
    tv "$@" >"$LAB_DIR/refused" 2>&1 || code=$?
    ((code != 0)) || die "tapvs $* was taken"
    expect_match "$(cat "$LAB_DIR/refused")" "$regex" "what tapvs $* says"
}

# ---- together with others -----------------------------------------------------------------------------------------------

# Its own checks ask port 80, ldirectord asks 8080: each sees a fault of its own, and neither undoes the other's part.
#
# limit: 90
test_ldirectord_and_own_checks_of_one_service_do_not_fight() {
    scripts/need ldirectord
    topo_onearm
    replies_through_director rs1 rs2
    serve rs1 rs2
    config_health "check = { kind = \"tcp\", port = 80$(times) }" -- "$RS1:8080" "$RS2:8080"
    director_from_file
    with_ipvsadm
    ldirectord_for yes rr "$RS1:8080 masq 3" "$RS2:8080 masq 5"
    wait_for 15 "ldirectord's weights" weighs "$RS2:8080" "5 of 5"
    wait_for 15 "ldirectord's weights" weighs "$RS1:8080" "3 of 3"
    becomes "$RS2:8080" serving

    refuse rs2 "ip saddr $HOST_IP tcp dport 80 reject with tcp reset"
    becomes "$RS2:8080" failed
    wait_for 20 "ldirectord to check three times" has_checked 3
    wait_for 10 "its weight to be the administrator's still" weighs "$RS2:8080" "0 of 5"
    is_state "$RS2:8080" failed || die "ldirectord undid a verdict"
    expect_match "$(lb -Sn)" "-r $RS2:8080 -m -w 5" "the weight that is saved"
    expect_eq "$(answers_of 10)" "rs1=10" "answers"
    in_ns rs2 nft delete table ip fault
    becomes "$RS2:8080" serving

    refuse rs2 "ip saddr $HOST_IP tcp dport 8080 reject with tcp reset"
    wait_for 15 "ldirectord to take it out" weighs "$RS2:8080" "0 of 0"
    expect_match "$(tv health)" "$RS2:8080 up" "the verdict of its own checks"
    expect_eq "$(answers_of 10)" "rs1=10" "answers"
    in_ns rs2 nft delete table ip fault
    wait_for 15 "ldirectord to take it back" weighs "$RS2:8080" "5 of 5"
    becomes "$RS2:8080" serving
}

# weighs SERVER TEXT: its present weight, and the administrator's.
weighs() { tv health | grep -qE "^ *$1 .* weight $2,"; }

# has_checked COUNT: ldirectord has asked rs2 so often since `fault`; its requests come from the host.
has_checked() {
    [[ -n ${CHECKED_BEFORE:-} ]] || CHECKED_BEFORE=$(asked_by_host)
    (($(asked_by_host) >= CHECKED_BEFORE + $1))
}

asked_by_host() { grep -c "^$HOST_IP .*:8080 " "$LAB_DIR/nginx-rs2.access" || true; }

# shellcheck shell=bash
# keepalived, unmodified, under `tapvs exec`: its checkers, its keywords, its reloads and its crashes; real servers that
# die under load.
# shellcheck source-path=SCRIPTDIR source=keepalived.sh
source "$(dirname "${BASH_SOURCE[0]}")/keepalived.sh"

# keepalived_lab: real servers that reply through tapvs, and a director without services.
keepalived_lab() {
    scripts/need keepalived ipvsadm
    topo_onearm
    replies_through_director rs1 rs2 rs3
    director
    with_ipvsadm
    CONF=$LAB_DIR/keepalived.conf
    printf '%s\n' "global_defs {" "    router_id lab" "    script_user root" "    enable_script_security" "}" >"$CONF"
}

keepalived_logs() { grep -qE "$1" "$LAB_DIR/keepalived.log"; }

# lists_server PORT SERVER: the service of that port lists that server, and its weight is not 0 (a FILE_CHECK changes
# weights).
lists_server() { lb -Ln | awk -v vip=":$1 " -v real=" $2" '/^[A-Z]/ { here = index($0, vip) } here && index($0, real) && $4 > 0 { found = 1 } END { exit !found }'; }

lacks_server() { ! lists_server "$@"; }

rules_are() { [[ $(lb -Sn) == "$(cat "$LAB_DIR/wanted")" ]]; }

# expect_rules WHAT: the director's rules are those of standard input, as soon as keepalived has made them.
expect_rules() {
    cat >"$LAB_DIR/wanted"
    local tries=0
    until rules_are; do
        ((++tries < 100)) || die "$1: $(diff "$LAB_DIR/wanted" <(lb -Sn))"
        sleep 0.1
    done
}

# ---- checkers ----------------------------------------------------------------------------------------------------

# limit: 90
test_keepalived_checks_take_servers_out_and_back() {
    keepalived_lab
    local timing="connect_timeout 1
        retry 1
        delay_before_retry 1"
    touch "$LAB_DIR/alive-$RS1" "$LAB_DIR/alive-$RS2"
    echo 0 >"$LAB_DIR/track-$RS1" && echo 0 >"$LAB_DIR/track-$RS2"
    {
        local real
        for real in "$RS1" "$RS2"; do
            printf 'track_file track-%s {\n    file "%s/track-%s"\n    weight 1\n}\n' "$real" "$LAB_DIR" "$real"
        done
        checked 81 TCP 8080 "TCP_CHECK {
        $timing
        }"
        checked 82 TCP 8080 "HTTP_GET {
        url {
            path /
            status_code 200
        }
        $timing
        }"
        checked 83 TCP 443 "SSL_GET {
        url {
            path /
            status_code 200
        }
        $timing
        }"
        checked 84 TCP 25 "SMTP_CHECK {
        helo_name lab
        $timing
        }"
        checked 85 UDP 53 "DNS_CHECK {
        type TXT
        name who.test
        $timing
        }"
        checked 86 TCP 8080 "MISC_CHECK {
        misc_path \"/usr/bin/test -e $LAB_DIR/alive-REAL\"
        misc_timeout 2
        }"
        checked 87 UDP 53 "UDP_CHECK {
        payload 000001000001000000000000037768 6f04746573740000100001
        require_reply
        $timing
        }" | sed 's/7768 6f/77686f/'
        checked 88 TCP 8080 "PING_CHECK {
        $timing
        }"
        checked 89 TCP 8080 "FILE_CHECK {
        track_file track-REAL
        weight 1
        }"
    } >>"$CONF"
    check_servers rs1
    check_servers rs2
    keepalived_start
    local port ports=(81 82 83 84 85 86 87 88 89)
    for port in "${ports[@]}"; do
        wait_for 10 "both servers of port $port" both_serve "$port"
    done

    failing rs2 "$RS2"
    for port in "${ports[@]}"; do
        wait_for 20 "port $port to lose $RS2" lacks_server "$port" "$RS2:"
        expect lists_server "$port" "$RS1:"
    done

    rm -f "$LAB_DIR/stop-rs2"
    check_servers rs2
    in_ns rs2 sysctl -qw net.ipv4.icmp_echo_ignore_all=0
    touch "$LAB_DIR/alive-$RS2"
    echo 0 >"$LAB_DIR/track-$RS2"
    for port in "${ports[@]}"; do
        wait_for 20 "port $port to have $RS2 again" lists_server "$port" "$RS2:"
    done

    kill -TERM "$WRAPPER"
    local code=0
    wait "$WRAPPER" || code=$?
    expect_eq "$code" 0 "exit code of keepalived under its wrapper"
    expect_eq "$(lb -Sn)" "" "what keepalived leaves of its services"
}

both_serve() { lists_server "$1" "$RS1:" && lists_server "$1" "$RS2:"; }

# check_servers ROLE: what the checkers ask: web with and without TLS, mail, names.
check_servers() {
    local role=$1 started
    CHECKED=()
    serve "$role" && note_server
    name_server "$role" && note_server
    [[ -e $LAB_DIR/key.pem ]] || openssl req -x509 -newkey rsa:2048 -nodes -keyout "$LAB_DIR/key.pem" -out "$LAB_DIR/cert.pem" \
        -days 2 -subj /CN=lab >/dev/null 2>&1
    spawn "tls-$role" "$role" openssl s_server -accept 443 -www -quiet -cert "$LAB_DIR/cert.pem" -key "$LAB_DIR/key.pem" && note_server
    spawn "mail-$role" "$role" python3 -c '
import socketserver
class Mail(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 lab ESMTP\r\n")
        for line in self.rfile:
            self.wfile.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 lab\r\n")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
Server(("0.0.0.0", 25), Mail).serve_forever()' && note_server
    wait_for 10 "TLS in $role" listens "$role" tcp 443
    wait_for 10 "mail in $role" listens "$role" tcp 25
}

note_server() { CHECKED+=("$SPAWNED $(start_time "$SPAWNED")"); }

# failing ROLE ADDRESS: everything that is checked there fails.
failing() {
    local server
    for server in "${CHECKED[@]}"; do
        # shellcheck disable=SC2086  # pid and start
        end_process $server
    done
    in_ns "$1" sysctl -qw net.ipv4.icmp_echo_ignore_all=1
    rm "$LAB_DIR/alive-$2"
    echo -255 >"$LAB_DIR/track-$2"
}

# ---- keywords ----------------------------------------------------------------------------------------------------

# limit: 60
test_keepalived_configures_everything_it_knows() {
    keepalived_lab
    cat >>"$CONF" <<-CONF
	virtual_server_group web {
	    10.0.0.101-102 80
	    10.0.0.103 80
	}
	virtual_server group web {
	    lvs_sched wlc
	    lvs_method DR
	    protocol TCP
	    real_server $RS1 80 {
	        weight 2
	    }
	}
	virtual_server_group marks {
	    fwmark 5
	    fwmark 6
	}
	virtual_server group marks {
	    lb_algo sh
	    sh-port
	    sh-fallback
	    lb_kind DR
	    real_server $RS1 0 {
	    }
	}
	virtual_server fwmark 7 {
	    lb_algo rr
	    lb_kind TUN
	    real_server $RS2 0 {
	    }
	}
	virtual_server $VIP 80 {
	    lb_algo wrr
	    lb_kind NAT
	    persistence_timeout 120
	    persistence_granularity 255.255.255.0
	    protocol TCP
	    real_server $RS1 8080 {
	        weight 3
	        uthreshold 100
	        lthreshold 50
	    }
	    real_server $RS2 80 {
	        lvs_method TUN type gue port 6080 csum
	    }
	    real_server $RS3 80 {
	        weight 0
	        lvs_method DR
	    }
	}
	virtual_server $VIP 53 {
	    lb_algo rr
	    ops
	    lb_kind NAT
	    protocol UDP
	    real_server $RS1 53 {
	    }
	}
	virtual_server $VIP 5060 {
	    lb_algo rr
	    lb_kind NAT
	    persistence_engine sip
	    persistence_timeout 60
	    protocol UDP
	    real_server $RS1 5060 {
	    }
	}
	virtual_server $VIP 3868 {
	    lb_algo lc
	    lb_kind TUN type gre csum
	    protocol SCTP
	    real_server $RS1 3868 {
	    }
	}
	virtual_server 2001:db8::80 443 {
	    lb_algo mh
	    mh-port
	    lb_kind NAT
	    persistence_timeout 300
	    persistence_granularity 64
	    protocol TCP
	    real_server 2001:db8::21 8443 {
	        weight 5
	    }
	    real_server 10.0.0.21 443 {
	        lvs_method TUN
	    }
	}
	CONF
    local algo port=1000
    for algo in $SCHEDULERS; do
        printf 'virtual_server %s %s {\n    lb_algo %s\n    lb_kind NAT\n    protocol TCP\n    real_server %s 80 {\n    }\n}\n' \
            "$VIP" $((++port)) "$algo" "$RS1" >>"$CONF"
    done
    keepalived_start
    {
        cat <<-RULES
	-A -t 10.0.0.100:80 -s wrr -p 120 -M 255.255.255.0
	-a -t 10.0.0.100:80 -r 10.0.0.21:8080 -m -w 3
	-a -t 10.0.0.100:80 -r 10.0.0.22:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
	-a -t 10.0.0.100:80 -r 10.0.0.23:80 -g -w 0
	RULES
        port=1000
        for algo in $SCHEDULERS; do
            printf '%s\n' "-A -t 10.0.0.100:$((++port)) -s $algo" "-a -t 10.0.0.100:$port -r 10.0.0.21:80 -m -w 1"
        done
        cat <<-RULES
	-A -t 10.0.0.101:80 -s wlc
	-a -t 10.0.0.101:80 -r 10.0.0.21:80 -g -w 2
	-A -t 10.0.0.102:80 -s wlc
	-a -t 10.0.0.102:80 -r 10.0.0.21:80 -g -w 2
	-A -t 10.0.0.103:80 -s wlc
	-a -t 10.0.0.103:80 -r 10.0.0.21:80 -g -w 2
	-A -u 10.0.0.100:53 -s rr -o
	-a -u 10.0.0.100:53 -r 10.0.0.21:53 -m -w 1
	-A -u 10.0.0.100:5060 -s rr -p 60 --pe sip
	-a -u 10.0.0.100:5060 -r 10.0.0.21:5060 -m -w 1
	-A --sctp-service 10.0.0.100:3868 -s lc
	-a --sctp-service 10.0.0.100:3868 -r 10.0.0.21:3868 -i -w 1 --tun-type gre --tun-csum
	-A -t [2001:db8::80]:443 -s mh -p 300 -M 64 -b mh-port
	-a -t [2001:db8::80]:443 -r 10.0.0.21:443 -i -w 1 --tun-type ipip
	-a -t [2001:db8::80]:443 -r [2001:db8::21]:8443 -m -w 5
	-A -f 5 -s sh -b sh-fallback,sh-port
	-a -f 5 -r 10.0.0.21:0 -g -w 1
	-A -f 6 -s sh -b sh-fallback,sh-port
	-a -f 6 -r 10.0.0.21:0 -g -w 1
	-A -f 7 -s rr
	-a -f 7 -r 10.0.0.22:0 -i -w 1 --tun-type ipip
	RULES
    } | expect_rules "what keepalived has configured"
    expect_match "$(lb -Ln --thresholds -t "$VIP:80")" "$RS1:8080 +100 +50 " "thresholds"
}
SCHEDULERS="rr wrr lc wlc lblc sh mh dh fo ovf lblcr sed nq twos"

# ---- what it does with servers that fail ---------------------------------------------------------------------------

# web_service PORT OPTIONS SERVER-OPTIONS [ADDRESS...]: a service by NAT whose servers are checked by TCP.
web_service() {
    local port=$1 options=$2 server_options=$3 real
    shift 3
    echo "virtual_server $VIP $port {"
    printf '    %s\n' "delay_loop 1" "lb_algo rr" "lb_kind NAT" "protocol TCP" "$options"
    for real; do
        printf '    real_server %s 8080 {\n        weight 2\n        %s\n        TCP_CHECK {\n            connect_timeout 1\n            retry 1\n            delay_before_retry 1\n        }\n    }\n' \
            "$real" "$server_options"
    done
    echo "}"
}

# limit: 60
test_quorum_sorry_server_and_inhibited_servers() {
    keepalived_lab
    {
        web_service 80 "quorum 3
    quorum_up \"/usr/bin/touch $LAB_DIR/quorum-up\"
    quorum_down \"/usr/bin/touch $LAB_DIR/quorum-down\"
    sorry_server $RS3 80" "" "$RS1" "$RS2"
        web_service 81 "" inhibit_on_failure "$RS1" "$RS2"
    } >>"$CONF"
    serve rs1 rs2
    local rs2_server=$SPAWNED
    keepalived_start
    local both
    both="-A -t $VIP:80 -s rr
-a -t $VIP:80 -r $RS1:8080 -m -w 2
-a -t $VIP:80 -r $RS2:8080 -m -w 2
-A -t $VIP:81 -s rr
-a -t $VIP:81 -r $RS1:8080 -m -w 2
-a -t $VIP:81 -r $RS2:8080 -m -w 2"
    expect_rules "with both servers" <<<"$both"
    wait_for 5 "the script of the quorum" test -e "$LAB_DIR/quorum-up"

    end_process "$rs2_server" "$(start_time "$rs2_server")"
    expect_rules "with one server: no quorum, and one that is inhibited" <<-RULES
	-A -t $VIP:80 -s rr
	-a -t $VIP:80 -r $RS3:80 -m -w 1
	-A -t $VIP:81 -s rr
	-a -t $VIP:81 -r $RS1:8080 -m -w 2
	-a -t $VIP:81 -r $RS2:8080 -m -w 0
	RULES
    wait_for 5 "the script of the quorum" test -e "$LAB_DIR/quorum-down"
    serve rs3
    expect_eq "$(fetch "http://$VIP/")" rs3 "who is sorry"

    serve rs2
    expect_rules "with both servers again" <<<"$both"
}

# limit: 60
test_real_servers_die_and_come_back_under_load() {
    scripts/need wrk
    keepalived_lab
    web_service 80 "" "" "$RS1" "$RS2" >>"$CONF"
    serve rs1 rs2
    local rs2_server=$SPAWNED
    keepalived_start
    wait_for 10 "both servers" both_serve 80
    spawn wrk client wrk --threads 1 --connections 8 --duration 14s --timeout 2s --header 'Connection: close' "http://$VIP/"
    local wrk=$SPAWNED
    wait_for 10 "requests at both" has_requests rs1 rs2

    end_process "$rs2_server" "$(start_time "$rs2_server")"
    wait_for 10 "the dead server to be taken out" lacks_server 80 "$RS2:"
    local before
    before=$(answered rs2)
    requests 200 "http://$VIP/"
    expect_eq "$(answered rs2)" "$before" "requests at a server that was taken out"

    serve rs2
    wait_for 10 "the server that is back" lists_server 80 "$RS2:"
    wait_for 5 "requests at the server that is back" has_requests rs2
    wait "$wrk" || die "wrk: $(tail -n 3 "$LAB_DIR/wrk.log")"
    local counted
    counted=$(awk '/requests in/ { print $1 }' "$LAB_DIR/wrk.log")
    # Those that were under way at the end, or when their server died, are in a log and not in the count.
    expect_between $((counted + 200)) $((before + $(answered rs1) + $(answered rs2))) $((counted + 200 + 24)) "requests in the logs of both"
}

has_requests() {
    local role
    for role; do
        [[ -s $LAB_DIR/nginx-$role.access ]] || return 1
    done
}

# ---- keepalived and the director, restarted ----------------------------------------------------------------------

# limit: 60
test_keepalived_reloads_crashes_and_outlives_a_director() {
    keepalived_lab
    {
        cat "$CONF"
        web_service 80 "" "" "$RS1" "$RS2"
        web_service 81 "" "" "$RS1"
    } >"$LAB_DIR/first.conf"
    {
        cat "$CONF"
        web_service 80 "" "" "$RS1" "$RS3" | sed "s/lb_algo rr/lb_algo wrr/"
        web_service 82 "" "" "$RS1"
    } >"$LAB_DIR/second.conf"
    serve rs1 rs2 rs3
    cp "$LAB_DIR/first.conf" "$CONF"
    keepalived_start
    local first second
    first="-A -t $VIP:80 -s rr
-a -t $VIP:80 -r $RS1:8080 -m -w 2
-a -t $VIP:80 -r $RS2:8080 -m -w 2
-A -t $VIP:81 -s rr
-a -t $VIP:81 -r $RS1:8080 -m -w 2"
    second="-A -t $VIP:80 -s wrr
-a -t $VIP:80 -r $RS1:8080 -m -w 2
-a -t $VIP:80 -r $RS3:8080 -m -w 2
-A -t $VIP:82 -s rr
-a -t $VIP:82 -r $RS1:8080 -m -w 2"
    expect_rules "of the first file" <<<"$first"

    cp "$LAB_DIR/second.conf" "$CONF"
    kill -HUP "$WRAPPER"
    expect_rules "of the second file, after a reload" <<<"$second"

    # Its checkers are started again by keepalived itself.
    kill -KILL "$(cat "$LAB_DIR/checkers.pid")"
    wait_for 10 "new checkers" grep -q "Respawning" "$LAB_DIR/keepalived.log"
    expect_rules "of checkers that were started again" <<<"$second"
    requests 20 "http://$VIP/"

    # A director that dies: its services are there again, though keepalived does nothing.
    local started
    started=$(start_time "$DIRECTOR")
    kill -KILL "$DIRECTOR"
    wait_for 5 "the director's end" process_is_not "$DIRECTOR" "$started"
    wait_for 5 "its worker's end" lacks_tap director
    director_start
    expect_rules "of a director that was restarted" <<<"$second"
    wait_for 10 "answers through the new director" fetch --fail "http://$VIP/"

    # keepalived itself: what it leaves is found by the next one.
    started=$(start_time "$WRAPPER")
    kill -KILL "$(cat "$LAB_DIR/keepalived.pid")"
    wait_for 10 "the wrapper's end" process_is_not "$WRAPPER" "$started"
    local code=0
    wait "$WRAPPER" || code=$?
    expect_eq "$code" 137 "exit code of the wrapper of a killed program"
    cp "$LAB_DIR/first.conf" "$CONF"
    keepalived_start
    expect has_rules_of "$first"
}

# has_rules_of RULES: these are among the director's within some seconds.
has_rules_of() {
    local line tries=0
    while IFS= read -r line; do
        until lb -Sn | grep -qxF -- "$line"; do
            ((++tries < 100)) || return 1
            sleep 0.1
        done
    done <<<"$1"
}

process_is_not() { ! process_is "$@"; }

# ---- a pair --------------------------------------------------------------------------------------------------------

# The files of docs/ on two hosts: VRRP decides which of two running directors works, and tells it by its scripts.
#
#      client   rs1 .. rs3     director: br0 10.0.0.3         other: br0 10.0.0.6
#        |         |              |     tapvs 10.0.0.4           |     tapvs 10.0.0.5
#        +---------+------------ br0 ----------------------------+        10.0.0.2 and the VIP on the one that works
#
# limit: 150
# quiet
test_a_pair_of_directors_by_vrrp() {
    keepalived_pair
    wait_for 20 "servers in the other one's list too" has_servers other
    wait_for 10 "an answer" fetch --fail "http://$VIP/"
    expect is_standing_by other
    requests 100 "http://$VIP/"

    # The whole host fails, under load.
    # shellcheck disable=SC2016  # another shell's
    spawn load client bash -c 'while :; do curl -s --max-time 1 -o /dev/null -w "%{http_code}\n" "$1"; done' load "http://$VIP/"
    local load="$SPAWNED" load_started file curl
    load_started=$(start_time "$load")
    file=$(payload 32)
    in_ns client curl --silent --show-error --max-time 100 --limit-rate 1M --local-port 40001 --output "$SCRATCH/got" \
        "http://$VIP/files/${file##*/}" 2>"$LAB_DIR/curl.errors" &
    curl=$!
    in_ns client curl --silent --show-error --max-time 100 --limit-rate 1M --local-port 40002 --output "$SCRATCH/got-full" \
        "http://$VIP:8000/files/${file##*/}" 2>"$LAB_DIR/full.errors" &
    local full_nat=$!
    wait_for 10 "requests" load_is_served 0
    wait_for 10 "the other one to be told of the download" knows_download other
    wait_for 10 "the other one to be told of that through FULL-NAT" knows_download other 40002
    kill_host director
    local before
    before=$(wc -l <"$LAB_DIR/load.log")
    wait_for 15 "the other one to work" works other
    wait_for 10 "an answer" fetch --fail --max-time 1 "http://$VIP/"
    wait_for 10 "the load to go on" load_is_served "$before"
    end_process "$load" "$load_started"
    expect_between 0 "$(grep -c '^000' "$LAB_DIR/load.log")" 20 "requests that failed with the host"
    kill -0 "$curl" || die "the download ended too early to prove anything: $(cat "$LAB_DIR/curl.errors")"
    requests 100 "http://$VIP/"

    # It comes back and leaves the work to the one that has it.
    pair_tapvs director 10.0.0.4
    pair_keepalived director 100
    wait_for 10 "the first one to wait" grep -q "Entering BACKUP STATE" "$LAB_DIR/keepalived-director.log"
    wait_for 20 "servers in its list" has_servers director
    expect is_standing_by director
    expect works other
    wait "$curl" || die "the download broke off: $(cat "$LAB_DIR/curl.errors")"
    cmp "$SCRATCH/got" "$file" || die "the download differs"
    wait "$full_nat" || die "the download through FULL-NAT broke off: $(cat "$LAB_DIR/full.errors")"
    cmp "$SCRATCH/got-full" "$file" || die "the download through FULL-NAT differs"

    # keepalived is stopped there as an operator would.
    local pid started
    read -r pid started <"$LAB_DIR/keepalived-other.process"
    end_process "$pid" "$started"
    wait_for 15 "the first one to work again" works director
    expect is_standing_by other
    wait_for 10 "an answer" fetch --fail --max-time 1 "http://$VIP/"
    requests 100 "http://$VIP/"
}

# limit: 120
# quiet
test_a_director_of_a_pair_dies_and_is_restarted() {
    keepalived_pair
    wait_for 10 "an answer" fetch --fail "http://$VIP/"
    wait_for 20 "servers in the other one's list too" has_servers other

    # At once: it works again, though it begins by standing by and keepalived does nothing.
    kill_director_of_host director
    pair_tapvs director 10.0.0.4
    wait_for 10 "it to work again" works director
    wait_for 10 "an answer" fetch --fail --max-time 1 "http://$VIP/"
    expect is_standing_by other
    requests 100 "http://$VIP/"

    # For good: keepalived sees it, and the other one works.
    : >"$LAB_DIR/keepalived-director.log"
    kill_director_of_host director
    wait_for 20 "the other one to work" works other
    wait_for 10 "an answer" fetch --fail --max-time 1 "http://$VIP/"
    requests 100 "http://$VIP/"
    pair_tapvs director 10.0.0.4
    expect is_standing_by director
    wait_for 40 "the first one to wait" grep -q "Entering BACKUP STATE" "$LAB_DIR/keepalived-director.log"
    wait_for 20 "it to stand by" is_standing_by director
    wait_for 10 "an answer" fetch --fail --max-time 1 "http://$VIP/"
    expect works other
    requests 100 "http://$VIP/"
}

# keepalived_pair: both hosts with tapvs and keepalived; the first one works, then the other one begins.
keepalived_pair() {
    scripts/need keepalived
    topo_pair mcast_snooping 0
    serve rs3
    pair_tapvs director 10.0.0.4
    pair_tapvs other 10.0.0.5
    # Not together: with nopreempt the one whose script succeeds first would have the work.
    pair_keepalived director 100
    wait_for 20 "the first of the pair to work" works director
    pair_keepalived other 90
}

# pair_tapvs ROLE ADDRESS: tapvs there, by docs/keepalived-pair.toml, with that address of its own.
pair_tapvs() {
    local role=$1
    {
        sed "s:10.0.0.4/24:$2/24:" docs/keepalived-pair.toml
        # What keepalived has no words for.
        printf '[[service]]\ntcp = "%s:8000"\nlocal_address = "10.0.0.2"\n' "$VIP"
        printf '[[service.server]]\naddress = "%s:8080"\nmethod = "fullnat"\n' "$RS3"
    } >"$LAB_DIR/$role.toml"
    director_of_host "$role"
}

# pair_keepalived ROLE PRIORITY: keepalived there, by docs/keepalived-vrrp.conf, under `tapvs exec`.
pair_keepalived() {
    local role=$1
    # Scripts in a directory that others may write to are refused; the build's may be one.
    sed "s/priority 100/priority $2/; s:/usr/sbin/tapvs:$TAPVS:; /enable_script_security/d; s:/etc/keepalived/lvs.conf:$PWD/docs/keepalived-lvs.conf:" \
        docs/keepalived-vrrp.conf >"$LAB_DIR/keepalived-$role.conf"
    : >"$LAB_DIR/keepalived-$role.log"
    spawn "keepalived-$role" "$role" env TAPVS_SOCKET="$LAB_DIR/$role.sock" "$TAPVS" exec -- keepalived --dont-fork --log-console --log-detail \
        --use-file "$LAB_DIR/keepalived-$role.conf" --pid "$LAB_DIR/keepalived-$role.pid" \
        --vrrp_pid "$LAB_DIR/keepalived-$role-vrrp.pid" --checkers_pid "$LAB_DIR/keepalived-$role-checkers.pid"
    echo "$SPAWNED $(start_time "$SPAWNED")" >"$LAB_DIR/keepalived-$role.process"
    wait_for 10 "keepalived in $role" test -s "$LAB_DIR/keepalived-$role-vrrp.pid"
}

is_standing_by() { of_host "$1" status | grep -q "stands by"; }

has_servers() { (($(of_host "$1" ipvsadm -Ln | grep -cE "$RS1|$RS2") == 2)); }

works() { has_servers "$1" && ! is_standing_by "$1"; }

# load_is_served COUNT: twenty requests in a row of the load were answered after its first COUNT.
load_is_served() { [[ $(tail -n "+$(($1 + 1))" "$LAB_DIR/load.log" | tail -n 20 | grep -c '^200') == 20 ]]; }

# kill_host ROLE: everything that runs there ends at once.
kill_host() {
    local wrapper
    read -r wrapper _ <"$LAB_DIR/keepalived-$1.process"
    # The children first: what ends politely would say goodbye to the other host.
    kill_at_once "$(cat "$LAB_DIR/keepalived-$1-vrrp.pid")" "$(cat "$LAB_DIR/keepalived-$1-checkers.pid")" "$(cat "$LAB_DIR/keepalived-$1.pid")" "$wrapper"
    rm -f "$LAB_DIR/keepalived-$1"*.pid
    kill_director_of_host "$1"
}

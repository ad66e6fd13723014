# shellcheck shell=bash
# The configuration file: all methods at once, two links, reload while traffic flows, what is refused.

# config TEXT...: the file of the director is this text.
config() { printf '%s\n' "$@" >"$LAB_DIR/tapvs.toml"; }

# one_link: the only link, on br0.
one_link() { printf '[[link]]\nbridge = "br0"\ntap = "tap0"\naddress = "%s/%s"\n' "$DIP" "$NET_BITS"; }

# service PROTOCOL ADDRESS:PORT LINE...
service() {
    printf '[[service]]\n%s = "%s"\n' "$1" "$2"
    shift 2
    printf '%s\n' "$@"
}

# server ADDRESS[:PORT] METHOD [WEIGHT]
server() { printf '[[service.server]]\naddress = "%s"\nmethod = "%s"\nweight = %s\n' "$1" "$2" "${3:-1}"; }

# two_links TEXT...: the file has the clients' link, the servers' link, and this.
two_links() {
    config "$(printf '[[link]]\nbridge = "%s"\ntap = "tap1"\naddress = "%s/%s"\n' "${CLIENT_BRIDGE:-br1}" "$CLIENT_SIDE_DIP" "$NET_BITS")" \
        "$(printf '[[link]]\nbridge = "%s"\ntap = "tap0"\naddress = "%s/%s"\n' "${SERVER_BRIDGE:-br0}" "$DIP" "$NET_BITS")" "$@"
}

# families: 4 6
test_config_all_methods_in_one_service() {
    topo_onearm
    replies_through_director rs1
    realserver rs2
    realserver rs3 --tunnel
    serve rs1 rs2 rs3
    name_server rs1
    config "$(one_link)" "$(service tcp "$AT_VIP:80" 'scheduler = "rr"')" \
        "$(server "$AT_RS1:8080" nat)" "$(server "$RS2" direct)" "$(server "$RS3" tunnel)" \
        "$(service tcp "$AT_VIP:81" "local_address = [\"$LIP1\", \"$LIP2\"]")" "$(server "$AT_RS3:8080" fullnat)" \
        "$(service udp "$AT_VIP:53")" "$(server "$RS1" nat)"
    director_from_file

    requests 300 "http://$AT_VIP/"
    expect_shares rs1=100 rs2=100 rs3=100
    expect_sources "$CLIENT" rs1 rs2 rs3
    forget_answers
    requests 100 "http://$AT_VIP:81/"
    expect_shares rs3=100
    expect_sources "$LIP1 $LIP2" rs3
    expect_eq "$(queries 20)" "rs1=20" "answers of the name server"
}

# families: 4 6
test_two_links_two_bridges_nat() {
    topo_twoarm
    serve client rs1 rs2 rs3
    two_links "$(service tcp "$AT_VIP:80" 'scheduler = "rr"')" "$(server "$AT_RS1:8080" nat)" "$(server "$AT_RS2:8080" nat)" \
        "$(server "$AT_RS3:80" fullnat)"
    director_from_file

    requests 300 "http://$AT_VIP/"
    expect_shares rs1=100 rs2=100 rs3=100
    expect_sources "$CLIENT" rs1 rs2
    expect_sources "$DIP" rs3
    download 20
    expect_eq "$(in_ns rs1 curl --silent --max-time 5 "http://$(bracketed "$CLIENT"):8080/")" client "a server's own request through the director"

    fence client client "$CLIENT_SIDE_DIP"
    fence rs1 rs1 "$DIP"
    expect_seen client "$(announcement)" "the VIP announced to the clients"
    expect_none rs1 "$(announcement)" "the VIP announced to the servers"
    expect_none client "src net $(link_net) and (arp or src port 80 or src port 8080)" "answers from a server's own address at the client"
}

# announcement: a filter for what tells everybody that the VIP is here.
announcement() {
    if [[ $FAMILY == 6 ]]; then
        echo "icmp6 and ip6[40] == 136 and src host $VIP and dst host ff02::1"
    else
        echo "arp and src host $VIP and dst host $VIP"
    fi
}

# Where both links are ports of one bridge, a question is answered once, by the link whose net it is.
test_two_links_one_bridge() {
    topo_onearm
    in_ns client ip address del "$CLIENT/$NET_BITS" dev eth0
    CLIENT=${BEYOND}10
    clients_side
    in_ns client ip address add "$CLIENT/$NET_BITS" dev eth0
    serve rs1
    replies_through_director rs1
    CLIENT_BRIDGE=br0 SERVER_BRIDGE=br0 two_links "$(service tcp "$AT_VIP:80")" "$(server "$AT_RS1:8080" nat)"
    director_from_file

    requests 100 "http://$AT_VIP/"
    expect_sources "$CLIENT" rs1
    in_ns client ip neigh flush all
    fetch "http://$AT_VIP/" >/dev/null
    fence client client "$CLIENT_SIDE_DIP"
    local answers
    answers=$(tcpdump -n -e -r "$LAB_DIR/client.pcap" "arp[6:2] == 2 and src host $VIP" 2>/dev/null | awk '{ print $2 }' | sort -u | wc -l)
    expect_eq "$answers" 1 "MACs that answered for the VIP"
}

test_reload_while_traffic_flows() {
    topo_onearm
    replies_through_director rs1 rs2 rs3
    serve rs1 rs2 rs3
    shares_of 1 1 0
    director_from_file
    payload 64 >/dev/null
    fetch --max-time 30 --limit-rate 16M "http://$VIP/files/payload-64" --output "$SCRATCH/got" &
    local transfer=$! round
    spawn traffic client bash -c "while [[ ! -e $LAB_DIR/enough ]]; do curl --silent --max-time 5 --output /dev/null --write-out '%{http_code}\n' \
        --header 'Connection: close' --parallel --parallel-max 8 'http://$VIP/?[1-40]'; done >$LAB_DIR/codes; echo done >>$LAB_DIR/codes"

    for round in 1 2 3 4 5 6 7 8; do
        shares_of 3 1 1 && reload_done "~ server $RS1:8080 of tcp/$VIP:80 weight 1 -> 3"
        shares_of 3 0 1 && reload_done "~ server $RS2:8080 of tcp/$VIP:80 weight 1 -> 0"
        wait_for 5 "rs2 to be idle" is_idle rs2
        shares_of 3 - 1 && reload_done "- server $RS2:8080 of tcp/$VIP:80"
        shares_of 1 1 0 && reload_done "+ server $RS2:8080 of tcp/$VIP:80 method nat weight 1"
    done
    touch "$LAB_DIR/enough"
    wait_for 10 "the last requests" grep -q 'done' "$LAB_DIR/codes"

    expect_between 100 "$(grep -c '^200$' "$LAB_DIR/codes")" 1000000 "requests answered"
    expect_eq "$(grep -cv -e '^200$' -e 'done' "$LAB_DIR/codes")" 0 "requests that failed"
    wait "$transfer" || die "the transfer broke: curl said $?"
    cmp "$SCRATCH/got" "$(payload 64)" || die "the transfer that went on through $round reloads differs"
    expect_between 1 "$(answered rs3)" 1000000 "requests that the added server answered"
}

# shares_of WEIGHT WEIGHT WEIGHT: the file, with these weights of rs1 to rs3; `-` leaves the server out.
shares_of() {
    local place text=()
    for place in 1 2 3; do
        local rip=RS$place
        [[ ${!place} == - ]] || text+=("$(server "${!rip}:8080" nat "${!place}")")
    done
    config "$(one_link)" "$(service tcp "$VIP:80" 'scheduler = "wrr"')" "${text[@]}"
}

# reload_done LINE: the director is told to reload, and logs that change.
reload_done() {
    local before
    before=$(grep -cE 'reload: ([0-9]+ changes|nothing)' "$LAB_DIR/tapvs.log" || true)
    kill -HUP "$DIRECTOR"
    wait_for 5 "the end of a reload" reloads_are_more_than "$before"
    [[ -z ${1:-} ]] || grep -qF "reload: $1" "$LAB_DIR/tapvs.log" || die "no line '$1' in the log"
}

reloads_are_more_than() { (($(grep -cE 'reload: ([0-9]+ changes|nothing)' "$LAB_DIR/tapvs.log") > $1)); }

# is_idle ROLE: nobody is connected to that server.
is_idle() { [[ -z $(in_ns "$1" ss -Htn state established state fin-wait-1 state fin-wait-2 state close-wait state last-ack sport = :8080) ]]; }

test_a_bad_file_changes_nothing_on_reload() {
    topo_onearm
    replies_through_director rs1 rs2
    serve rs1 rs2
    config "$(one_link)" "$(service tcp "$VIP:80" 'scheduler = "rr"')" "$(server "$RS1:8080" nat)"
    director_from_file

    config "$(one_link)" "$(service tcp "$VIP:80")" "$(server "$RS2:8080" nat)" "$(server 10.9.0.9 nat)"
    reload_done
    expect_match "$(grep 'reload:' "$LAB_DIR/tapvs.log")" "tapvs.toml:12:11: server \"10.9.0.9\": real server 10.9.0.9 is outside every route" "why"
    config "$(one_link | sed s/br0/br1/)" "$(service tcp "$VIP:80")" "$(server "$RS2:8080" nat)"
    reload_done
    expect_match "$(grep 'reload:' "$LAB_DIR/tapvs.log")" "links cannot change while tapvs runs" "why a restart is needed"
    rm "$LAB_DIR/tapvs.toml"
    reload_done

    requests 50 "http://$VIP/"
    expect_shares rs1=50 rs2=0
}

test_reload_by_command_says_what_changes() {
    topo_onearm
    replies_through_director rs1 rs2
    serve rs1 rs2
    config "$(one_link)" "$(service tcp "$VIP:80" 'scheduler = "rr"')" "$(server "$RS1:8080" nat)"
    director_from_file
    local said code=0
    # What was changed meanwhile is changed back: the file says how things are.
    in_ns director "$TAPVS" ipvsadm -e -t "$VIP:80" -r "$RS1:8080" -m -w 7

    config "$(one_link)" "$(service tcp "$VIP:80" 'scheduler = "rr"')" "$(server "$RS1:8080" nat)" "$(server "$RS2:8080" nat)"
    said=$(in_ns director "$TAPVS" reload)
    expect_match "$said" "~ server $RS1:8080 of tcp/$VIP:80 weight 7 -> 1" "the weight that goes back"
    expect_match "$said" "\+ server $RS2:8080 of tcp/$VIP:80 method nat weight 1" "the server that comes"
    requests 40 "http://$VIP/"
    expect_shares rs1=20 rs2=20

    config "$(one_link)" "$(service tcp "$VIP:80" 'scheduler = "nobody"')"
    said=$(in_ns director "$TAPVS" reload 2>&1) || code=$?
    expect_eq "$code" 1 "exit code for a bad file"
    expect_match "$said" 'tapvs.toml:7:13: scheduler "nobody": unknown scheduler' "what is wrong with it"
    expect_eq "$(in_ns director "$TAPVS" ipvsadm -Ln | grep -c -- '->')" 3 "lines of servers, the titles among them"
}

test_the_processor_changes_on_reload() {
    topo_onearm
    local usual
    usual=$(processors_of $$)
    config "cpu = 0" "$(one_link)"
    director_from_file
    expect_eq "$(processors_of "$(worker)")" 0 "processors of a director with cpu = 0"
    config "$(one_link)"
    reload_done "~ cpu 0 -> any"
    expect_eq "$(processors_of "$(worker)")" "$usual" "processors when the key is gone"
    config "cpu = 1023" "$(one_link)" "$(service tcp "$VIP:80")"
    reload_done
    expect_match "$(grep 'reload:' "$LAB_DIR/tapvs.log")" "tapvs.toml:1:7: cpu 1023: Invalid argument; it may run on $usual" "why not"
    expect_eq "$(in_ns director "$TAPVS" ipvsadm -S -n)" "" "rules after a reload that was refused"
    expect_eq "$(processors_of "$(worker)")" "$usual" "processors after it"
    director_stop
    refused 1 "tapvs.toml:1:7: cpu 1023: Invalid argument; it may run on $usual" "$TAPVS" run --config "$LAB_DIR/tapvs.toml"

    director_from_file --cpu 0
    expect_eq "$(processors_of "$(worker)")" 0 "processors by the flag, which goes before the file"
}

# processors_of PID: where it may run, as the kernel writes it.
processors_of() { sed -n 's/^Cpus_allowed_list:\t//p' "/proc/$1/status"; }

test_saved_rules_come_back_as_they_were() {
    topo_onearm
    cat >"$LAB_DIR/rules" <<-RULES
	-A -t 10.0.0.100:80 -s wrr
	-a -t 10.0.0.100:80 -r 10.0.0.21:8080 -m -w 3
	-a -t 10.0.0.100:80 -r 10.0.0.22:8080 -m -w 0
	-A -t 10.0.0.100:443 -s sh -p 300 -M 255.255.255.0 -b sh-fallback,sh-port
	-a -t 10.0.0.100:443 -r 10.0.0.21:443 -i -w 2 --tun-type gre --tun-csum
	-a -t 10.0.0.100:443 -r 10.0.0.22:443 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum
	-A -t [2001:db8::80]:80 -s mh -p 360 -M 64 -b mh-port
	-a -t [2001:db8::80]:80 -r [2001:db8::a0a0]:80 -g -w 1
	-A -u 10.0.0.100:53 -s rr -o
	-a -u 10.0.0.100:53 -r 10.0.0.21:53 -i -w 0 --tun-type ipip
	-A -u 10.0.0.100:5060 -s rr -p 600 --pe sip
	-A --sctp-service 10.0.0.100:3868 -s lc
	-A -f 7 -s wlc -p 360
	-a -f 7 -r 10.0.0.21:0 -g -w 1
	-A -f 8 -6 -s rr -b flag-1,flag-3
	-a -f 8 -6 -r [2001:db8::a0a0]:0 -m -w 1
	RULES
    director --address 2001:db8::2/64 --rules "$LAB_DIR/rules"

    in_ns director "$TAPVS" ipvsadm -S -n >"$LAB_DIR/saved"
    diff <(sort "$LAB_DIR/rules") <(sort "$LAB_DIR/saved") >&2 || die "saved rules differ from those that were given"
    director_stop
    director --address 2001:db8::2/64 --rules "$LAB_DIR/saved"
    in_ns director "$TAPVS" ipvsadm -S -n >"$LAB_DIR/again"
    diff "$LAB_DIR/saved" "$LAB_DIR/again" >&2 || die "rules changed on a second way through"
    in_ns director "$TAPVS" ipvsadm -C
    in_ns director "$TAPVS" ipvsadm -R <"$LAB_DIR/saved"
    diff "$LAB_DIR/saved" <(in_ns director "$TAPVS" ipvsadm -S -n) >&2 || die "rules that were restored live differ"
}

test_check_opens_nothing_and_points_at_what_is_wrong() {
    topo_onearm
    local said code=0
    config "$(one_link)" "$(service tcp "$VIP:80")" "$(server "$RS1:8080" direct)" 'wieght = 3'
    said=$(in_ns director setpriv --bounding-set=-all --inh-caps=-all "$TAPVS" check "$LAB_DIR/tapvs.toml" 2>&1) || code=$?
    expect_eq "$code" 1 "exit code for a bad file"
    expect_match "$said" "tapvs.toml:11:1: 'wieght' is not known in \[\[service.server\]\]; known are address, method, weight" "the unknown key"

    config "$(one_link)" "$(service tcp "$VIP:80")" "$(server "$RS1" direct)"
    said=$(in_ns director setpriv --bounding-set=-all --inh-caps=-all "$TAPVS" check "$LAB_DIR/tapvs.toml")
    expect_eq "$said" "$LAB_DIR/tapvs.toml: good: 1 link, 1 service, 1 server" "what is said of a good file"
    ! in_ns director ip link show tap0 >/dev/null 2>&1 || die "check made a TAP"
}

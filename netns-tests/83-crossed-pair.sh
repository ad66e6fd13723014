# shellcheck shell=bash
# A pair of directors, a client of one family and servers of the other: what goes through the one goes on through the other one.
#
#      client (4)   rs1 (6: FULL-NAT, FTP)   rs2 (6: tunnel)     director: br0, tapvs     other: br0, tapvs
#        |            |                        |                      |                      |
#        +------------+------------------------+------- br0 ----------+----------------------+     and 6 to 4
#
# shellcheck source-path=SCRIPTDIR source=pair.sh
source "$(dirname "${BASH_SOURCE[0]}")/pair.sh"
# shellcheck source-path=SCRIPTDIR source=ftp.sh
source "$(dirname "${BASH_SOURCE[0]}")/ftp.sh"

# crossed_pair: `director` is active; rs1 speaks the other family alone, and rs2 is reached through it.
crossed_pair() {
    local role last priority bits=64 other=2001:db8:: anywhere=:: server_family=6
    [[ $FAMILY == 4 ]] || bits=24 other=10.0.0. anywhere=0.0.0.0 server_family=4
    topo_onearm
    host_with_bridge other "${LINK}6"
    for role in rs1 rs2; do
        in_ns "$role" sysctl -qw net.ipv6.conf.{all,eth0}.accept_dad=0 net.ipv6.conf.{all,eth0}.disable_ipv6=0
    done
    in_ns rs1 ip address flush dev eth0 scope global
    in_ns rs1 ip address add "${other}21/$bits" dev eth0
    in_ns rs2 ip address add "${other}22/$bits" dev eth0
    realserver rs2 --tunnel
    serve rs2
    ANYWHERE=$anywhere serve rs1
    FAMILY=$server_family FROM_PORT_20=NO ftp_server rs1
    for role in director other; do
        if [[ $role == director ]]; then last=4 priority=150; else last=5 priority=100; fi
        {
            printf '[[link]]\nbridge = "br0"\ntap = "tap0"\naddress = ["%s/%s", "%s/%s"]\n' "$LINK$last" "$NET_BITS" "$other$last" "$bits"
            local port
            for port in 80 21; do
                printf '[[service]]\ntcp = "%s:%s"\nscheduler = "rr"\nlocal_address = "%s"\n' "$AT_VIP" "$port" "${other}30"
                printf '[[service.server]]\naddress = "%s:%s"\nmethod = "fullnat"\n' "$(bracketed "${other}21")" "$port"
            done
            printf '[[service]]\ntcp = "%s:8080"\nscheduler = "rr"\n' "$AT_VIP"
            printf '[[service.server]]\naddress = "%s:8080"\nmethod = "tunnel"\n' "$(bracketed "${other}22")"
            printf '[[vrrp]]\nid = 51\ngroup = "pair"\nsync = true\ninterval = "200ms"\npriority = %s\naddress = ["%s", "%s"]\n' \
                "$priority" "$VIP" "${other}30"
        } >"$LAB_DIR/$role.toml"
        director_of_host "$role"
        becomes_state "$role" "$([[ $role == director ]] && echo active || echo backup)"
    done
    answered_within 5
}

# download_by PORT NAME LOCAL-PORT: a slow one of a service in the background.
download_by() {
    in_ns client curl --silent --show-error --max-time 100 --limit-rate 3M --local-port "$3" --output "$SCRATCH/$2" \
        "http://$AT_VIP:$1/files/payload-64" 2>>"$LAB_DIR/curl.errors" &
    CURLS+=("$!")
}
CURLS=()

knows_both() { knows_download "$1" 40001 && knows_download "$1" 40002; }

# families: 4 6
# limit: 120
# quiet
test_crossed_downloads_go_on_at_the_other_director() {
    local curl
    crossed_pair
    payload 64 >/dev/null
    download_by 80 by-fullnat 40001
    download_by 8080 by-tunnel 40002
    wait_for 10 "both downloads at the other one too" knows_both other

    of_host director vrrp failover
    becomes_state other active
    becomes_state director backup
    wait_for 5 "both downloads to come back to the first one" knows_both director
    kill_director_of_host other
    becomes_state director active
    # It begins again, and is told all.
    director_of_host other
    becomes_state other backup
    wait_for 10 "the whole table" has_all other
    knows_both other || die "the whole table lacks a download: $(of_host other ipvsadm -Lcn)"
    of_host director vrrp failover
    becomes_state other active

    for curl in "${CURLS[@]}"; do
        wait "$curl" || die "a download broke: $(cat "$LAB_DIR/curl.errors")"
    done
    expect cmp "$(payload 64)" "$SCRATCH/by-fullnat"
    expect cmp "$(payload 64)" "$SCRATCH/by-tunnel"
    expect_none client "$IS_RESET and (port 40001 or port 40002)" "resets of the downloads"
}

# families: 4 6
# limit: 120
# alone
test_crossed_ftp_goes_on_at_the_other_director() {
    crossed_pair
    session_goes_on passive
    session_goes_on active
}

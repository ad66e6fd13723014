# shellcheck shell=bash
# FTP: the control conn names addresses and ports of data conns. In NAT and FULL-NAT the director reads and rewrites it; in
# direct routing persistence on port 21 brings data conns to the server that the control conn went to.

# shellcheck source-path=SCRIPTDIR source=ftp.sh
source "$(dirname "${BASH_SOURCE[0]}")/ftp.sh"

# ftp WORDS...: curl as an FTP client; the dialogue is kept.
ftp() { in_ns client curl --silent --show-error --verbose --max-time 30 "$@" 2>>"$LAB_DIR/ftp-dialogue"; }

# ftp_both_ways ROLE WORDS...: a listing, 100 MiB down, 100 MiB up, all intact, in the mode that WORDS choose.
ftp_both_ways() {
    local role=$1 stored=$SCRATCH/ftp-$1/root/put/upload
    shift
    expect_match "$(ftp "$@" "ftp://$AT_VIP/")" "payload-100" "the listing by: $*"
    ftp "$@" "ftp://$AT_VIP/payload-100" | cmp - "$(payload 100)" || die "download by: $*"
    ftp "$@" --upload-file "$(payload 100)" "ftp://$AT_VIP/put/upload" || die "upload by: $*"
    wait_for 3 "the upload on the server's disk" cmp "$stored" "$(payload 100)"
    rm -f "$stored"
}

said_in_dialogue() { grep -qE "$1" "$LAB_DIR/ftp-dialogue"; }

ftp_by_nat() {
    topo_onearm
    replies_through_director rs1
    ftp_server rs1
    director --service "tcp/$AT_VIP:21" --scheduler rr --server "$AT_RS1:21,nat"
}

# No route of the server leads to the client: what goes there without the director is lost.
ftp_by_fullnat() {
    topo_onearm
    realserver rs1
    in_ns rs1 ip route add unreachable "$CLIENT"
    ftp_server rs1
    director --service "tcp/$AT_VIP:21" --scheduler rr --server "$AT_RS1:21,fullnat"
}

test_ftp_nat_passive_by_pasv() {
    ftp_by_nat
    # The address in the answer is used, as every client but curl does by default.
    ftp_both_ways rs1 --disable-epsv --no-ftp-skip-pasv-ip
    expect said_in_dialogue "227 .*10,0,0,100,"
    ! said_in_dialogue "227 .*10,0,0,21," || die "the client saw the real server's address"
}

# families: 4 6
test_ftp_nat_passive_by_epsv() {
    ftp_by_nat
    ftp_both_ways rs1
    expect said_in_dialogue "229 "
}

test_ftp_nat_active_by_port() {
    ftp_by_nat
    ftp_both_ways rs1 --ftp-port - --disable-eprt
    expect said_in_dialogue "> PORT 10,0,0,9,"
}

# families: 4 6
test_ftp_nat_active_by_eprt() {
    ftp_by_nat
    ftp_both_ways rs1 --ftp-port -
    expect said_in_dialogue "> EPRT "
}

# families: 4 6
test_ftp_fullnat_passive() {
    ftp_by_fullnat
    ftp_both_ways rs1
    expect said_in_dialogue "229 "
    [[ $FAMILY == 4 ]] || return 0
    ftp_both_ways rs1 --disable-epsv --no-ftp-skip-pasv-ip
    expect said_in_dialogue "227 .*10,0,0,100,"
}

# families: 4 6
# The server's data conns come from any of its ports.
test_ftp_fullnat_active() {
    FROM_PORT_20=NO ftp_by_fullnat
    ftp_both_ways rs1 --ftp-port -
    expect said_in_dialogue "> EPRT "
    [[ $FAMILY == 4 ]] || return 0
    ftp_both_ways rs1 --ftp-port - --disable-eprt
    expect said_in_dialogue "> PORT 10,0,0,9,"
}

# families: 4 6
# A client of one family, a server of the other: PORT is told as EPRT, PASV asked as EPSV, and answered as it was asked. No
# route of the server leads to the client.
test_ftp_between_families() {
    topo_onearm
    local server_family=6 server=2001:db8::21 bits=64 other=2001:db8::
    [[ $FAMILY == 4 ]] || server_family=4 server=10.0.0.21 bits=24 other=10.0.0.
    in_ns rs1 sysctl -qw net.ipv6.conf.{all,eth0}.accept_dad=0 net.ipv6.conf.{all,eth0}.disable_ipv6=0
    in_ns rs1 ip address flush dev eth0 scope global
    in_ns rs1 ip address add "$server/$bits" dev eth0
    FAMILY=$server_family FROM_PORT_20=NO ftp_server rs1
    director --service "tcp/$AT_VIP:21" --scheduler rr --server "$(bracketed "$server"):21,fullnat" \
        --address "${other}2/$bits" --local-address "${other}30"
    ftp_both_ways rs1
    expect said_in_dialogue "229 "
    ftp_both_ways rs1 --ftp-port -
    expect said_in_dialogue "> EPRT "
    [[ $FAMILY == 4 ]] || return 0
    ftp_both_ways rs1 --disable-epsv --no-ftp-skip-pasv-ip
    expect said_in_dialogue "227 .*10,0,0,100,"
    ftp_both_ways rs1 --ftp-port - --disable-eprt
    expect said_in_dialogue "> PORT 10,0,0,9,"
}

test_ftp_nat_by_a_client_that_keeps_its_control_conn() {
    scripts/need lftp
    ftp_by_nat
    # Ten transfers over one control conn: each 227 is a byte or more off in length, and sequence numbers must keep pace.
    {
        echo "set ftp:prefer-epsv no; set ftp:fix-pasv-address no; set net:max-retries 1; open ftp://$VIP"
        local number
        for number in 0 1 2 3 4 5 6 7 8 9; do
            echo "cat whoami"
            echo "put /etc/services -o put/copy-$number"
        done
    } >"$LAB_DIR/lftp.script"
    in_ns client timeout 30 lftp -f "$LAB_DIR/lftp.script" >"$LAB_DIR/lftp.out" 2>"$LAB_DIR/lftp.err" ||
        die "lftp: $(tail -n 2 "$LAB_DIR/lftp.err")"
    expect_eq "$(grep -c rs1 "$LAB_DIR/lftp.out")" 10 "files that came"
    local copy
    for copy in "$SCRATCH"/ftp-rs1/root/put/copy-*; do
        expect cmp "$copy" /etc/services
    done
    expect_eq "$(find "$SCRATCH/ftp-rs1/root/put" -name 'copy-*' | wc -l)" 10 "files that went"
}

# families: 4 6
test_ftp_direct_by_persistence() {
    topo_onearm
    realserver rs1
    realserver rs2
    ftp_server rs1 rs2
    director --service "tcp/$AT_VIP:21" --scheduler rr --persistent 300 --server "$AT_RS1,direct" --server "$AT_RS2,direct"

    local role
    role=$(ftp "ftp://$AT_VIP/whoami")
    expect_match "$role" "^rs[12]$" "the server that answered"
    ftp_both_ways "$role" --disable-epsv --no-ftp-skip-pasv-ip
    ftp_both_ways "$role" --ftp-port -
    expect_eq "$(ftp "ftp://$AT_VIP/whoami")" "$role" "the server of the same client later"
}

# outlives_workers: transfers over one control conn go on while workers are killed.
outlives_workers() {
    local words="--fail-early --silent --show-error --max-time 50 --limit-rate 30M $*"
    spawn session client bash -c "curl $words ftp://$AT_VIP/{whoami,payload-100,whoami} \
        --output '$LAB_DIR/first' --output '$LAB_DIR/second' --output '$LAB_DIR/third'; echo \$? >'$LAB_DIR/session.end'"
    wait_for 10 "the second transfer" test -s "$LAB_DIR/second"
    local round before
    for round in 1 2 3; do
        before=$(worker)
        kill -KILL "$before"
        wait_for 5 "another worker" another_worker "$before"
    done
    wait_for 60 "the end of the session, after $round kills" test -s "$LAB_DIR/session.end"
    expect_eq "$(cat "$LAB_DIR/session.end")" 0 "the client's exit status"
    cmp "$LAB_DIR/second" "$(payload 100)" || die "the second transfer"
    expect_eq "$(cat "$LAB_DIR/third")" rs1 "the third transfer"
}

another_worker() { local now && now=$(worker) && [[ $now != "$1" ]]; }

# Sequence numbers after PASV are shifted by what its answer became shorter or longer.
test_ftp_by_nat_outlives_workers() {
    ftp_by_nat
    outlives_workers --disable-epsv
}

# And those of the client after PORT.
test_ftp_by_fullnat_outlives_workers() {
    ftp_by_fullnat
    outlives_workers --ftp-port - --disable-eprt
}

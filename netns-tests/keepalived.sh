# shellcheck shell=bash
# What tests with keepalived share: its checkers under `tapvs exec`, and services of theirs.

# keepalived_start: with $CONF, its checkers only, on the director's host.
keepalived_start() {
    : >"$LAB_DIR/keepalived.log"
    in_ns director keepalived -t -C -f "$CONF" >"$LAB_DIR/keepalived.check" 2>&1 || die "keepalived.conf: $(tail -n 2 "$LAB_DIR/keepalived.check")"
    spawn keepalived director "$TAPVS" exec -- keepalived --dont-fork --log-console --log-detail --check \
        --use-file "$CONF" --pid "$LAB_DIR/keepalived.pid" --checkers_pid "$LAB_DIR/checkers.pid"
    # shellcheck disable=SC2034  # of tests that source this
    WRAPPER=$SPAWNED
    wait_for 10 "keepalived" grep -q "Startup complete" "$LAB_DIR/keepalived.log"
}

# checked PORT LVS-PROTOCOL REAL-PORT CHECK: a service of rs1 and rs2 with that check.
checked() {
    local port=$1 proto=$2 real_port=$3 check=$4 real
    echo "virtual_server $VIP $port {"
    printf '    %s\n' "delay_loop 1" "lb_algo rr" "lb_kind NAT" "protocol $proto"
    for real in "$RS1" "$RS2"; do
        printf '    real_server %s %s {\n        weight 1\n        %s\n    }\n' "$real" "$real_port" "${check//REAL/$real}"
    done
    echo "}"
}

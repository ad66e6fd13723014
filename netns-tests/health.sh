# shellcheck shell=bash
# What tests of health checks share: services with checks, what is said of their servers, and what these have answered.

# Checks that are fast enough for a test; the default times have tests with a clock of their own.
FAST="interval=300ms,fast_interval=100ms,down_interval=300ms,timeout=300ms"

# checking KIND SERVER...: one service on $VIP:80 by rr with that check; tapvs health and its kind by `tv`.
checking() {
    local check=$1
    shift
    director_options --check "$check,$FAST"
    serving "$@"
}

tv() { in_ns director "$TAPVS" "$@"; }

# is_state SERVER STATE: serving, failed, drained or unchecked. A server of which nothing is known yet serves until the
# first of its service is up; here it must have been seen up.
is_state() {
    tv health | awk -v server="$1" -v state="$2" '
        $1 == server && index($0, ", " state) && (state != "serving" || $2 == "up") { found = 1 }
        END { exit !found }'
}

becomes() { wait_for "${3:-8}" "$1 to be $2" is_state "$1" "$2"; }

# answers_of COUNT: what COUNT requests through the VIP say, each with its count, `failed` for none.
answers_of() {
    local round
    for ((round = 0; round < $1; ++round)); do
        in_ns client curl --silent --max-time 3 "http://$AT_VIP/" || echo failed
        echo
    done | grep . | sort | uniq -c | awk '{ printf "%s%s=%s", sep, $2, $1; sep = " " }'
}

has_no_active_conns() { lb -Ln | awk -v server="$1" '$2 == server { exit $5 != 0 }'; }

# nginx_of ROLE: the server of this lab, of several that run side by side.
nginx_of() { pgrep -f "^nginx: master.*$SCRATCH/nginx-$1 " | head -1; }

# config_health LINE... -- SERVER...: a service on $VIP:80 with these lines.
config_health() {
    local lines=() servers=()
    while [[ $1 != -- ]]; do
        lines+=("$1")
        shift
    done
    shift
    local server
    for server; do
        servers+=("$(printf '[[service.server]]\naddress = "%s"\nmethod = "nat"' "$server")")
    done
    printf '%s\n' "[[link]]" "bridge = \"br0\"" "tap = \"tap0\"" "address = \"$DIP/$NET_BITS\"" "[[service]]" "tcp = \"$AT_VIP:80\"" \
        "scheduler = \"rr\"" "${lines[@]}" "${servers[@]}" >"$LAB_DIR/tapvs.toml"
}

# certificate DIR NAME DAYS: signed by the CA, for shop.example.
certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=shop.example -keyout "$1/$2.key" -out "$1/$2.csr" 2>/dev/null
    openssl x509 -req -in "$1/$2.csr" -CA "$1/ca.pem" -CAkey "$1/ca.key" -CAcreateserial -days "$3" \
        -extfile <(printf 'subjectAltName=DNS:shop.example\n') -out "$1/$2.pem" 2>/dev/null
}

# authority DIR: makes the CA there.
authority() {
    mkdir "$1"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=ca -keyout "$1/ca.key" \
        -out "$1/ca.pem" 2>/dev/null
}

gone() { ! kill -0 "$1" 2>/dev/null; }

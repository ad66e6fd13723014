# shellcheck shell=bash
# The protocols that LVS names, by Debian's own servers and clients: HTTPS, SMTP, POP3, IMAP, LDAP, NTP, a proxy with
# ICP, and a stream of video and sound over UDP. Each is skipped by name where its package cannot be had.

# has PROTOCOL COMMAND...: the commands are there, or can be installed.
has() {
    local protocol=$1
    shift
    # Tests side by side install one after the other.
    flock "${PAYLOADS:-$SCRATCH}" scripts/need "$@" >>"$LAB_DIR/need.log" 2>&1 && return
    echo "    skipped: $protocol: no $*" >&2
    return 1
}

# ---- servers, all in rs1, at every address ---------------------------------------------------------------------

https_server() {
    local dir
    dir=$(home https)
    openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=lab.test -addext "subjectAltName=DNS:lab.test" \
        -keyout "$dir/key" -out "$dir/certificate" 2>/dev/null
    cat >"$dir/conf" <<-NGINX
		daemon off;
		pid $dir/pid;
		events { }
		http { access_log off; server {
		    listen 0.0.0.0:443 ssl; ssl_certificate $dir/certificate; ssl_certificate_key $dir/key;
		    location / { return 200 "over TLS\n"; }
		} }
	NGINX
    spawn https rs1 nginx -p "$dir" -c "$dir/conf" -e "$LAB_DIR/https.log"
}

mail_server() {
    local dir mailbox
    dir=$(home mail) mailbox=$dir/boxes/reader
    mkdir -p "$mailbox"/{new,cur,tmp}
    printf 'From: a@lab.test\r\nSubject: kept\r\n\r\na message that waits\r\n' >"$mailbox/new/1.lab"
    chown -R mail:mail "$dir/boxes"
    cat >"$dir/conf" <<-DOVECOT
		protocols = imap pop3
		listen = *
		base_dir = $dir/run
		state_dir = $dir/state
		log_path = $LAB_DIR/dovecot.log
		ssl = no
		disable_plaintext_auth = no
		first_valid_uid = 1
		mail_location = maildir:$dir/boxes/%u
		passdb {
		  driver = static
		  args = password=secret
		}
		userdb {
		  driver = static
		  args = uid=mail gid=mail home=$dir/boxes/%u
		}
	DOVECOT
    spawn mail rs1 dovecot -F -c "$dir/conf"
}

ldap_server() {
    local dir
    dir=$(home ldap)
    mkdir -p "$dir/data"
    cat >"$dir/conf" <<-SLAPD
		include /etc/ldap/schema/core.schema
		modulepath /usr/lib/ldap
		moduleload back_mdb
		pidfile $dir/pid
		database mdb
		maxsize 10485760
		suffix "dc=lab,dc=test"
		directory $dir/data
	SLAPD
    printf '%s\n' "dn: dc=lab,dc=test" "objectClass: dcObject" "objectClass: organization" "dc: lab" "o: the lab" |
        slapadd -f "$dir/conf" >>"$LAB_DIR/ldap.log" 2>&1
    spawn ldap rs1 slapd -d 0 -f "$dir/conf" -h ldap://0.0.0.0:389/
}

ntp_server() {
    local dir
    dir=$(home ntp)
    printf '%s\n' "local stratum 8" "allow" "cmdport 0" "bindcmdaddress /" "pidfile $dir/pid" >"$dir/conf"
    # Its clock is that of this machine, which it must not touch.
    spawn ntp rs1 chronyd -d -x -u root -f "$dir/conf"
}

proxy_server() {
    local dir answers_from=0.0.0.0
    dir=$(home proxy)
    # It answers ICP from the address it listens at, which must be the VIP where no director rewrites answers.
    [[ $METHOD != -[gi] ]] || answers_from=$VIP
    cat >"$dir/conf" <<-SQUID
		http_port 0.0.0.0:3128
		icp_port 3130
		udp_incoming_address $answers_from
		dns_nameservers 127.0.0.1
		http_access allow all
		icp_access allow all
		cache_mem 1 MB
		pid_filename $dir/pid
		cache_log $LAB_DIR/squid.log
		access_log none
		coredump_dir $dir
		visible_hostname lab.test
		shutdown_lifetime 0 seconds
		cache_effective_user nobody
		pinger_enable off
	SQUID
    touch "$LAB_DIR/squid.log"
    chmod 666 "$LAB_DIR/squid.log"
    spawn proxy rs1 squid -N -n "lab$$" -f "$dir/conf"
}

stream_receiver() {
    spawn stream rs1 ffmpeg -nostdin -y -loglevel error -f mpegts -i "udp://0.0.0.0:5004?timeout=60000000" -map 0 -c copy \
        -t 1 "$SCRATCH/stream.ts"
    STREAM_RECEIVER=$SPAWNED
}

# ---- clients ---------------------------------------------------------------------------------------------------

https_works() {
    expect_eq "$(fetch --cacert "$SCRATCH/https/certificate" --resolve "lab.test:443:$VIP" https://lab.test/)" "over TLS" "HTTPS"
}

smtp_works() {
    printf 'From: a@lab.test\r\nTo: nobody@lab.test\r\nSubject: new\r\n\r\na message by %s\r\n' "$METHOD" >"$LAB_DIR/message"
    fetch "smtp://$VIP" --mail-from a@lab.test --mail-rcpt nobody@lab.test --upload-file "$LAB_DIR/message" || die "SMTP"
    wait_for 5 "the message in its box" grep -rq "a message by $METHOD" "$SCRATCH/smtp/mail/new"
}

mail_works() {
    expect_match "$(fetch --user reader:secret "pop3://$VIP/1")" "a message that waits" "POP3"
    expect_match "$(fetch --user reader:secret "imap://$VIP/INBOX;MAILINDEX=1")" "a message that waits" "IMAP"
}

ldap_works() {
    expect_match "$(in_ns client ldapsearch -x -LLL -o nettimeout=10 -H "ldap://$VIP" -b dc=lab,dc=test)" "o: the lab" "LDAP"
}

ntp_works() {
    local said
    said=$(in_ns client chronyd -Q -t 20 -u root -f /dev/null "server $VIP iburst maxsamples 1" "cmdport 0" "bindcmdaddress /" \
        "pidfile $SCRATCH/ntp/client.pid" 2>&1) || die "NTP: $said"
    expect_match "$said" "System clock wrong by -?[0-9.]+ seconds" "NTP"
}

proxy_works() {
    expect_eq "$(fetch --proxy "http://$VIP:3128" http://127.0.0.1:8080/)" rs1 "a page through the proxy"
    # ICP (RFC 2186): a query for a page that the proxy has not kept.
    local said
    said=$(in_ns client python3 - "$VIP" <<-'PYTHON'
		import socket, struct, sys
		url = b"http://lab.test/\0"
		ask = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		ask.settimeout(10)
		ask.connect((sys.argv[1], 3130))
		ask.send(struct.pack("!BBHIIIII", 1, 2, 24 + len(url), 77, 0, 0, 0, 0) + url)
		answer = ask.recv(2000)
		print(answer[0], struct.unpack("!I", answer[4:8])[0], answer[20:-1].decode())
	PYTHON
    ) || die "ICP: no answer"
    expect_match "$said" "^(3|21) 77 http://lab.test/$" "ICP: a miss, for the question asked"
}

stream_works() {
    in_ns client ffmpeg -nostdin -loglevel error -re -f lavfi -i testsrc=size=160x120:rate=25 -f lavfi -i sine -t 30 \
        -c:v mpeg2video -c:a mp2 -f mpegts "udp://$VIP:5004?pkt_size=1316" >"$LAB_DIR/stream-sender.log" 2>&1 &
    local sender=$! started
    started=$(start_time "$sender")
    defer end_process "$sender" "$started"
    # It ends by itself when it has got its second.
    wait_for 15 "a second of the stream" has_ended "$STREAM_RECEIVER"
    end_process "$sender" "$started"
    local kinds
    kinds=$(ffprobe -loglevel error -count_packets -show_entries stream=codec_name,nb_read_packets -of csv=p=0 "$SCRATCH/stream.ts" |
        awk -F, '$2 >= 20 { print $1 }' | sort -u | xargs)
    expect_eq "$kinds" "mp2 mpeg2video" "streams of which at least 20 packets arrived"
}

has_ended() { [[ ! -e /proc/$1 || $(process_state "$1") == Z ]]; }

# ---- by each method --------------------------------------------------------------------------------------------

# protocols METHOD: all of them, by a service a port. rs1 is ready for the method.
protocols() {
    METHOD=$1
    local protocol works=()
    serve rs1
    for protocol in https:openssl smtp:smtpd mail:dovecot ldap:slapd,ldapsearch ntp:chronyd proxy:squid stream:ffmpeg; do
        # shellcheck disable=SC2046  # words
        has "${protocol%:*}" $(tr , ' ' <<<"${protocol#*:}") || continue
        works+=("${protocol%:*}")
        case ${protocol%:*} in
            stream) stream_receiver ;;
            *) "${protocol%:*}_server" ;;
        esac
    done
    local port
    for port in t:443 t:25 t:110 t:143 t:389 u:123 t:3128 u:3130 u:5004; do
        echo "-A -${port%:*} $VIP:${port#*:} -s rr"
        echo "-a -${port%:*} $VIP:${port#*:} -r $RS1:${port#*:} $METHOD"
    done >"$LAB_DIR/rules"
    director --rules "$LAB_DIR/rules"
    for protocol in "${works[@]}"; do
        case $protocol in
            https) wait_for 10 HTTPS listens rs1 tcp 443 ;;
            smtp) wait_for 10 SMTP listens rs1 tcp 25 ;;
            mail) wait_for 10 POP3 listens rs1 tcp 110 && wait_for 10 IMAP listens rs1 tcp 143 ;;
            ldap) wait_for 10 LDAP listens rs1 tcp 389 ;;
            ntp) wait_for 10 NTP listens rs1 udp 123 ;;
            proxy) wait_for 10 "the proxy" listens rs1 tcp 3128 && wait_for 10 ICP listens rs1 udp 3130 ;;
            stream) wait_for 10 "the receiver" listens rs1 udp 5004 ;;
        esac
        "${protocol}_works"
    done
    ((${#works[@]} > 0)) || skip "none of the protocols' packages"
}

# limit: 150
test_protocols_by_nat() {
    topo_onearm
    replies_through_director rs1
    protocols -m
}

# limit: 150
test_protocols_by_direct_routing() {
    topo_onearm
    realserver rs1
    protocols -g
}

# limit: 150
test_protocols_by_tunnel() {
    topo_onearm
    realserver rs1 --tunnel
    protocols -i
}

# limit: 150
test_protocols_by_fullnat() {
    topo_onearm
    protocols --fullnat
}

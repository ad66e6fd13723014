# shellcheck shell=bash
# Servers that learn who their client is, and what they have learnt.

STREAM_MODULE=/usr/lib/nginx/modules/ngx_stream_module.so

# proxied ROLE...: nginx that expects the header: HTTP on 9000, which answers with the client's address and port; on 9001 it
# speaks first; haproxy on 9002 hands on to 9000 with a header of its own.
proxied() {
    local role dir
    scripts/need haproxy "$STREAM_MODULE"
    for role; do
        dir=$SCRATCH/proxied-$role
        mkdir -p "$dir/tmp"
        cat >"$dir/nginx.conf" <<-NGINX
		load_module $STREAM_MODULE;
		daemon off;
		user root;
		worker_processes 1;
		pid $dir/nginx.pid;
		error_log $LAB_DIR/proxied-$role.log warn;
		events { worker_connections 4096; }
		stream {
		    server { listen $(bracketed "$ANYWHERE"):9001 proxy_protocol; return "220 \$proxy_protocol_addr \$proxy_protocol_port\n"; }
		}
		http {
		    access_log off;
		    client_body_temp_path $dir/tmp; proxy_temp_path $dir/tmp; fastcgi_temp_path $dir/tmp;
		    uwsgi_temp_path $dir/tmp; scgi_temp_path $dir/tmp;
		    client_max_body_size 0; default_type application/octet-stream;
		    server {
		        listen $(bracketed "$ANYWHERE"):9000 proxy_protocol;
		        location / { return 200 "\$proxy_protocol_addr \$proxy_protocol_port \$proxy_protocol_server_addr:\$proxy_protocol_server_port\n"; }
		        location /files/ { alias ${PAYLOADS:-$SCRATCH}/; add_header Client \$proxy_protocol_addr; }
		        location /put/ { proxy_pass http://unix:$dir/put.sock; add_header Client "\$proxy_protocol_addr \$proxy_protocol_port"; }
		    }
		    server { listen unix:$dir/put.sock; location / { root $dir; dav_methods PUT; create_full_put_path on; } }
		}
		NGINX
        cat >"$dir/haproxy.cfg" <<-HAPROXY
		defaults
		    mode tcp
		    timeout connect 5s
		    timeout client 30s
		    timeout server 30s
		listen first
		    bind $ANYWHERE:9002 accept-proxy
		    server web $AT_LOOPBACK:9000 send-proxy-v2
		HAPROXY
        spawn "proxied-$role" "$role" nginx -p "$dir" -c "$dir/nginx.conf" -e "$LAB_DIR/proxied-$role.log"
        spawn "haproxy-$role" "$role" haproxy -db -f "$dir/haproxy.cfg"
    done
    for role; do
        wait_for 10 "nginx in $role" listens "$role" tcp 9001
        wait_for 10 "haproxy in $role" listens "$role" tcp 9002
    done
}

# told_by PORT SERVICE: what the server of that port of the VIP says of a client with that port.
told_by() { in_ns client curl --silent --show-error --max-time 20 --local-port "$1" "http://$AT_VIP:$2/"; }

# toa_seen CLIENT PORT WHAT: what of rs1's capture carries the option with this client's port and address.
toa_seen() {
    if [[ $FAMILY == 4 ]]; then
        echo "tcp[20]==254 and tcp[21]==8 and tcp[22:2]==$2 and tcp[24:4]==$(hex_of "$1") and $3"
    else
        echo "ip6[60]==254 and ip6[61]==20 and ip6[62:2]==$2 and ip6[64:4]==$(hex_of "$1" 0) and ip6[76:4]==$(hex_of "$1" 3) and $3"
    fi
}

# hex_of ADDRESS [WORD]: 32 bits of an address as a number.
hex_of() { python3 -c 'import ipaddress, sys; print("0x" + ipaddress.ip_address(sys.argv[1]).packed.hex()[int(sys.argv[2])*8:][:8])' "$1" "${2:-0}"; }

# shellcheck shell=bash
# FULL-NAT: destination and source are rewritten, so that any real server that reaches the director will do.

# families: 4 6
test_fullnat_thousands_of_requests_shared_by_rr() {
    topo_onearm
    serve rs1 rs2 rs3
    director_options --local-address "$LIP1"
    serving "$AT_RS1:8080,fullnat" "$AT_RS2:8080,fullnat" "$AT_RS3:80,fullnat"

    requests 3000 "http://$AT_VIP/"

    expect_shares rs1=1000 rs2=1000 rs3=1000
    expect_sources "$LIP1" rs1 rs2 rs3
}

# families: 4 6
test_fullnat_shares_follow_weights_by_wrr() {
    topo_onearm
    serve rs1 rs2
    director_options --local-address "$LIP1" --local-address "$LIP2"
    SCHEDULER=wrr serving "$AT_RS1:8080,fullnat,weight=1" "$AT_RS2:8080,fullnat,weight=3"

    requests 2000 "http://$AT_VIP/"

    expect_shares rs1=500 rs2=1500
    expect_match "$(cut -d' ' -f1 "$LAB_DIR/nginx-rs2.access" | sort -u | xargs)" "^($LIP1 $LIP2|$LIP1|$LIP2)$" "client addresses logged"
}

# families: 4 6
test_fullnat_without_local_address_uses_the_directors_own() {
    topo_onearm
    serve rs1
    serving "$AT_RS1:8080,fullnat"

    expect_eq "$(fetch "http://$AT_VIP/")" rs1 "the answer"
    expect_sources "$DIP" rs1
}

# limit: 120
# families: 4 6
# heavy
test_fullnat_bulk_each_way() {
    topo_onearm
    serve rs1
    director_options --fast off --local-address "$LIP1"
    serving "$AT_RS1:80,fullnat"

    download "$MIB"
    upload "$MIB" rs1
}

# limit: 180
# families: 4 6
# heavy
test_fullnat_each_way_without_offloads() {
    topo_onearm
    serve rs1
    director_options --no-offload --local-address "$LIP1"
    serving "$AT_RS1:80,fullnat"

    TRANSFER_SECONDS=80 download $((MIB / 4))
    TRANSFER_SECONDS=80 upload $((MIB / 4)) rs1
}

# families: 4 6
test_fullnat_udp() {
    topo_onearm
    name_server rs1 rs2
    director --service "udp/$AT_VIP:53" --scheduler rr --server "$AT_RS1:53,fullnat" --server "$AT_RS2:53,fullnat" --local-address "$LIP1"

    expect_eq "$(queries 200)" "rs1=100 rs2=100" "answers of the name servers"
}

# families: 4 6
test_fullnat_client_behind_a_router() {
    topo_router
    serve rs1 rs2
    director_options --local-address "$LIP1"
    serving "$AT_RS1:80,fullnat" "$AT_RS2:8080,fullnat"

    requests 2000 "http://$AT_VIP/"

    expect_shares rs1=1000 rs2=1000
    expect_sources "$LIP1" rs1 rs2
}

# families: 4 6
test_fullnat_director_host_is_a_real_server_too() {
    topo_onearm
    serve director rs1
    director_options --local-address "$LIP1"
    serving "$AT_HOST_IP:8080,fullnat" "$AT_RS1:8080,fullnat"

    requests 2000 "http://$AT_VIP/"

    expect_shares director=1000 rs1=1000
    expect_sources "$LIP1" director rs1
}

# shellcheck shell=bash
# The labs themselves, without tapvs: if these fail, no other result means anything.

test_lab_onearm_carries_traffic_without_tapvs() {
    topo_onearm
    serve rs1 rs2
    name_server rs3

    expect_eq "$(fetch "http://$RS1/")" rs1 "the web server, asked directly"
    expect_eq "$(fetch "http://$RS2:8080/")" rs2 "the other, on its other port"
    expect_eq "$(queries 3 "$RS3")" "rs3=3" "the name server"
    requests 100 "http://$RS1/"
    expect_shares rs1=101
    expect_sources "$CLIENT" rs1
    fence client client "$RS1"
    expect_none client "host $RS3 and tcp" "packets that nobody sent"
    expect_seen rs1 "tcp port 80 and src host $CLIENT" "the requests"
}

test_lab_router_separates_the_client() {
    topo_router
    serve rs1

    expect_eq "$(fetch "http://$RS1/")" rs1 "the web server behind the router"
    expect_sources "$CLIENT" rs1
    pings 3 "$HOST_IP"
}

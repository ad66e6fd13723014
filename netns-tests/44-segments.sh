# shellcheck shell=bash
# TCP through the director segment by segment: sequence numbers, acknowledgements, selective ones, windows, resets.

# silent ROLE WHAT: its kernel does not see such segments, and answers none.
silent() { in_ns "$1" nft "add table inet silent; add chain inet silent in { type filter hook input priority 0; }; add rule inet silent in tcp $2 drop"; }

# segments_by WAY...: conns by each of these ways, in what is the kernel's part too, if it takes part.
segments_by() {
    topo_onearm
    scripts/need python3 nft
    replies_through_director rs1
    silent client "sport 7000-7010"
    silent rs1 "dport 7000-7010"
    with_ipvsadm
    director
    local way port=7000 before after
    for way; do
        lb -A -t "$AT_VIP:$port" -s rr "$([[ $way == *+* ]] && echo --syn-proxy=on || echo --syn-proxy=off)"
        case ${way%+*} in
            nat) lb -a -t "$AT_VIP:$port" -r "$AT_RS1:$port" -m ;;
            fullnat) lb -a -t "$AT_VIP:$port" -r "$AT_RS1:$port" -b ;;
            *) lb -a -t "$AT_VIP:$port" -r "$AT_RS1:$port" -b --client-address "${way%+*}" ;;
        esac
        before=$(forwarded_in_kernel)
        python3 netns-tests/segments.py "$FAMILY" "$(ns client)" "$CLIENT" "$(ns rs1)" "$RS1" "$VIP" "$port" "$way" >"$LAB_DIR/segments-$port" ||
            die "$way: $(cat "$LAB_DIR/segments-$port")"
        expect_between 600 "$(<"$LAB_DIR/segments-$port")" 2000 "segments by $way"
        after=$(forwarded_in_kernel)
        [[ $after == none ]] || expect_between 200 $((after - before)) 2000 "segments by $way that the kernel has forwarded"
        port=$((port + 1))
    done
}

# forwarded_in_kernel: frames of the fast path, or `none` where there is none.
forwarded_in_kernel() { in_ns director "$TAPVS" status | sed -n 's/^fast path by .*, \([0-9]*\) frames$/\1/p' | grep . || echo none; }

# families: 4 6
# limit: 120
test_segments_by_nat_and_fullnat() { segments_by nat fullnat; }

# families: 4 6
# limit: 120
test_segments_to_servers_that_learn_their_client() { segments_by toa proxy-v2; }

# families: 4 6
# limit: 120
test_segments_behind_a_syn_proxy() { segments_by nat+syn-proxy fullnat+syn-proxy toa+syn-proxy proxy-v2+syn-proxy; }

/* SPDX-License-Identifier: MIT OR GPL-2.0
 *
 * The null program: the limit of the fast path, for scripts/bench. At the egress of a TAP it sends on IPv4 packets of TCP and
 * UDP with constant addresses and MACs, and asks nothing: no map, no counter, no check of what a router checks.
 *
 * clang -O2 -target bpf -DVIP=... (each in the network's order, as a number: VIP, RS1, CLIENT; MACs: CLIENT_MAC, RS1_MAC, OWN_MAC)
 * tc filter add dev tap0 egress bpf direct-action object-file forward.o section tc
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>

#define SECTION(name) __attribute__((section(name), used))
#define TO_NETWORK(value) __builtin_bswap16(value)
#define SUM_INCLUDES_ADDRESSES BPF_F_PSEUDO_HDR

static long (*replace_l3)(struct __sk_buff *, unsigned, __u64, __u64, __u64) = (void *)BPF_FUNC_l3_csum_replace;
static long (*replace_l4)(struct __sk_buff *, unsigned, __u64, __u64, __u64) = (void *)BPF_FUNC_l4_csum_replace;
static long (*redirect)(unsigned, __u64) = (void *)BPF_FUNC_redirect;

SECTION("tc") int forward(struct __sk_buff *packet)
{
    void *data = (void *)(long)packet->data, *end = (void *)(long)packet->data_end;
    struct ethhdr *ethernet = data;
    struct iphdr *ip = data + sizeof *ethernet;
    __u8 to_server[12] = {RS1_MAC, OWN_MAC}, to_client[12] = {CLIENT_MAC, OWN_MAC};

    if ((void *)(ip + 1) > end || ethernet->h_proto != TO_NETWORK(ETH_P_IP) || ip->ihl != 5)
        return TC_ACT_OK;
    int is_request = ip->daddr == VIP, is_reply = ip->saddr == RS1 && ip->daddr == CLIENT;
    if ((ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP) || (!is_request && !is_reply))
        return TC_ACT_OK;
    __u32 from = is_request ? VIP : RS1, to = is_request ? RS1 : VIP;
    unsigned sum = sizeof *ethernet + sizeof *ip + (ip->protocol == IPPROTO_TCP ? 16 : 6);
    if (is_request)
        ip->daddr = to;
    else
        ip->saddr = to;
    __builtin_memcpy(ethernet, is_request ? to_server : to_client, 12);
    replace_l3(packet, sizeof *ethernet + 10, from, to, 4);
    replace_l4(packet, sum, from, to, SUM_INCLUDES_ADDRESSES | 4);
    return redirect(packet->ifindex, BPF_F_INGRESS);
}

SECTION("license") char terms[] = "Dual MIT/GPL";

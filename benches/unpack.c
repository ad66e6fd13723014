// Takes IP-in-IP packets apart as they arrive, for a kernel without ipip: the real server of scripts/bench.
//
// clang -O2 -target bpf; tc filter add dev DEV ingress bpf direct-action object-file unpack.o section tc
// Strips the outer header and lets the host receive what is inside. Never looks at it: whose packet that is decides the
// host's own address, route and rp_filter, on the device that the tunnel came by.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>

#define SECTION(name) __attribute__((section(name), used))
#define TO_NETWORK(value) __builtin_bswap16(value)

static long (*adjust_room)(struct __sk_buff *, int, unsigned int, unsigned long long) = (void *)BPF_FUNC_skb_adjust_room;

SECTION("tc") int unpack(struct __sk_buff *packet)
{
    void *data = (void *)(long)packet->data, *end = (void *)(long)packet->data_end;
    struct ethhdr *ethernet = data;
    struct iphdr *outer = data + sizeof *ethernet;

    if ((void *)(outer + 1) > end)
        return TC_ACT_OK;
    if (ethernet->h_proto != TO_NETWORK(ETH_P_IP) || outer->protocol != IPPROTO_IPIP || outer->ihl != 5)
        return TC_ACT_OK;
    if (adjust_room(packet, -(int)sizeof *outer, BPF_ADJ_ROOM_MAC, 0))
        return TC_ACT_SHOT;
    return TC_ACT_OK;
}

SECTION("license") char terms[] = "MIT";

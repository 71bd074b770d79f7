//go:build ignore

// Answers router solicitations and forwards bubbles for a Teredo server inside of the kernel, by the rules of package server. What is not
// certain goes on to the program, which has all the rules; see package kernelpath. The same rules run at two places: in the network
// driver (XDP), and at the ingress of any Ethernet interface (TCX).
#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// Some distributions have older headers, without these: TCX_NEXT, TCX_DROP.
#define NEXT (-1)
#define TCX_DROP 2

#define SECOND 1000000000LL

#define PORT 3544
#define TTL 64
#define IP_DF 0x4000
#define AF_INET 2
#define CHECKSUM_PARTIAL 3

#define FIXED 4           // bytes in front of the identifier in an authentication (RFC 4380 section 5.1.1)
#define NONCE 9           // with the confirmation byte
#define AUTHENTICATION 13 // FIXED and NONCE, when there are no identifier and no value
#define IDENTIFIER 63     // the longest of a client that is answered here
#define VALUE 20          // of HMAC-SHA1
#define ORIGIN 8
#define SOLICITATION 48
#define ADVERTISEMENT 96
#define TRAILERS 44 // teredo.MaxTrailers
#define ROUTER_SOLICITATION 133

// The parts of the kernel's own view of a packet that are needed here.
struct sk_buff {
	__u8 ip_summed : 2;
	__u16 csum_start;
	__u16 csum_offset;
	__u16 network_header;
} __attribute__((preserve_access_index));

void *bpf_cast_to_kern_ctx(void *ctx) __ksym;

// Where datagrams to a prefix go. Without an entry that is usable, the program sends them.
struct route {
	__u32 interface; // 0: not usable
	__be32 gateway;  // 0: the destination itself
};

struct prefix {
	__u32 bits;
	__be32 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1); // the program sets the number
	__type(key, struct prefix);
	__type(value, struct route);
} routes SEC(".maps");

// What differs from the rule for special-use addresses.
enum exception { PERMITTED = 1, BROADCAST = 2 };

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1); // the program sets the number
	__type(key, struct prefix);
	__type(value, __u32);
} exceptions SEC(".maps");

// The Ethernet addresses that XDP needs: of neighbors, and of the interface itself, which has the address 0 here.
struct neighbor {
	__u32 interface;
	__be32 address;
};

struct station {
	__u64 used; // when the program was last given a datagram to send there, which has the kernel test the neighbor
	__u8 mac[ETH_ALEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1); // the program sets the number
	__type(key, struct neighbor);
	__type(value, struct station);
} neighbors SEC(".maps");

// The budgets of IPv4 addresses: the table of budget.Keyed, in memory that the program shares.
struct bucket {
	__u64 key;
	__s64 full; // when it is full again, nanoseconds since started
};

struct set {
	struct bucket buckets[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); // the program sets the number
	__type(key, __u32);
	__type(value, struct set);
} sources SEC(".maps");

__u64 seed;  // of the table
__u32 shift; // 64 less the bits of a set's number

// Reasons for drops, as package drop names them.
enum reason { NONE, REFUSED_SOLICITATION, DESTINATION, NOT_GLOBAL, NO_SECOND_ADDRESS, LOOP, BUDGET, REASONS };

struct counts {
	__u64 solicitations;
	__u64 advertisements;
	__u64 cone;
	__u64 bubbles;
	__u64 drops[REASONS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counts);
} counters SEC(".maps");

volatile const __be32 bound[2];       // the primary and the secondary address, on this host
volatile const __be32 own[4];         // these two, and how the Internet sees them
volatile const bool second;           // there is a secondary address
volatile const __be32 public_address; // in the addresses of this server's clients
volatile const __u64 started;         // nanoseconds of CLOCK_MONOTONIC
volatile const __s64 interval;        // nanoseconds that an answer costs; 0: budgets have no bound
volatile const __s64 most;            // nanoseconds that may be spent at once

volatile const __u32 advertisement[ADVERTISEMENT / 4]; // to the unspecified address

bool secure; // only solicitations with a secret are answered

// A client with a secret.
struct identifier {
	__u8 size;
	__u8 name[IDENTIFIER]; // zeros behind it
};

// A state of SHA-1.
struct digest {
	__u32 words[VALUE / 4];
};

struct secret {
	struct digest inner, outer; // after the secret XOR ipad, and XOR opad (RFC 2104 section 2)
	__u64 expires;              // nanoseconds since 1970; 0: never
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1); // the program sets the number
	__type(key, struct identifier);
	__type(value, struct secret);
} secrets SEC(".maps");

struct advertisement {
	struct ipv6hdr ip;
	struct icmp6hdr icmp;
	__u8 rest[ADVERTISEMENT - sizeof(struct ipv6hdr) - sizeof(struct icmp6hdr)];
};

struct inner {
	struct ipv6hdr ip;
	union {
		struct icmp6hdr icmp;
		__u8 rest[TRAILERS];
	};
};

#define SHORT (AUTHENTICATION + ORIGIN + 3) // bytes of encapsulations that are not signed, rounded up
#define LONG (AUTHENTICATION + IDENTIFIER + VALUE + ORIGIN)

// A frame up to what is behind the encapsulations. The padding aligns the IPv4 header.
struct frame {
	__u16 padding;
	struct ethhdr ethernet;
	struct iphdr ip;
	struct udphdr udp;
	__u8 payload[LONG]; // zeros behind what there is of it, in the first SHORT bytes or in all
};

#define HEADERS (sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct udphdr))

// A block of SHA-1.
struct block {
	__u32 words[16];
};

// A datagram, as it came and as it leaves.
struct datagram {
	struct frame frame;
	struct inner inner;       // as it came; zeros behind it
	struct identifier client; // of a solicitation that has one; otherwise its size is 0
	__u32 front;     // size of what is in the payload of frame, as it leaves
	__u32 size;      // of what is in inner
	__u32 interface; // that it leaves by
	__u64 sum;       // of what leaves behind the payload of frame
	__be32 gateway;
	bool unfinished; // its sender's kernel has left the UDP checksum to be filled in (CHECKSUM_PARTIAL)
	bool secure;     // it has to be authentic, if it is a solicitation
	bool advertises; // otherwise it is a bubble
	bool cone;
	struct advertisement advertisement;
	struct block message[2]; // that an authentication value is computed of
	struct digest value;
} __attribute__((aligned(8)));

// One datagram for each processor, as they are too large for the stack.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct datagram));
} datagrams SEC(".maps");

enum verdict { PASS, DROP, SEND };

static __always_inline __u64 sum(const void *words, __u32 size, __u64 start)
{
	const __u32 *word = words;

#pragma unroll
	for (int i = 0; i < size / sizeof(*word); i++)
		start += word[i];
	return start;
}

static __u16 fold(__u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

// sum_front sums up a UDP header and the encapsulations behind it.
static __always_inline __u64 sum_front(const struct datagram *d, __u64 start)
{
	start = sum(&d->frame.udp, sizeof(d->frame.udp) + SHORT, start);
	return d->client.size ? sum(d->frame.payload + SHORT, LONG - SHORT, start) : start;
}

static __u16 swap(__u16 sum)
{
	return sum >> 8 | sum << 8;
}

// bounded is a number that the verifier does not know the bounds of.
static __always_inline __u32 bounded(__u32 number, __u32 least, __u32 most)
{
	asm volatile("" : "+r"(number));
	return number < least ? least : number > most ? most : number;
}

static __always_inline __u32 rotate(__u32 word, int bits)
{
	return word << bits | word >> (32 - bits);
}

// is_special has the ranges that teredo.Filter allows only where they are permitted, is_never those that it never allows.
static __always_inline bool is_special(__u32 a)
{
	return a >> 24 == 0 || a >> 24 == 10 || a >> 24 == 127 || a >> 22 == 0x64400000 >> 22 || a >> 16 == 0xa9fe || a >> 20 == 0xac1 ||
	       a >> 8 == 0xc00000 || a >> 8 == 0xc00002 || a >> 8 == 0xc05863 || a >> 16 == 0xc0a8 || a >> 17 == 0xc6120000 >> 17 ||
	       a >> 8 == 0xc63364 || a >> 8 == 0xcb0071 || a >> 28 == 0xf;
}

static __always_inline bool is_never(__u32 a)
{
	return a == 0 || a == 0xffffffff || a >> 28 == 0xe;
}

// is_global is the global unicast test of RFC 4380 section 5.2.4.
static __always_inline bool is_global(__be32 address)
{
	struct prefix key = {.bits = 32, .address = address};
	__u32 a = bpf_ntohl(address);
	const __u32 *exception;

	if (is_never(a))
		return false;
	exception = bpf_map_lookup_elem(&exceptions, &key);
	if (exception)
		return *exception == PERMITTED;
	return !is_special(a);
}

static __always_inline bool owns(__be32 address)
{
	return address == own[0] || address == own[1] || address == own[2] || address == own[3];
}

static __always_inline bool is_link_local(const struct in6_addr *a)
{
	return (a->in6_u.u6_addr32[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

static __always_inline bool is_teredo(const struct in6_addr *a)
{
	return a->in6_u.u6_addr32[0] == bpf_htonl(0x20010000);
}

// is_native recognises the addresses of native hosts that no permit is needed for.
static __always_inline bool is_native(const struct in6_addr *a)
{
	__u32 first = bpf_ntohl(a->in6_u.u6_addr32[0]);
	bool isatap = (a->in6_u.u6_addr32[2] & bpf_htonl(0xfdffffff)) == bpf_htonl(0x00005efe);

	return first >> 29 == 1 && first >> 9 != 0x20010000 >> 9 && first >> 16 != 0x2002 && !isatap;
}

static __always_inline __u64 multiply_high(__u64 a, __u64 b)
{
	__u64 a0 = (__u32)a, a1 = a >> 32, b0 = (__u32)b, b1 = b >> 32;
	__u64 middle = a1 * b0 + (a0 * b0 >> 32);
	__u64 other = a0 * b1 + (__u32)middle;

	return a1 * b1 + (middle >> 32) + (other >> 32);
}

// is_allowed takes one answer out of the budget of an IPv4 address, as budget.Keyed does.
static __always_inline bool is_allowed(__be32 source)
{
	__u64 key = (__u64)bpf_ntohl(source) ^ seed;
	__s64 now = bpf_ktime_get_ns() - started;
	struct bucket *bucket, *victim;
	struct set *set;
	__u32 number;

	if (!interval)
		return true;
	key = multiply_high(key, seed) ^ key * seed;
	number = shift < 64 ? key * 0x9e3779b97f4a7c15 >> shift : 0;
	set = bpf_map_lookup_elem(&sources, &number);
	if (!set)
		return false;
	bucket = NULL;
	victim = &set->buckets[0];
#pragma unroll
	for (int i = 0; i < 4; i++) {
		if (!bucket && set->buckets[i].key == key)
			bucket = &set->buckets[i];
		if (set->buckets[i].full < victim->full)
			victim = &set->buckets[i];
	}
	if (!bucket) {
		bucket = victim;
		bucket->key = key;
		bucket->full = 0;
	}
#pragma unroll
	for (int i = 0; i < 4; i++) {
		__s64 was = *(volatile __s64 *)&bucket->full;
		__s64 full = (was > now ? was : now) + interval;

		if (full - now > most)
			return false;
		if (__sync_val_compare_and_swap(&bucket->full, was, full) == was)
			return true;
	}
	return false; // other processors take this much of it
}

static __always_inline int load(void *context, bool xdp, __u32 at, void *to, __u32 size)
{
	if (xdp)
		return bpf_xdp_load_bytes(context, at, to, size);
	return bpf_skb_load_bytes(context, at, to, size);
}

// find_route returns how datagrams to an address leave. Without a route that is known for certain, it returns NULL.
static __always_inline const struct route *find_route(__be32 to)
{
	struct prefix key = {.bits = 32, .address = to};
	const struct route *route = bpf_map_lookup_elem(&routes, &key);

	return route && route->interface ? route : NULL;
}

static __always_inline int drop(struct counts *counts, enum reason reason)
{
	counts->drops[reason]++;
	return DROP;
}

static __always_inline void put_origin(__u8 *b, const struct frame *in)
{
	__be32 address = ~in->ip.saddr;
	__be16 port = ~in->udp.source;

	b[0] = b[1] = 0;
	__builtin_memcpy(b + 2, &port, sizeof(port));
	__builtin_memcpy(b + 4, &address, sizeof(address));
}

// set_station completes the Ethernet header of a frame that XDP sends back by the interface it came by. Once a second the program sends
// one in its place, so that the kernel tests the neighbor.
static __always_inline bool set_station(struct datagram *d)
{
	struct neighbor key = {d->interface, d->gateway};
	struct station *to = bpf_map_lookup_elem(&neighbors, &key);
	__u64 now = bpf_ktime_get_ns();

	if (!to || (__s64)(now - to->used) > SECOND) {
		if (to)
			to->used = now;
		return false;
	}
	__builtin_memcpy(d->frame.ethernet.h_source, d->frame.ethernet.h_dest, ETH_ALEN);
	__builtin_memcpy(d->frame.ethernet.h_dest, to->mac, ETH_ALEN);
	return true;
}

// address makes the headers of a datagram that leaves, but for length and checksums.
static __always_inline int address(struct datagram *d, bool xdp, const struct route *route, __be32 from, __be32 to, __be16 port)
{
	if (!route || (xdp && route->interface != d->interface))
		return PASS;
	d->interface = route->interface;
	d->gateway = route->gateway ?: to;
	if (xdp && !set_station(d))
		return PASS;
	d->frame.ip.saddr = from;
	d->frame.ip.daddr = to;
	d->frame.udp.source = bpf_htons(PORT);
	d->frame.udp.dest = port;
	return SEND;
}

// check_outer is RFC 4380 section 5.3.1 rule 3.
static __always_inline enum reason check_outer(const struct frame *frame)
{
	if (!frame->udp.source || !is_global(frame->ip.saddr))
		return NOT_GLOBAL;
	return owns(frame->ip.saddr) && frame->udp.source == bpf_htons(PORT) ? LOOP : NONE;
}

static __always_inline bool is_solicitation(const struct inner *in)
{
	const __be32 *to = in->ip.daddr.in6_u.u6_addr32;
	__u64 all = sum(&in->ip.saddr, SOLICITATION - offsetof(struct ipv6hdr, saddr), in->ip.payload_len + bpf_htons(IPPROTO_ICMPV6));

	return !in->icmp.icmp6_code && fold(all) == 0xffff && in->ip.hop_limit == 255 && is_link_local(&in->ip.saddr) &&
	       to[0] == bpf_htonl(0xff020000) && !to[1] && !to[2] && to[3] == bpf_htonl(2);
}

// hash continues SHA-1 with one block (FIPS 180-4 section 6.1.2), whose words it changes. It is a function of its own, which the kernel
// verifies once.
__noinline int hash(struct digest *digest, struct block *block)
{
	__u32 a, b, c, d, e;
	volatile __u32 *w;

	if (!digest || !block)
		return -1;
	w = block->words;
	a = digest->words[0], b = digest->words[1], c = digest->words[2], d = digest->words[3], e = digest->words[4];
#define STEPS(first, function, constant)                                                                                                       \
	_Pragma("unroll") for (int i = first; i < first + 20; i++)                                                                             \
	{                                                                                                                                      \
		__u32 word = w[i % 16], next;                                                                                                  \
                                                                                                                                               \
		if (i >= 16)                                                                                                                   \
			w[i % 16] = word = rotate(word ^ w[(i - 3) % 16] ^ w[(i - 8) % 16] ^ w[(i - 14) % 16], 1);                             \
		next = rotate(a, 5) + (function) + e + word + constant;                                                                        \
		e = d, d = c, c = rotate(b, 30), b = a, a = next;                                                                              \
	}
	STEPS(0, d ^ (b & (c ^ d)), 0x5a827999)
	STEPS(20, b ^ c ^ d, 0x6ed9eba1)
	STEPS(40, (b & c) | (d & (b | c)), 0x8f1bbcdc)
	STEPS(60, b ^ c ^ d, 0xca62c1d6)
	digest->words[0] += a, digest->words[1] += b, digest->words[2] += c, digest->words[3] += d, digest->words[4] += e;
	return 0;
}

// compute computes the authentication value over what is in front of a packet, which are a nonce, a confirmation byte and perhaps an origin
// indication, and over the packet: HMAC-SHA1 (RFC 4380 section 5.2.2).
static __always_inline void compute(struct datagram *d, const struct secret *secret, const __u8 *front, __u32 front_size, const void *packet,
				    __u32 size)
{
	const __be32 *from = packet;
	__u32 *to = d->message[0].words, n = 0, left = front[front_size - 1];

#pragma unroll
	for (; n < front_size / 4; n++)
		to[n] = front[4 * n] << 24 | front[4 * n + 1] << 16 | front[4 * n + 2] << 8 | front[4 * n + 3];
#pragma unroll
	for (int i = 0; i < size / 4; i++) { // one byte of each word belongs to the next one
		__u32 word = bpf_ntohl(from[i]);

		to[n++] = left << 24 | word >> 8;
		left = word;
	}
	to[n++] = left << 24 | 0x800000;
#pragma unroll
	for (; n < 31; n++)
		to[n] = 0;
	to[31] = 8 * (sizeof(struct block) + front_size + size);
	d->value = secret->inner;
	hash(&d->value, &d->message[0]);
	hash(&d->value, &d->message[1]);
	__builtin_memset(to, 0, sizeof(struct block));
	__builtin_memcpy(to, &d->value, sizeof(d->value));
	to[VALUE / 4] = 0x80000000;
	to[15] = 8 * (sizeof(struct block) + VALUE);
	d->value = secret->outer;
	hash(&d->value, &d->message[0]);
#pragma unroll
	for (int i = 0; i < VALUE / 4; i++)
		d->value.words[i] = bpf_htonl(d->value.words[i]);
}

// value_of is where the authentication value is in a solicitation with a client identifier, and in its answer. Nonce and confirmation byte
// follow.
static __always_inline __u8 *value_of(struct datagram *d)
{
	return d->frame.payload + FIXED + bounded(d->client.size, 1, IDENTIFIER);
}

// find_secret returns the secret that a solicitation is signed with. Without one that is known here and valid, it returns NULL.
static __always_inline const struct secret *find_secret(struct datagram *d)
{
	const struct secret *secret = bpf_map_lookup_elem(&secrets, &d->client);
	const __u8 *value = value_of(d), *computed = (void *)&d->value;
	__u8 difference = 0;

	// TAI is never behind UTC. In the seconds between them the program decides.
	if (!secret || (secret->expires && bpf_ktime_get_tai_ns() >= secret->expires))
		return NULL;
	compute(d, secret, value + VALUE, NONCE, &d->inner, SOLICITATION);
#pragma unroll
	for (int i = 0; i < VALUE; i++) // all of them, so that the time does not tell how many are right
		difference |= value[i] ^ computed[i];
	return difference ? NULL : secret;
}

// sign puts the authentication value into an advertisement.
static __always_inline void sign(struct datagram *d, const struct secret *secret)
{
	__u8 *value = value_of(d);

	compute(d, secret, value + VALUE, NONCE + ORIGIN, &d->advertisement, ADVERTISEMENT);
	__builtin_memcpy(value, &d->value, VALUE);
}

// advertise answers a router solicitation (RFC 4380 section 5.3.2). d->front is the size of the authentication in front of it.
static __always_inline int advertise(struct datagram *d, bool xdp, const struct route *back, struct counts *counts)
{
	struct advertisement *ra = &d->advertisement;
	enum reason reason = check_outer(&d->frame);
	__be32 from = d->frame.ip.saddr;
	const struct secret *secret = NULL;
	bool local = d->frame.ip.daddr != bound[0];
	int verdict;

	if (reason)
		return drop(counts, reason);
	if (!is_solicitation(&d->inner))
		return drop(counts, REFUSED_SOLICITATION);
	if (owns(from))
		return drop(counts, LOOP);
	if (d->secure) {
		secret = find_secret(d);
		if (!secret)
			return PASS;
	}
	d->advertises = true;
	d->cone = d->inner.ip.saddr.in6_u.u6_addr8[8] & 0x80;
	if (d->cone) { // from the other address, so that only a cone NAT lets it in
		if (!second)
			return drop(counts, NO_SECOND_ADDRESS);
		local = !local;
	}
#pragma unroll
	for (int i = 0; i < ADVERTISEMENT / 4; i++)
		((__u32 *)ra)[i] = advertisement[i];
	ra->ip.daddr = d->inner.ip.saddr;
	ra->icmp.icmp6_cksum = ~fold(sum(&ra->ip.daddr, sizeof(ra->ip.daddr), (__u16)~ra->icmp.icmp6_cksum));
	d->sum = fold(sum(ra, sizeof(*ra), 0));
	if (d->front & 1)
		d->sum = swap(d->sum);
	if (d->front) // confirmation: the client's key is as good as it was
		d->frame.payload[bounded(d->front, AUTHENTICATION, sizeof(d->frame.payload) - ORIGIN) - 1] = 0;
	put_origin(d->frame.payload + bounded(d->front, 0, sizeof(d->frame.payload) - ORIGIN), &d->frame);
	d->front += ORIGIN;
	verdict = address(d, xdp, back, bound[local], from, d->frame.udp.source);
	if (secret && verdict == SEND)
		sign(d, secret);
	return verdict;
}

// forward sends a bubble to a Teredo client (RFC 4380 section 5.3.1). It always leaves from the primary address.
static __always_inline int forward(struct datagram *d, bool xdp, struct counts *counts)
{
	const struct in6_addr *from = &d->inner.ip.saddr, *to = &d->inner.ip.daddr;
	enum reason reason = check_outer(&d->frame);
	__be32 mapped = ~to->in6_u.u6_addr32[3];
	__be16 port = ~to->in6_u.u6_addr16[5];
	bool ours = to->in6_u.u6_addr32[1] == public_address;

	d->advertises = d->cone = false;
	if (reason)
		return drop(counts, reason);
	if (!is_teredo(to))
		return PASS;
	if (is_teredo(from)) {
		if (from->in6_u.u6_addr32[3] != ~d->frame.ip.saddr || from->in6_u.u6_addr16[5] != (__be16)~d->frame.udp.source)
			return PASS; // it may come from behind a symmetric NAT
	} else {
		if (is_link_local(from) ? from->in6_u.u6_addr32[3] == ~public_address : !is_native(from))
			return PASS; // it may be the server's own address, or permitted
		if (!ours)
			return drop(counts, DESTINATION);
	}
	if (!port || !is_global(mapped))
		return drop(counts, NOT_GLOBAL);
	if (owns(mapped))
		return drop(counts, LOOP);
	if (ours) { // only its clients know this server
		put_origin(d->frame.payload, &d->frame);
		d->front = ORIGIN;
	}
	d->sum = sum(&d->inner, sizeof(d->inner), 0);
	return address(d, xdp, find_route(mapped), bound[0], mapped, port);
}

// read_authentication reads the authentication in front of a solicitation. It has a client identifier and a value where it must.
static __always_inline bool read_authentication(void *context, bool xdp, __u32 size, struct datagram *d)
{
	__u8 *b = d->frame.payload;
	__u32 name = b[2], value = b[3];

	if (b[1] != 1 || size != AUTHENTICATION + name + value + SOLICITATION || value != (d->secure ? VALUE : 0))
		return false;
	d->front = AUTHENTICATION + name + value;
	if (!d->secure)
		return !name && !load(context, xdp, HEADERS + FIXED, b + FIXED, NONCE);
	if (name < 1 || name > IDENTIFIER)
		return false;
	__builtin_memset(b + SHORT, 0, LONG - SHORT);
	__builtin_memset(&d->client, 0, sizeof(d->client));
	// With the byte in front of it, so that Linux 6.1 sees that it is not empty.
	if (load(context, xdp, HEADERS + FIXED - 1, &d->client, 1 + bounded(name, 0, IDENTIFIER)))
		return false;
	d->client.size = name;
	return !load(context, xdp, HEADERS + FIXED, b + FIXED, bounded(name + VALUE + NONCE, 1, sizeof(d->frame.payload) - FIXED));
}

// read reads a frame and its payload. It returns whether the frame is a whole datagram to the server, as the IPv4 stack would take it,
// of a size that a solicitation or a bubble has.
static __always_inline bool read(void *context, bool xdp, __u32 length, struct datagram *d)
{
	struct frame *frame = &d->frame;
	__u32 size = length - HEADERS;
	__u64 all;

	if (size < sizeof(struct ipv6hdr) || size > sizeof(frame->payload) + sizeof(d->inner) ||
	    load(context, xdp, 0, &frame->ethernet, HEADERS + FIXED))
		return false;
	if (frame->ethernet.h_proto != bpf_htons(ETH_P_IP) || frame->ip.version != 4 || frame->ip.ihl != sizeof(struct iphdr) / 4 ||
	    frame->ip.protocol != IPPROTO_UDP || frame->udp.dest != bpf_htons(PORT) || frame->ip.frag_off & bpf_htons(~IP_DF) ||
	    frame->ip.tot_len != bpf_htons(length - sizeof(struct ethhdr)) || frame->udp.len != bpf_htons(sizeof(struct udphdr) + size) ||
	    (frame->ip.daddr != bound[0] && (!second || frame->ip.daddr != bound[1])) || fold(sum(&frame->ip, sizeof(frame->ip), 0)) != 0xffff)
		return false;
	__builtin_memset(frame->payload + FIXED, 0, SHORT - FIXED);
	__builtin_memset(&d->inner, 0, sizeof(d->inner));
	d->front = d->client.size = 0;
	if (!frame->payload[0]) {
		if (!read_authentication(context, xdp, size, d))
			return false;
		size = SOLICITATION;
	} else {
		__builtin_memset(frame->payload, 0, FIXED);
	}
	d->size = size;
	if (size > sizeof(d->inner) || load(context, xdp, HEADERS + d->front, &d->inner, size) || d->inner.ip.version != 6)
		return false;
	if (!frame->udp.check || d->unfinished)
		return true;
	all = fold(sum(&d->inner, sizeof(d->inner), 0));
	all = sum(&frame->ip.saddr, 8, (d->front & 1 ? swap(all) : all) + bpf_htons(IPPROTO_UDP) + frame->udp.len);
	return fold(sum_front(d, all)) == 0xffff;
}

// judge decides about a frame.
static __always_inline int judge(void *context, bool xdp, __u32 length, struct datagram *d, struct counts *counts)
{
	const struct inner *in = &d->inner;
	const struct route *back;
	__be32 source;
	int verdict;

	d->secure = secure;
	if (!read(context, xdp, length, d))
		return PASS;
	source = d->frame.ip.saddr;
	back = find_route(source);
	if (!back || back->interface != d->interface)
		return PASS; // the IPv4 stack may drop it (RFC 1812 section 5.3.8)
	if (in->ip.nexthdr == IPPROTO_ICMPV6 && d->size == SOLICITATION && in->ip.payload_len == bpf_htons(SOLICITATION - sizeof(in->ip)) &&
	    in->icmp.icmp6_type == ROUTER_SOLICITATION && (d->front || !d->secure)) {
		verdict = advertise(d, xdp, back, counts);
		counts->solicitations += verdict != PASS;
	} else if (in->ip.nexthdr == IPPROTO_NONE && !in->ip.payload_len && !d->front) {
		verdict = forward(d, xdp, counts);
	} else {
		return PASS;
	}
	return verdict == SEND && !is_allowed(source) ? drop(counts, BUDGET) : verdict;
}

// payload_size is that of a datagram that leaves.
static __always_inline __u32 payload_size(const struct datagram *d)
{
	return d->front + (d->advertises ? ADVERTISEMENT : d->size);
}

// finish fills in lengths and checksums of a datagram that leaves.
static __always_inline void finish(struct datagram *d, struct counts *counts)
{
	struct frame *frame = &d->frame;
	__u32 length = sizeof(struct udphdr) + payload_size(d);
	__u64 all;

	counts->advertisements += d->advertises;
	counts->cone += d->cone;
	counts->bubbles += !d->advertises;
	frame->udp.len = bpf_htons(length);
	frame->udp.check = 0;
	frame->ip.tos = 0;
	frame->ip.tot_len = bpf_htons(sizeof(struct iphdr) + length);
	frame->ip.id = bpf_get_prandom_u32(); // RFC 6864: DF is clear
	frame->ip.frag_off = 0;               // RFC 4380 section 5.1.2
	frame->ip.ttl = TTL;
	frame->ip.check = 0;
	frame->ip.check = ~fold(sum(&frame->ip, sizeof(frame->ip), 0));
	all = fold(sum(&frame->ip.saddr, 8, bpf_htons(IPPROTO_UDP) + frame->udp.len));
	if (d->unfinished) // as it came
		frame->udp.check = all;
	else
		frame->udp.check = (__u16)~fold(sum_front(d, all) + d->sum) ?: 0xffff;
}

static __always_inline int store(void *context, bool xdp, __u32 at, const void *from, __u32 size)
{
	if (xdp)
		return bpf_xdp_store_bytes(context, at, (void *)from, size);
	return bpf_skb_store_bytes(context, at, from, size, BPF_F_RECOMPUTE_CSUM);
}

// write has a datagram take the place of the one that came. The frame has its size already.
static __always_inline int write(void *context, bool xdp, const struct datagram *d)
{
	__u32 front = HEADERS + bounded(d->front, 0, sizeof(d->frame.payload));

	if (store(context, xdp, 0, &d->frame.ethernet, front))
		return -1;
	if (d->advertises)
		return store(context, xdp, front, &d->advertisement, ADVERTISEMENT);
	return store(context, xdp, front, &d->inner, bounded(d->size, sizeof(struct ipv6hdr), sizeof(d->inner)));
}

// In the network driver.
SEC("xdp")
int answer_in_driver(struct xdp_md *context)
{
	__u32 zero = 0, length = bpf_xdp_get_buff_len(context);
	struct counts *counts = bpf_map_lookup_elem(&counters, &zero);
	struct datagram *d = bpf_map_lookup_elem(&datagrams, &zero);
	struct neighbor key = {context->ingress_ifindex, 0};
	const struct station *self = bpf_map_lookup_elem(&neighbors, &key);
	__u8 to[ETH_ALEN];

	if (!counts || !d || !self || bpf_xdp_load_bytes(context, 0, to, sizeof(to)) || __builtin_memcmp(to, self->mac, ETH_ALEN))
		return XDP_PASS;
	d->interface = context->ingress_ifindex;
	d->unfinished = false;
	switch (judge(context, true, length, d, counts)) {
	case PASS:
		return XDP_PASS;
	case DROP:
		return XDP_DROP;
	}
	if (bpf_xdp_adjust_tail(context, HEADERS + payload_size(d) - length))
		return XDP_PASS; // there is no room
	finish(d, counts);
	return write(context, true, d) ? XDP_DROP : XDP_TX;
}

// At the ingress of an Ethernet interface.
SEC("tcx/ingress")
int answer(struct __sk_buff *skb)
{
	struct sk_buff *kernel = bpf_cast_to_kern_ctx(skb);
	__u32 zero = 0, length = skb->len;
	struct counts *counts = bpf_map_lookup_elem(&counters, &zero);
	struct datagram *d = bpf_map_lookup_elem(&datagrams, &zero);
	struct bpf_redir_neigh hop = {.nh_family = AF_INET};

	if (!counts || !d || skb->protocol != bpf_htons(ETH_P_IP) || skb->pkt_type != PACKET_HOST || skb->vlan_present || skb->gso_size)
		return NEXT;
	d->interface = skb->ifindex;
	d->unfinished = BPF_CORE_READ_BITFIELD(kernel, ip_summed) == CHECKSUM_PARTIAL;
	if (d->unfinished && (kernel->csum_start != kernel->network_header + sizeof(struct iphdr) ||
			      kernel->csum_offset != offsetof(struct udphdr, check)))
		return NEXT;
	switch (judge(skb, false, length, d, counts)) {
	case PASS:
		return NEXT;
	case DROP:
		return TCX_DROP;
	}
	if (bpf_skb_change_tail(skb, HEADERS + payload_size(d), 0))
		return NEXT; // there is no memory
	finish(d, counts);
	if (write(skb, false, d))
		return TCX_DROP;
	hop.ipv4_nh = d->gateway;
	return bpf_redirect_neigh(d->interface, &hop, sizeof(hop), 0);
}

char __license[] SEC("license") = "Dual BSD/GPL";

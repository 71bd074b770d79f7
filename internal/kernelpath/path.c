//go:build ignore

// Carries the packets of confirmed flows between the TUN device and the uplink inside of the kernel. Every other packet goes on to
// the program, which has all the rules; see package kernelpath.
#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// Some distributions have older headers, without these: TCX_NEXT, TCX_DROP, BPF_F_ADJ_ROOM_DECAP_L3_IPV6.
#define NEXT (-1)
#define DROP 2
#define DECAP_L3_IPV6 (1 << 8)

#define SECOND 1000000000ULL
#define VALIDITY (30 * SECOND)      // RFC 4380 section 5.2.4
#define REFRESH_AFTER (20 * SECOND) // from then on the program tries the path anew
#define SILENCE (2 * SECOND)        // after it, the program at the other end of a virtual link may be one that has restarted
#define IN_ORDER SECOND             // after a burst that the program sends, all packets of the flow go to the program for so long
#define BRISK 16000                 // nanoseconds: datagrams that follow each other faster are sent in batches by the program
#define MANY 64                     // datagrams in a row make such a burst
#define OVERLOAD (10 * SECOND)      // a flow waits no longer for a program that always has packets to read
#define ON_THE_WAY (SECOND / 10)    // packets that the program has taken may still leave for so long
#define KNOWN (300 * SECOND)        // how long it counts that a datagram without a UDP checksum got through
#define DOUBT (2 * SECOND)          // a loss counts when no such datagram got through for so long
#define MOST_DOUBLINGS 9            // of DOUBT, which is the time until the next attempt

#define FRAGMENT 0x3fff // more fragments, or an offset
#define TTL 64
#define TEST_LEN 16 // length of the ICMPv6 message of a connectivity test; the program needs the reply

#define SKB_GSO_TCPV6 (1 << 4)
#define SKB_GSO_UDP_L4 (1 << 17)

// The parts of the kernel's own view of a packet that are needed here.
struct sk_buff {
	unsigned char *head;
	unsigned char *data;
	__u16 network_header;
	__u16 mac_len;
	unsigned int end;
	__u8 encapsulation : 1;
} __attribute__((preserve_access_index));

struct skb_shared_info {
	unsigned int gso_type;
} __attribute__((preserve_access_index));

void *bpf_cast_to_kern_ctx(void *ctx) __ksym;
void *bpf_rdonly_cast(const void *object, __u32 type) __ksym;

struct outer {
	struct iphdr ip;
	struct udphdr udp;
};

struct datagram {
	struct outer outer;
	struct ipv6hdr inner;
};

// A flow is the packets between one address on our side of the tunnel and one peer.
struct flow_key {
	struct in6_addr local;
	struct in6_addr peer;
};

// What keeps the packets of one direction in order.
struct order {
	__u64 until;  // the program carries all packets until then,
	__u64 handed; // and until it is done with the one of this number, the latest that went to it for this reason
};

struct flow { // With key and administration it takes 248 bytes; the kernel allocates 256 bytes.
	__be32 local; // addresses and ports of the datagrams
	__be32 remote;
	__be16 local_port;
	__be16 remote_port;
	__u32 uplink;  // interface that they leave by
	__u64 heard;   // time of the last reception, nanoseconds of CLOCK_BOOTTIME
	__u64 sent;    // packets
	__u64 received;
	__u64 sent_bytes; // of the packets, without the headers of the datagrams
	__u64 received_bytes;
	struct order out;
	__u64 last;         // when the last packet that is not TCP came from the local stack
	__u32 answered;     // the value of received at that time
	__u16 brisk;        // how many packets in a row came faster than BRISK, while the peer sent nothing
	bool physical;      // the uplink segments GSO packets, and resolves CHECKSUM_PARTIAL, before they leave the host
	bool open;          // packets may be sent
	__u64 encapsulated; // virtual uplink: when a packet last came with the encapsulation mark (skb->encapsulation), 0: never
	__u64 introduced;   // virtual uplink: when the first packet with the mark left since the flow is open, 0: none yet
	__u64 trial;        // when a packet of TCP left without a UDP checksum that is not acknowledged yet, 0: there is none
	__u32 trial_sequence;
	__be16 trial_local; // ports
	__be16 trial_peer;
	__u64 withheld; // when a packet last went to the program because datagrams without a UDP checksum do not get through
	struct order in; // a burst here is several datagrams in one GSO packet, which only the program can deliver
	struct in6_addr native; // the peer's address outside of the Teredo service; zero: it is not translated
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1); // the program sets the number
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

// The Teredo addresses of clients. The key is the address on our side and the client's native address.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1); // the program sets the number
	__type(key, struct flow_key);
	__type(value, struct in6_addr);
} clients SEC(".maps");

struct progress {
	__u64 handed;  // number of the latest packet that went to the program to stay in order
	__u64 follows; // the program writes done
	__u64 line[6]; // of the cache: each side writes its own
	__u64 done;    // the program had sent or delivered the packets up to this number when it found no more
	__u64 rest[7];
};

enum { OUT, IN };

// What is known about datagrams without a UDP checksum to an address.
struct no_checksum {
	__u64 answered; // when one was last acknowledged, 0: never, or not since the last failure
	__u64 failures; // in a row
	__u64 retry;    // when the next attempt may be made
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __be32);
	__type(value, struct no_checksum);
} no_checksums SEC(".maps");

// What the program has been left in each direction, and is done with. Packets have numbers from 1 on.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct progress);
} progress SEC(".maps");

volatile const __u32 tunnel; // the TUN device
volatile const bool translates; // whether peers may have native addresses

__u64 failed; // packets dropped because the kernel had no memory for the header

static bool is_bubble(const struct ipv6hdr *ip)
{
	return ip->nexthdr == IPPROTO_NONE;
}

// is_jumbogram recognises a packet whose header has no length (RFC 2675). Linux forwards these with whatever bytes follow, which
// the other end would take for trailers.
static bool is_jumbogram(const struct ipv6hdr *ip)
{
	return !ip->payload_len && ip->nexthdr == IPPROTO_HOPOPTS;
}

static bool is_teredo(const struct in6_addr *address)
{
	return address->in6_u.u6_addr32[0] == bpf_htonl(0x20010000);
}

// load copies bytes that begin so far from the network header. Some are not in the linear part of the packet: all but the outer headers
// of a burst that a program sends over a virtual link, or all but the first headers behind some network cards.
static long load(struct __sk_buff *skb, __u32 at, void *to, __u32 size)
{
	const struct sk_buff *kernel = bpf_cast_to_kern_ctx(skb);
	__u64 before = kernel->data - kernel->head; // the verifier allows no 32-bit arithmetic with these

	return bpf_skb_load_bytes(skb, kernel->network_header + at - (__u32)before, to, size);
}

// is_for_program recognises ICMPv6 that the program has to see: answers to its tests and pings, which are of a length of their own,
// and errors, which quote one of these, or a packet with further addresses.
static bool is_for_program(struct __sk_buff *skb, const struct ipv6hdr *ip, __u32 payload)
{
	__u8 type;

	if (ip->nexthdr != IPPROTO_ICMPV6)
		return false;
	return ip->payload_len == bpf_htons(TEST_LEN) ||
	       load(skb, payload, &type, sizeof(type)) || type < ICMPV6_ECHO_REQUEST;
}

// is_exchangeable recognises packets whose only addresses are those of the header, so the kernel can translate them: no checksum
// changes (RFC 6296).
static bool is_exchangeable(const struct ipv6hdr *ip)
{
	return ip->nexthdr == IPPROTO_TCP || ip->nexthdr == IPPROTO_UDP || ip->nexthdr == IPPROTO_ICMPV6;
}

static __u16 checksum(const void *words, __u32 size)
{
	__u64 sum = bpf_csum_diff(0, 0, (__be32 *)words, size, 0);

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

// is_older reports whether a time is at least so long ago. Another processor may have set a time that is later than now.
static bool is_older(__u64 time, __u64 now, __u64 age)
{
	return (__s64)(now - time) >= (__s64)age;
}

static __u32 segments(const struct __sk_buff *skb)
{
	return skb->gso_segs ?: 1;
}

// bytes is the size of a packet. Of a GSO packet, which is always TCP here, it is the size of all segments together.
static __u64 bytes(const struct __sk_buff *skb, const struct ipv6hdr *ip, const struct tcphdr *tcp)
{
	return sizeof(*ip) + bpf_ntohs(ip->payload_len) + (segments(skb) - 1) * (sizeof(*ip) + tcp->doff * 4);
}

// udp_checksum computes the UDP checksum of the datagram that carries a packet, from headers alone; 0: that is impossible. A packet with
// a right checksum, or with CHECKSUM_PARTIAL, adds up to the complement of its pseudo-header, whatever its data is.
static __u16 udp_checksum(struct __sk_buff *skb, const struct outer *outer, const struct ipv6hdr *ip)
{
	__be16 own = 1;

	if (skb->gso_size)
		return 0; // every segment gets the same outer header, and the last one may be shorter than the others
	switch (ip->nexthdr) {
	case IPPROTO_UDP:
		load(skb, sizeof(*ip) + offsetof(struct udphdr, check), &own, sizeof(own));
		break;
	case IPPROTO_TCP:
	case IPPROTO_ICMPV6:
		break;
	default:
		own = 0;
	}
	if (!own)
		return 0;
	struct {
		__be32 source, destination;
		__be16 protocol, length; // up to here the pseudo-header of UDP
		struct udphdr udp;
		__u8 first[4]; // of the IPv6 header; the rest of it is in its own pseudo-header, but for what follows
		__u8 next_header, hop_limit;
		__be16 less;
	} all = {
		.source = outer->ip.saddr,
		.destination = outer->ip.daddr,
		.protocol = bpf_htons(IPPROTO_UDP),
		.length = outer->udp.len,
		.udp = outer->udp,
		.next_header = ip->nexthdr,
		.hop_limit = ip->hop_limit,
		.less = ~bpf_htons(ip->nexthdr),
	};
	__builtin_memcpy(all.first, ip, sizeof(all.first));
	return checksum(&all, sizeof(all)) ?: 0xffff;
}

// may_omit_checksum reports whether a packet may leave without a UDP checksum. Some NATs and firewalls drop such datagrams. So the
// first one is a trial: until the peer acknowledges it, and for a while after it was lost, the program sends these packets.
static bool may_omit_checksum(struct flow *flow, const struct ipv6hdr *ip, const struct tcphdr *tcp, __u64 now)
{
	const struct no_checksum *history = bpf_map_lookup_elem(&no_checksums, &flow->remote);
	bool known = history && history->answered && !is_older(history->answered, now, KNOWN);
	bool open = flow->trial && !is_older(flow->trial, now, DOUBT);

	if (!known && (open || ip->nexthdr != IPPROTO_TCP || (history && history->retry > now))) {
		if (history && !history->answered)
			flow->withheld = now;
		return false;
	}
	if (!open && ip->nexthdr == IPPROTO_TCP) {
		flow->trial = now;
		flow->trial_sequence = bpf_ntohl(tcp->seq);
		flow->trial_local = tcp->source;
		flow->trial_peer = tcp->dest;
	}
	return true;
}

// note_retransmission ends a trial whose packet TCP sends again. It is a failure unless other datagrams without a UDP checksum got
// through recently: then it was an ordinary loss.
static void note_retransmission(struct flow *flow, const struct tcphdr *tcp, __u32 payload, __u64 now)
{
	__u32 sequence = bpf_ntohl(tcp->seq);

	if (!flow->trial || tcp->source != flow->trial_local || tcp->dest != flow->trial_peer ||
	    (__s32)(sequence - flow->trial_sequence) > 0 || (__s32)(sequence + payload - flow->trial_sequence) <= 0)
		return;
	flow->trial = 0;

	const struct no_checksum *history = bpf_map_lookup_elem(&no_checksums, &flow->remote);
	struct no_checksum failed = {.failures = 1};

	if (history && history->answered && !is_older(history->answered, now, DOUBT))
		return;
	if (history && history->failures)
		failed.failures = history->failures < MOST_DOUBLINGS ? history->failures + 1 : MOST_DOUBLINGS;
	failed.retry = now + (DOUBT << failed.failures);
	bpf_map_update_elem(&no_checksums, &flow->remote, &failed, BPF_ANY);
}

// note_acknowledgement ends a trial whose packet the peer acknowledges.
static void note_acknowledgement(struct flow *flow, const struct tcphdr *tcp, __u64 now)
{
	struct no_checksum answered = {.answered = now};

	if (!flow->trial || tcp->dest != flow->trial_local || tcp->source != flow->trial_peer || !tcp->ack ||
	    (__s32)(bpf_ntohl(tcp->ack_seq) - flow->trial_sequence) <= 0)
		return;
	flow->trial = 0;
	bpf_map_update_elem(&no_checksums, &flow->remote, &answered, BPF_ANY);
}

static int drop(void)
{
	__sync_fetch_and_add(&failed, 1);
	return DROP;
}

// is_burst recognises packets that the program sends better than the kernel: a GSO packet of UDP, which cannot be one in the
// tunnel, and datagrams that follow each other fast, of which the program sends many with one system call.
static bool is_burst(const struct __sk_buff *skb, const struct ipv6hdr *ip, struct flow *flow, __u64 now)
{
	if (ip->nexthdr == IPPROTO_TCP)
		return false;
	bool follows = !is_older(flow->last, now, BRISK) && flow->answered == (__u32)flow->received;

	flow->brisk = !follows ? 0 : flow->brisk < MANY ? flow->brisk + 1 : MANY;
	flow->last = now;
	flow->answered = flow->received;
	return skb->gso_size || flow->brisk >= MANY;
}

// is_for_order decides whether a packet goes to the program to stay in order: it is a burst, a burst came less than IN_ORDER ago, or the
// program still has earlier packets. A program that says what it is done with is waited for until OVERLOAD; another one is not.
static bool is_for_order(struct order *order, __u32 direction, bool burst, __u64 now)
{
	struct progress *p = bpf_map_lookup_elem(&progress, &direction);

	if (burst)
		order->until = now + IN_ORDER;
	if (!p || !p->follows)
		return order->until > now;
	if (order->until <= now && (order->handed <= p->done || is_older(order->until, now, OVERLOAD)))
		return false;
	order->handed = __sync_fetch_and_add(&p->handed, 1) + 1;
	return true;
}

// may_be_sent reports whether packets other than bubbles may be sent. Over a virtual link some are GSO or CHECKSUM_PARTIAL packets.
// When the other end was silent, its program may have restarted: it cannot use these, and its kernel does not know the flow.
static __always_inline int may_be_sent(struct flow *flow, __u64 now)
{
	return flow->open && (flow->physical || !is_older(flow->heard, now, SILENCE));
}

// At the egress of the TUN device: packets from the local stack, or forwarded ones.
SEC("tcx/egress")
int outgoing(struct __sk_buff *skb)
{
	struct flow_key key;
	struct ipv6hdr inner;
	struct flow *flow;
	bool translated;
	__u64 now;

	if (skb->protocol != bpf_htons(ETH_P_IPV6) || load(skb, 0, &inner, sizeof(inner)) || is_jumbogram(&inner))
		return NEXT;
	key.local = inner.saddr;
	key.peer = inner.daddr;
	translated = translates && !is_teredo(&inner.daddr);
	if (translated) {
		const struct in6_addr *client = bpf_map_lookup_elem(&clients, &key);

		if (!client || !is_exchangeable(&inner) || is_for_program(skb, &inner, sizeof(inner)))
			return NEXT;
		key.peer = *client;
	}
	flow = bpf_map_lookup_elem(&flows, &key);
	now = bpf_ktime_get_boot_ns();
	if (!flow || is_older(flow->heard, now, REFRESH_AFTER))
		return NEXT;
	__u32 length = sizeof(struct outer) + skb->len;

	if (length > 0xffff)
		return NEXT;

	struct tcphdr tcp = {};
	struct outer outer = {
		.ip = {
			.version = 4,
			.ihl = sizeof(struct iphdr) / 4,
			.tot_len = bpf_htons(length),
			.ttl = TTL,
			.protocol = IPPROTO_UDP,
			.saddr = flow->local,
			.daddr = flow->remote,
		},
		.udp = {
			.source = flow->local_port,
			.dest = flow->remote_port,
			.len = bpf_htons(length - sizeof(struct iphdr)),
		},
	};

	if (inner.nexthdr == IPPROTO_TCP && (skb->gso_size || flow->trial)) {
		if (load(skb, sizeof(inner), &tcp, sizeof(tcp)))
			return NEXT;
		note_retransmission(flow, &tcp, bpf_ntohs(inner.payload_len) - tcp.doff * 4, now);
	}
	if (is_for_order(&flow->out, OUT, is_burst(skb, &inner, flow, now), now) || (!may_be_sent(flow, now) && !is_bubble(&inner)))
		return NEXT;
	if (flow->physical) {
		outer.udp.check = udp_checksum(skb, &outer, &inner);
		if (!outer.udp.check && !may_omit_checksum(flow, &inner, &tcp, now)) {
			flow->out.until = now + ON_THE_WAY;
			return NEXT;
		}
	}
	if (!flow->introduced)
		flow->introduced = now;
	// No two in a row alike (RFC 6864): DF is clear (RFC 4380 section 5.1.2).
	outer.ip.id = bpf_htons(__sync_fetch_and_add(&flow->sent, segments(skb)));
	outer.ip.check = checksum(&outer.ip, sizeof(outer.ip));
	__sync_fetch_and_add(&flow->sent_bytes, bytes(skb, &inner, &tcp));

	__u32 uplink = flow->uplink;

	if (bpf_skb_adjust_room(skb, sizeof(outer), BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |
				BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET) ||
	    bpf_skb_store_bytes(skb, 0, &outer, sizeof(outer), 0) ||
	    (translated && bpf_skb_store_bytes(skb, sizeof(outer) + offsetof(struct ipv6hdr, daddr), &key.peer, sizeof(key.peer), 0)) ||
	    bpf_skb_change_head(skb, ETH_HLEN, 0)) // bpf_redirect_neigh replaces it
		return drop();
	return bpf_redirect_neigh(uplink, NULL, 0, 0);
}

// is_plain recognises a datagram that holds an IPv6 packet and nothing else: no trailer, authentication or origin indication.
static bool is_plain(const struct datagram *d)
{
	return d->inner.version == 6 &&
	       bpf_ntohs(d->outer.udp.len) == sizeof(struct udphdr) + sizeof(d->inner) + bpf_ntohs(d->inner.payload_len) &&
	       bpf_ntohs(d->outer.ip.tot_len) == sizeof(struct iphdr) + bpf_ntohs(d->outer.udp.len);
}

// is_tcp recognises a GSO packet of TCP. Others are several datagrams that GRO has joined.
static bool is_tcp(const struct sk_buff *kernel)
{
	struct skb_shared_info *shared =
		bpf_rdonly_cast(kernel->head + kernel->end, bpf_core_type_id_kernel(struct skb_shared_info));

	return (shared->gso_type & (SKB_GSO_TCPV6 | SKB_GSO_UDP_L4)) == SKB_GSO_TCPV6;
}

// is_sound checks the IPv4 header as the kernel would (RFC 1122 section 3.2.1), which a packet that goes on from here bypasses.
static bool is_sound(const struct iphdr *ip)
{
	return ip->version == 4 && checksum(ip, sizeof(*ip)) == 0;
}

// At the ingress of the uplink.
SEC("tcx/ingress")
int incoming(struct __sk_buff *skb)
{
	struct sk_buff *kernel = bpf_cast_to_kern_ctx(skb);
	const struct ipv6hdr *inner;
	const struct outer *outer;
	struct datagram datagram;
	struct tcphdr tcp = {};
	struct flow_key key;
	struct flow *flow;
	__u64 now;

	if (skb->protocol != bpf_htons(ETH_P_IP) || skb->pkt_type != PACKET_HOST || load(skb, 0, &datagram, sizeof(datagram)))
		return NEXT;
	outer = &datagram.outer;
	inner = &datagram.inner;
	if (outer->ip.ihl != sizeof(struct iphdr) / 4 || outer->ip.protocol != IPPROTO_UDP || outer->ip.frag_off & bpf_htons(FRAGMENT))
		return NEXT;
	key.local = inner->daddr;
	key.peer = inner->saddr;
	flow = bpf_map_lookup_elem(&flows, &key);
	now = bpf_ktime_get_boot_ns();
	if (!flow || is_older(flow->heard, now, VALIDITY) || outer->ip.saddr != flow->remote || outer->udp.source != flow->remote_port ||
	    outer->ip.daddr != flow->local || outer->udp.dest != flow->local_port)
		return NEXT;
	if (skb->gso_size && !is_tcp(kernel))
		is_for_order(&flow->in, IN, true, now);
	if (inner->nexthdr == IPPROTO_TCP && (skb->gso_size || flow->trial)) {
		if (load(skb, sizeof(datagram), &tcp, sizeof(tcp)))
			return NEXT;
		note_acknowledgement(flow, &tcp, now);
	}
	if (!is_plain(&datagram) || !is_sound(&outer->ip))
		return NEXT;
	// Another kernel path has sent it over virtual links: if it is a GSO or CHECKSUM_PARTIAL packet, the program cannot use it.
	bool encapsulated = BPF_CORE_READ_BITFIELD(kernel, encapsulation);
	if (encapsulated) {
		if (!flow->open)
			flow->introduced = 0;
		flow->encapsulated = now;
		flow->open = true;
	}
	bool translated = translates && flow->native.in6_u.u6_addr32[0];

	if (is_bubble(inner) || is_for_program(skb, inner, sizeof(datagram)) || (translated && !is_exchangeable(inner)))
		return NEXT;
	if (!encapsulated) {
		// The other end's program has sent it, although its kernel was introduced a while ago: that program may have restarted.
		if (!flow->physical && flow->encapsulated && is_older(flow->encapsulated, now, ON_THE_WAY) &&
		    flow->introduced && is_older(flow->introduced, now, ON_THE_WAY))
			flow->open = false;
		if (is_for_order(&flow->in, IN, false, now))
			return NEXT;
	}

	flow->heard = now;
	__sync_fetch_and_add(&flow->received, segments(skb));
	__sync_fetch_and_add(&flow->received_bytes, bytes(skb, inner, &tcp));
	__u32 source = kernel->mac_len + offsetof(struct datagram, inner.saddr);

	if ((translated && bpf_skb_store_bytes(skb, source, &flow->native, sizeof(flow->native), 0)) ||
	    bpf_skb_adjust_room(skb, -(int)sizeof(*outer), BPF_ADJ_ROOM_MAC, DECAP_L3_IPV6 | BPF_F_ADJ_ROOM_FIXED_GSO))
		return drop();
	return bpf_redirect(tunnel, BPF_F_INGRESS);
}

char __license[] SEC("license") = "Dual BSD/GPL";

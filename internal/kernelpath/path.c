//go:build ignore

// Carries the packets of confirmed flows between the TUN device and the uplink without leaving the kernel. What is not
// surely one of those goes on to the program, which is where all rules are; see package kernelpath.
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

// Newer than the headers of some distributions: TCX_NEXT, TCX_DROP, BPF_F_ADJ_ROOM_DECAP_L3_IPV6.
#define NEXT (-1)
#define DROP 2
#define DECAP_L3_IPV6 (1 << 8)

#define SECOND 1000000000ULL
#define VALIDITY (30 * SECOND)      // RFC 4380 section 5.2.4
#define REFRESH_AFTER (20 * SECOND) // from then on the program tries the path anew
#define SILENCE (2 * SECOND)        // from then on a program that has restarted may be at the other end
#define IN_ORDER SECOND             // how long after a burst for the program all else goes there, too
#define BRISK 16000                 // nanoseconds between datagrams that the program can send many at a time
#define MANY 64                     // of them make a burst
#define ON_THE_WAY (SECOND / 10)    // what a program may still have when the kernel takes over
#define KNOWN (300 * SECOND)        // how long it counts that a datagram without a checksum got through
#define DOUBT (2 * SECOND)          // a loss counts when none got through for so long
#define MOST_DOUBLINGS 9            // of DOUBT, the time until the next attempt

#define FRAGMENT 0x3fff // more fragments, or an offset
#define TTL 64
#define TEST_LEN 16 // ICMPv6 length of a connectivity test, whose replies are for the program

#define SKB_GSO_TCPV6 (1 << 4)
#define SKB_GSO_UDP_L4 (1 << 17)

// The parts of the kernel's own view of a packet that are needed here.
struct sk_buff {
	unsigned char *head;
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

// A flow is packets between an address on our side of the tunnel and a peer.
struct flow_key {
	struct in6_addr local;
	struct in6_addr peer;
};

struct flow {
	__be32 local; // addresses and ports of the datagrams
	__be32 remote;
	__be16 local_port;
	__be16 remote_port;
	__u32 uplink;   // interface that they leave by
	__u64 heard;    // time of the last reception, nanoseconds of CLOCK_BOOTTIME
	__u64 sent;     // packets
	__u64 received;
	__u64 sent_bytes; // of the packets, without the headers of the datagrams
	__u64 received_bytes;
	__u64 finished; // whether packets are finished when they leave the host, so that others may look at the UDP checksum
	__u64 open;     // whether packets may be sent
	__u64 marked;   // when a packet that showed this last came, 0: none has to
	__u64 shown;    // when the first packet left that shows it to the other end, since the flow is open
	__u64 in_order; // until when everything from the local stack is for the program, after something that is
	__u64 trial;    // when a packet of TCP left without a UDP checksum whose fate is open, 0: there is none
	__u32 trial_sequence;
	__be16 trial_local; // ports
	__be16 trial_peer;
	__u64 kept; // when the program last got something because datagrams without a checksum do not get through
	__u64 burst_in;  // when datagrams last came as one, which only the program can deliver
	__u64 last;      // when the last packet but TCP's came from the local stack
	__u64 answered;  // what had been received then
	struct in6_addr native; // the peer's address outside of the Teredo service, zero: its own
	__u64 brisk;     // how many in a row came briskly, and not as answers
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1); // the program says how many
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

// The Teredo addresses of peers that have native addresses, by these and the address on our side.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1); // the program says how many
	__type(key, struct flow_key);
	__type(value, struct in6_addr);
} clients SEC(".maps");

// What is known about datagrams without a UDP checksum to an address.
struct bare {
	__u64 answered; // when one was last known to have got through, 0: they do not, or nothing is known
	__u64 failures; // in a row
	__u64 retry;    // when the next may be tried
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __be32);
	__type(value, struct bare);
} bares SEC(".maps");

volatile const __u32 tunnel; // the TUN device
volatile const bool translates; // whether peers may have native addresses

__u64 failed; // packets dropped because the kernel had no room for the header

static bool is_bubble(const struct ipv6hdr *ip)
{
	return ip->nexthdr == IPPROTO_NONE;
}

// is_jumbogram tells a packet whose length is not in its header (RFC 2675), if it is anywhere: Linux forwards such packets with
// whatever follows. At the other end that would be trailers.
static bool is_jumbogram(const struct ipv6hdr *ip)
{
	return !ip->payload_len && ip->nexthdr == IPPROTO_HOPOPTS;
}

static bool is_test(const struct ipv6hdr *ip)
{
	return ip->nexthdr == IPPROTO_ICMPV6 && ip->payload_len == bpf_htons(TEST_LEN);
}

static bool is_teredo(const struct in6_addr *address)
{
	return address->in6_u.u6_addr32[0] == bpf_htonl(0x20010000);
}

// is_exchangeable tells the packets in which the addresses of the header are the only ones. ICMPv6 errors hold others, in the
// packets that they quote, which the program translates. An exchange of prefixes changes no checksum (RFC 6296).
static bool is_exchangeable(struct __sk_buff *skb, const struct ipv6hdr *ip, __u32 payload)
{
	__u8 type;

	switch (ip->nexthdr) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		return true;
	case IPPROTO_ICMPV6:
		return !bpf_skb_load_bytes_relative(skb, payload, &type, sizeof(type), BPF_HDR_START_NET) && type >= ICMPV6_ECHO_REQUEST;
	}
	return false;
}

static __u16 checksum(const void *words, __u32 size)
{
	__u64 sum = bpf_csum_diff(0, 0, (__be32 *)words, size, 0);

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

// is_older compares times. Another processor may have set one since this one read the clock.
static bool is_older(__u64 time, __u64 now, __u64 age)
{
	return (__s64)(now - time) >= (__s64)age;
}

static __u32 segments(const struct __sk_buff *skb)
{
	return skb->gso_segs ?: 1;
}

// bytes is the size of a packet, of all segments of a super-packet together. Super-packets are TCP's.
static __u64 bytes(const struct __sk_buff *skb, const struct ipv6hdr *ip, const struct tcphdr *tcp)
{
	return sizeof(*ip) + bpf_ntohs(ip->payload_len) + (segments(skb) - 1) * (sizeof(*ip) + tcp->doff * 4);
}

// udp_checksum is the checksum of a datagram with a packet in it, 0 if that cannot be told. A packet whose own checksum is right,
// or is to be filled in, adds up to the complement of its pseudo-header, whatever is in it.
static __u16 udp_checksum(struct __sk_buff *skb, const struct outer *outer, const struct ipv6hdr *ip)
{
	__be16 own = 1;

	if (skb->gso_size)
		return 0; // the last segment may be shorter than the others
	switch (ip->nexthdr) {
	case IPPROTO_UDP:
		bpf_skb_load_bytes_relative(skb, sizeof(*ip) + offsetof(struct udphdr, check), &own, sizeof(own), BPF_HDR_START_NET);
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
		__be16 protocol, length; // so far the pseudo-header
		struct udphdr udp;
		__u8 first[4]; // of the IPv6 header, which follows without what is in its pseudo-header
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

// Some NATs and firewalls drop datagrams without a UDP checksum. So a packet that has to leave without one is on trial until
// the peer acknowledges it. Others like it go to the program meanwhile, and when it was lost.

// may_be_bare reports whether a packet may leave without a UDP checksum.
static bool may_be_bare(struct flow *flow, const struct ipv6hdr *ip, const struct tcphdr *tcp, __u64 now)
{
	const struct bare *bare = bpf_map_lookup_elem(&bares, &flow->remote);
	bool known = bare && bare->answered && !is_older(bare->answered, now, KNOWN);
	bool open = flow->trial && !is_older(flow->trial, now, DOUBT);

	if (!known && (open || ip->nexthdr != IPPROTO_TCP || (bare && bare->retry > now))) {
		if (bare && !bare->answered)
			flow->kept = now;
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

// note_again looks whether a packet is one on trial that comes again. While others get through that is just a loss.
static void note_again(struct flow *flow, const struct tcphdr *tcp, __u32 payload, __u64 now)
{
	__u32 sequence = bpf_ntohl(tcp->seq);

	if (!flow->trial || tcp->source != flow->trial_local || tcp->dest != flow->trial_peer ||
	    (__s32)(sequence - flow->trial_sequence) > 0 || (__s32)(sequence + payload - flow->trial_sequence) <= 0)
		return;
	flow->trial = 0;

	const struct bare *bare = bpf_map_lookup_elem(&bares, &flow->remote);
	struct bare failed = {.failures = 1};

	if (bare && bare->answered && !is_older(bare->answered, now, DOUBT))
		return;
	if (bare && bare->failures)
		failed.failures = bare->failures < MOST_DOUBLINGS ? bare->failures + 1 : MOST_DOUBLINGS;
	failed.retry = now + (DOUBT << failed.failures);
	bpf_map_update_elem(&bares, &flow->remote, &failed, BPF_ANY);
}

// note_answer looks whether a packet of the peer acknowledges the one on trial.
static void note_answer(struct flow *flow, const struct tcphdr *tcp, __u64 now)
{
	struct bare answered = {.answered = now};

	if (!flow->trial || tcp->dest != flow->trial_local || tcp->source != flow->trial_peer || !tcp->ack ||
	    (__s32)(bpf_ntohl(tcp->ack_seq) - flow->trial_sequence) <= 0)
		return;
	flow->trial = 0;
	bpf_map_update_elem(&bares, &flow->remote, &answered, BPF_ANY);
}

static int drop(void)
{
	__sync_fetch_and_add(&failed, 1);
	return DROP;
}

// is_burst tells what the program sends better than the kernel. TCP makes super-packets, and gets them from the kernel as they
// are. Datagrams that came as one from the local stack can't be one in a tunnel. And of datagrams that come briskly the program
// makes one again, so that the whole way has less work.
static bool is_burst(const struct __sk_buff *skb, const struct ipv6hdr *ip, struct flow *flow, __u64 now)
{
	if (ip->nexthdr == IPPROTO_TCP)
		return false;
	bool follows = !is_older(flow->last, now, BRISK) && flow->answered == flow->received;

	flow->brisk = follows ? flow->brisk + 1 : 0;
	flow->last = now;
	flow->answered = flow->received;
	return skb->gso_size || flow->brisk >= MANY;
}

// Whether packets that are no bubbles may be sent. A program that has restarted cannot use unfinished ones, and does not know yet
// that they come: what it gets first must be finished.
static __always_inline int may_be_sent(struct flow *flow, __u64 now)
{
	return flow->open && (flow->finished || !is_older(flow->heard, now, SILENCE));
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

	if (skb->protocol != bpf_htons(ETH_P_IPV6) ||
	    bpf_skb_load_bytes_relative(skb, 0, &inner, sizeof(inner), BPF_HDR_START_NET) || is_jumbogram(&inner))
		return NEXT;
	key.local = inner.saddr;
	key.peer = inner.daddr;
	translated = translates && !is_teredo(&inner.daddr);
	if (translated) {
		const struct in6_addr *client = bpf_map_lookup_elem(&clients, &key);

		if (!client || !is_exchangeable(skb, &inner, sizeof(inner)))
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
		if (bpf_skb_load_bytes_relative(skb, sizeof(inner), &tcp, sizeof(tcp), BPF_HDR_START_NET))
			return NEXT;
		note_again(flow, &tcp, bpf_ntohs(inner.payload_len) - tcp.doff * 4, now);
	}
	if (is_burst(skb, &inner, flow, now))
		flow->in_order = now + IN_ORDER;
	if (flow->in_order > now || (!may_be_sent(flow, now) && !is_bubble(&inner)))
		return NEXT;
	if (flow->finished) {
		outer.udp.check = udp_checksum(skb, &outer, &inner);
		if (!outer.udp.check && !may_be_bare(flow, &inner, &tcp, now)) {
			flow->in_order = now + ON_THE_WAY;
			return NEXT;
		}
	}
	if (!flow->shown)
		flow->shown = now;
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

// is_plain tells a datagram with nothing but an IPv6 packet from those with a trailer, authentication or origin.
static bool is_plain(const struct datagram *d)
{
	return d->inner.version == 6 &&
	       bpf_ntohs(d->outer.udp.len) == sizeof(struct udphdr) + sizeof(d->inner) + bpf_ntohs(d->inner.payload_len) &&
	       bpf_ntohs(d->outer.ip.tot_len) == sizeof(struct iphdr) + bpf_ntohs(d->outer.udp.len);
}

// is_tcp tells a super-packet of TCP from several datagrams in one.
static bool is_tcp(const struct sk_buff *kernel)
{
	struct skb_shared_info *shared =
		bpf_rdonly_cast(kernel->head + kernel->end, bpf_core_type_id_kernel(struct skb_shared_info));

	return (shared->gso_type & (SKB_GSO_TCPV6 | SKB_GSO_UDP_L4)) == SKB_GSO_TCPV6;
}

// is_sound does the checks of IPv4 that a packet which goes on from here does not come to (RFC 1122 section 3.2.1).
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

	if (skb->protocol != bpf_htons(ETH_P_IP) || skb->pkt_type != PACKET_HOST ||
	    bpf_skb_load_bytes_relative(skb, 0, &datagram, sizeof(datagram), BPF_HDR_START_NET))
		return NEXT;
	outer = &datagram.outer;
	inner = &datagram.inner;
	if (outer->ip.ihl != sizeof(struct iphdr) / 4 || outer->ip.protocol != IPPROTO_UDP ||
	    outer->ip.frag_off & bpf_htons(FRAGMENT))
		return NEXT;
	key.local = inner->daddr;
	key.peer = inner->saddr;
	flow = bpf_map_lookup_elem(&flows, &key);
	now = bpf_ktime_get_boot_ns();
	if (!flow || is_older(flow->heard, now, VALIDITY) || outer->ip.saddr != flow->remote ||
	    outer->udp.source != flow->remote_port || outer->ip.daddr != flow->local ||
	    outer->udp.dest != flow->local_port)
		return NEXT;
	if (skb->gso_size && !is_tcp(kernel))
		flow->burst_in = now;
	if (inner->nexthdr == IPPROTO_TCP && (skb->gso_size || flow->trial)) {
		if (bpf_skb_load_bytes_relative(skb, sizeof(datagram), &tcp, sizeof(tcp), BPF_HDR_START_NET))
			return NEXT;
		note_answer(flow, &tcp, now);
	}
	if (!is_plain(&datagram) || !is_sound(&outer->ip))
		return NEXT;
	// A packet of another such program that has left no machine. It may be unfinished, so it has to go on here.
	bool marked = BPF_CORE_READ_BITFIELD(kernel, encapsulation);
	if (marked) {
		if (!flow->open)
			flow->shown = 0;
		flow->marked = now;
		flow->open = true;
	}
	bool translated = translates && flow->native.in6_u.u6_addr32[0];

	if (is_bubble(inner) || is_test(inner) || (translated && !is_exchangeable(skb, inner, sizeof(datagram))))
		return NEXT;
	if (!marked) {
		// A program has sent it, though it was shown a while ago that its kernel might: it may be another program now.
		if (!flow->finished && flow->marked && is_older(flow->marked, now, ON_THE_WAY) &&
		    flow->shown && is_older(flow->shown, now, ON_THE_WAY))
			flow->open = false;
		if (!is_older(flow->burst_in, now, IN_ORDER))
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

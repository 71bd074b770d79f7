package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/teredo-suite/teredo/internal/announce"
	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/proxy"
)

// programs are the metrics of each program.
func programs() map[string][]family {
	return map[string][]family{
		"client": slices.Concat(client(), carrier(), common("", "initial", "starting", "qualified", "offline", "stopping")),
		"proxy":  slices.Concat(client(), carrier(), within("proxy", proxied()...), common("", "initial", "starting", "qualified", "offline", "stopping")),
		"relay":  slices.Concat(relay(), carrier(), common("", "initial", "running", "draining", "stopping")),
		"server": slices.Concat(server(), announced(), within("relay", slices.Concat(relay(), carrier(), []family{drops("")})...), common("counters.", "initial", "running", "draining", "stopping")),
	}
}

// common are the metrics of every program. Counters of a server are in a section of their own.
func common(section string, states ...string) []family {
	return []family{
		words(gauge("state", "state", "1 for the state that the program is in, 0 for the others.", nil), "state", states...),
		drops(section),
	}
}

func drops(section string) family {
	var reasons []string
	for r := drop.None + 1; r.String() != "unknown"; r++ {
		reasons = append(reasons, r.String())
	}
	return labelled(counter("drops_total", "", "Packets that were not carried on, by reason."), "reason", section+"drops", reasons, scaled(1))
}

// Budgets and Queues are the names that client and relay have for their budgets and queues.
func Budgets() []string {
	return []string{"source", "target", "entries", "ports", "bubbles", "acquaintances", "tests", "answers", "natives", "returners"}
}

// Queues are the queues to the control goroutine of client and relay.
func Queues() []string { return []string{"stack", "answers", "wanted", "server", "strangers"} }

// carrier are the metrics of client and relay.
func carrier() []family {
	return []family{
		counter("sent_packets_total", "sent_packets", "Packets sent to peers and to the server."),
		counter("received_packets_total", "received_packets", "Packets delivered to the interface."),
		counter("sent_bytes_total", "sent_bytes", "Bytes of the packets sent, without the headers of IPv4 and UDP."),
		counter("received_bytes_total", "received_bytes", "Bytes of the packets delivered to the interface."),
		paths("sent_packets", "Of the packets sent, those to other clients (direct), to clients on the same subnet (local) and to native hosts (relay), bubbles included."),
		paths("received_packets", "Of the packets delivered, those of other clients (direct), of clients on the same subnet (local) and of native hosts (relay)."),
		paths("sent_bytes", "Of the bytes sent, those to other clients (direct), to clients on the same subnet (local) and to native hosts (relay)."),
		paths("received_bytes", "Of the bytes delivered, those of other clients (direct), of clients on the same subnet (local) and of native hosts (relay)."),
		counter("kernel_sent_packets_total", "paths.kernel.sent_packets", "Of the packets sent, those that the kernel carried."),
		counter("kernel_received_packets_total", "paths.kernel.received_packets", "Of the packets delivered, those that the kernel carried."),
		counter("kernel_sent_bytes_total", "paths.kernel.sent_bytes", "Of the bytes sent, those that the kernel carried."),
		counter("kernel_received_bytes_total", "paths.kernel.received_bytes", "Of the bytes delivered, those that the kernel carried."),
		{name: "peers", kind: prometheus.GaugeValue, labels: []string{"kind"},
			help: "Entries in the list of recent peers: packets have gone both ways, our side looks for a path, or they have made themselves known.",
			series: []series{
				{[]string{"established"}, "peers_established", scaled(1)},
				{[]string{"sought"}, "peers_sought", scaled(1)},
				{[]string{"strangers"}, "peers_strangers", scaled(1)},
			}},
		counter("stranger_datagrams_total", "stranger_datagrams", "Datagrams sent because of strangers."),
		labelled(counter("budget_exhausted_total", "", "How often a budget for what strangers cause had nothing left."), "budget", "budgets", Budgets(), scaled(1)),
		labelled(gauge("queued_packets", "", "Packets that wait for the control goroutine, by queue.", nil), "queue", "queues", Queues(), scaled(1)),
		gauge("kernel_path", "offloads.kernel_path", "Whether the kernel can carry confirmed flows.", truth),
		gauge("kernel_flows", "offloads.kernel_flows", "Flows that the kernel carries.", scaled(1)),
		gauge("kernel_flows_without_bursts", "offloads.kernel_flows_without_bursts", "Flows of the kernel whose bursts of TCP the program carries.", scaled(1)),
		labelled(gauge("offload", "", "Whether an offload of the kernel is in use.", nil), "offload", "offloads", []string{"udp_gso", "udp_gro", "tun_tcp", "tun_udp"}, truth),
	}
}

// paths has a series for each path.
func paths(what, help string) family {
	f := family{name: "path_" + what + "_total", kind: prometheus.CounterValue, help: help, labels: []string{"path"}}
	for _, path := range []string{"direct", "local", "relay"} {
		f.series = append(f.series, series{[]string{path}, "paths." + path + "." + what, scaled(1)})
	}
	return f
}

func client() []family {
	return []family{
		words(gauge("nat", "nat", "1 for the kind of the NAT, 0 for the others.", nil), "kind", "none", "restricted", "symmetric", "cone", "unknown"),
		gauge("address_configured", "address", "Whether the interface has a Teredo address.", given),
		gauge("mapped", "mapped", "Whether the server has told the client's mapped address and port.", given),
		gauge("port_mapping", "port_mapping", "Whether the gateway maps a UDP port to the client.", given),
		gauge("server_rtt_seconds", "server_rtt_ms", "Duration of the last exchange with the server; absent when there was none.", known(1e-3)),
		gauge("server_heard_age_seconds", "server_heard_seconds_ago", "Time since the server was heard of last; absent when it never was.", present),
		gauge("server_silent_seconds", "server_silent_seconds", "How long a server that has served has not answered; 0 while it answers.", scaled(1)),
		{name: "host_traffic_today_bytes", kind: prometheus.GaugeValue, labels: []string{"protocol"},
			help: "Bytes of IP packets of this host since midnight, both ways: IPv4, native IPv6, and Teredo, which is in neither of the two.",
			series: []series{
				{[]string{"ipv4"}, "traffic.today.ipv4_bytes", present},
				{[]string{"ipv6"}, "traffic.today.ipv6_bytes", present},
				{[]string{"teredo"}, "traffic.today.teredo_bytes", present},
			}},
		gauge("refresh_interval_seconds", "refresh_interval_seconds", "Longest silence between client and server.", scaled(1)),
	}
}

// proxied are the metrics of what a proxy carries.
func proxied() []family {
	return []family{
		labelled(gauge("connections", "", "Connections now, by the way in which they came.", nil), "kind", "connections", proxy.Kinds(), scaled(1)),
		labelled(counter("connections_total", "", "Connections since the start, by the way in which they came."), "kind", "connections_total", proxy.Kinds(), scaled(1)),
		labelled(counter("refused_total", "", "What was asked for in vain, by reason."), "reason", "refused", proxy.Reasons(), scaled(1)),
		counter("sent_bytes_total", "sent_bytes", "Bytes sent to the IPv6 Internet, without any headers."),
		counter("received_bytes_total", "received_bytes", "Bytes received from the IPv6 Internet, without any headers."),
	}
}

func relay() []family {
	return append(announced(), gauge("peers_capacity", "capacity", "Most entries that the list of recent peers may have.", scaled(1)))
}

// announced are the metrics of a service that others are told of.
func announced() []family {
	var reasons []string
	for _, r := range announce.Reasons() {
		reasons = append(reasons, string(r))
	}
	return []family{
		gauge("announced", "announced", "Whether packets are invited: the routes of a relay, or the addresses of a server with --announce, are there for a routing daemon.", truth),
		words(gauge("withdrawn", "withdrawn_reason", "1 for the reason why packets are not invited, 0 for the others.", nil), "reason", reasons...),
	}
}

func server() []family {
	return []family{
		counter("server_solicitations_total", "counters.solicitations", "Router solicitations received, good or bad."),
		counter("server_advertisements_total", "counters.advertisements", "Router advertisements sent."),
		counter("server_echoes_answered_total", "counters.echoes_answered", "Echo requests to the server itself that were answered."),
		forwarded(),
		inKernel(),
		gauge("kernel_path", "offloads.kernel_path", "Whether the kernel answers solicitations and forwards bubbles by itself.", truth),
		counter("server_receive_errors_total", "counters.receive_errors", "How often the kernel refused to hand over datagrams."),
		gauge("server_native", "native", "Whether the server can send to native IPv6 hosts.", truth),
		gauge("server_secure_clients", "secure_clients", "Clients that have a secret; 0 when none is required.", scaled(1)),
	}
}

func inKernel() family {
	return family{
		name: "server_kernel_total", kind: prometheus.CounterValue, help: "What the kernel has sent by itself; it counts among all that was sent, too.", labels: []string{"packet"}, series: []series{
			{[]string{"advertisement"}, "counters.advertisements_kernel", scaled(1)},
			{[]string{"bubble"}, "counters.bubbles_forwarded_kernel", scaled(1)},
		},
	}
}

func forwarded() family {
	return family{
		name: "server_forwarded_total", kind: prometheus.CounterValue, help: "Packets passed on, by what they are and to whom.", labels: []string{"packet", "to"}, series: []series{
			{[]string{"bubble", "teredo"}, "counters.bubbles_forwarded", scaled(1)},
			{[]string{"echo", "teredo"}, "counters.echoes_forwarded", scaled(1)},
			{[]string{"bubble", "native"}, "counters.bubbles_forwarded_native", scaled(1)},
			{[]string{"echo", "native"}, "counters.echoes_forwarded_native", scaled(1)},
		},
	}
}

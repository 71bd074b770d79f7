// Samples are {t, s}: a time in seconds, and the status at that time.

export const mostSamples = 900;

// carrier is the part of a status that tells of peers and of their packets. A server has it where it is a relay, too.
export const carrier = (s) => s.paths === undefined && s.sent_packets === undefined && s.relay !== undefined ? s.relay : s;

// drops are the counters of both parts of a status, by reason.
export function drops(s) {
  const all = { ...(s.drops ?? s.counters?.drops) };
  if (s.relay) for (const [why, n] of Object.entries(s.relay.drops ?? {})) all[why] = (all[why] ?? 0) + n;
  return all;
}

// at returns a field by its names with dots between.
export const at = (s, path) => path.split(".").reduce((o, name) => o?.[name], s);

// rate is how fast a counter grows. It is null where that cannot be told.
export const rate = (now, then, seconds) => seconds > 0 && now >= then ? (now - then) / seconds : null;

// pathNames are words for what status calls paths. The kernel carries a part of what goes on the others.
export const pathNames = { direct: "Direct", local: "Local", relay: "Relayed", kernel: "Kernel" };

// rates are those of a path or of a whole carrier, between the last two samples: bytes and packets in and out per second.
export function rates(samples, path) {
  const [was, now] = [samples.at(-2), samples.at(-1)];
  if (!was) return null;
  const [a, b] = [was, now].map((x) => path ? carrier(x.s).paths?.[path] ?? {} : carrier(x.s));
  const of = (name) => rate(b[name] ?? 0, a[name] ?? 0, now.t - was.t) ?? 0;
  return { in: of("received_bytes"), out: of("sent_bytes"), packetsIn: of("received_packets"), packetsOut: of("sent_packets") };
}

// The answer to "is all well?": the worst that a status and the last minute tell, in one sentence, and what to do.
import { count, duration, given, millis, perSecond, words } from "./format.js";
import { carrier, drops, rate } from "./samples.js";

const minute = 60;

// judge returns {level, verdict, reason}. Level is "good", "busy" (it takes its time), "warn" or "bad".
export function judge(program, samples) {
  const { s } = samples.at(-1);
  const waits = given(s.waiting_for) ? `It waits for ${s.waiting_for}.` : "";
  if (s.state === "stopping") return { level: "warn", verdict: "The program is stopping.", reason: "" };
  const found = program === "server" || program === "relay" ? judgeService(program, s, waits) : judgeClient(s, waits);
  if (found.level === "bad" || found.level === "busy") return found;
  const worry = worries(samples);
  return worry ? { level: "warn", verdict: `${found.verdict.replace(/\.$/, "")}, but look at this.`, reason: worry } : found;
}

function judgeClient(s, waits) {
  const error = given(s.last_error) ? sentence(s.last_error) : "";
  if (given(s.native_ipv6) && s.state !== "qualified") {
    return { level: "good", verdict: "This host has IPv6 without Teredo.", reason: `It is at ${s.native_ipv6}, so the client stands aside.` };
  }
  switch (s.state) {
    case "qualified":
      if (s.server_silent_seconds > 0) {
        return { level: "warn", verdict: "The server has ceased to answer.", reason: `It has been silent for ${duration(s.server_silent_seconds)}. ${error || waits}`.trim() };
      }
      if (error) return { level: "warn", verdict: "Teredo works, with a fault.", reason: error };
      if (s.nat === "symmetric") {
        return { level: "good", verdict: "IPv6 works through Teredo.", reason: "The NAT is symmetric: clients behind some other NATs cannot be reached directly." };
      }
      return { level: "good", verdict: "IPv6 works through Teredo.", reason: waits || `The server answers in ${millis(s.server_rtt_ms)}.` };
    case "offline":
      return { level: "bad", verdict: "There is no IPv6 through Teredo.", reason: [error, waits].filter(Boolean).join(" ") };
    default:
      return { level: error ? "bad" : "busy", verdict: error ? "There is no IPv6 through Teredo." : "Teredo is being set up.", reason: [error, waits].filter(Boolean).join(" ") };
  }
}

function judgeService(program, s, waits) {
  if (s.state === "draining") {
    return { level: "warn", verdict: `The ${program} drains.`, reason: `It serves whoever still comes, and stops within ${duration(s.drain_left_seconds ?? 0)}.` };
  }
  if (s.state !== "running") return { level: "busy", verdict: `The ${program} sets itself up.`, reason: waits };
  if (program === "server" && s.native === false) {
    return { level: "warn", verdict: "The server serves, without native IPv6.", reason: "It cannot send to native IPv6 hosts, so clients do not find relays through it." };
  }
  if ([s, s.relay].some((part) => part?.withdrawn_reason?.startsWith("overload"))) {
    return { level: "warn", verdict: "The relay is overloaded.", reason: "It has withdrawn its routes, so that new clients take another relay. It serves whoever still comes." };
  }
  return { level: "good", verdict: program === "server" ? "The server serves." : "The relay carries packets.", reason: waits };
}

// worries is what an operator should look at although the program works.
function worries(samples) {
  const now = samples.at(-1), then = samples.find((x) => x.t >= now.t - minute);
  const c = carrier(now.s);
  if (c.capacity > 0 && c.peers >= 0.9 * c.capacity) {
    return `The list of peers is nearly full: ${count(c.peers)} of ${count(c.capacity)} entries. Give --capacity a larger number, if the memory allows.`;
  }
  for (const [name, n] of Object.entries(c.budgets ?? {})) {
    const r = rate(n, (carrier(then.s).budgets ?? {})[name] ?? 0, now.t - then.t);
    if (r > 1) return `Strangers exhaust the budget "${words(name)}" ${perSecond(r)}. The program protects itself; others may wait longer.`;
  }
  const before = drops(then.s);
  let [most, why] = [10, ""];
  for (const [name, n] of Object.entries(drops(now.s))) {
    const r = rate(n, before[name] ?? 0, now.t - then.t);
    if (r > most) [most, why] = [r, name];
  }
  return why && `${perSecond(most)} packets are dropped, most of them for the reason "${words(why)}".`;
}

const sentence = (text) => text.slice(0, 1).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

// What there is to know of the program in words, its limits, and the tree of all that it tells.
import { count, duration, el, given, perSecond, setText, words } from "./format.js";
import { carrier, drops, rate } from "./samples.js";

// facts are pairs of a name and a text.
function facts(program, s) {
  const list = (v) => (v ?? []).map(String).join(", ");
  const c = carrier(s);
  if (program === "server") {
    return [["Public address", list(s.public)], ["Listens on", list(s.bind)], ["Prefix of its clients", s.prefix], ["Native prefix", s.native_prefix],
      ["Native IPv6", s.native ? "yes" : "no"], ["Clients with a secret", s.secure_clients && count(s.secure_clients)], ["Receive errors", s.counters?.receive_errors && count(s.counters.receive_errors)], ["Ends on", s.sunset]];
  }
  if (program === "relay") {
    return [["Listens on", c.local], ["Serves", list(c.serves)], ["Native prefixes", list(c.native_prefixes)], ["Peers", `${count(c.peers)} of ${count(c.capacity)}`], ["Carried by the kernel", kernel(c)], ["Ends on", s.sunset]];
  }
  return [["Teredo address", s.address], ["Native address", s.native_address], ["Mapped by the NAT to", s.mapped], ["Local address", s.local],
    ["Server", s.server], ["Second address of the server", s.server2],
    ["NAT", given(s.nat) || s.nat === "none" ? [s.nat, s.port_preserving && "keeps the port", s.hairpinning === "yes" && "hairpinning", s.sequential === "yes" && "sequential ports"].filter(Boolean).join(", ") : ""],
    ["Port mapping at the gateway", s.port_mapping], ["Keeps the mapping alive every", s.refresh_interval_seconds && duration(s.refresh_interval_seconds)], ["Peers", count(s.peers ?? 0)], ["Carried by the kernel", kernel(s)], ["Name in the DNS", s.dns?.name]];
}

const kernel = (s) => s.offloads ? s.offloads.kernel_path ? `${count(s.offloads.kernel_flows)} flows` : "not available" : "";

let factsShown = "";

export function showFacts(list, program, s) {
  const pairs = facts(program, s).filter(([, v]) => given(v) && v !== 0 && v !== false);
  const texts = pairs.flat().join("\n");
  if (texts === factsShown) return;
  factsShown = texts;
  list.replaceChildren(...pairs.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value)))));
}

// showLimits draws how full the table is, which budgets strangers have exhausted, and what was dropped.
export function showLimits(section, body, samples) {
  const now = samples.at(-1), then = samples.find((x) => x.t >= now.t - 60);
  const c = carrier(now.s);
  const rows = (title, object, before, none) => {
    const entries = Object.entries(object).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
    return el("table", { class: "plain" }, el("caption", {}, title),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Name"), el("th", { scope: "col", class: "number" }, "Since the start"), el("th", { scope: "col", class: "number" }, "Last minute"))),
      el("tbody", {}, ...(entries.length ? entries.map(([name, n]) => el("tr", {}, el("th", { scope: "row" }, words(name)), el("td", { class: "number" }, count(n)),
        el("td", { class: "number" }, perSecond(rate(n, before[name] ?? 0, now.t - then.t) ?? 0)))) : [el("tr", {}, el("td", { colspan: 3, class: "quiet" }, none))])));
  };
  const parts = [];
  let fill = "";
  if (c.capacity > 0) {
    fill = el("p", { class: "meter" }, el("label", { for: "fill" }, `List of peers: ${count(c.peers)} of ${count(c.capacity)} entries`),
      el("meter", { id: "fill", min: 0, max: c.capacity, high: 0.9 * c.capacity, optimum: 0, value: c.peers }));
  }
  parts.push(rows("Drops by reason", drops(now.s), drops(then.s), "Nothing was dropped."));
  if (c.budgets || c.stranger_datagrams !== undefined) parts.push(rows("Budgets that strangers have exhausted", c.budgets ?? {}, carrier(then.s).budgets ?? {}, "No budget was exhausted."));
  const [proxy, was] = [now.s.proxy, then.s.proxy];
  if (proxy) {
    parts.push(rows("Connections of the proxy", proxy.connections_total ?? {}, was?.connections_total ?? {}, "There were none."));
    parts.push(rows("Refused by the proxy", proxy.refused ?? {}, was?.refused ?? {}, "Nothing was refused."));
  }
  section.hidden = false;
  body.replaceChildren(fill, el("div", { class: "columns" }, ...parts));
}

const everything = new Map(); // the rows of the table, by field

// showEverything lists all fields, with the rate of those that grow.
export function showEverything(details, samples) {
  if (!details.open) return;
  const now = samples.at(-1), then = samples.at(-2);
  const before = then ? new Map(flat(then.s)) : new Map();
  const body = details.querySelector("tbody");
  const seen = new Set();
  for (const [name, value] of flat(now.s)) {
    seen.add(name);
    let row = everything.get(name);
    if (!row) {
      row = el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "number" }), el("td", { class: "number" }));
      everything.set(name, row);
      body.append(row);
    }
    setText(row.cells[1], String(value));
    const r = typeof value === "number" && Number.isInteger(value) && then ? rate(value, before.get(name) ?? value, now.t - then.t) : null;
    setText(row.cells[2], r ? perSecond(r) : "");
  }
  for (const [name, row] of everything) {
    if (!seen.has(name)) {
      row.remove();
      everything.delete(name);
    }
  }
}

// flat are the fields of an object, by their names with dots between.
function flat(object, prefix = "") {
  return Object.entries(object).flatMap(([name, v]) =>
    v !== null && typeof v === "object" && !Array.isArray(v) ? flat(v, `${prefix}${name}.`) : [[prefix + name, Array.isArray(v) ? v.join(", ") : v]]);
}

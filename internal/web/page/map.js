// The picture of where packets go: this program, what is around it, and the rates at the arrows.
import { bits, count, given, millis, perSecond, svg } from "./format.js";
import { carrier, rate, rates } from "./samples.js";

const narrow = 620; // pixels below which the picture stands upright

// A scene is {nodes, edges} with places in a picture of the size given. Nodes have up to three lines of text. Edges have the rates
// there and back, or words.
function scene(program, samples, upright) {
  const s = samples.at(-1).s, c = carrier(s);
  const place = (x, y, ux, uy) => upright ? { x: ux, y: uy } : { x, y };
  const way = (path) => {
    const r = rates(samples, path);
    return { rates: r, text: r ? [`↓ ${bits(r.in)}`, `↑ ${bits(r.out)}`] : ["…"] };
  };
  const nodes = {}, edges = [];
  const node = (id, at, kind, ...lines) => { nodes[id] = { ...at, kind, lines: lines.filter(given) }; };
  if (program === "server") {
    const last = samples.at(-2);
    const per = (name) => last ? rate(s.counters?.[name] ?? 0, last.s.counters?.[name] ?? 0, samples.at(-1).t - last.t) ?? 0 : 0;
    node("clients", place(110, 150, 90, 60), "out", "Clients", "behind NATs");
    node("self", place(450, 150, 170, 220), "self", "This server", (s.public ?? s.bind ?? []).join(", "));
    node("others", place(790, 70, 90, 390), "out", "Other clients");
    node("native", place(790, 230, 255, 390), "out", "IPv6 hosts and relays", s.native ? "reachable" : "not reachable");
    edges.push({ from: "clients", to: "self", active: per("solicitations") > 0, text: [`→ ${perSecond(per("solicitations"))} solicitations`, `← ${perSecond(per("advertisements"))} advertisements`] });
    edges.push({ from: "self", to: "others", active: per("bubbles_forwarded") + per("echoes_forwarded") > 0, text: [`${perSecond(per("bubbles_forwarded"))} bubbles`, `${perSecond(per("echoes_forwarded"))} echoes`] });
    edges.push({ from: "self", to: "native", active: per("bubbles_forwarded_native") + per("echoes_forwarded_native") > 0, text: [`${perSecond(per("bubbles_forwarded_native"))} bubbles`, `${perSecond(per("echoes_forwarded_native"))} echoes`] });
    return { nodes, edges, width: upright ? 350 : 900, height: upright ? 440 : 300 };
  }
  if (program === "relay") {
    const all = rates(samples);
    node("clients", place(110, 110, 175, 50), "out", "Teredo clients", `${count(c.peers ?? 0)} in the list`);
    node("self", place(450, 110, 175, 200), "self", "This relay", c.local);
    node("native", place(790, 110, 175, 350), "out", "IPv6 hosts", (c.serves ?? []).join(", ").slice(0, 40));
    edges.push({ from: "clients", to: "self", ...way("direct"), active: true });
    edges.push({ from: "self", to: "native", active: true, rates: all, text: all ? [`→ ${perSecond(all.packetsIn)} packets`, `← ${perSecond(all.packetsOut)} packets`] : ["…"] });
    return { nodes, edges, width: upright ? 350 : 900, height: upright ? 400 : 210 };
  }
  const direct = way("direct"), relay = way("relay"), local = way("local");
  const silent = s.server_silent_seconds > 0;
  node("self", place(110, 175, 90, 50), "self", "This host", s.local);
  node("nat", place(350, 175, 90, 190), "nat", s.nat === "none" ? "No NAT" : `NAT: ${s.nat ?? "unknown"}`, s.mapped);
  node("server", place(660, 50, 265, 190), silent ? "bad" : "out", "Server", s.server);
  node("direct", place(660, 175, 90, 350), "out", "Other clients", "directly");
  node("relay", place(560, 300, 265, 350), "out", "Relays");
  node("native", place(800, 300, 265, 470), "out", "IPv6 hosts");
  node("local", place(110, 300, 265, 50), "out", "Clients", "on this network");
  const total = rates(samples);
  edges.push({ from: "self", to: "nat", rates: total, active: true, text: total ? [`↓ ${bits(total.in)}`, `↑ ${bits(total.out)}`] : ["…"] });
  edges.push({ from: "nat", to: "server", active: !silent && given(s.server), text: [silent ? "silent" : millis(s.server_rtt_ms)] });
  edges.push({ from: "nat", to: "direct", ...direct });
  edges.push({ from: "nat", to: "relay", ...relay });
  edges.push({ from: "relay", to: "native", ...relay, text: [] });
  edges.push({ from: "self", to: "local", ...local });
  return { nodes, edges, width: upright ? 350 : 900, height: upright ? 520 : 350 };
}

const boxWidth = 158, lineHeight = 17;

export class Map {
  constructor(box) {
    this.box = box;
    this.drawn = "";
  }

  draw(program, samples) {
    const upright = this.box.clientWidth < narrow;
    const s = scene(program, samples, upright);
    const text = JSON.stringify(s);
    if (text === this.drawn) return;
    this.drawn = text;
    const picture = svg("svg", { viewBox: `0 0 ${s.width} ${s.height}`, role: "img", "aria-label": describe(s) });
    picture.append(svg("defs", {}, svg("marker", { id: "head", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse", markerUnits: "userSpaceOnUse" },
      svg("path", { d: "M0 0L8 4L0 8z" }))));
    for (const e of s.edges) picture.append(edge(s.nodes[e.from], s.nodes[e.to], e));
    for (const n of Object.values(s.nodes)) picture.append(node(n));
    for (const e of s.edges) picture.append(label(s.nodes[e.from], s.nodes[e.to], e));
    this.box.replaceChildren(picture);
  }
}

const heightOf = (n) => 14 + lineHeight * n.lines.length;

function node(n) {
  const h = heightOf(n);
  const g = svg("g", { class: `node ${n.kind}` }, svg("rect", { x: n.x - boxWidth / 2, y: n.y - h / 2, width: boxWidth, height: h, rx: 9 }));
  n.lines.forEach((line, i) => g.append(svg("text", { x: n.x, y: n.y - h / 2 + 20 + i * lineHeight, class: i ? "detail" : "name", ...fit(line) }, line)));
  return g;
}

// fit squeezes a text that would not fit into its box.
const fit = (line) => line.length > 22 ? { textLength: boxWidth - 14, lengthAdjust: "spacingAndGlyphs" } : {};

// ends are where the line between two boxes leaves the one and comes to the other.
function ends(a, b) {
  const leave = (n, m) => {
    const dx = m.x - n.x, dy = m.y - n.y;
    const t = Math.min((boxWidth / 2 + 4) / Math.abs(dx || 1e-9), (heightOf(n) / 2 + 4) / Math.abs(dy || 1e-9));
    return { x: n.x + dx * t, y: n.y + dy * t };
  };
  return [leave(a, b), leave(b, a)];
}

function edge(a, b, e) {
  const [p, q] = ends(a, b);
  const rate = e.rates ? e.rates.in + e.rates.out : 0;
  const busy = rate > 0 || (e.rates === undefined && e.active);
  return svg("line", {
    x1: p.x, y1: p.y, x2: q.x, y2: q.y, class: busy ? "edge busy" : "edge",
    "stroke-width": 1.25 + Math.min(4, Math.log10(1 + rate) / 2), "marker-end": "url(#head)", "marker-start": "url(#head)",
  });
}

function label(a, b, e) {
  const [p, q] = ends(a, b);
  const x = (p.x + q.x) / 2, y = (p.y + q.y) / 2 - (e.text.length - 1) * 8;
  return svg("g", { class: "rate" }, ...e.text.map((line, i) => svg("text", { x, y: y + 4 + i * 16 }, line)));
}

// describe is the picture in words.
function describe(s) {
  const name = (id) => s.nodes[id].lines.join(" ");
  return s.edges.filter((e) => e.text.length).map((e) => `${name(e.from)} – ${name(e.to)}: ${e.text.join(", ")}`).join("; ");
}

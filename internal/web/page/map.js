// The picture of where packets go: this program, what is around it, and the rates at the arrows.
import { bits, count, given, millis, perSecond, svg } from "./format.js";
import { carrier, rate, rates } from "./samples.js";

const narrow = 620; // pixels below which the picture stands upright

// A scene is {nodes, edges} with places in a picture of the size given. Nodes have lines of text. Edges have the rates there and back,
// or words; in an upright picture, where there is no room beside them, these are in the node that an edge leads to.
function scene(program, samples, upright) {
  const s = samples.at(-1).s, c = carrier(s);
  const nodes = {}, edges = [];
  const node = (id, wide, tall, kind, ...lines) => {
    const [x, y] = upright ? tall : wide;
    nodes[id] = { x, y, kind, width: upright ? 150 : 168, lines: lines.filter(given) };
  };
  const edge = (from, to, text, more) => {
    if (upright) nodes[to].lines.push(...text);
    edges.push({ from, to, text: upright ? [] : text, ...more });
  };
  const way = (from, to, path, words = inOut) => {
    const r = rates(samples, path);
    edge(from, to, r ? words(r) : ["…"], { rate: r ? r.in + r.out : 0 });
  };
  if (program === "server") {
    const last = samples.at(-2);
    const per = (name) => last ? rate(s.counters?.[name] ?? 0, last.s.counters?.[name] ?? 0, samples.at(-1).t - last.t) ?? 0 : 0;
    const passed = (to, kind) => {
      const [bubbles, echoes] = [per(`bubbles_forwarded${kind}`), per(`echoes_forwarded${kind}`)];
      edge("self", to, [`${perSecond(bubbles)} bubbles`, `${perSecond(echoes)} echoes`], { rate: bubbles + echoes });
    };
    node("clients", [110, 105], [175, 50], "out", "Clients", "behind NATs");
    node("self", [440, 105], [175, 190], "self", "This server", (s.public ?? s.bind ?? []).join(", "));
    node("others", [790, 45], [90, 340], "out", "Other clients");
    node("native", [790, 165], [262, 340], s.native === false ? "bad" : "out", "IPv6 and relays", s.native === false ? "not reachable" : undefined);
    edge("clients", "self", [`→ ${perSecond(per("solicitations"))} solicitations`, `← ${perSecond(per("advertisements"))} advertisements`], { rate: per("solicitations") });
    passed("others", "");
    passed("native", "_native");
    if (s.relay?.peers !== undefined) {
      node("relay", [440, 225], [175, 470], "out", "Its relay", `${count(s.relay.peers)} peers`);
      way("self", "relay", "");
    }
    return { nodes, edges, width: upright ? 350 : 900, height: (upright ? 400 : 210) + (nodes.relay ? upright ? 120 : 50 : 0) };
  }
  if (program === "relay") {
    node("clients", [110, 50], [175, 45], "out", "Teredo clients", `${count(c.peers ?? 0)} in the list`);
    node("self", [450, 50], [175, 175], "self", "This relay", c.local);
    node("native", [790, 50], [175, 310], "out", "IPv6 hosts", (c.serves ?? []).join(", "));
    way("clients", "self", "direct");
    way("self", "native", "", (r) => [`→ ${perSecond(r.packetsIn)} packets`, `← ${perSecond(r.packetsOut)} packets`]);
    return { nodes, edges, width: upright ? 350 : 900, height: upright ? 365 : 100 };
  }
  const silent = s.server_silent_seconds > 0;
  node("self", [100, 150], [88, 45], "self", "This host", s.local);
  node("nat", [390, 150], [88, 185], "nat", s.nat === "none" ? "No NAT" : `NAT: ${s.nat ?? "unknown"}`, s.mapped);
  node("server", [740, 40], [262, 185], silent ? "bad" : "out", "Server", s.server);
  node("direct", [740, 150], [88, 340], "out", "Other clients", "directly");
  node("relay", [590, 265], [262, 340], "out", "Relays");
  node("native", [810, 265], [262, 470], "out", "IPv6 hosts");
  node("local", [100, 265], [262, 45], "out", "Clients", "on this network");
  way("self", "nat", "");
  edge("nat", "server", [silent ? "silent" : millis(s.server_rtt_ms)], { rate: !silent && given(s.server) ? 1 : 0 });
  way("nat", "direct", "direct");
  way("nat", "relay", "relay");
  edge("relay", "native", [], { rate: edges.at(-1).rate });
  way("self", "local", "local");
  return { nodes, edges, width: upright ? 350 : 900, height: upright ? 505 : 305 };
}

const inOut = (r) => [`↓ ${bits(r.in)}`, `↑ ${bits(r.out)}`];

const lineHeight = 17;

export class Picture {
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
  const g = svg("g", { class: `node ${n.kind}` }, svg("rect", { x: n.x - n.width / 2, y: n.y - h / 2, width: n.width, height: h, rx: 9 }));
  n.lines.forEach((line, i) => g.append(svg("text", { x: n.x, y: n.y - h / 2 + 20 + i * lineHeight, class: i ? "detail" : "name", ...fit(line, n.width) }, line)));
  return g;
}

// fit squeezes a text that would not fit into its box.
const fit = (line, width) => line.length * 7.6 > width - 10 ? { textLength: width - 14, lengthAdjust: "spacingAndGlyphs" } : {};

// ends are where the line between two boxes leaves the one and comes to the other.
function ends(a, b) {
  const leave = (n, m) => {
    const dx = m.x - n.x, dy = m.y - n.y;
    const t = Math.min((n.width / 2 + 4) / Math.abs(dx || 1e-9), (heightOf(n) / 2 + 4) / Math.abs(dy || 1e-9));
    return { x: n.x + dx * t, y: n.y + dy * t };
  };
  return [leave(a, b), leave(b, a)];
}

function edge(a, b, e) {
  const [p, q] = ends(a, b);
  return svg("line", {
    x1: p.x, y1: p.y, x2: q.x, y2: q.y, class: e.rate > 0 ? "edge busy" : "edge",
    "stroke-width": 1.25 + Math.min(4, Math.log10(1 + e.rate) / 2), "marker-end": "url(#head)", "marker-start": "url(#head)",
  });
}

// label is the text of an edge: above and below a level one, and on the free side of others.
function label(a, b, e) {
  const [p, q] = ends(a, b);
  const x = (p.x + q.x) / 2, y = (p.y + q.y) / 2;
  const steep = Math.abs(q.x - p.x) < 20, level = Math.abs(q.y - p.y) < 20;
  const at = (i) => {
    if (level) return { x, y: i ? y + 19 : y - 9, "text-anchor": "middle" };
    if (steep) return { x: x + 12, y: y - 3 + i * 16, "text-anchor": "start" };
    return { x: x - 14, y: q.y > p.y ? y + 14 + i * 16 : y - 8 - (e.text.length - 1 - i) * 16, "text-anchor": "end" };
  };
  return svg("g", { class: "rate" }, ...e.text.map((line, i) => svg("text", at(i), line)));
}

// describe is the picture in words.
function describe(s) {
  const name = (id) => s.nodes[id].lines.join(" ");
  return s.edges.filter((e) => e.text.length).map((e) => `${name(e.from)} – ${name(e.to)}: ${e.text.join(", ")}`).join("; ");
}

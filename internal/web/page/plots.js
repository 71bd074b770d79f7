// The plots over time. A line is told by its dashes and by its name, and not by its colour alone.
import { bits, count, el, millis, perSecond, setText, svg, words } from "./format.js";
import { at, carrier, drops, mostSamples, pathNames, rate } from "./samples.js";

const dashes = [[], [9, 4], [2, 3], [9, 3, 2, 3], [5, 3], [14, 3]];
const [shortest, longest] = [60, 300]; // seconds that a plot shows
const height = 150;
const wholes = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000, 500000];
const sync = uPlot.sync("plots");

// line describes a line: value(now, then) is what it shows of two samples.
const line = (name, value, style) => ({ name, value, style });

// counter is the rate of a counter, below zero for what is sent.
const counter = (get, sign = 1) => (now, then) => {
  const r = then ? rate(get(now.s) ?? 0, get(then.s) ?? 0, now.t - then.t) : null;
  return r === null ? null : sign * r;
};
const gauge = (get) => (now) => get(now.s) ?? null;

// plotsOf says which plots a program has.
export function plotsOf(program, s) {
  const plots = [];
  if (program === "server") {
    const c = (name) => counter((x) => x.counters?.[name]);
    plots.push({ title: "Qualification", unit: perSecond, lines: () => [line("Solicitations", c("solicitations"), 0), line("Advertisements", c("advertisements"), 1), line("of these to clients behind cone NATs", c("advertisements_cone"), 2)] });
    plots.push({ title: "Passed on", unit: perSecond, lines: () => [
      line("Bubbles to clients", c("bubbles_forwarded"), 0), line("Echoes to clients", c("echoes_forwarded"), 1),
      line("Bubbles to IPv6", c("bubbles_forwarded_native"), 2), line("Echoes to IPv6", c("echoes_forwarded_native"), 3)] });
  }
  if (carrier(s).sent_packets !== undefined) {
    plots.push({ title: "Traffic by path", note: "received above, sent below", unit: bits, mirror: true, lines: (now) => pathLines(now, "bytes") });
    plots.push({ title: "Packets by path", note: "received above, sent below", unit: perSecond, mirror: true, lines: (now) => pathLines(now, "packets") });
  }
  if (s.server_rtt_ms !== undefined) {
    plots.push({ title: "Round trip to the server", unit: millis, lines: () => [line("Last exchange", (now) => now.s.server_rtt_ms || null, 0)] });
  }
  plots.push({ title: "Drops by reason", unit: perSecond, empty: "Nothing has been dropped in this time.", lines: dropLines });
  if (carrier(s).peers !== undefined) {
    plots.push({ title: "Peers by state", unit: count, lines: (now) => Object.keys(carrier(now))
      .filter((k) => k.startsWith("peers_")).map((k, i) => line(sentenceCase(words(k.slice(6))), gauge((x) => carrier(x)[k]), i)) });
  }
  return plots;
}

const sentenceCase = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);

function pathLines(s, what) {
  const paths = carrier(s).paths ?? {};
  const order = Object.keys(pathNames).filter((n) => n === "direct" || paths[n] && Object.values(paths[n]).some((x) => x > 0));
  return order.flatMap((path) => {
    const of = (way) => (x) => at(carrier(x), `paths.${path}.${way}_${what}`);
    const style = Object.keys(pathNames).indexOf(path);
    return [line(pathNames[path], counter(of("received")), style), line(pathNames[path], counter(of("sent"), -1), style)];
  });
}

// dropLines are the reasons of which there were most while the plot shows it.
function dropLines(now, samples) {
  const first = drops(samples[0].s), last = drops(now);
  return Object.keys(last).map((why) => [why, last[why] - (first[why] ?? 0)]).filter(([, n]) => n > 0)
    .sort((a, b) => b[1] - a[1]).slice(0, 6).map(([why], i) => line(words(why), counter((x) => drops(x)[why]), i));
}

// Plot is one of them, in a card with its legend.
export class Plot {
  constructor(what) {
    this.what = what;
    this.legend = el("ul", { class: "legend" });
    this.box = el("div", { class: "plot" });
    this.none = el("p", { class: "quiet none", hidden: true }, what.empty ?? "");
    this.element = el("section", { class: "card", "aria-label": what.title },
      el("h2", {}, what.title, what.note ? el("small", {}, what.note) : null), this.box, this.none, this.legend);
    this.names = "";
    new ResizeObserver(() => this.resize()).observe(this.box);
    this.near = false;
    new IntersectionObserver((entries) => {
      this.near = entries.at(-1).isIntersecting;
      if (this.near && this.samples) this.draw(this.samples);
    }, { rootMargin: "200px" }).observe(this.element);
  }

  // draw shows the samples.
  draw(all) {
    this.samples = all;
    if (!this.near && this.names) return;
    const from = Math.max(all.at(-1).t - longest, Math.min(all[0].t, all.at(-1).t - shortest));
    const samples = all.slice(Math.max(0, all.findIndex((x) => x.t >= from)));
    const lines = this.what.lines(samples.at(-1).s, samples);
    const data = [samples.map((x) => x.t), ...lines.map((l) => samples.map((x, i) => l.value(x, samples[i - 1])))];
    this.range = [from, all.at(-1).t];
    const names = JSON.stringify(lines.map((l) => [l.name, l.style]));
    if (names !== this.names) {
      this.names = names;
      this.build(lines);
    }
    this.none.hidden = lines.length > 0 || !this.what.empty;
    this.plot.setData(data);
    this.tell(data[0].length - 1);
  }

  // build makes the plot anew, for other lines or another theme.
  build(lines = this.lines) {
    this.lines = lines;
    const css = getComputedStyle(document.documentElement);
    const colour = (name) => css.getPropertyValue(name).trim();
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const { unit, mirror } = this.what;
    const data = this.plot?.data;
    this.plot?.destroy();
    this.plot = new uPlot({
      width: Math.max(this.box.clientWidth, 100), height, legend: { show: false }, padding: [10, 18, 0, 0],
      cursor: { sync: { key: sync.key }, y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { time: true, range: () => this.range ?? [0, 1] }, y: { range: (_, low, high) => span(low, high, mirror) } },
      axes: [
        { ...axis, size: 26, space: 60, incrs: [15, 30, 60, 300], values: (_, ticks) => ticks.map(clock) },
        { ...axis, size: 72, space: 26, ...(unit === count && { incrs: wholes }), values: (_, ticks) => ticks.map((v) => v === 0 ? "0" : unit(Math.abs(v))) },
      ],
      series: [{}, ...lines.map((l) => ({ label: l.name, stroke: colour(`--line-${l.style}`), width: 1.75, dash: dashes[l.style], points: { show: false }, spanGaps: false }))],
      hooks: { setCursor: [(u) => u.data[0]?.length && this.tell(u.cursor.idx ?? u.data[0].length - 1)] },
    }, data?.length === lines.length + 1 ? data : [[], ...lines.map(() => [])], this.box);
    this.entries = new Map();
    this.legend.replaceChildren();
    for (const l of lines) {
      if (this.entries.has(l.name)) continue;
      const value = el("span", { class: "value" });
      const sample = svg("svg", { width: 28, height: 8, "aria-hidden": "true" },
        svg("line", { x1: 0, x2: 28, y1: 4, y2: 4, class: `line-${l.style}`, "stroke-dasharray": dashes[l.style].join(" ") }));
      this.legend.append(el("li", {}, sample, el("span", {}, l.name), value));
      this.entries.set(l.name, value);
    }
  }

  // tell writes into the legend what the lines show at a place.
  tell(index) {
    const values = new Map();
    this.lines.forEach((l, i) => {
      const v = this.plot.data[i + 1]?.[index];
      const text = v === null || v === undefined ? "–" : this.what.unit(Math.abs(v));
      values.set(l.name, this.what.mirror ? [...(values.get(l.name) ?? []), text] : [text]);
    });
    for (const [name, texts] of values) {
      setText(this.entries.get(name), texts.length === 2 ? `↓ ${texts[0]}  ↑ ${texts[1]}` : texts[0]);
    }
  }

  resize() {
    const width = this.box.clientWidth;
    if (this.plot && width > 0 && width !== this.plot.width) this.plot.setSize({ width, height });
  }
}

// span is the range of the values: from zero, or about zero for a plot with two sides.
function span(low, high, mirror) {
  const top = Math.max(high ?? 0, 0), bottom = Math.min(low ?? 0, 0);
  if (top === bottom) return mirror ? [-1, 1] : [0, 1];
  const room = (top - bottom) * 0.08;
  return [mirror && bottom < 0 ? bottom - room : 0, top + room];
}

const clock = (t) => new Date(t * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: t % 60 ? "2-digit" : undefined });

// keep drops samples that no plot shows any more.
export function keep(samples) {
  if (samples.length > mostSamples) samples.splice(0, samples.length - mostSamples);
}

// What share of the host's traffic was IPv6, natively and by Teredo: one number, and a column for each of 30 days.
import { bytes, el, svg } from "./format.js";
import { ask } from "./live.js";

const again = 60000; // ms
const kinds = [["ipv4_bytes", "IPv4", "share-4"], ["ipv6_bytes", "Native IPv6", "share-6"], ["teredo_bytes", "Teredo", "share-t"]];

const total = (day) => kinds.reduce((sum, [key]) => sum + (day[key] ?? 0), 0);
const percent = (part, whole) => whole > 0 ? `${(100 * part / whole).toFixed(part / whole < 0.1 ? 1 : 0)} %` : "–";

export async function showShare(section, body) {
  try {
    const { today, days } = await ask("/api/v1/traffic");
    const sum = days.reduce((all, day) => { for (const [key] of kinds) all[key] = (all[key] ?? 0) + (day[key] ?? 0); return all; }, {});
    const six = (day) => (day.ipv6_bytes ?? 0) + (day.teredo_bytes ?? 0);
    body.replaceChildren(el("div", { class: "share" },
      el("p", { class: "big" }, el("strong", {}, percent(six(today), total(today))), ` of this host's traffic today was IPv6; ${percent(six(sum), total(sum))} over ${days.length} ${days.length === 1 ? "day" : "days"}.`),
      picture(days),
      el("ul", { class: "legend" }, ...kinds.map(([key, name, style]) => el("li", {},
        svg("svg", { width: 14, height: 14, "aria-hidden": "true" }, patterns(`l-${style}`), svg("rect", { width: 14, height: 14, class: style, fill: style === "share-4" ? "" : `url(#l-${style})` })),
        el("span", {}, name), el("span", { class: "value" }, `today ${bytes(today[key] ?? 0)}, in all ${bytes(sum[key] ?? 0)}`))))));
    section.hidden = false;
  } catch {
    // It is shown when it can be had.
  }
  setTimeout(() => showShare(section, body), again);
}

// patterns tell the parts of a column without their colours.
function patterns(id) {
  const stripe = id.endsWith("share-6") ? "M0 0H6" : "M0 0V6M0 0H6";
  const kind = id.slice(id.indexOf("share"));
  return svg("defs", {}, svg("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("rect", { width: 6, height: 6, class: kind }), svg("path", { d: stripe, class: "stripe" })));
}

function picture(days) {
  const shown = days.slice(-30), step = 30, height = 120, width = 30 * step;
  const p = svg("svg", { viewBox: `0 0 ${width} ${height + 20}`, role: "img", class: "share-plot",
    "aria-label": shown.map((d) => `${d.date}: ${kinds.map(([key, name]) => `${name} ${percent(d[key] ?? 0, total(d))}`).join(", ")}`).join("; ") },
    patterns("share-6"), patterns("share-t"));
  shown.forEach((day, i) => {
    const all = total(day), x = (30 - shown.length + i) * step;
    let y = height;
    for (const [key, name, style] of [...kinds].reverse()) {
      const h = all > 0 ? height * (day[key] ?? 0) / all : 0;
      y -= h;
      p.append(svg("rect", { x: x + 2, y, width: step - 4, height: h, class: style, ...(style === "share-4" ? {} : { fill: `url(#${style})` }) }, svg("title", {}, `${day.date}: ${name} ${bytes(day[key] ?? 0)}`)));
    }
    if ((shown.length - 1 - i) % 7 === 0) p.append(svg("text", { x: x + step / 2, y: height + 15, class: "tick" }, day.date.slice(5)));
  });
  p.append(svg("line", { x1: 0, x2: width, y1: height + 0.5, y2: height + 0.5, class: "base" }));
  return p;
}

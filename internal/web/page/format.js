// How figures are written, and how elements are made. Text that the program or its peers have chosen goes in as text only.

const prefixes = ["", "k", "M", "G", "T"];

function scaled(n, unit, step) {
  let i = 0;
  while (Math.abs(n) >= step && i < prefixes.length - 1) { n /= step; i++; }
  const digits = i === 0 ? (n === 0 || Math.abs(n) >= 10 ? 0 : Math.abs(n) < 1 ? 2 : 1) : Math.abs(n) < 10 ? 2 : Math.abs(n) < 100 ? 1 : 0;
  return `${trim(n.toFixed(digits))} ${prefixes[i]}${unit}`.trim();
}

const trim = (text) => text.includes(".") ? text.replace(/\.?0+$/, "") : text;

export const bits = (bytes) => scaled(bytes * 8, "bit/s", 1000);
export const bytes = (n) => scaled(n, "B", 1000);
export const perSecond = (n) => `${scaled(n, "", 1000)}/s`;
export const millis = (n) => n > 0 ? `${n < 1 ? trim(n.toFixed(2)) : n < 10 ? trim(n.toFixed(1)) : Math.round(n)} ms` : "–";
export const count = (n) => Math.round(n).toLocaleString("en").replaceAll(",", "\u202f");

export function duration(seconds) {
  if (seconds < 0) return "never";
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}

export const ago = (seconds) => seconds < 0 ? "never" : seconds < 1 ? "now" : `${duration(seconds)} ago`;

// words makes "server_rtt_ms" readable.
export const words = (name) => name.replace(/_(ms|seconds|seconds_ago)$/, "").replaceAll("_", " ");

// given tells whether a field says something: the zero values of addresses do not.
export const given = (v) => v !== undefined && v !== null && v !== "" && v !== "none" && v !== "invalid IP" && v !== "invalid AddrPort" && v !== "invalid Prefix";

// el makes an element. Properties are set as attributes, functions as listeners, and the rest becomes text or children.
export function el(name, properties, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (typeof value === "function") e.addEventListener(key, value);
    else if (value !== undefined && value !== false) e.setAttribute(key, value === true ? "" : value);
  }
  e.append(...children.filter((c) => c !== undefined && c !== null));
  return e;
}

// svg makes an element of a picture.
export function svg(name, properties, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(properties ?? {})) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

// setText changes text only when it differs, so that selections stay.
export function setText(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

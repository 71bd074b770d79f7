// The page: it follows the stream of samples, and has each part draw them.
import { Events } from "./events.js";
import { showEverything, showFacts, showLimits } from "./facts.js";
import { duration, setText } from "./format.js";
import { judge } from "./health.js";
import { follow, useToken } from "./live.js";
import { Picture } from "./map.js";
import { Peers } from "./peers.js";
import { Ping } from "./ping.js";
import { keep, Plot, plotsOf } from "./plots.js";
import { carrier } from "./samples.js";
import { showShare } from "./share.js";

const get = (id) => document.getElementById(id);
const marks = { good: "✓", busy: "…", warn: "!", bad: "✗" };

let program = "";
let samples = [];
let plots = null;
let events = null;
let lost = "";
const picture = new Picture(get("map"));

function hello(message) {
  samples = [];
  lost = "";
  if (program) return; // the same program, perhaps another run of it
  program = message.program;
  setText(get("program"), `Teredo ${program}`);
  setText(get("version"), message.version);
  get("locked").hidden = !message.locked;
  const can = (what) => message.can.includes(what);
  const ping = can("ping") ? new Ping(get("ping")) : null;
  if (can("peers")) {
    new Peers(get("peers"), {
      ...(program === "server" || program === "relay" ? { title: "Top talkers", sort: "-received_bytes" } : { title: "Peers", sort: "heard_seconds_ago" }),
      ping: ping ? (address) => ping.show(address) : undefined,
    });
  }
  if (can("log")) events = new Events(get("events"), get("event-list"));
  if (can("traffic")) showShare(get("share"), get("share-body"));
}

function sample(one) {
  samples.push(one);
  keep(samples);
  requestDraw();
}

// requestDraw draws once for all samples that have come until the browser next paints.
let asked = false;
function requestDraw() {
  if (asked) return;
  asked = true;
  (document.hidden ? setTimeout : requestAnimationFrame)(() => {
    asked = false;
    draw();
  });
}

function draw() {
  if (samples.length === 0) return;
  const { s, log } = samples.at(-1);
  get("content").hidden = false;
  showHealth();
  setText(get("uptime"), `up ${duration(s.uptime_seconds ?? carrier(s).uptime_seconds ?? 0)}`);
  showFacts(get("facts"), program, s);
  picture.draw(program, samples);
  const wanted = plotsOf(program, s);
  if (!plots || plots.length !== wanted.length) {
    plots = wanted.map((what) => new Plot(what));
    get("plots").replaceChildren(...plots.map((p) => p.element));
  }
  for (const p of plots) p.draw(samples);
  if (carrier(s).drops || s.counters) showLimits(get("limits"), get("limits-body"), samples);
  showEverything(get("everything"), samples);
  events?.follow(log);
}

function showHealth() {
  const found = lost !== "" ? { level: "bad", verdict: "The program does not answer.", reason: lost } : judge(program, samples);
  const box = get("health");
  box.dataset.level = found.level;
  document.title = `${found.level === "good" ? "" : `${marks[found.level]} `}Teredo ${program}`.trim();
  setText(box.querySelector(".mark"), marks[found.level]);
  setText(get("verdict"), found.verdict);
  setText(get("reason"), found.reason);
}

function state(what, detail) {
  get("login").hidden = what !== "token";
  get("health").hidden = what === "token";
  switch (what) {
    case "open":
      lost = "";
      break;
    case "lost": {
      const since = samples.length ? ` What is below was so at ${new Date(samples.at(-1).t * 1000).toLocaleTimeString("en-GB")}.` : "";
      lost = `${detail ? `It says: ${detail}.` : "It has stopped, or the way to it is cut."}${since} This page tries again each second.`;
      showHealth();
      break;
    }
    case "token":
      get("content").hidden = true;
      setText(get("refused"), detail ? "This is not the token of the program." : "");
      get("token").focus();
  }
}

const start = () => follow({ hello, sample, state });

get("login").addEventListener("submit", (e) => {
  e.preventDefault();
  useToken(get("token").value);
  get("token").value = "";
  start();
});

get("everything").addEventListener("toggle", requestDraw);

// The theme is that of the system until the button has chosen another.
const system = matchMedia("(prefers-color-scheme: dark)");
function theme(choice) {
  const dark = choice ? choice === "dark" : system.matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  get("theme").textContent = dark ? "Light" : "Dark";
  get("theme").setAttribute("aria-label", `Use ${dark ? "light" : "dark"} colours`);
  for (const p of plots ?? []) if (p.plot) p.build();
  requestDraw();
}
get("theme").addEventListener("click", () => {
  const choice = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", choice);
  theme(choice);
});
system.addEventListener("change", () => theme(localStorage.getItem("theme")));
theme(localStorage.getItem("theme"));
addEventListener("resize", requestDraw);

start();

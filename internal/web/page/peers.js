// The table of peers: a page of it at a time, sorted and searched by the program.
import { ago, bits, bytes, count, el, given, setText } from "./format.js";
import { ask } from "./live.js";
import { pathNames } from "./samples.js";

const rowsPerPage = 25;
const refresh = 4000; // ms

const columns = [
  { name: "Address", key: "address" },
  { name: "Endpoint", key: "endpoint" },
  { name: "State", key: "state" },
  { name: "Path", key: "path" },
  { name: "Rate", number: true },
  { name: "Received", key: "received_bytes", number: true },
  { name: "Sent", key: "sent_bytes", number: true },
  { name: "Last heard", key: "heard_seconds_ago", number: true },
];

export class Peers {
  // ping is called with an address; undefined where the program cannot.
  constructor(section, { title, sort, ping }) {
    this.section = section;
    this.sort = sort;
    this.offset = 0;
    this.ping = ping;
    this.before = new Map(); // bytes of peers at the last refresh
    this.filter = el("input", { type: "search", placeholder: "address, state or path", spellcheck: "false", input: () => this.wait(300, () => { this.offset = 0; }) });
    this.heads = columns.map((c) => this.head(c));
    this.body = el("tbody");
    this.told = el("p", { class: "quiet", role: "status" });
    this.previous = el("button", { type: "button", click: () => this.turn(-1) }, "Previous");
    this.next = el("button", { type: "button", click: () => this.turn(1) }, "Next");
    section.append(el("div", { class: "title" }, el("h2", { id: "peers-title" }, title), el("label", {}, "Search ", this.filter)),
      el("table", { class: "peers" }, el("thead", {}, el("tr", {}, ...this.heads, ping ? el("td") : null)), this.body),
      el("div", { class: "pager" }, this.previous, this.told, this.next));
    section.hidden = false;
    this.seen = false;
    new IntersectionObserver((entries) => {
      this.seen = entries.at(-1).isIntersecting;
      if (this.seen) this.wait(0);
    }).observe(section);
    document.addEventListener("visibilitychange", () => this.wait(0));
  }

  head(c) {
    if (!c.key) return el("th", { scope: "col", class: "number" }, c.name);
    const mark = el("span", { class: "order", "aria-hidden": "true" });
    const head = el("th", { scope: "col", class: c.number ? "number" : undefined }, el("button", { type: "button", click: () => this.order(c) }, c.name, mark));
    c.show = () => {
      const down = this.sort === `-${c.key}`, up = this.sort === c.key;
      head.setAttribute("aria-sort", down ? "descending" : up ? "ascending" : "none");
      setText(mark, down ? " ▼" : up ? " ▲" : "");
    };
    c.show();
    return head;
  }

  // order sorts by a column, and the other way round at the second time. Numbers begin with the largest; ages with the shortest.
  order(c) {
    const largest = c.number && c.key !== "heard_seconds_ago";
    const first = largest ? `-${c.key}` : c.key;
    this.sort = this.sort === first ? (largest ? c.key : `-${c.key}`) : first;
    this.offset = 0;
    for (const other of columns) other.show?.();
    this.wait(0);
  }

  turn(by) {
    this.offset = Math.max(0, this.offset + by * rowsPerPage);
    this.wait(0);
  }

  // wait fetches after a time, unless it is to wait again meanwhile.
  wait(ms, then) {
    clearTimeout(this.timer);
    if (!this.seen || document.hidden) return;
    this.timer = setTimeout(() => {
      then?.();
      this.fetch();
    }, ms);
  }

  async fetch() {
    const query = new URLSearchParams({ sort: this.sort, offset: this.offset, limit: rowsPerPage, match: this.filter.value.trim() });
    const asked = (this.asked = (this.asked ?? 0) + 1);
    try {
      const answer = await ask(`/api/v1/peers/table?${query}`);
      if (asked !== this.asked) return; // another question has been asked since
      this.show(answer);
    } catch (e) {
      setText(this.told, `The list cannot be had: ${e.message}`);
    }
    this.wait(refresh);
  }

  show({ all, matching, clients, rows }) {
    const now = performance.now();
    this.place(rows.map((p) => this.row(p, now)));
    this.before = new Map(rows.map((p) => [p.address, { at: now, in: p.received_bytes, out: p.sent_bytes }]));
    const last = Math.min(this.offset + rows.length, matching);
    const nats = clients.cone + clients.restricted ? ` Clients: ${count(clients.cone)} behind cone NATs, ${count(clients.restricted)} behind others.` : "";
    setText(this.told, (matching === 0 ? all === 0 ? "There are no peers." : `None of ${count(all)} peers matches.` : `${count(this.offset + 1)}–${count(last)} of ${count(matching)}${matching < all ? ` that match, of ${count(all)}` : ""}.`) + nats);
    this.previous.disabled = this.offset === 0;
    this.next.disabled = last >= matching;
    if (rows.length === 0 && this.offset > 0) this.turn(-1);
  }

  // place makes the rows those of the table. The row of a peer that was there before takes the new cells and keeps its button, which has
  // the focus, perhaps, or a mouse button pressed on it. A row moves only if its place has changed.
  place(rows) {
    const kept = new Map([...this.body.rows].map((r) => [r.dataset.address, r]));
    const ordered = rows.map((row) => {
      const old = kept.get(row.dataset.address);
      if (!old) return row;
      kept.delete(row.dataset.address);
      [...row.cells].slice(0, columns.length).forEach((cell, i) => old.cells[i].replaceWith(cell));
      return old;
    });
    for (const gone of kept.values()) gone.remove();
    ordered.forEach((row, i) => {
      if (this.body.rows[i] !== row) this.body.insertBefore(row, this.body.rows[i] ?? null);
    });
  }

  row(p, now) {
    const cell = (i, ...content) => el("td", { class: columns[i].number ? "number" : undefined, "data-label": columns[i].name }, ...content);
    const was = this.before.get(p.address);
    const seconds = was ? (now - was.at) / 1000 : 0;
    const per = (n, then) => seconds > 0 && n >= then ? bits((n - then) / seconds) : "–";
    const about = p.mapped ? `${p.mapped}, ${p.cone ? "cone NAT" : "NAT"}, server ${p.server}` : "native IPv6 host";
    return el("tr", { "data-address": p.address },
      cell(0, el("span", { class: "address" }, p.address), el("small", {}, about)),
      cell(1, given(p.endpoint) ? p.endpoint : "–"),
      cell(2, el("span", { class: `state ${p.state}` }, p.state), p.reason ? el("small", {}, p.reason) : null),
      cell(3, pathNames[p.path] ?? p.path, p.carried_by === "kernel" ? el("small", {}, "by the kernel") : null),
      cell(4, was ? `↓ ${per(p.received_bytes, was.in)}` : "–", was ? el("small", {}, `↑ ${per(p.sent_bytes, was.out)}`) : null),
      cell(5, bytes(p.received_bytes)),
      cell(6, bytes(p.sent_bytes)),
      cell(7, ago(p.heard_seconds_ago)),
      this.ping ? el("td", {}, el("button", { type: "button", "aria-label": `Ping ${p.address}`, click: () => this.ping(p.address) }, "Ping")) : null);
  }
}

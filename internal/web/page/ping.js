// Pings: by which path a host answers, or why it does not.
import { el, given, millis } from "./format.js";
import { ask } from "./live.js";
import { pathNames } from "./samples.js";

const times = 4, pause = 1000; // ms

export class Ping {
  constructor(section) {
    this.section = section;
    this.address = el("input", { required: true, spellcheck: "false", autocomplete: "off", placeholder: "2001:db8::1", "aria-label": "IPv6 address" });
    this.button = el("button", { type: "submit" }, "Ping");
    this.answers = el("ol", { class: "answers", "aria-live": "polite" });
    section.append(el("h2", { id: "ping-title" }, "Ping"),
      el("form", { submit: (e) => { e.preventDefault(); this.run(this.address.value.trim()); } }, el("label", {}, "Address ", this.address), this.button), this.answers);
    section.hidden = false;
  }

  // show pings an address from elsewhere on the page.
  show(address) {
    this.address.value = address;
    this.section.scrollIntoView({ block: "nearest" });
    this.run(address);
  }

  async run(address) {
    const turn = (this.turn = (this.turn ?? 0) + 1);
    this.answers.replaceChildren();
    this.say("quiet", `Pinging ${address} …`);
    for (let i = 0; i < times && turn === this.turn; i++) {
      if (i) await new Promise((done) => setTimeout(done, pause));
      let result;
      try {
        result = await ask("/api/v1/ping", { address });
      } catch (e) {
        if (turn === this.turn) this.say("bad", e.message);
        return;
      }
      if (turn !== this.turn) return;
      this.say(result.answered ? "good" : "bad", describe(result));
      if (!result.sent && result.cause !== "busy") return;
    }
  }

  say(kind, text) {
    this.answers.append(el("li", { class: kind }, text));
  }
}

function describe(r) {
  if (!r.answered) return `✗ ${r.reason || "No answer."}`;
  const path = (pathNames[r.path] ?? r.path).toLowerCase();
  return [`✓ ${millis(r.rtt_ms)}`, r.path === "relay" && given(r.relay) ? `${path} by ${r.relay}` : given(r.endpoint) ? `${path}, ${r.endpoint}` : path,
    r.carried_by && `carried by the ${r.carried_by}`, r.found_ms > 0 && `path found in ${millis(r.found_ms)}`].filter(Boolean).join(" · ");
}

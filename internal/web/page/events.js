// The latest lines of the log, the newest first.
import { el } from "./format.js";
import { ask } from "./live.js";

const most = 200;

export class Events {
  constructor(section, list) {
    section.hidden = false;
    this.list = list;
    this.all = 0;
    this.asking = false;
  }

  // follow fetches what has been logged since, when the program says that there is more.
  async follow(all) {
    if (this.asking || all === this.all) return;
    this.asking = true;
    try {
      const answer = await ask(`/api/v1/log?after=${all < this.all ? 0 : this.all}`);
      if (all < this.all) this.list.replaceChildren(); // of a former run
      this.all = answer.all;
      this.list.prepend(...answer.lines.reverse().map(row));
      while (this.list.children.length > most) this.list.lastElementChild.remove();
    } catch {
      // The next sample tries again.
    } finally {
      this.asking = false;
    }
  }
}

// row takes a line of the log apart: time, level, message and what belongs to it.
function row(line) {
  const parts = /^time=(\S+) level=(\w+) msg=("(?:[^"\\]|\\.)*"|\S*) ?(.*)$/.exec(line);
  if (!parts) return el("li", {}, line);
  const [, time, level, message, rest] = parts;
  return el("li", { "data-level": level.toLowerCase() },
    el("time", { datetime: time }, new Date(time).toLocaleTimeString("en-GB")), el("b", {}, level), el("span", {}, unquoted(message), " ", el("small", {}, rest)));
}

function unquoted(text) {
  if (!text.startsWith('"')) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text.slice(1, -1);
  }
}

// What the page asks the program for: a stream of samples, and answers to questions. All requests carry the token, if there is one.

const retryAfter = 1000; // ms
const silence = 15000; // ms after which a stream is given up

let token = sessionStorage.getItem("token") ?? "";

export function useToken(text) {
  token = text.trim();
  sessionStorage.setItem("token", token);
}

function request(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  return fetch(path, { ...options, headers, credentials: "omit", cache: "no-store" });
}

// ask returns an answer in JSON form. It throws what the program says when that is no answer.
export async function ask(path, body) {
  const answer = await request(path, body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer.json();
}

// patched applies a merge patch (RFC 7396) without changing the object.
export function patched(object, patch) {
  const result = { ...object };
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else if (typeof value === "object" && !Array.isArray(value)) result[name] = patched(result[name], value);
    else result[name] = value;
  }
  return result;
}

// follow tells what the stream brings, for ever: hello(greeting), sample({t, s, log}), and state("open", "lost" or "token").
// It resolves when the program wants a token that it does not have.
export async function follow({ hello, sample, state }) {
  for (;;) {
    const abort = new AbortController();
    let timer;
    const awake = () => {
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), silence);
    };
    try {
      awake();
      const answer = await request("/api/v1/live", { signal: abort.signal });
      if (answer.status === 401) {
        state("token", token !== "");
        return;
      }
      if (!answer.ok) throw new Error((await answer.text()).trim());
      let latest = null;
      for await (const message of events(answer.body, awake)) {
        if (latest === null) {
          latest = message.s;
          state("open");
          hello(message);
        } else {
          latest = patched(latest, message.s);
        }
        sample({ t: message.t / 1000, s: latest, log: message.log ?? 0 });
      }
      state("lost", "");
    } catch (e) {
      state("lost", e instanceof TypeError || e.name === "AbortError" ? "" : e.message);
    } finally {
      clearTimeout(timer);
    }
    await new Promise((done) => setTimeout(done, retryAfter));
  }
}

// events reads server-sent events.
async function* events(body, awake) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    awake();
    text += value;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      if (text.startsWith("data: ")) yield JSON.parse(text.slice(6, end));
    }
  }
}

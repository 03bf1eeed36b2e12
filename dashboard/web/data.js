// Where the page's figures come from: the server, or what was recorded into this very file.

import { Recorded } from "./recorded.js";

class Live {
  constructor() {
    this.lost = false;
    this.shift = 0; // of the server's clock against this machine's
  }

  async get(path, values = {}) {
    const wanted = new URLSearchParams(Object.entries(values).filter(([, v]) => v !== ""));
    let answer;
    try {
      answer = await fetch(`${path}?${wanted}`, { signal: AbortSignal.timeout(20_000) });
    } catch (error) {
      this.lost = true;
      throw error;
    }
    this.lost = false;
    const date = Date.parse(answer.headers.get("date"));
    if (Number.isFinite(date)) this.shift = Math.abs(date - Date.now()) > 5_000 ? date - Date.now() : 0;
    if (!answer.ok) {
      const { detail } = await answer.json().catch(() => ({}));
      throw new Error(typeof detail === "string" ? detail : answer.statusText);
    }
    return answer.json();
  }

  now() { return Date.now() + this.shift; }

  overview() { return this.get("overview"); }
  chart(values) { return this.get("chart", values); }
  record(values) { return this.get("record", values); }
  /** Live rows of the scoreboard, then those made after their target time. */
  async scores(span) {
    return (await Promise.all([false, true].map((backfilled) => this.get("scores", { span, backfilled })))).flat();
  }
  models() { return this.get("models"); }
  decisions() { return this.get("decisions"); }
  troubles() { return this.get("troubles"); }
  articles(values) { return this.get("articles", values); }

  /** Call `each` with every new prediction. One page of a browser listens for all of them: a browser
   *  has six connections for one server. Where the pages can't agree on one, each listens. */
  follow(each) {
    const pages = new BroadcastChannel("predictions");
    pages.onmessage = (message) => each(message.data);
    const open = () => {
      const source = new EventSource("events");
      source.addEventListener("prediction", (event) => {
        const row = JSON.parse(event.data);
        pages.postMessage(row);
        each(row);
      });
      // After an answer that is none it would be silent for ever.
      source.onerror = () => { if (source.readyState === EventSource.CLOSED) setTimeout(open, 5_000); };
    };
    const listen = () => new Promise(open);
    if (navigator.locks) navigator.locks.request("events", listen);
    else listen();
  }
}

const recorded = document.getElementById("recorded");
export const data = recorded ? new Recorded(JSON.parse(recorded.textContent)) : new Live();

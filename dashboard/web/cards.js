// All series at a glance: a card each, changed in place.

import { data } from "./data.js";
import { ago, barMs, percent, price, sentence, verdict } from "./format.js";
import { address, choice, choices, choose, el, name, say, svg } from "./view.js";

const ORDERS = [["name", "Name"], ["lively", "Liveliest"], ["move", "Biggest move"], ["record", "Best record"], ["fresh", "Newest"]];

/** The prediction shown on a card: the farthest horizon, which says the most. */
const shown = (card) => card.ahead.at(-1);
const key = (card) => `${card.symbol} ${card.interval}`;
const move = (card) => (card.closes.length > 1 ? card.closes.at(-1) / card.closes[0] - 1 : 0);
/** A skill that chance explains is none. */
const proven = (card) => {
  const record = shown(card)?.record;
  return record ? (record.verdict === "early" ? 0 : record.skill) : -9;
};
const RANK = {
  name: (a, b) => key(a).localeCompare(key(b)),
  lively: (a, b) => (shown(b)?.livelier ?? -1) - (shown(a)?.livelier ?? -1),
  move: (a, b) => Math.abs(move(b)) - Math.abs(move(a)),
  record: (a, b) => proven(b) - proven(a),
  fresh: (a, b) => (shown(b)?.predicted_at ?? 0) - (shown(a)?.predicted_at ?? 0),
};

/** Whether a prediction is of the bar that is open at this moment. */
export function freshness(ahead, interval) {
  const age = data.now() - ahead.predicted_at;
  return age <= barMs(interval) + 10_000 && age >= -60_000
    ? ["", `predicted ${ago(age)}`]
    : ["stale", `last predicted ${ago(age)}`];
}

export class Cards {
  constructor(place) {
    this.known = new Map();
    this.count = el("p", { class: "quiet", role: "status" });
    this.list = el("ul", { class: "cards" });
    const search = el("input", { type: "search", placeholder: "Search", "aria-label": "Search symbols", value: choices.q,
      oninput: (event) => { choose({ q: event.target.value }); this.arrange(); } });
    const order = choice("Sort by", ORDERS, choices.o, (o) => { choose({ o }); this.arrange(); });
    place.replaceChildren(el("h1", { class: "hidden" }, "Markets"), el("div", { class: "bar" }, search, order), this.count, this.list);
  }

  async refresh() {
    this.take(await data.overview());
  }

  take(cards) {
    const seen = new Set(cards.map(key));
    for (const [old, one] of this.known) if (!seen.has(old)) { one.item.remove(); this.known.delete(old); }
    for (const card of cards) {
      if (!this.known.has(key(card))) this.known.set(key(card), made(card));
      this.fill(this.known.get(key(card)), card);
    }
    this.arrange();
  }

  /** A new prediction: its card alone changes, at once. */
  predicted(row) {
    const one = this.known.get(`${row.symbol} ${row.interval}`);
    if (!one) return;
    const card = one.card, open = row.as_of - barMs(row.interval);
    if (open > (card.times.at(-1) ?? 0)) {
      card.times.push(open);
      card.closes.push(row.last_close);
      if (card.times.length > 60) { card.times.shift(); card.closes.shift(); }
    }
    const place = card.ahead.findIndex((ahead) => ahead.horizon === row.horizon);
    if (place >= 0 && row.as_of >= card.ahead[place].as_of) {
      const before = card.ahead[place];
      card.ahead[place] = { ...before, ...row, livelier: before.livelier, record: before.record };
    }
    this.fill(one, card);
  }

  fill(one, card) {
    one.card = card;
    const ahead = shown(card);
    say(one.price, price(card.closes.at(-1)));
    say(one.move, percent(move(card), 2, true));
    one.move.className = `move ${move(card) >= 0 ? "up" : "down"}`;
    const path = spark(card.closes);
    if (one.spark.getAttribute("d") !== path) one.spark.setAttribute("d", path);
    const [stale, fresh] = ahead ? freshness(ahead, card.interval) : ["stale", "nothing predicted yet"];
    one.link.className = `card ${stale}`;
    one.link.href = address({ s: card.symbol, i: card.interval, h: "" });
    say(one.next, ahead ? sentence(ahead, barMs(card.interval)) : "–");
    const [text, colour] = ahead ? verdict(ahead.record) : ["", ""];
    say(one.record, text);
    one.record.className = `verdict ${colour}`;
    say(one.fresh, `${fresh}${ahead?.model_version.endsWith("-unproven") ? " · unproven here" : ""}`);
  }

  /** Ages go on without news. */
  tick() {
    for (const one of this.known.values()) this.fill(one, one.card);
  }

  arrange() {
    const wanted = choices.q.trim().toLowerCase();
    const all = [...this.known.values()].sort((a, b) => RANK[choices.o in RANK ? choices.o : "name"](a.card, b.card) || RANK.name(a.card, b.card));
    const kept = all.filter((one) => key(one.card).toLowerCase().includes(wanted));
    if (kept.length !== this.list.children.length || kept.some((one, at) => this.list.children[at] !== one.item)) {
      const active = document.activeElement;
      this.list.replaceChildren(...kept.map((one) => one.item));
      if (this.list.contains(active)) active.focus({ preventScroll: true });
    }
    say(this.count, kept.length === all.length ? `${all.length} series` : `${kept.length} of ${all.length} series`);
  }
}

function made(card) {
  const one = {
    price: el("span", { class: "price" }), move: el("span"), next: el("p", { class: "next" }),
    record: el("span"), fresh: el("span", { class: "fresh" }), spark: svg("path"),
  };
  const picture = svg("svg", { class: "spark", viewBox: "0 0 100 28", preserveAspectRatio: "none", "aria-hidden": "true" }, one.spark);
  one.link = el("a", { href: address({ s: card.symbol, i: card.interval }) },
    el("span", { class: "row" }, el("strong", {}, name(card.symbol)), el("small", {}, card.interval), one.price, one.move),
    picture, one.next, el("span", { class: "row" }, one.record, one.fresh));
  one.item = el("li", {}, one.link);
  return one;
}

function spark(closes) {
  if (closes.length < 2) return "";
  const low = Math.min(...closes), span = Math.max(...closes) - low || 1;
  return closes.map((close, at) => `${at ? "L" : "M"}${((at * 100) / (closes.length - 1)).toFixed(1)} ${(26 - ((close - low) / span) * 24).toFixed(1)}`).join("");
}

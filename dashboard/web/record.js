// Was it right? A picture of skill and coverage over time first, the table behind a click.

import { data } from "./data.js";
import { clock, percent } from "./format.js";
import { choice, choices, choose, el, svg, zone } from "./view.js";

const SPANS = [["24", "1 d"], ["168", "7 d"], ["720", "30 d"], ["0", "all"]];
const WIDE = 320, HIGH = 110;
const LEVELS = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95];
const COLUMNS = [["horizon", "ahead", (v, row) => `${v} × ${row.interval}`], ["model_version", "model", String], ["backfilled", "made", (v) => (v ? "backfilled" : "live")], ["predictions", "n", (v) => v.toLocaleString("en-US")],
  ["skill_persistence", "skill", (v) => percent(v, 2, true)], ["dm_p_persistence", "p", (v) => v?.toFixed(3) ?? "–"],
  ["skill_arima", "vs ARIMA", (v) => percent(v, 2, true)], ["directional_accuracy", "direction", (v) => percent(v, 1)],
  ["break_even_bp", "breaks even, bp", (v, row) => fees(v, row.break_even_low_bp, row.break_even_high_bp)],
  ["crps_skill", "how far", (v) => percent(v, 2, true)], ["dm_p_crps", "p of that", (v) => v?.toFixed(3) ?? "–"],
  ["interval_coverage", "covered", (v) => percent(v, 1)], ["promised_coverage", "promised", (v) => percent(v, 0)], ["mean_width", "width", (v) => percent(v, 3)]];

export class Record {
  constructor() {
    this.hours = "168";
    this.picture = el("div", { class: "pictures" });
    this.summary = el("p", {}, "…");
    this.table = el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "The scoreboard" });
    const details = el("details", { ontoggle: (event) => event.target.open && this.readTable() }, el("summary", {}, "The table behind it"), this.table);
    this.place = el("section", { "aria-labelledby": "right" }, el("div", { class: "bar" }, el("h2", { id: "right" }, "Was it right?"),
      choice("Over", SPANS, this.hours, (hours) => { this.hours = hours; this.refresh(); this.readTable(); })), this.summary, this.picture, details);
  }

  async refresh(horizon = this.horizon) {
    this.horizon = horizon;
    const wanted = { symbol: choices.s, interval: choices.i, horizon, hours: this.hours };
    let found;
    try {
      found = await data.record(wanted);
    } catch {
      this.summary.replaceChildren("The record can't be read at the moment; it is asked for again.");
      return;
    }
    if (horizon !== this.horizon) return;
    if (!found.whole) {
      this.summary.replaceChildren("Too early to tell: the target time of no prediction has passed in this range.");
      this.picture.replaceChildren();
      return;
    }
    const { buckets, paid, pit } = found;
    this.summary.replaceChildren(...told(found), ...(paid ? [` Would it have paid? No advice: ${paid.sentence}.`] : []));
    this.picture.replaceChildren(
      figure("Error against repeating the last price: above 0 is better", skills(buckets), buckets),
      figure(`Prices inside the interval; promised are ${percent(found.promised, 0)}`, covered(buckets, found.promised), buckets),
      pit ? figure("Where prices fell between the quantiles: as high as the line where these are true", between(pit))
        : figure("Where prices fell: below, inside, above the interval", shares(found.whole, found.promised)),
      ...(paid && paid.low_bp !== null ? [figure("The fee of a side at which acting on each sign breaks even, in basis points", fee(paid))] : []));
  }

  async readTable() {
    const span = { 24: "24h", 168: "7d" }[this.hours] ?? "all";
    const rows = (await data.scores(span).catch(() => [])).filter((row) => row.symbol === choices.s && row.interval === choices.i);
    const head = el("tr", {}, COLUMNS.map(([, title]) => el("th", { scope: "col" }, title)));
    const lines = rows.map((row) => el("tr", {}, COLUMNS.map(([key, , form]) => el("td", {}, form(row[key], row)))));
    this.table.replaceChildren(rows.length ? el("table", {}, el("thead", {}, head), el("tbody", {}, lines)) : el("p", {}, "Nothing has been scored: candlecast score --every 60 does it."));
  }
}

function told({ whole, verdict, promised, backfilled }) {
  const n = `${whole.predictions.toLocaleString("en-US")} ${backfilled ? "backfilled " : ""}predictions`;
  const inside = ` ${percent(whole.inside, 1)} of prices lay inside the interval; promised are ${percent(promised, 0)}.`;
  if (verdict === "early") return [el("strong", {}, "Too early to tell"), ` from ${n} whether it beats the last price.`, inside];
  const range = `${percent(whole.skill_low)} to ${percent(whole.skill_high)}`;
  return [el("strong", { class: `verdict ${verdict}` }, `${percent(Math.abs(whole.skill))} ${verdict} than the last price`), ` (95 % sure: ${range}; ${n}).`, inside];
}

function figure(title, picture, buckets) {
  const times = buckets ? el("p", { class: "axis" }, el("span", {}, clock(buckets[0].since, zone())), el("span", {}, clock(buckets.at(-1).until, zone()))) : null;
  picture.setAttribute("aria-hidden", "true");
  return el("figure", {}, el("figcaption", {}, title), picture, times);
}

const frame = () => svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}` });
const across = (at, count) => ((at + 0.5) * WIDE) / count;

function text(x, y, words, anchor = "start") {
  const made = svg("text", { x, y, "text-anchor": anchor });
  made.textContent = words;
  return made;
}

function skills(buckets) {
  const known = buckets.filter((bucket) => bucket.skill !== null), picture = frame();
  const most = Math.max(0.01, ...known.flatMap((b) => [Math.abs(b.skill) * 2, Math.min(Math.abs(b.skill_low), 3 * Math.abs(b.skill) + 0.02)]));
  const y = (value) => HIGH / 2 - (Math.max(-most, Math.min(most, value)) / most) * (HIGH / 2 - 8);
  picture.append(svg("line", { class: "zero", x1: 0, x2: WIDE, y1: y(0), y2: y(0) }), text(2, 12, percent(most, 1, true)), text(2, HIGH - 4, percent(-most, 1)));
  buckets.forEach((bucket, at) => {
    if (bucket.skill === null) return;
    const colour = bucket.skill_low > 0 ? "better" : bucket.skill_high < 0 ? "worse" : "early", x = across(at, buckets.length);
    picture.append(svg("line", { class: `error ${colour}`, x1: x, x2: x, y1: y(bucket.skill_low), y2: y(bucket.skill_high) }), svg("circle", { class: colour, cx: x, cy: y(bucket.skill), r: 3 }));
  });
  if (!known.length) picture.append(text(WIDE / 2, HIGH / 2 - 6, "too few to tell", "middle"));
  return picture;
}

function covered(buckets, promised) {
  const picture = frame(), least = Math.min(promised - 0.1, ...buckets.map((bucket) => bucket.inside));
  const y = (share) => HIGH - 6 - ((share - least) / (1 - least)) * (HIGH - 18);
  buckets.forEach((bucket, at) => picture.append(svg("circle", { class: "early", cx: across(at, buckets.length), cy: y(bucket.inside), r: 3 })));
  picture.append(svg("line", { class: "promised", x1: 0, x2: WIDE, y1: y(promised), y2: y(promised) }), text(2, y(promised) - 4, `${percent(promised, 0)} promised`));
  return picture;
}

const fees = (even, low, high) => (even === null ? "–" : `${even.toFixed(2)}${low === null ? "" : ` (${low.toFixed(2)} to ${high.toFixed(2)})`}`);

/** From 0 on: the fee at which nothing is left, how sure that is, and the usual one. */
function fee({ break_even_bp: even, low_bp: low, high_bp: high, fee_bp: usual }) {
  const picture = frame(), known = [0, usual, low, high], [least, most] = [Math.min(...known), Math.max(...known)];
  const x = (value) => 12 + ((value - least) / (most - least || 1)) * (WIDE - 24), y = HIGH / 2;
  const colour = low > usual ? "better" : high <= usual ? "worse" : "early";
  picture.append(svg("line", { class: "zero", x1: x(0), x2: x(0), y1: 14, y2: HIGH - 22 }), svg("line", { class: "promised", x1: x(usual), x2: x(usual), y1: 14, y2: HIGH - 22 }));
  picture.append(svg("line", { class: `error ${colour}`, x1: x(low), x2: x(high), y1: y, y2: y }), svg("circle", { class: colour, cx: x(even), cy: y, r: 4 }), text(x(0), HIGH - 8, "0", "middle"), text(x(even), y - 10, fees(even, low, high), x(even) > WIDE / 2 ? "end" : "start"),
    text(x(usual), 10, `${usual} usual`, x(usual) > WIDE / 2 ? "end" : "start"));
  return picture;
}

/** A column is as wide as the share that should fall into it, and as high as how many times that did. */
function between(pit) {
  const picture = frame(), low = HIGH - 16, one = low * 0.55;
  [0, ...LEVELS].forEach((level, at) => {
    const width = ((LEVELS[at] ?? 1) - level) * WIDE, height = Math.min(low - 4, (pit[at] * WIDE * one) / width);
    picture.append(svg("rect", { class: "share", x: level * WIDE + 1, y: low - height, width: width - 2, height }));
    if (at && level !== 0.1 && level !== 0.9) picture.append(text(level * WIDE, HIGH - 3, percent(level, 0), "middle"));
  });
  picture.append(svg("line", { class: "promised", x1: 0, x2: WIDE, y1: low - one, y2: low - one }));
  return picture;
}

function shares(whole, promised) {
  const picture = frame(), tail = (1 - promised) / 2;
  [["below", whole.below, tail], ["inside", whole.inside, promised], ["above", whole.above, tail]].forEach(([words, share, wanted], at) => {
    const y = 8 + at * 34;
    picture.append(svg("rect", { class: "share", x: 60, y, width: (WIDE - 130) * share, height: 18 }),
      svg("line", { class: "promised", x1: 60 + (WIDE - 130) * wanted, x2: 60 + (WIDE - 130) * wanted, y1: y - 4, y2: y + 22 }),
      text(2, y + 13, words), text(WIDE - 2, y + 13, percent(share, 1), "end"));
  });
  return picture;
}

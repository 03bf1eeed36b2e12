// One series: live candles, the cone ahead, past predictions as hits and misses, and the record.

import { freshness } from "./cards.js";
import { data } from "./data.js";
import { Forecast } from "./forecast.js";
import { barMs, clock, length, percent, price, sentence, verdict } from "./format.js";
import { Record } from "./record.js";
import { address, choice, choices, choose, el, name, say, zone } from "./view.js";

const RANGES = [["1", "1 h"], ["3", "3 h"], ["12", "12 h"], ["24", "1 d"], ["168", "7 d"], ["720", "30 d"], ["0", "all"]];
const css = (property) => getComputedStyle(document.documentElement).getPropertyValue(property).trim();
const s = (ms) => Math.floor(ms / 1000);

export class Series {
  constructor(place) {
    this.place = place;
    this.candles = new Map(); // by open time, seconds
    this.moods = new Map();
    this.predicted = new Map(); // by the open time of the candle whose close was predicted
    this.card = null;
    this.price = el("span", { class: "price" });
    this.head = el("div", { class: "head" }, el("a", { class: "back", href: "#" }, "All markets"), el("h1", {}, name(choices.s)), this.price);
    this.controls = el("div", { class: "bar" });
    this.ahead = el("ul", { class: "ahead", "aria-label": "What comes next" });
    this.legend = el("p", { class: "legend", "aria-live": "off" });
    this.canvas = el("div", { class: "chart", role: "img", "aria-label": `Candles of ${choices.s} with past predictions and the interval ahead` });
    this.news = el("details", { class: "news", hidden: true }, el("summary", {}, "The news behind it"), el("ul"));
    this.record = new Record();
    place.replaceChildren(this.head, this.controls, this.ahead, this.legend, this.canvas, this.news, this.record.place);
    this.draw();
  }

  draw() {
    this.chart = LightweightCharts.createChart(this.canvas, { autoSize: true, ...this.colours(),
      timeScale: { timeVisible: true, secondsVisible: false, rightOffset: 2, borderVisible: false },
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.08, bottom: 0.2 } },
      crosshair: { mode: LightweightCharts.CrosshairMode.Normal } });
    this.bars = this.chart.addCandlestickSeries({ priceLineVisible: true, ...this.bodies() });
    this.volume = this.chart.addHistogramSeries({ priceScaleId: "volume", priceFormat: { type: "volume" }, color: css("--volume"), lastValueVisible: false, priceLineVisible: false });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.85, bottom: 0 } });
    this.mood = this.chart.addHistogramSeries({ priceScaleId: "news", lastValueVisible: false, priceLineVisible: false });
    this.chart.priceScale("news").applyOptions({ scaleMargins: { top: 0.92, bottom: 0 } });
    this.forecast = new Forecast();
    this.bars.attachPrimitive(this.forecast);
    this.chart.subscribeCrosshairMove((event) => this.explain(event.time));
    this.chart.timeScale().subscribeVisibleTimeRangeChange((range) => { this.canvas.dataset.shown = range ? `${range.from} ${range.to}` : ""; });
  }

  colours() {
    const format = (time, day) => clock(time * 1000, zone(), day);
    return { layout: { background: { type: "solid", color: css("--back") }, textColor: css("--quiet"), fontSize: 11 },
      grid: { vertLines: { color: css("--line") }, horzLines: { color: css("--line") } },
      localization: { priceFormatter: price, timeFormatter: (time) => format(time, true) },
      timeScale: { tickMarkFormatter: (time, kind) => (kind < 3 ? format(time, true).slice(5, 10) : format(time, false)) } };
  }

  bodies() {
    return { upColor: css("--up"), downColor: css("--down"), wickUpColor: css("--up"), wickDownColor: css("--down"), borderVisible: false };
  }

  /** Colours or the clock have changed. */
  restyle() {
    this.chart.applyOptions(this.colours());
    this.bars.applyOptions(this.bodies());
    this.volume.applyOptions({ color: css("--volume") });
    this.forecast.requestUpdate?.();
    this.fill();
    this.explain(null);
    this.record.refresh(this.horizon());
    this.readNews();
  }

  async refresh() {
    await this.overview();
    if (this.loaded === JSON.stringify(this.wanted())) await this.extend();
    else {
      await this.load();
      this.readNews();
    }
    this.record.refresh(this.horizon());
  }

  async overview() {
    const cards = await data.overview();
    this.others = cards.filter((card) => card.symbol === choices.s).map((card) => card.interval);
    this.card = cards.find((card) => card.symbol === choices.s && card.interval === choices.i) ?? null;
    this.fill();
  }

  /** The horizon chosen, else the nearest one. */
  horizon() {
    return choices.h || String(this.card?.ahead[0]?.horizon ?? 1);
  }

  wanted() {
    // Sixty bars at least: three hours of days would be one candle.
    const hours = choices.r === "0" ? 0 : Math.max(Number(choices.r), Math.ceil((60 * barMs(choices.i)) / 36e5));
    return { symbol: choices.s, interval: choices.i, horizon: this.horizon(), hours };
  }

  async load() {
    const wanted = this.wanted(), found = await data.chart(wanted);
    if (JSON.stringify(wanted) !== JSON.stringify(this.wanted())) return; // another choice was made
    this.step = found.step_ms;
    this.bar = found.bar_ms;
    this.horizons = found.horizons;
    this.roomy = false; // whether the picture has had room for a cone
    this.read = 0; // the newest candle that the server told, epoch ms
    for (const kept of [this.candles, this.predicted, this.moods]) kept.clear();
    this.take(found);
    this.show();
    this.chart.timeScale().fitContent();
    this.loaded = JSON.stringify(wanted);
  }

  /** What has come since, without a new picture of the rest. */
  async extend() {
    const wanted = this.wanted(), since = Math.max(0, this.slot(this.read) * 1000 - this.step);
    const found = await data.chart({ ...wanted, since });
    if (JSON.stringify(wanted) !== this.loaded || JSON.stringify(wanted) !== JSON.stringify(this.wanted())) return;
    this.take(found);
    this.forget(wanted.hours);
    this.show();
  }

  slot(ms) {
    return s(Math.floor(ms / this.step) * this.step);
  }

  take({ candles, predicted, news }) {
    candles.time.forEach((time, at) => {
      const [open, high, low, close] = ["open", "high", "low", "close"].map((column) => candles[column][at]);
      if (close === null) return;
      this.candles.set(this.slot(time), { time: this.slot(time), open, high, low, close, volume: candles.volume[at] ?? 0 });
    });
    predicted.target_time.forEach((target, at) => {
      this.predicted.set(this.slot(target - this.bar), { time: this.slot(target - this.bar),
        low: predicted.lower[at], high: predicted.upper[at], predicted: predicted.predicted_close[at] });
    });
    news.time.forEach((time, at) => {
      const score = news.score[at] ?? 0;
      this.moods.set(this.slot(time), { time: this.slot(time), value: Math.abs(score), color: css(score >= 0 ? "--up" : "--down") });
    });
    this.read = candles.time.at(-1) ?? this.read;
  }

  /** What has left the range: a page may stay open for days. */
  forget(hours) {
    const first = this.read / 1000 - hours * 3600;
    if (!hours) return;
    for (const kept of [this.candles, this.predicted, this.moods]) {
      for (const time of kept.keys()) if (time < first) kept.delete(time);
    }
  }

  /** Whether the close that was predicted is that of a candle which is whole. */
  revealed(time) {
    return this.candles.has(time) && (this.step === this.bar || time < Math.max(...this.candles.keys()));
  }

  show() {
    const bars = [...this.candles.values()].sort((a, b) => a.time - b.time);
    if (!bars.length) return;
    const last = bars.at(-1), step = s(this.step);
    const cone = this.coneFrom(last);
    const blank = [];
    for (let time = last.time + step; time <= (cone.at(-1)?.time ?? 0); time += step) blank.push({ time });
    const least = Math.min(...bars.map((bar) => bar.low)) || 1;
    const format = { type: "custom", minMove: Math.max(1e-12, 10 ** (Math.floor(Math.log10(Math.abs(least))) - 5)), formatter: price };
    this.bars.applyOptions({ priceFormat: format });
    this.bars.setData([...bars, ...blank]);
    if (blank.length && !this.roomy) this.chart.timeScale().fitContent(); // the first cone may come after the candles
    this.roomy ||= blank.length > 0;
    this.volume.setData(bars.map(({ time, volume }) => ({ time, value: volume })));
    const byTime = (a, b) => a.time - b.time, whole = last.time;
    this.mood.setData([...this.moods.values()].sort(byTime));
    const past = [...this.predicted.values()].filter((one) => this.candles.has(one.time) && (this.step === this.bar || one.time < whole)).sort(byTime);
    for (const one of past) {
      const close = this.candles.get(one.time).close;
      one.missed = close < one.low || close > one.high ? close : null;
    }
    this.forecast.set(past, cone);
    // What the picture holds, for those who can't see it and for tests.
    Object.assign(this.canvas.dataset, { candles: bars.length, last: last.time, ahead: cone.at(-1)?.time ?? "", news: this.moods.size });
    this.explain(null);
  }

  /** From the last close through every horizon of the newest prediction. */
  coneFrom(last) {
    const ahead = this.card?.ahead ?? [];
    if (!ahead.length || this.slot(ahead[0].as_of - this.bar) < last.time) return [];
    const start = ahead[0];
    const first = { time: this.slot(start.as_of - this.bar), low: start.last_close, high: start.last_close, predicted: start.last_close,
      middle: [start.last_close, start.last_close] };
    const points = ahead.map((one) => ({ time: this.slot(one.target_time - this.bar), low: one.lower, high: one.upper, predicted: one.predicted_close,
      middle: Number.isFinite(one.q25) ? [one.q25, one.q75] : null }));
    return [first, ...points.filter((point, at) => point.time > (points[at - 1]?.time ?? first.time))];
  }

  /** A new prediction of this series: figures and cone at once, the candle as soon as it is written. */
  predictedNow(row) {
    if (!this.card || !this.step || row.symbol !== choices.s || row.interval !== choices.i) return;
    const place = this.card.ahead.findIndex((one) => one.horizon === row.horizon);
    const before = this.card.ahead[place], open = row.as_of - barMs(row.interval);
    if (before && row.as_of < before.as_of) return; // a catch-up: nothing of it is news
    if (open > (this.card.times.at(-1) ?? 0)) {
      this.card.times.push(open);
      this.card.closes.push(row.last_close);
    }
    if (place < 0) this.card.ahead.push({ ...row, livelier: null, record: null });
    else this.card.ahead[place] = { ...before, ...row, livelier: before.livelier, record: before.record };
    const time = this.slot(open);
    if (!this.candles.has(time)) {
      const from = this.candles.get(time - s(this.step))?.close ?? row.last_close;
      this.candles.set(time, { time, open: from, high: Math.max(from, row.last_close), low: Math.min(from, row.last_close), close: row.last_close, volume: 0 });
    }
    this.fill();
    this.show();
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.extend().catch(() => {}), 1500);
  }

  fill() {
    const ahead = this.card?.ahead ?? [];
    say(this.price, price(this.card?.closes.at(-1) ?? this.lastClose()));
    this.control();
    const lines = ahead.length ? ahead.map((one) => this.line(one))
      : [el("li", {}, "Nothing is predicted for this series yet. The line above says what does not run; Models says what is proven.")];
    if (lines.length !== this.ahead.children.length) this.ahead.replaceChildren(...lines);
    else lines.forEach((one, at) => { if (one.outerHTML !== this.ahead.children[at].outerHTML) this.ahead.children[at].replaceWith(one); });
  }

  line(one) {
    const [stale, fresh] = freshness(one, choices.i), [text, colour] = verdict(one.record);
    const until = `until ${clock(one.target_time, zone(), false)}: ${price(one.lower)} to ${price(one.upper)} (${percent(one.coverage, 0)})`;
    const unproven = one.model_version.endsWith("-unproven") ? " · unproven here" : "";
    return el("li", { class: stale }, el("strong", {}, sentence(one, barMs(choices.i))), el("span", {}, until),
      el("span", { class: `verdict ${colour}` }, text), el("small", {}, `${fresh}, by ${one.model_version}${unproven}`));
  }

  control() {
    const again = (changes) => { choose(changes); dispatchEvent(new Event("hashchange")); };
    const horizons = [...new Set([...(this.card?.ahead ?? []).map((one) => one.horizon), ...(this.horizons ?? [])])].sort((a, b) => a - b);
    const intervals = [...new Set([choices.i, ...(this.others ?? [])])];
    const held = JSON.stringify([horizons, intervals, { ...choices }]);
    if (held === this.held) return;
    this.held = held;
    const all = () => [...this.controls.querySelectorAll("select, button")], focused = all().indexOf(document.activeElement);
    this.controls.replaceChildren(
      choice("Timeframe", intervals.map((i) => [i, i]), choices.i, (i) => again({ i, h: "" })),
      choice("Horizon", horizons.map((h) => [String(h), length(h * barMs(choices.i))]), this.horizon(), (h) => again({ h })),
      choice("Range", RANGES, choices.r, (r) => again({ r })),
      el("button", { type: "button", onclick: () => this.save() }, "Save image"));
    if (focused >= 0) all()[focused].focus();
  }

  lastClose() {
    return [...this.candles.values()].at(-1)?.close;
  }

  /** The numbers under the crosshair; of the newest candle where there is none. */
  explain(time) {
    const one = this.candles.get(time ?? Math.max(...this.candles.keys()));
    if (!one) return say(this.legend, "");
    const made = this.revealed(one.time) ? this.predicted.get(one.time) : null, end = clock((one.time + s(this.step)) * 1000, zone());
    const told = made ? ` · predicted ${price(made.predicted)}, ${price(made.low)} to ${price(made.high)}: ${one.close < made.low || one.close > made.high ? "missed" : "hit"}` : "";
    say(this.legend, `${end} ${choices.z === "local" ? "" : "UTC"} · open ${price(one.open)} high ${price(one.high)} low ${price(one.low)} close ${price(one.close)} volume ${price(one.volume)}${told}`);
  }

  async readNews() {
    const found = await data.articles({ symbol: choices.s }).catch(() => []);
    this.news.hidden = !found.length;
    this.news.lastChild.replaceChildren(...found.map((one) => el("li", {}, el("span", {}, clock(one.available_at, zone())), " ", el("bdi", {}, one.title), el("small", {}, ` ${one.source}, score ${one.score.toFixed(2)}`))));
  }

  save() {
    this.chart.takeScreenshot().toBlob((blob) => {
      const link = el("a", { href: URL.createObjectURL(blob), download: `candlecast-${choices.s.replace(/[^\p{L}\p{N}-]/gu, "_")}-${choices.i}.png` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  }

  tick() { if (this.card?.ahead.length) this.fill(); }

  close() { clearTimeout(this.soon); this.chart.remove(); }
}

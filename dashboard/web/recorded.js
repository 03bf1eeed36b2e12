// The page without a server: recorded predictions, played as they were made.

const EVERY_MS = 700, FIRST = 60;

const NAMES = [["q25", "q75"], ["q10", "q90"], ["q05", "q95"]];
const QUANTILES = ["q05", "q10", "q25", "predicted_close", "q75", "q90", "q95"];

/** The ends of the intervals by name, from half-widths of log returns in basis points; the prediction interval is the widest. */
const ends = ([middle, ...widths]) => {
  const found = Object.fromEntries(widths.flatMap((width, at) => [-1, 1].map((side, of) => [NAMES[at][of], middle * Math.exp((side * width) / 1e4)])));
  return { ...found, lower: found.q05, upper: found.q95 };
};

export class Recorded {
  constructor({ bar_ms, interval, horizons, series }) {
    Object.assign(this, { bar: bar_ms, interval, horizons, series, lost: false, at: FIRST });
    this.followers = [];
    this.length = Math.min(...series.map((one) => one.close.length));
    setInterval(() => document.hidden || this.step(), EVERY_MS);
  }

  /** The moment played: every age is told against it. */
  now() { return this.series[0].first + (this.at + 1) * this.bar + 1000; }

  step() {
    if (this.at + 1 >= this.length) return location.reload();
    this.at += 1;
    for (const one of this.series) for (const row of this.ahead(one)) this.followers.forEach((each) => each(row));
  }

  row(one, at, place) {
    const made = one.made[at]?.[place];
    if (!made) return null;
    const as_of = one.first + (at + 1) * this.bar, horizon = this.horizons[place];
    return { symbol: one.symbol, interval: this.interval, horizon, as_of, target_time: as_of + horizon * this.bar, last_close: one.close[at],
      predicted_close: made[0], ...ends(made), coverage: one.coverage, model_version: one.model, predicted_at: as_of };
  }

  ahead(one) { return this.horizons.map((_, place) => this.row(one, this.at, place)).filter(Boolean); }

  /** What has been revealed by now of one horizon. */
  revealed(one, place) {
    const horizon = this.horizons[place], found = [];
    for (let at = 0; at + horizon <= this.at; at += 1) {
      const row = this.row(one, at, place);
      if (row) found.push({ ...row, actual: one.close[at + horizon] });
    }
    return found;
  }

  bucket(rows) {
    const log = (row, price) => Math.log(price / row.last_close);
    const lead = rows.map((row) => log(row, row.actual) ** 2 - (log(row, row.actual) - log(row, row.predicted_close)) ** 2);
    const whole = rows.reduce((sum, row) => sum + log(row, row.actual) ** 2, 0), mean = lead.reduce((a, b) => a + b, 0) / rows.length;
    const spread = Math.sqrt(lead.reduce((sum, v) => sum + (v - mean) ** 2, 0) / rows.length / rows.length) * Math.sqrt(rows[0].horizon); // windows that overlap say less
    const [skill, half] = [(mean * rows.length) / whole, (1.96 * spread * rows.length) / whole], told = rows.length >= 30 && whole > 0;
    const share = (test) => rows.filter(test).length / rows.length;
    return { since: rows[0].as_of, until: rows.at(-1).as_of, predictions: rows.length, skill: told ? skill : null, skill_low: told ? skill - half : null, skill_high: told ? skill + half : null,
      below: share((r) => r.actual < r.lower), inside: share((r) => r.actual >= r.lower && r.actual <= r.upper), above: share((r) => r.actual > r.upper) };
  }

  async overview() {
    return this.series.map((one) => {
      const from = Math.max(0, this.at - 59), ahead = this.ahead(one).map((row) => {
        const place = this.horizons.indexOf(row.horizon), rows = this.revealed(one, place), whole = rows.length ? this.bucket(rows) : null;
        const verdict = whole?.skill_low > 0 ? "better" : whole?.skill_high < 0 ? "worse" : "early";
        const widths = rows.map((r) => r.upper / r.lower), wider = widths.filter((w) => w < row.upper / row.lower).length;
        return { ...row, livelier: widths.length >= 100 ? wider / widths.length : null,
          record: whole && { verdict, skill: whole.skill, predictions: whole.predictions } };
      });
      return { symbol: one.symbol, interval: this.interval, closes: one.close.slice(from, this.at + 1), times: one.close.slice(from, this.at + 1).map((_, i) => one.first + (from + i) * this.bar), ahead };
    });
  }

  async chart({ symbol, horizon, hours, since = 0 }) {
    const one = this.series.find((s) => s.symbol === symbol), place = Math.max(0, this.horizons.indexOf(Number(horizon)));
    const from = Math.max(0, hours > 0 ? this.at - (hours * 36e5) / this.bar : 0, Math.ceil((since - one.first) / this.bar)), candles = { time: [], open: [], high: [], low: [], close: [], volume: [] };
    for (let at = from; at <= this.at; at += 1) {
      candles.time.push(one.first + at * this.bar);
      for (const column of ["open", "high", "low", "close", "volume"]) candles[column].push(one[column][at]);
    }
    const made = [];
    for (let at = Math.max(0, from - this.horizons[place]); at <= this.at; at += 1) if (this.row(one, at, place)) made.push(this.row(one, at, place));
    const columns = Object.fromEntries(["target_time", "predicted_close", "lower", "upper"].map((c) => [c, made.map((row) => row[c])]));
    return { step_ms: this.bar, bar_ms: this.bar, horizons: this.horizons, candles, predicted: columns, news: { time: [], score: [], articles: [] } };
  }

  async record({ symbol, horizon }) {
    const one = this.series.find((s) => s.symbol === symbol), place = Math.max(0, this.horizons.indexOf(Number(horizon))), rows = this.revealed(one, place);
    if (!rows.length) return { promised: null, whole: null, verdict: "early", buckets: [], pit: null, paid: null };
    const size = Math.max(30, Math.ceil(rows.length / 24)), buckets = [];
    for (let at = 0; at < rows.length; at += size) buckets.push(this.bucket(rows.slice(at, at + size)));
    const whole = this.bucket(rows), pit = Array(8).fill(0);
    for (const row of rows) pit[QUANTILES.filter((name) => row.actual > row[name]).length] += 1 / rows.length;
    return { promised: one.coverage, whole, verdict: whole.skill_low > 0 ? "better" : whole.skill_high < 0 ? "worse" : "early", buckets, pit, paid: null };
  }

  async scores() { return []; }
  async articles() { return []; }
  async decisions() { return []; }
  async troubles() { return [{ part: "recorded", text: "This is a recording of the demo, played faster than it was made.", remedy: "`make demo` shows the live page." }]; }
  async models() { return this.series.slice(0, 1).map((one) => ({ version: one.model, interval: this.interval, is_champion: true, registered_at: one.first, reason: one.reason })); }
  follow(each) { this.followers.push(each); }
}

// Numbers, times and words as people read them.

const BARS_MS = { s: 1e3, m: 6e4, h: 36e5, d: 864e5, w: 6048e5 };
const UNITS = [["d", 864e5], ["h", 36e5], ["min", 6e4], ["s", 1e3]];

export const barMs = (interval) => parseInt(interval, 10) * (BARS_MS[interval.slice(-1)] ?? 6e4);

/** Six significant digits without an exponent, whatever the size: 14,035.6 and 0.0000123457. */
export function price(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size > 0 && size < 1e-12) return value.toPrecision(6);
  const digits = size ? Math.min(100, Math.max(0, 5 - Math.floor(Math.log10(size)))) : 0;
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function percent(share, digits = 2, signed = false) {
  if (share === null || share === undefined || !Number.isFinite(share)) return "–";
  const text = `${(Math.abs(share) * 100).toFixed(digits)}\u00a0%`;
  return `${share < 0 ? "−" : signed ? "+" : ""}${text}`;
}

/** Two significant digits of a small share: ±0.21 %, ±0.0034 %. */
export function size(share) {
  return `±${(share * 100).toLocaleString("en-US", { maximumSignificantDigits: 2 })}\u00a0%`;
}

/** A length of time in the unit that fits: 15 min, 5 h, 2 d. */
export function length(ms) {
  const [unit, one] = UNITS.find(([, ms_]) => ms >= ms_ && ms % ms_ === 0) ?? UNITS[3];
  const count = ms / one;
  return `${Number.isInteger(count) ? count : count.toFixed(count < 10 ? 1 : 0)}\u00a0${unit}`;
}

export function ago(ms) {
  if (ms < 2000) return "just now";
  const [unit, one] = UNITS.find(([, ms_]) => ms >= 2 * ms_) ?? UNITS[3];
  return `${Math.floor(ms / one)} ${unit} ago`;
}

export function clock(ms, zone, withDay = true) {
  const parts = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (withDay) Object.assign(parts, { year: "numeric", month: "2-digit", day: "2-digit" });
  return new Intl.DateTimeFormat("sv-SE", { ...parts, timeZone: zone }).format(ms);
}

/** What comes next in one sentence. Where to is said only where that was shown to be known. */
export function sentence(ahead, ms) {
  const half = (ahead.upper - ahead.lower) / 2 / ahead.last_close;
  const parts = [`${size(half)} in ${length(ms * ahead.horizon)}`];
  if (ahead.livelier !== null) {
    parts.push(ahead.livelier >= 0.5
      ? `livelier than ${Math.round(ahead.livelier * 100)}\u00a0% of the week`
      : `quieter than ${Math.round((1 - ahead.livelier) * 100)}\u00a0% of the week`);
  }
  if (Number.isFinite(ahead.q25)) parts.push(`half the time within ${size((ahead.q75 - ahead.q25) / 2 / ahead.last_close)}`);
  if (ahead.record?.verdict === "better") parts.push(direction(ahead, half));
  return parts.join(", ");
}

function direction(ahead, half) {
  const share = (ahead.predicted_close / ahead.last_close - 1) / half;
  if (Math.abs(share) < 0.03) return "neither up nor down";
  return `${Math.abs(share) < 0.25 ? "slightly " : ""}${share > 0 ? "up" : "down"}`;
}

/** What the record allows to say, and the class of its colour. */
export function verdict(record) {
  if (!record) return ["not scored yet", ""];
  if (record.verdict === "early") return ["too early to tell", ""];
  const text = `${percent(Math.abs(record.skill))} ${record.verdict} than the last price`;
  return [text, record.verdict];
}

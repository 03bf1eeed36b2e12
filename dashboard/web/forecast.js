// Drawn over the candles: what was predicted for them, where it missed, and the cone ahead.

const css = (property) => getComputedStyle(document.documentElement).getPropertyValue(property).trim();

/** A primitive of lightweight-charts: it draws in the coordinates of its series. */
export class Forecast {
  constructor() {
    this.past = []; // {time, low, high, predicted, missed}: the close that was predicted
    // {time, low, high, predicted, middle}, the last close first; `middle` holds half of all cases.
    this.cone = [];
  }

  attached({ chart, series, requestUpdate }) {
    Object.assign(this, { chart, series, requestUpdate });
  }

  set(past, cone) {
    this.past = past;
    this.cone = cone;
    this.requestUpdate?.();
  }

  paneViews() {
    const view = (place, draw) => ({ zOrder: () => place, renderer: () => ({ draw: (target) => draw.call(this, target) }) });
    return [view("bottom", this.drawBands), view("top", this.drawMisses)];
  }

  /** The cone belongs to the picture: the price scale makes room for it. */
  autoscaleInfo(first, last) {
    const scale = this.chart.timeScale();
    const seen = [...this.past, ...this.cone].filter((point) => {
      const at = scale.timeToCoordinate(point.time);
      const place = at === null ? null : scale.coordinateToLogical(at);
      return place !== null && place >= first && place <= last;
    });
    if (!seen.length) return null;
    return { priceRange: { minValue: Math.min(...seen.map((p) => p.low)), maxValue: Math.max(...seen.map((p) => p.high)) } };
  }

  x(point) {
    return this.chart.timeScale().timeToCoordinate(point.time);
  }

  y(value) {
    return this.series.priceToCoordinate(value);
  }

  drawBands(target) {
    const [x, y] = [(point) => this.x(point), (value) => this.y(value)];
    target.useMediaCoordinateSpace(({ context }) => {
      for (const run of runs(this.past, x)) {
        band(context, run, y, css("--band"));
        line(context, run, y, css("--predicted"), []);
      }
      const [ahead] = runs(this.cone, x);
      if (ahead) {
        band(context, ahead, y, css("--cone"));
        const middle = ahead.filter((point) => point.middle).map((point) => ({ ...point, low: point.middle[0], high: point.middle[1] }));
        if (middle.length > 1) band(context, middle, y, css("--cone"));
        line(context, ahead, y, css("--ahead"), [3, 3]);
      }
    });
  }

  /** A dot on each close that lay outside its interval. */
  drawMisses(target) {
    target.useMediaCoordinateSpace(({ context }) => {
      context.fillStyle = css("--missed");
      for (const point of this.past) {
        const at = this.x(point);
        if (point.missed === null || at === null) continue;
        context.beginPath();
        context.arc(at, this.y(point.missed), 3, 0, 2 * Math.PI);
        context.fill();
      }
    });
  }
}

/** Neighbours that can be joined: a gap of more than two usual steps lifts the pen. */
function runs(points, x) {
  const placed = points.map((point) => ({ ...point, x: x(point) })).filter((point) => point.x !== null);
  if (placed.length < 2) return [];
  const steps = placed.slice(1).map((point, at) => point.time - placed[at].time).sort((a, b) => a - b);
  const usual = Math.max(steps[steps.length >> 1], steps[0]);
  const found = [[placed[0]]];
  for (let at = 1; at < placed.length; at += 1) {
    if (points.length > 8 && placed[at].time - placed[at - 1].time > 2 * usual) found.push([]);
    found.at(-1).push(placed[at]);
  }
  return found.filter((run) => run.length > 1);
}

function band(context, run, y, colour) {
  context.beginPath();
  run.forEach((point, at) => context[at ? "lineTo" : "moveTo"](point.x, y(point.high)));
  [...run].reverse().forEach((point) => context.lineTo(point.x, y(point.low)));
  context.closePath();
  context.fillStyle = colour;
  context.fill();
}

function line(context, run, y, colour, dash) {
  context.beginPath();
  context.setLineDash(dash);
  run.forEach((point, at) => context[at ? "lineTo" : "moveTo"](point.x, y(point.predicted)));
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.stroke();
  context.setLineDash([]);
}

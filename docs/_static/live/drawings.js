// Drawings of numbers: a curve against the step, a place on a line, and bars.
"use strict";
window.dcgmm ??= {};
{
  const { drawing, number } = dcgmm;
  const BOX = { left: 58, right: 8, top: 10, bottom: 36, width: 340, height: 200 };

  /** A curve of a value against the number of steps. */
  class Curve {
    constructor(unit) {
      this.unit = unit;
      this.svg = drawing("svg", { viewBox: `0 0 ${BOX.width} ${BOX.height}`, role: "img", class: "live-curve" });
    }

    show(values) {
      const finite = values.filter(Number.isFinite);
      const [low, high] = range(finite);
      const last = lastStep(values.length - 1);
      const x = (step) => BOX.left + (step / last) * (BOX.width - BOX.left - BOX.right);
      const y = (value) => BOX.top + ((high - value) / (high - low)) * (BOX.height - BOX.top - BOX.bottom);
      const points = finite.map((value, step) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`);
      const digits = high - low < 1 ? 2 : high - low < 20 ? 1 : 0;
      const text = (content, place) => drawing("text", place, content);
      const line = (x1, y1, x2, y2) => drawing("line", { x1, y1, x2, y2, class: "live-axis" });
      const base = BOX.height - BOX.bottom;
      const upright = { x: 12, y: (BOX.top + base) / 2, transform: `rotate(-90 12 ${(BOX.top + base) / 2})` };
      this.svg.replaceChildren(
        line(BOX.left, BOX.top, BOX.left, base),
        line(BOX.left, base, BOX.width - BOX.right, base),
        text(number(high, digits), { x: BOX.left - 4, y: BOX.top + 5, "text-anchor": "end" }),
        text(number(low, digits), { x: BOX.left - 4, y: base, "text-anchor": "end" }),
        text("0", { x: BOX.left, y: base + 14, "text-anchor": "middle" }),
        text(number(last), { x: BOX.width - BOX.right, y: base + 14, "text-anchor": "end" }),
        text("steps", { x: (BOX.left + BOX.width) / 2, y: base + 30, "text-anchor": "middle" }),
        text(this.unit, { ...upright, "text-anchor": "middle" }),
        drawing("polyline", { points: points.join(" "), class: "live-line" }),
        drawing("circle", { cx: x(finite.length - 1), cy: y(finite.at(-1)), r: 3.5, class: "live-dot" }),
      );
      const [first, now] = [finite[0], finite.at(-1)].map((value) => number(value, 2));
      const told = `${first} at the start, ${now} after ${number(finite.length - 1)} steps`;
      this.svg.setAttribute("aria-label", `Curve of the mean log-likelihood in ${this.unit}: ${told}`);
    }
  }

  /** The end of the axis: 100 at first, then the next thousand. */
  function lastStep(steps) {
    return steps <= 100 ? 100 : Math.ceil(steps / 1000) * 1000;
  }

  /** The lowest and the highest value, not closer than a tenth of a unit. */
  function range(values) {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const missing = Math.max(0, 0.1 - (high - low));
    return [low - missing / 2, high + missing / 2];
  }

  /** A log-likelihood on a line, beside the mean and the standard deviation of the training images. */
  class Gauge {
    constructor() {
      this.svg = drawing("svg", { viewBox: "0 0 220 74", role: "img", class: "live-gauge" });
    }

    show(value, mean, deviation) {
      const x = (score) => 110 + Math.min(Math.max(score, -4), 3.4) * 26;
      const score = (value - mean) / deviation;
      const tick = (s) => drawing("text", { x: x(s), y: 58, "text-anchor": "middle" }, number(mean + s * deviation));
      this.svg.replaceChildren(
        drawing("rect", { x: x(-1), y: 22, width: x(1) - x(-1), height: 16, class: "live-band" }),
        drawing("line", { x1: x(-4), y1: 38, x2: x(3.4), y2: 38, class: "live-axis" }),
        drawing("line", { x1: x(0), y1: 22, x2: x(0), y2: 42, class: "live-axis" }),
        tick(-3), tick(0), tick(3),
        drawing("text", { x: 110, y: 71, "text-anchor": "middle" }, "nats"),
        drawing("path", { d: `M${x(score)} 36 l-6 -14 h12 z`, class: "live-dot" }),
        drawing("text", { x: Math.min(Math.max(x(score), 24), 196), y: 16, "text-anchor": "middle" }, number(value)),
      );
      const side = score < 0 ? "below" : "above";
      const told = `${number(Math.abs(score), 1)} standard deviations ${side} the mean of the training images`;
      this.svg.setAttribute("aria-label", `Log-likelihood ${number(value)} nats, ${told}`);
      return told;
    }
  }

  /** The weights of all components at one position: those that may be drawn are filled, the drawn one has a mark. */
  class Bars {
    constructor() {
      this.svg = drawing("svg", { viewBox: "0 0 240 130", role: "img", class: "live-bars" });
    }

    show(weights, candidates, drawn) {
      const largest = Math.max(...weights, 1e-9);
      const step = 232 / weights.length;
      const bars = weights.map((weight, k) => {
        const height = Math.max((weight / largest) * 84, 0.5);
        const kind = candidates.includes(k) ? "live-candidate" : "live-other";
        return drawing("rect", { x: 4 + k * step, y: 100 - height, width: step * 0.8, height, class: kind });
      });
      const middle = 4 + (drawn + 0.4) * step;
      const place = { x: Math.min(Math.max(middle, 62), 178), y: 125, "text-anchor": "middle" };
      this.svg.replaceChildren(
        ...bars,
        drawing("line", { x1: 4, y1: 100, x2: 236, y2: 100, class: "live-axis" }),
        drawing("path", { d: `M${middle} 103 l-5 8 h10 z`, class: "live-dot" }),
        drawing("text", place, `drawn: component ${drawn}`),
      );
      const told = candidates.slice(0, 3).map((k) => `component ${k} has ${number(weights[k], 2)}`);
      this.svg.setAttribute("aria-label", `Weights of the components: ${told.join(", ")}; drawn: component ${drawn}`);
    }
  }

  Object.assign(dcgmm, { Curve, Gauge, Bars });
}

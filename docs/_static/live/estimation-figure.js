// The first live figure: an image climbs, and each layer shows what it sees (Eqs. 3, 4 and 6).
"use strict";
{
  const { Components, Gauge, Pad, Picture, argmax, blueToRed, button, choice, cividis, controls, element } = dcgmm;
  const { imageChoice, mean, number, panel, panels, row, scaleBar, sheet, status, widePanel } = dcgmm;

  dcgmm.figures.estimation = (body, model, data) => {
    const side = model.imageShape[0];
    let image = null;
    let waiting = 0;
    let measure = "nats";
    const layers = model.levels.map((_, level) => new LayerView(model, level));
    const told = status();
    const draw = () => {
      waiting = 0;
      pad.picture.show(sheet(side, side, image), "The image that the model sees");
      const passes = model.climb(image);
      layers.forEach((layer, level) => layer.show(passes[level], measure));
      told.textContent = summary(model, passes.at(-1));
    };
    const later = () => (waiting ||= requestAnimationFrame(draw));
    const pad = new Pad({ label: "Drawing", side, onBrush: (x, y) => brush(image, side, x, y) || later() });
    const source = imageChoice(data, 0, (chosen) => {
      image = chosen;
      draw();
    });
    const clear = button("Clear", () => {
      image.fill(0);
      draw();
    });
    const measures = choice({
      label: "Log-likelihood in",
      options: [["nats", "nats"], ["deviations", "standard deviations (Eq. 6)"]],
      value: measure,
      onChange: (value) => {
        measure = value;
        draw();
      },
    });
    body.append(
      controls(...source.elements, clear, measures),
      panels(widePanel("Image: draw here", pad.area), element("div", { class: "live-stack" }, told, pad.help)),
      ...layers.map((layer) => layer.element),
    );
    source.show();
    return () => cancelAnimationFrame(waiting);
  };

  /** Draw a soft point: white in its middle, as the strokes of MNIST. */
  function brush(image, side, x, y) {
    for (let row = Math.max(0, Math.floor(y - 2)); row <= Math.min(side - 1, y + 2); row++) {
      for (let column = Math.max(0, Math.floor(x - 2)); column <= Math.min(side - 1, x + 2); column++) {
        const ink = Math.min(Math.max(1.75 - Math.hypot(column - x, row - y), 0), 1);
        image[row * side + column] = Math.max(image[row * side + column], ink);
      }
    }
  }

  function summary(model, { responsibilities, logLikelihood }) {
    const { mixture, moments } = model.levels[model.top];
    const k = argmax(responsibilities);
    const value = mean(logLikelihood);
    const score = (value - moments.mean[0]) / moments.deviation[0];
    const side = score < 0 ? "below" : "above";
    return (
      `The top layer, ${mixture.name}: component ${k} is the most responsible one ` +
      `(${number(responsibilities[k], 2)}). The log-likelihood is ${number(value)} nats, ` +
      `${number(Math.abs(score), 1)} standard deviations ${side} the mean of the training images. ` +
      `${score < -2 ? "So this is an unusual image." : "So this image is not unusual."}`
    );
  }

  /** What one mixture sees: its components, the best one at each position, and the likelihood of each position. */
  class LayerView {
    constructor(model, level) {
      const { mixture } = model.levels[level];
      const [height, width] = mixture.plane;
      Object.assign(this, { model, level, mixture, chosen: null, plane: mixture.plane });
      this.pictures = Array.from({ length: mixture.nComponents }, (_, k) => model.picture(level, k));
      this.components = new Components({
        legend: `${mixture.nComponents} components; bars: responsibility`,
        pictures: this.pictures,
        chosen: null,
        onChange: (k) => {
          this.chosen = k;
          this.showChosen();
        },
      });
      this.best = new Picture(140);
      this.map = new Picture(140);
      this.where = new Picture(140);
      this.gauge = new Gauge();
      this.scale = element("div", {});
      this.whereCaption = element("figcaption");
      const pixels = this.pictures[0];
      const chosen = element("figure", { class: "live-panel" }, this.whereCaption, this.where.canvas);
      const places = height * width > 1 ? `${height}×${width} positions` : "one position";
      this.element = element(
        "section",
        { class: "live-layer" },
        element("h3", {}, `${mixture.name}: sees ${pixels.height}×${pixels.width} pixels at ${places}`),
        panels(
          this.components.element,
          ...(height * width > 1
            ? [
                panel("Best components, put together", this.best.canvas),
                panel("Log-likelihood of each position", this.map.canvas, this.scale),
                chosen,
              ]
            : [chosen, widePanel("Log-likelihood. Band: training images, mean ± sd", this.gauge.svg)]),
        ),
      );
    }

    show(pass, measure) {
      this.pass = pass;
      const { nComponents, nPositions } = this.mixture;
      const winners = Array.from({ length: nPositions }, (_, p) => argmax(row(pass.responsibilities, p, nComponents)));
      const shares = new Float64Array(nComponents);
      pass.responsibilities.forEach((value, i) => (shares[i % nComponents] += value / nPositions));
      this.components.showShares(shares);
      if (nPositions === 1) this.chosen = winners[0];
      this.chosen ??= secondLargest(shares);
      this.components.choose(this.chosen);
      if (nPositions === 1) {
        this.gauge.show(pass.logLikelihood[0], this.moments.mean[0], this.moments.deviation[0]);
      } else {
        const [rows, columns] = this.model.imageShape;
        const label = `The image by the best components: most often component ${argmax(shares)}`;
        this.best.show(sheet(rows, columns, this.together(winners)), label);
        this.showMap(measure);
      }
      this.showChosen();
    }

    /** The image that the centroids of the given components make, one component for each position. */
    together(components) {
      const control = new Float64Array(components.length * this.mixture.nComponents);
      components.forEach((k, position) => (control[position * this.mixture.nComponents + k] = 1));
      return this.model.descend(control, { topS: 1, noise: 0 }, this.level).at(-1).signal;
    }

    get moments() {
      return this.model.levels[this.level].moments;
    }

    showMap(measure) {
      const { logLikelihood } = this.pass;
      const scores = measure === "nats" ? logLikelihood : this.model.standardised(this.level, logLikelihood);
      const unit = measure === "nats" ? "nats" : "sd";
      const colour = measure === "nats" ? this.natsColour() : blueToRed(4);
      const extremes = [Math.min(...scores), Math.max(...scores)].map((value) => number(value, 1));
      const label = `Log-likelihoods of ${this.mixture.name}, from ${extremes[0]} to ${extremes[1]} ${unit}`;
      this.map.show(sheet(...this.plane, scores), label, colour);
      this.scale.replaceChildren(scaleBar(colour, unit, 0, ["≤ ", ""]));
    }

    /** One scale for all images: from three standard deviations below the mean to one above it. */
    natsColour() {
      const { mean: means, deviation } = this.moments;
      const low = Math.min(...means.map((value, p) => value - 3 * deviation[p]));
      return cividis(Math.floor(low), Math.ceil(Math.max(...means.map((value, p) => value + deviation[p]))));
    }

    showChosen() {
      const { nComponents, nPositions } = this.mixture;
      const { responsibilities } = this.pass;
      if (nPositions === 1) {
        const caption = `Component ${this.chosen}: responsibility ${number(responsibilities[this.chosen], 2)}`;
        this.whereCaption.textContent = caption;
        this.where.show(this.pictures[this.chosen], caption);
        return;
      }
      const own = responsibilities.filter((_, i) => i % nComponents === this.chosen);
      const positions = own.filter((value) => value > 0.5).length;
      const label = `Component ${this.chosen} is responsible at ${positions} of ${nPositions} positions`;
      this.whereCaption.textContent = `Component ${this.chosen} is responsible: white`;
      this.where.show(sheet(...this.plane, own), label);
    }
  }
  /** The component with the second largest share: in most images, the largest one is the background. */
  function secondLargest(shares) {
    const largest = argmax(shares);
    return argmax(shares.map((share, k) => (k === largest ? -1 : share)));
  }
}

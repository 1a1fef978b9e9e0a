// The fourth live figure: a part of an image is erased, and the model completes it (Sec. II-B5).
"use strict";
{
  const { Pad, Picture, Random, blueToRed, button, check, choice, controls, element, imageChoice, inpaint } = dcgmm;
  const { noiseSlider, number, panel, panels, scaleBar, sheet, slider, status, widePanel } = dcgmm;
  const HOLE = { top: 9, left: 9, size: 10 };

  dcgmm.figures.inpainting = (body, model, data) => {
    const figure = new Damage(model, data);
    body.append(...figure.elements);
    figure.source.show();
    return () => cancelAnimationFrame(figure.waiting);
  };

  class Damage {
    constructor(model, data) {
      const side = model.imageShape[0];
      Object.assign(this, { model, side, fill: "white", told: true, seed: 1, waiting: 0 });
      this.options = { c: 1, topS: 1, noise: 0 };
      this.source = imageChoice(data, 7, (image) => this.take(image));
      this.pad = new Pad({ label: "Erasing", side, onBrush: (x, y) => this.erase(x, y) });
      const names = ["found", "completed", "original", "scores"];
      this.pictures = Object.fromEntries(names.map((name) => [name, new Picture(168)]));
      this.status = status();
      this.elements = this.layout();
    }

    layout() {
      const set = (name) => (value) => {
        this.options[name] = value;
        this.draw();
      };
      const lower = this.model.levels[0].mixture;
      const fills = ["white", "noise", "black"].map((fill) => [fill, fill]);
      const change = (name) => (value) => this.change({ [name]: value });
      const scale = scaleBar(blueToRed(4), "sd", 0, ["≤ ", ""]);
      const bound = { label: "c of Eq. 6", min: -1, max: 4, step: 0.1, value: 1, show: (v) => number(v, 1) };
      this.bound = slider({ ...bound, onInput: set("c") });
      return [
        controls(
          ...this.source.elements,
          choice({ label: "Erased pixels become", options: fills, value: this.fill, onChange: change("fill") }),
          button("Restore", () => this.restore()),
        ),
        controls(
          check({ label: "Tell the model which pixels are damaged", checked: true, onChange: change("told") }),
          this.bound,
          slider({ label: "S", min: 1, max: lower.nComponents, value: 1, onInput: set("topS") }),
          noiseSlider("Noise", this.options.noise, set("noise")),
          button("Draw again", () => this.change({ seed: this.seed + 1 })),
        ),
        panels(
          widePanel("Damaged image: erase here", this.pad.area),
          element(
            "div",
            { class: "live-pairs" },
            panel("Completed", this.pictures.completed.canvas),
            panel("Original", this.pictures.original.canvas),
            panel("Taken as damaged: orange", this.pictures.found.canvas),
            panel(`Likelihood by ${lower.name} (Eq. 6)`, this.pictures.scores.canvas, scale),
          ),
        ),
        this.status,
        this.pad.help,
      ];
    }

    /** Begin with a test image and a square hole. */
    take(image) {
      Object.assign(this, { original: image, mask: new Uint8Array(image.length) });
      for (let y = HOLE.top; y < HOLE.top + HOLE.size; y++) {
        this.mask.fill(1, y * this.side + HOLE.left, y * this.side + HOLE.left + HOLE.size);
      }
      this.draw();
    }

    restore() {
      this.mask.fill(0);
      this.draw();
    }

    change(values) {
      Object.assign(this, values);
      this.draw();
    }

    /** Erase a disc of five pixels. */
    erase(x, y) {
      this.mask.forEach((_, i) => {
        if (Math.hypot((i % this.side) - x, Math.floor(i / this.side) - y) < 2.6) this.mask[i] = 1;
      });
      this.waiting ||= requestAnimationFrame(() => this.draw());
    }

    get damaged() {
      const random = new Random(7);
      const noise = this.original.map(() => random.uniform());
      const fill = { noise: (i) => noise[i], white: () => 1, black: () => 0 }[this.fill];
      return this.original.map((value, i) => (this.mask[i] ? fill(i) : value));
    }

    draw() {
      this.waiting = 0;
      const { model, side, damaged } = this;
      this.bound.querySelector("input").disabled = this.told;
      const mask = this.told ? this.mask : null;
      const found = inpaint(model, damaged, { ...this.options, seed: this.seed, mask });
      const erased = count(this.mask);
      this.pad.picture.show(sheet(side, side, damaged), `The image with ${erased} erased pixels`);
      this.pictures.original.show(sheet(side, side, this.original), "The original image");
      this.showScores(found);
      this.showFound(damaged, found);
      const completed = `The completed image, ${count(found.replaced)} pixels drawn`;
      this.pictures.completed.show(sheet(side, side, found.image), completed);
      this.status.textContent = this.summary(damaged, found);
    }

    showScores({ passes }) {
      const { plane } = this.model.levels[0].mixture;
      const scores = this.model.standardised(0, passes[0].logLikelihood);
      const lowest = number(Math.min(...scores), 1);
      const label = `Likelihood of ${scores.length} positions, the lowest ${lowest} standard deviations`;
      this.pictures.scores.show(sheet(...plane, scores), label, blueToRed(4));
    }

    /** Show the image in grey, and the pixels that are drawn anew in orange. */
    showFound(damaged, { replaced }) {
      const values = damaged.map((value, i) => (replaced[i] ? 2 + value : value));
      const colour = (value) => (value >= 2 ? [200 + 55 * (value - 2), 90 + 90 * (value - 2), 20] : dcgmm.greys(value));
      const right = count(replaced.map((value, i) => value && this.mask[i]));
      const label = `${count(replaced)} pixels are taken as damaged, ${right} of them are erased ones`;
      this.pictures.found.show(sheet(this.side, this.side, values), label, colour);
    }

    summary(damaged, { replaced, image }) {
      const erased = count(this.mask);
      const right = count(replaced.map((value, i) => value && this.mask[i]));
      const error = (values) => number(meanSquare(values, this.original, this.mask), 3);
      const guess = `The model takes ${count(replaced)} pixels as damaged`;
      const who = this.told ? "You tell the model where the damage is" : guess;
      if (!erased) return `Nothing is erased. ${who}.`;
      return (
        `${erased} pixels are erased. ${who}${this.told ? "" : `, and ${right} of the erased ones are among them`}. ` +
        `Mean squared error in the erased part: ${error(damaged)} as it is, ${error(image)} completed.`
      );
    }
  }

  const count = (flags) => flags.reduce((total, flag) => total + Boolean(flag), 0);

  function meanSquare(values, others, mask) {
    return values.reduce((total, value, i) => total + (mask[i] ? (value - others[i]) ** 2 : 0), 0) / count(mask);
  }
}

// The third live figure: a sample climbs the log-likelihood of a layer above it, step by step (Sec. II-B3).
"use strict";
{
  const { Ascent, Curve, Picture, Random, blueToRed, button, calm, choice, controls, noiseSlider } = dcgmm;
  const { number, panel, panels, scaleBar, sheet, slider, status, widePanel } = dcgmm;
  const STEPS_OF_THE_PAPER = 1000;

  dcgmm.figures.sharpening = (body, model) => {
    const figure = new Sharpening(model);
    body.append(...figure.elements);
    figure.sample();
    return () => figure.pause();
  };

  class Sharpening {
    constructor(model) {
      Object.assign(this, { model, seed: 3, rate: 0.01, stepsAFrame: 5, options: { topS: 1, noise: 1 } });
      this.targets = targetsOf(model);
      this.target = this.targets[0];
      this.pictures = { start: new Picture(168), now: new Picture(168), difference: new Picture(168) };
      this.differences = blueToRed(0.5);
      this.curve = new Curve("nats a position");
      this.told = status();
      this.play = button("Play", () => (this.timer ? this.pause() : this.run()));
      this.elements = this.layout();
    }

    layout() {
      const top = this.model.levels[this.model.top - 1].mixture.nComponents;
      const option = (name) => (value) => {
        this.options[name] = value;
        this.sample();
      };
      return [
        controls(
          choice({
            label: "What climbs",
            options: this.targets.map(({ text }, i) => [String(i), text]),
            value: "0",
            onChange: (i) => this.climbBy(this.targets[i]),
          }),
          slider({ label: "S of the sample", min: 1, max: top, value: 1, onInput: option("topS") }),
          noiseSlider("Noise of the sample", this.options.noise, option("noise")),
          slider({
            label: "Length of a step", min: -4, max: -1, step: 0.25, value: -2,
            show: (exponent) => (10 ** exponent).toPrecision(2),
            onInput: (exponent) => (this.rate = 10 ** exponent),
          }),
          choice({
            label: "Steps at a time", options: ["1", "5", "20"].map((n) => [n, n]), value: "5",
            onChange: (n) => (this.stepsAFrame = Number(n)),
          }),
        ),
        controls(
          this.play,
          button("Step", () => this.step()),
          button("Back to the start", () => this.restart()),
          button("New sample", () => this.newSample()),
        ),
        panels(
          panel("Start", this.pictures.start.canvas),
          panel("Now", this.pictures.now.canvas),
          panel("Now − start", this.pictures.difference.canvas, scaleBar(this.differences, "grey values", 1)),
          widePanel("Mean log-likelihood against the step", this.curve.svg),
        ),
        this.told,
      ];
    }

    newSample() {
      this.seed += 1;
      this.sample();
    }

    /** Draw a sample from a random component of the top layer, and stand at its start. */
    sample() {
      const { nComponents } = this.model.levels[this.model.top].mixture;
      this.component = Math.floor(new Random(this.seed).uniform() * nComponents);
      this.stages = this.model.descend(this.model.topControl(this.component), { ...this.options, seed: this.seed });
      this.restart();
    }

    climbBy(target) {
      this.target = target;
      this.restart();
    }

    restart() {
      this.pause();
      const { level, window, target } = this.target;
      const { values } = this.stages[this.model.top - level];
      this.signal = this.model.throughWindows(level, values, window, this.model.levels[level].windows.length - 1);
      this.ascent = new Ascent(this.model, level, window, target);
      this.startImage = this.imageOf(this.signal);
      this.found = this.ascent.valueAndGradient(this.signal);
      this.values = [this.found.value];
      this.show();
    }

    /** The image that a signal gives: itself at the bottom, else what the layers below draw by it. */
    imageOf(signal) {
      const { level, window } = this.target;
      const below = this.model.throughWindows(level, signal, 0, window - 1);
      if (!level) return below;
      return this.model.descend(below, { ...this.options, seed: this.seed }, level - 1).at(-1).signal;
    }

    /** Take one step: T ← T + ε ∂L/∂T. */
    ascend() {
      const { gradient } = this.found;
      this.signal = this.signal.map((value, i) => value + this.rate * gradient[i]);
      this.found = this.ascent.valueAndGradient(this.signal);
      this.values.push(this.found.value);
    }

    /** Take the chosen number of steps, and pause. */
    step() {
      this.pause();
      for (let i = 0; i < this.stepsAFrame && this.finite; i++) this.ascend();
      this.show();
    }

    run() {
      this.play.textContent = "Pause";
      this.told.setAttribute("aria-live", "off");
      const goal = (Math.floor((this.values.length - 1) / STEPS_OF_THE_PAPER) + 1) * STEPS_OF_THE_PAPER;
      const frame = () => {
        for (let i = 0; i < this.stepsAFrame && this.values.length <= goal && this.finite; i++) this.ascend();
        const finished = this.values.length > goal || !this.finite;
        if (finished) this.pause();
        else this.timer = requestAnimationFrame(frame);
        if (finished || !calm()) this.show();
      };
      this.timer = requestAnimationFrame(frame);
    }

    get finite() {
      return Number.isFinite(this.values.at(-1));
    }

    pause() {
      const running = this.timer;
      cancelAnimationFrame(this.timer);
      this.timer = 0;
      this.play.textContent = "Play";
      this.told.setAttribute("aria-live", "polite");
      if (running && calm()) this.show();
    }

    show() {
      const [height, width] = this.model.imageShape;
      const picture = (values) => sheet(height, width, values);
      const now = this.finite ? this.imageOf(this.signal) : this.startImage;
      const steps = number(this.values.length - 1);
      const before = `A sample from component ${this.component}, before sharpening`;
      this.pictures.start.show(picture(this.startImage), before);
      this.pictures.now.show(picture(now), `The sample after ${steps} steps`);
      const difference = now.map((value, i) => value - this.startImage[i]);
      const largest = number(difference.reduce((most, value) => Math.max(most, Math.abs(value)), 0), 2);
      const changed = `The difference after ${steps} steps, at most ${largest}`;
      this.pictures.difference.show(picture(difference), changed, this.differences);
      this.curve.show(this.values);
      const diverged = "The ascent has diverged. Go back to the start, and take shorter steps.";
      this.told.textContent = this.finite ? this.summary(steps) : diverged;
    }

    summary(steps) {
      const [first, last] = [this.values[0], this.values.at(-1)].map((value) => number(value, 2));
      return `${steps} steps: the mean log-likelihood has gone from ${first} to ${last} nats a position.`;
    }
  }

  /** What may climb: the signal below each window by the next mixture above it, and the image by the top layer. */
  function targetsOf(model) {
    const [lowest] = model.levels;
    const targets = [
      { level: 0, window: 0, target: 0, text: `the image, by ${lowest.mixture.name} (next above)` },
      { level: 0, window: 0, target: model.top, text: `the image, by ${model.levels[model.top].mixture.name} (top)` },
    ];
    model.levels.forEach(({ windows, mixture }, level) => {
      windows.forEach(({ name }, window) => {
        const text = `the signal below ${name}, by ${mixture.name}`;
        if (level) targets.push({ level, window, target: level, text });
      });
    });
    return targets;
  }
}

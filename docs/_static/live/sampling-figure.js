// The second live figure: a control signal comes down from the top layer (Sec. II-A3).
"use strict";
{
  const { Bars, Components, Picture, button, calm, check, controls, element, greys, mosaic, number, panel } = dcgmm;
  const { noiseSlider, panels, row, sheet, slider, status, sum, widePanel } = dcgmm;
  const OTHERS = 12;
  const MARK = 2; // stands for the colour below in a sheet of grey values
  const ORANGE = [230, 159, 0];

  dcgmm.figures.sampling = (body, model) => {
    const figure = new Descent(model);
    body.append(...figure.elements);
    figure.draw();
    return () => figure.stop();
  };

  class Descent {
    constructor(model) {
      const { mixture } = model.levels[model.top];
      const lower = model.levels[model.top - 1].mixture;
      Object.assign(this, { model, component: 0, seed: 1, timer: 0 });
      this.options = { topS: 2, noise: 0, noiseAtBound: false };
      this.components = new Components({
        legend: `${mixture.name}, the top layer: choose a component`,
        pictures: Array.from({ length: mixture.nComponents }, (_, k) => model.picture(model.top, k)),
        chosen: 0,
        onChange: (component) => this.change({ component }),
      });
      this.views = model.levels.slice(0, model.top).map((_, level) => new StageView(model, level));
      this.image = new Picture(168);
      this.others = new Picture(230);
      this.bars = new Bars();
      this.told = status();
      const [height, width] = lower.plane;
      this.views.at(-1).onPlace = (y, x) => this.changePlace(y, x);
      this.positionSliders = [
        { label: "Row", max: height, onInput: (y) => this.changePlace(y - 1, this.place[1]) },
        { label: "Column", max: width, onInput: (x) => this.changePlace(this.place[0], x - 1) },
      ].map((own) => slider({ ...own, min: 1, value: 1 }));
      this.elements = this.layout(lower);
      this.changePlace(Math.floor(height / 2), Math.floor(width / 2));
    }

    layout(lower) {
      const set = (name) => (value) => this.change({}, { [name]: value });
      return [
        panels(
          this.components.element,
          element(
            "div",
            { class: "live-stack" },
            slider({ label: "S", min: 1, max: lower.nComponents, value: this.options.topS, onInput: set("topS") }),
            noiseSlider("Noise", this.options.noise, set("noise")),
            check({ label: "Noise also where the precision stands at its bound", onChange: set("noiseAtBound") }),
            controls(button("Sample again", () => this.sampleAgain())),
            this.told,
          ),
        ),
        ...this.views.toReversed().map((view) => view.element),
        panels(
          panel("The image: mean of overlapping patches", this.image.canvas),
          widePanel(`${OTHERS} more samples`, this.others.canvas),
          widePanel(
            `The framed position: its ${lower.nComponents} weights`,
            this.bars.svg,
            controls(...this.positionSliders),
          ),
        ),
      ];
    }

    change(own, options = {}) {
      Object.assign(this, own);
      Object.assign(this.options, options);
      this.stop();
      this.draw();
    }

    /** Look at the position in this row and column. */
    changePlace(...place) {
      this.place = place;
      this.position = place[0] * this.model.levels[this.model.top - 1].mixture.plane[1] + place[1];
      this.positionSliders.forEach((control, axis) => {
        control.querySelector("input").value = place[axis] + 1;
        control.querySelector("output").textContent = place[axis] + 1;
      });
      this.views.at(-1).marked = this.position;
      if (this.stages) this.showPosition();
    }

    sampleAgain() {
      this.stop();
      this.seed += 1 + OTHERS;
      if (calm()) this.draw();
      else this.animate();
    }

    stop() {
      cancelAnimationFrame(this.timer);
    }

    /** Let the signal come down: one level after the other, position by position. */
    animate() {
      const levels = this.model.top;
      const begin = performance.now();
      const frame = (now) => {
        const time = Math.min((now - begin) / 1600, levels);
        this.draw(time);
        if (time < levels) this.timer = requestAnimationFrame(frame);
      };
      this.timer = requestAnimationFrame(frame);
    }

    /** Draw the levels that a signal has reached after a time; a level takes one unit. */
    draw(time = this.model.top) {
      const { model, component } = this;
      const control = model.topControl(component);
      const sample = (seed) => model.descend(control, { ...this.options, seed });
      this.stages = sample(this.seed);
      this.stages.slice(1).forEach((stage, i) => this.views[stage.level].show(stage, time - i));
      const lowest = this.stages.at(-1);
      const values = this.views[0].reached(lowest, time - (model.top - 1));
      const [height, width] = model.imageShape;
      this.image.show(sheet(height, width, model.throughWindows(0, values)), `A sample from component ${component}`);
      if (time < model.top) return;
      const others = Array.from({ length: OTHERS }, (_, i) => sample(this.seed + 1 + i).at(-1).signal);
      const label = `${OTHERS} more samples from component ${component} with S = ${this.options.topS}`;
      this.others.show(mosaic(others.map((values) => sheet(height, width, values)), 4), label);
      this.showPosition();
      this.told.textContent = this.summary(others);
    }

    showPosition() {
      const stage = this.stages[1];
      this.views.at(-1).show(stage, 1);
      const { mixture } = this.model.levels[stage.level];
      const own = row(stage.control, this.position, mixture.nComponents).map((weight) => Math.max(weight, 0));
      const total = sum(own) || 1;
      const candidates = mixture.largest(row(stage.control, this.position, mixture.nComponents), this.options.topS);
      const possible = candidates.filter(({ weight }) => weight > 0).map(({ k }) => k);
      this.bars.show(Array.from(own, (weight) => weight / total), possible, stage.components[this.position]);
    }

    summary(others) {
      const differences = others.slice(1).map((values) => rootMeanSquare(values, others[0]));
      const distance = sum(differences) / differences.length;
      return (
        `Component ${this.component}, S = ${this.options.topS}, noise ${number(this.options.noise, 2)}. ` +
        `Samples differ from each other by ${number(distance, 3)} grey values a pixel (root mean square).`
      );
    }
  }

  function rootMeanSquare(values, others) {
    return Math.sqrt(sum(values.map((value, i) => (value - others[i]) ** 2)) / values.length);
  }

  /** Mark the tile of a mosaic at a row and a column by the lines around it. */
  function frame({ values, height, width }, row, column, size) {
    const [top, left] = [row * (size + 1) - 1, column * (size + 1) - 1];
    for (let y = Math.max(top, 0); y <= Math.min(top + size + 1, height - 1); y++) {
      for (let x = Math.max(left, 0); x <= Math.min(left + size + 1, width - 1); x++) {
        if (y === top || y === top + size + 1 || x === left || x === left + size + 1) values[y * width + x] = MARK;
      }
    }
  }

  /** What a mixture below the top receives, and what it draws. */
  class StageView {
    constructor(model, level) {
      const { mixture } = model.levels[level];
      Object.assign(this, { model, level, mixture, onPlace: () => {} });
      this.tiles = Math.ceil(Math.sqrt(mixture.nComponents));
      this.control = new Picture(300);
      this.drawn = new Picture(300);
      this.pictures = Array.from({ length: mixture.nComponents }, (_, k) => model.picture(level, k));
      this.control.canvas.addEventListener("pointerdown", (event) => this.choosePlace(event));
      const places = `${mixture.plane.join("×")} positions, each with ${mixture.nComponents} weights`;
      const shown = level ? "The components that it draws" : "The patches that it draws";
      this.element = panels(
        widePanel(`Control signal of ${mixture.name}: ${places}; white: the largest one`, this.control.canvas),
        widePanel(shown, this.drawn.canvas),
      );
    }

    choosePlace(event) {
      const box = this.control.canvas.getBoundingClientRect();
      const place = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
      const { plane } = this.mixture;
      this.onPlace(...place.map((part, axis) => Math.min(Math.floor(part * plane[axis]), plane[axis] - 1)));
    }

    /** The number of positions that a signal has reached after a share of the time. */
    count(share) {
      return Math.round(Math.min(Math.max(share, 0), 1) * this.mixture.nPositions);
    }

    show(stage, share) {
      const { mixture, tiles } = this;
      const [, width] = mixture.plane;
      const reached = this.count(share);
      const maps = Array.from({ length: mixture.nPositions }, (_, p) => {
        const own = row(stage.control, p, mixture.nComponents);
        const largest = Math.max(...own, 1e-9);
        const cells = new Float64Array(tiles * tiles).fill(NaN);
        own.forEach((weight, k) => (cells[k] = share > 0 ? weight / largest : 0));
        return sheet(tiles, tiles, cells);
      });
      const map = mosaic(maps, width);
      if (this.marked !== undefined) frame(map, Math.floor(this.marked / width), this.marked % width, tiles);
      const colour = (value) => (value === MARK ? ORANGE : greys(value));
      this.control.show(map, `The control signal of ${mixture.name} at ${mixture.nPositions} positions`, colour);
      const patches = Array.from(stage.components, (k, p) => (p < reached ? this.patch(stage, k, p) : null));
      const size = this.patch(stage, 0, 0);
      const empty = sheet(size.height, size.width);
      const different = new Set(stage.components).size;
      this.drawn.show(
        mosaic(patches.map((patch) => patch ?? empty), width),
        `${mixture.name} draws ${different} different components at ${mixture.nPositions} positions`,
      );
    }

    /** What a position draws: in the lowest level the patch with its noise, above it the picture of the component. */
    patch(stage, k, position) {
      if (this.level) return this.pictures[k];
      const [height, width] = this.model.levels[0].windows[0].size;
      return sheet(height, width, row(stage.values, position, this.mixture.nFeatures));
    }

    /** What has been drawn at the positions that a signal has reached, 0 elsewhere. */
    reached(stage, share) {
      return stage.values.map((value, i) => (i < this.count(share) * this.mixture.nFeatures ? value : 0));
    }
  }
}

// The chain of layers, in both directions: estimation climbs from the image, sampling descends to it.
"use strict";
window.dcgmm ??= {};
{
  const { Folding, MaxPooling, Mixture, Random, argmax, row } = dcgmm;

  class Model {
    /** Build the levels: each mixture with the windows between it and the mixture below it, or the image. */
    constructor({ instance, dataset, imageShape, layers }) {
      Object.assign(this, { instance, dataset, imageShape, levels: [] });
      let [dims, windows] = [imageShape, []];
      for (const layer of layers) {
        if (layer.kind === "G") {
          const mixture = new Mixture(layer, dims.slice(0, 2));
          this.levels.push({ windows, mixture, moments: layer.moments });
          [dims, windows] = [[...mixture.plane, mixture.nComponents], []];
        } else {
          const window = new { F: Folding, P: MaxPooling }[layer.kind](layer.name, layer.size, layer.strides, dims);
          windows.push(window);
          dims = [...window.plane, window.channels];
        }
      }
      this.top = this.levels.length - 1;
    }

    /** Estimation: the responsibilities and the log-likelihood of each level for an image, from the lowest. */
    climb(image) {
      let signal = image;
      return this.levels.map(({ windows, mixture }) => {
        const scores = mixture.logScores(windows.reduce((input, window) => window.up(input), signal));
        signal = mixture.responsibilities(scores);
        return { responsibilities: signal, logLikelihood: mixture.logLikelihood(scores) };
      });
    }

    /** The log-likelihood of each position in standard deviations from its mean over the training images. */
    standardised(level, logLikelihood) {
      const { mean, deviation } = this.levels[level].moments;
      return logLikelihood.map((value, position) => (value - mean[position]) / deviation[position]);
    }

    /**
     * Sampling: send a control signal down from a level to the image. Each level draws from its own random numbers, so
     * that a change above does not change what is drawn below. `fuse(level, control)` may replace a control signal.
     * Returns a stage for each level, the highest first; the last `signal` is the image.
     */
    descend(control, options = {}, level = this.top, fuse = (_, signal) => signal) {
      const stages = [];
      for (let index = level, signal = control; index >= 0; index--) {
        const received = fuse(index, signal);
        const random = new Random((options.seed ?? 0) * 31 + index);
        const drawn = this.levels[index].mixture.draw(received, random, options);
        signal = this.throughWindows(index, drawn.values);
        stages.push({ level: index, control: received, ...drawn, signal });
      }
      return stages;
    }

    /** Send a signal down through windows of a level, by default through all of them. */
    throughWindows(level, values, lowest = 0, highest = this.levels[level].windows.length - 1) {
      const windows = this.levels[level].windows.slice(lowest, highest + 1);
      return windows.reduceRight((signal, window) => window.down(signal), values);
    }

    /** The control signal that makes the top level draw this component at all its positions. */
    topControl(component) {
      const { nPositions, nComponents } = this.levels[this.top].mixture;
      const control = new Float64Array(nPositions * nComponents);
      for (let position = 0; position < nPositions; position++) control[position * nComponents + component] = 1;
      return control;
    }

    /** What a component stands for: its centroid, sent down to the pixels that it sees, with S = 1 and no noise. */
    picture(level, component) {
      let [values, plane] = [this.levels[level].mixture.centroid(component), [1, 1]];
      for (let index = level; index >= 0; index--) {
        if (index < level) values = this.centroidsOf(index, values, plane);
        const { windows } = this.levels[index];
        for (let w = windows.length - 1; w >= 0; w--) {
          const small = windows[w].onPlane(plane, windows[w].dims[2]);
          values = small.down(values);
          plane = small.dims.slice(0, 2);
        }
      }
      return { values, height: plane[0], width: plane[1] };
    }

    centroidsOf(level, control, [height, width]) {
      const { mixture } = this.levels[level];
      const values = new Float64Array(height * width * mixture.nFeatures);
      for (let position = 0; position < height * width; position++) {
        const k = argmax(row(control, position, mixture.nComponents));
        values.set(mixture.centroid(k), position * mixture.nFeatures);
      }
      return values;
    }
  }

  Object.assign(dcgmm, { Model });
}

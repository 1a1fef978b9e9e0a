// Folding and MaxPooling: windows that slide over a plane. A signal is a flat array: row by row, channels together.
"use strict";
window.dcgmm ??= {};
{
  /** The base of both: a window of `size` = [y, x] that steps by `strides` over an input of `dims` = [H, W, C]. */
  class SlidingWindow {
    constructor(name, size, strides, dims) {
      Object.assign(this, { name, size, strides, dims });
      this.plane = [0, 1].map((axis) => 1 + Math.floor((dims[axis] - size[axis]) / strides[axis]));
    }

    /** The same layer on the smallest input that gives this plane of positions, with `channels` in its input. */
    onPlane([height, width], channels) {
      const [y, x] = this.size.map((size, axis) => ([height, width][axis] - 1) * this.strides[axis] + size);
      return new this.constructor(this.name, this.size, this.strides, [y, x, channels]);
    }

    /** Call `visit(position, entry, element)` for each entry of each window: its place, its order, its input pixel. */
    forEachEntry(visit) {
      const [height, width] = this.plane;
      for (let position = 0; position < height * width; position++) {
        const top = Math.floor(position / width) * this.strides[0];
        const left = (position % width) * this.strides[1];
        for (let y = 0, entry = 0; y < this.size[0]; y++) {
          for (let x = 0; x < this.size[1]; x++, entry++) {
            visit(position, entry, (top + y) * this.dims[1] + left + x);
          }
        }
      }
    }
  }

  /** Folding moves the content of each window into the channels (Sec. II-A1). */
  class Folding extends SlidingWindow {
    constructor(...args) {
      super(...args);
      const channels = this.dims[2];
      this.channels = this.size[0] * this.size[1] * channels;
      this.elements = new Int32Array(this.plane[0] * this.plane[1] * this.channels);
      this.coverage = new Int32Array(this.dims[0] * this.dims[1] * channels);
      this.forEachEntry((position, entry, pixel) => {
        for (let c = 0; c < channels; c++) {
          const element = pixel * channels + c;
          this.elements[position * this.channels + entry * channels + c] = element;
          this.coverage[element]++;
        }
      });
    }

    up(input) {
      return Float64Array.from(this.elements, (element) => input[element]);
    }

    /** The mean of all window entries that cover an element. */
    down(control) {
      return this.pullBack(control).map((sum, element) => sum / Math.max(this.coverage[element], 1));
    }

    /** The gradient with respect to the input, from the gradient with respect to the output. */
    pullBack(gradient) {
      const sums = new Float64Array(this.coverage.length);
      this.elements.forEach((element, entry) => (sums[element] += gradient[entry]));
      return sums;
    }
  }

  /** MaxPooling takes the largest value of each window, channel by channel; down, it repeats values (Sec. II-A2). */
  class MaxPooling extends SlidingWindow {
    constructor(...args) {
      super(...args);
      this.channels = this.dims[2];
    }

    up(input) {
      return Float64Array.from(this.winners(input), (element) => input[element]);
    }

    /** The element of the input that is the largest of its window, for each output. */
    winners(input) {
      const winners = new Int32Array(this.plane[0] * this.plane[1] * this.channels).fill(-1);
      this.forEachEntry((position, entry, pixel) => {
        for (let c = 0; c < this.channels; c++) {
          const output = position * this.channels + c;
          const element = pixel * this.channels + c;
          if (winners[output] < 0 || input[element] > input[winners[output]]) winners[output] = element;
        }
      });
      return winners;
    }

    down(control) {
      const [height, width, channels] = this.dims;
      const result = new Float64Array(height * width * channels);
      for (let y = 0; y < height; y++) {
        const row = Math.min(Math.floor(y / this.strides[0]), this.plane[0] - 1);
        for (let x = 0; x < width; x++) {
          const column = Math.min(Math.floor(x / this.strides[1]), this.plane[1] - 1);
          const from = (row * this.plane[1] + column) * channels;
          result.set(control.subarray(from, from + channels), (y * width + x) * channels);
        }
      }
      return result;
    }

    pullBack(gradient, input) {
      const sums = new Float64Array(input.length);
      this.winners(input).forEach((element, output) => (sums[element] += gradient[output]));
      return sums;
    }
  }

  Object.assign(dcgmm, { Folding, MaxPooling });
}

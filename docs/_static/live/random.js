// Random numbers that repeat: the same seed gives the same picture.
"use strict";
window.dcgmm ??= {};
{
  /** A generator of uniform and normal numbers (Mulberry32 and Box-Muller). */
  class Random {
    constructor(seed) {
      this.state = seed >>> 0;
    }

    /** A number from [0, 1). */
    uniform() {
      this.state = (this.state + 0x6d2b79f5) >>> 0;
      let t = this.state;
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    }

    /** A number from the normal distribution with mean 0 and standard deviation 1. */
    normal() {
      const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
      return radius * Math.cos(2 * Math.PI * this.uniform());
    }
  }

  Object.assign(dcgmm, { Random });
}

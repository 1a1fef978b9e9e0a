// In-painting (Sec. II-B5): positions that fit keep what they see, the others follow the signal from above.
"use strict";
window.dcgmm ??= {};
{
  /**
   * Complete an image. With a `mask` of pixels, the damaged positions are those that see one of them; without it, they
   * are the outliers by Eq. 6, those with a log-likelihood below mean − c·sd. Returns what was found and the image.
   */
  function inpaint(model, image, { mask = null, c = 1, ...options } = {}) {
    const passes = model.climb(image);
    const damaged = mask ? damagedPositions(model, mask) : outliers(model, passes, c);
    const replaced = mask ? mask.map(Boolean) : coveredPixels(model, damaged[0]);
    const fuse = (level, control) => {
      const own = passes[level].responsibilities;
      if (level === model.top) return own; // Eq. 8
      const { nComponents } = model.levels[level].mixture;
      return control.map((weight, i) => (damaged[level][Math.floor(i / nComponents)] ? weight : own[i])); // Eq. 9
    };
    const stages = model.descend(passes[model.top].responsibilities, options, model.top, fuse);
    const drawn = stages.at(-1).signal;
    return { passes, damaged, replaced, stages, image: image.map((value, i) => (replaced[i] ? drawn[i] : value)) };
  }

  /** Which positions of each level are outliers by Eq. 6. */
  function outliers(model, passes, c) {
    return passes.map(({ logLikelihood }, level) =>
      Array.from(model.standardised(level, logLikelihood), (score) => !(score >= -c)),
    );
  }

  /** Which positions of each level see a pixel of the mask, from the lowest. */
  function damagedPositions(model, mask) {
    let seen = mask.map(Boolean);
    return model.levels.map(({ windows }) => {
      for (const window of windows) {
        const below = seen;
        seen = new Array(window.plane[0] * window.plane[1]).fill(false);
        window.forEachEntry((position, entry, pixel) => (seen[position] ||= below[pixel]));
      }
      return seen;
    });
  }

  /** Which pixels the given positions of the lowest level cover. */
  function coveredPixels(model, positions) {
    const [{ windows }] = model.levels;
    let chosen = positions;
    for (let i = windows.length - 1; i >= 0; i--) {
      const above = chosen;
      chosen = new Array(windows[i].dims[0] * windows[i].dims[1]).fill(false);
      windows[i].forEachEntry((position, entry, pixel) => (chosen[pixel] ||= above[position]));
    }
    return chosen;
  }

  Object.assign(dcgmm, { inpaint });
}

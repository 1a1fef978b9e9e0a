// Sharpening: gradient ascent of a signal on the log-likelihood of a mixture above it (Sec. II-B3).
"use strict";
window.dcgmm ??= {};
{
  const { mean, sum } = dcgmm;

  /** The ascent of the signal below a window of a level, on the mean log-likelihood that a target level gives to it. */
  class Ascent {
    constructor(model, level, window, target) {
      this.levels = model.levels.slice(level, target + 1);
      this.firstWindow = window;
    }

    /** The mean log-likelihood over positions, in nats, and its gradient with respect to the signal. */
    valueAndGradient(signal) {
      const passes = [];
      let input = signal;
      this.levels.forEach(({ windows, mixture }, i) => {
        const own = i ? windows : windows.slice(this.firstWindow);
        const inputs = [input];
        for (const window of own) inputs.push(window.up(inputs.at(-1)));
        const scores = mixture.logScores(inputs.at(-1));
        input = mixture.responsibilities(scores);
        passes.push({ own, inputs, mixture, scores, responsibilities: input });
      });
      const { mixture, scores } = passes.at(-1);
      return { value: mean(mixture.logLikelihood(scores)), gradient: gradientOf(passes) };
    }
  }

  /** Go back through the passes; the gradient of logsumexp is the vector of responsibilities. */
  function gradientOf(passes) {
    let gradient = null;
    for (const { own, inputs, mixture, responsibilities } of passes.reverse()) {
      const ofScores = gradient
        ? throughSoftmax(gradient, responsibilities, mixture.nComponents)
        : responsibilities.map((value) => value / mixture.nPositions);
      gradient = mixture.pullBack(ofScores, inputs.at(-1));
      for (let i = own.length - 1; i >= 0; i--) gradient = own[i].pullBack(gradient, inputs[i]);
    }
    return gradient;
  }

  /** The gradient with respect to log scores, from that with respect to their softmax γ: γ_k (g_k − Σ_j γ_j g_j). */
  function throughSoftmax(gradient, responsibilities, nComponents) {
    const result = gradient.map((value, i) => value * responsibilities[i]);
    for (let first = 0; first < result.length; first += nComponents) {
      const total = sum(result.subarray(first, first + nComponents));
      for (let i = first; i < first + nComponents; i++) result[i] -= responsibilities[i] * total;
    }
    return result;
  }

  Object.assign(dcgmm, { Ascent });
}

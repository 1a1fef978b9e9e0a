// A Gaussian mixture with diagonal precisions that all positions of a plane share: G(K) of Sec. II-A3.
"use strict";
window.dcgmm ??= {};
{
  class Mixture {
    /** K centroids `means` and `scales` (K, D), row by row; `logWeights` is log π, K values. */
    constructor({ name, means, scales, logWeights, maxPrecision }, plane) {
      Object.assign(this, { name, means, plane });
      this.nComponents = logWeights.length;
      this.nFeatures = means.length / this.nComponents;
      this.nPositions = plane[0] * plane[1];
      this.weights = logWeights.map(Math.exp);
      // The scales are at most √D_max, as in the library: rounding must not lift them above.
      this.bound = Math.fround(Math.sqrt(maxPrecision));
      this.scales = scales.map((scale) => Math.min(scale, this.bound));
      this.constants = logWeights.map((logWeight, k) => logWeight + sumOfLogs(row(this.scales, k, this.nFeatures)));
    }

    centroid(k) {
      return row(this.means, k, this.nFeatures);
    }

    /** The log scores l_k = log π_k + Σ_d log s_kd − ½ Σ_d s_kd² (x_d − μ_kd)², K for each position. */
    logScores(x) {
      const { nComponents, nFeatures, means, scales } = this;
      const scores = new Float64Array(this.nPositions * nComponents);
      for (let position = 0, i = 0; position < this.nPositions; position++) {
        const start = position * nFeatures;
        for (let k = 0, j = 0; k < nComponents; k++, i++) {
          let distance = 0;
          for (let d = 0; d < nFeatures; d++, j++) {
            const z = scales[j] * (x[start + d] - means[j]);
            distance += z * z;
          }
          scores[i] = this.constants[k] - distance / 2;
        }
      }
      return scores;
    }

    /** The responsibilities of Eq. 4: softmax of the log scores at each position. */
    responsibilities(scores) {
      return this.byPosition(scores, (own, largest) => {
        const terms = own.map((score) => Math.exp(score - largest));
        const total = sum(terms);
        return terms.map((term) => term / total);
      });
    }

    /** The log-likelihood of Eq. 3 in nats, one value for each position. */
    logLikelihood(scores) {
      const normaliser = -0.5 * this.nFeatures * Math.log(2 * Math.PI);
      return this.byPosition(scores, (own, largest) => [
        normaliser + largest + Math.log(sum(own.map((score) => Math.exp(score - largest)))),
      ]);
    }

    byPosition(scores, compute) {
      const results = [];
      for (let position = 0; position < this.nPositions; position++) {
        const own = row(scores, position, this.nComponents);
        for (const value of compute(own, Math.max(...own))) results.push(value);
      }
      return Float64Array.from(results);
    }

    /** The gradient with respect to x, from that with respect to the log scores: Σ_k g_k s_kd² (μ_kd − x_d). */
    pullBack(gradient, x) {
      const { nComponents, nFeatures, means, scales } = this;
      const result = new Float64Array(x.length);
      for (let position = 0, i = 0; position < this.nPositions; position++) {
        const start = position * nFeatures;
        for (let k = 0, j = 0; k < nComponents; k++, i++) {
          for (let d = 0; d < nFeatures; d++, j++) {
            result[start + d] += gradient[i] * scales[j] * scales[j] * (means[j] - x[start + d]);
          }
        }
      }
      return result;
    }

    /**
     * Draw a component at every position from the S largest weights of the control signal, then values from it.
     * Negative weights count as 0; where all are 0, π replaces them. A feature whose precision stands at its bound gets
     * no noise unless `noiseAtBound`.
     */
    draw(control, random, { topS = null, noise = 1, noiseAtBound = false } = {}) {
      const components = new Int32Array(this.nPositions);
      const values = new Float64Array(this.nPositions * this.nFeatures);
      for (let position = 0; position < this.nPositions; position++) {
        const k = this.drawComponent(row(control, position, this.nComponents), random, topS ?? this.nComponents);
        components[position] = k;
        for (let d = 0; d < this.nFeatures; d++) {
          const scale = this.scales[k * this.nFeatures + d];
          const width = noise && (noiseAtBound || scale < this.bound) ? noise / scale : 0;
          const value = this.means[k * this.nFeatures + d];
          values[position * this.nFeatures + d] = width ? value + width * random.normal() : value;
        }
      }
      return { components, values };
    }

    drawComponent(control, random, topS) {
      const candidates = this.largest(control, topS);
      let rest = random.uniform() * sum(candidates.map(({ weight }) => weight));
      const drawn = candidates.find(({ weight }) => (rest -= weight) < 0);
      return (drawn ?? candidates[0]).k;
    }

    /** The S largest weights of a position's control signal, the largest first. */
    largest(control, topS) {
      const positive = Array.from(control, (weight) => Math.max(weight, 0));
      const weights = sum(positive) > 0 ? positive : Array.from(this.weights);
      const ordered = weights.map((weight, k) => ({ weight, k })).sort((a, b) => b.weight - a.weight);
      return ordered.slice(0, topS);
    }
  }

  const row = (values, index, length) => values.subarray(index * length, (index + 1) * length);
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const sumOfLogs = (values) => values.reduce((total, value) => total + Math.log(value), 0);
  const mean = (values) => sum(values) / values.length;
  const argmax = (values) => values.reduce((best, value, i) => (value > values[best] ? i : best), 0);

  Object.assign(dcgmm, { Mixture, row, sum, mean, argmax });
}

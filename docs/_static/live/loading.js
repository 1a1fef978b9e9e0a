// Models and test images, which lie beside this script as scripts: a browser loads those from the file system, too.
"use strict";
window.dcgmm ??= {};
{
  const folder = new URL(".", document.currentScript.src);
  const scripts = {};
  const models = {};

  /** Return a promise of what the file `data/<name>.js` has put into `dcgmm.data`. */
  function load(name) {
    scripts[name] ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL(`data/${name}.js`, folder);
      script.onload = () => resolve(dcgmm.data[name]);
      script.onerror = () => reject(new Error(`${name}.js is missing beside this page`));
      document.head.append(script);
    });
    return scripts[name];
  }

  /** Return a promise of a model, by its instance and its data set. */
  function loadModel(instance, dataset) {
    const name = `${instance}-${dataset}`;
    models[name] ??= load(name).then((data) => new dcgmm.Model({ ...data, layers: data.layers.map(decodeLayer) }));
    return models[name];
  }

  /** Return a promise of a data set's classes and test images: the names, and a list of images for each class. */
  function loadImages(dataset) {
    return load(`images-${dataset}`).then(({ names, images }) => ({
      names,
      images: images.map((ofClass) => ofClass.map((text) => Float64Array.from(bytes(text), (byte) => byte / 255))),
    }));
  }

  function decodeLayer(layer) {
    if (layer.kind !== "G") return layer;
    const numbers = layer.bits === 16 ? halves : floats;
    const moments = { mean: floats(layer.mean), deviation: floats(layer.deviation) };
    const logWeights = Float64Array.from(floats(layer.logWeights));
    return { ...layer, means: numbers(layer.means), scales: numbers(layer.scales), logWeights, moments };
  }

  function bytes(text) {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  }

  function floats(text) {
    return new Float32Array(bytes(text).buffer);
  }

  /** Numbers of 16 bits: a sign, 5 bits of exponent, 10 bits of fraction. */
  function halves(text) {
    return Float32Array.from(new Uint16Array(bytes(text).buffer), (half) => {
      const exponent = (half >> 10) & 31;
      const fraction = half & 1023;
      const size = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024);
      return half & 0x8000 ? -size : size;
    });
  }

  Object.assign(dcgmm, { data: {}, loadModel, loadImages });
}

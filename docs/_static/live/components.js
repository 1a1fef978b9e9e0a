// All components of a mixture as small pictures, of which one is chosen; a bar shows how responsible each of them is.
"use strict";
window.dcgmm ??= {};
{
  const { Picture, element, number } = dcgmm;
  let numberOfGroups = 0;

  class Components {
    constructor({ legend, pictures, chosen, onChange }) {
      const group = `live-components-${numberOfGroups++}`;
      this.inputs = pictures.map((picture, k) => {
        const state = { checked: k === chosen, change: () => onChange(k) };
        return element("input", { type: "radio", name: group, "aria-label": `component ${k}`, ...state });
      });
      this.bars = pictures.map(() => element("span", { class: "live-share" }));
      const labels = pictures.map((picture, k) => {
        const small = new Picture(28);
        small.show(picture, "");
        small.canvas.setAttribute("aria-hidden", "true");
        small.canvas.style.width = "";
        return element("label", { title: `component ${k}` }, this.inputs[k], small.canvas, this.bars[k]);
      });
      const columns = Math.ceil(Math.sqrt(pictures.length));
      const grid = element("div", { class: "live-components", style: `--columns: ${columns}` }, ...labels);
      this.element = element("fieldset", {}, element("legend", {}, legend), grid);
    }

    /** Show the share of each component as a bar and in words. */
    showShares(shares) {
      shares.forEach((share, k) => {
        this.bars[k].style.width = `${100 * share}%`;
        this.inputs[k].setAttribute("aria-label", `component ${k}, share ${number(share, 2)}`);
      });
    }

    choose(k) {
      this.inputs[k].checked = true;
    }
  }

  Object.assign(dcgmm, { Components });
}

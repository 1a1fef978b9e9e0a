// Pictures: sheets of numbers, painted on a canvas with a text that says what is seen.
"use strict";
window.dcgmm ??= {};
{
  const { element, greys, number } = dcgmm;

  /** A sheet of numbers; NaN is empty. */
  function sheet(height, width, values = new Float64Array(height * width).fill(NaN)) {
    return { values, height, width };
  }

  function paste(target, { values, height, width }, top, left) {
    for (let y = 0; y < height; y++) {
      target.values.set(values.subarray(y * width, (y + 1) * width), (top + y) * target.width + left);
    }
  }

  /** Small sheets of one size in rows, with a line of one pixel between them; `null` leaves a place empty. */
  function mosaic(tiles, columns) {
    const { height, width } = tiles.find(Boolean) ?? { height: 1, width: 1 };
    const result = sheet(Math.ceil(tiles.length / columns) * (height + 1) - 1, columns * (width + 1) - 1);
    tiles.forEach((tile, i) => {
      if (tile) paste(result, tile, Math.floor(i / columns) * (height + 1), (i % columns) * (width + 1));
    });
    return result;
  }

  /** A canvas of about `size` CSS pixels for sheets. */
  class Picture {
    constructor(size = 160) {
      this.size = size;
      this.canvas = element("canvas", { role: "img", "aria-label": "" });
    }

    show({ values, height, width }, label, colour = greys) {
      const { canvas } = this;
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      canvas.style.width = `${width * Math.max(1, Math.round(this.size / width))}px`;
      canvas.setAttribute("aria-label", label);
      const image = new ImageData(width, height);
      values.forEach((value, i) => {
        if (!Number.isNaN(value)) image.data.set([...colour(value), 255], 4 * i);
      });
      canvas.getContext("2d").putImageData(image, 0, 0);
    }
  }

  /** A bar that shows the colours of a scale, with its ends in numbers and its unit. */
  function scaleBar(colour, unit, digits = 0, ends = ["", ""]) {
    const bar = new Picture(128);
    const steps = Float64Array.from({ length: 64 }, (_, i) => colour.low + ((colour.high - colour.low) * i) / 63);
    const [low, high] = [ends[0] + number(colour.low, digits), ends[1] + number(colour.high, digits)];
    bar.show(sheet(1, 64, steps), `Scale from ${low} to ${high} ${unit}`, colour);
    bar.canvas.classList.add("live-bar");
    return element("div", { class: "live-scale" }, low, bar.canvas, `${high} ${unit}`);
  }

  Object.assign(dcgmm, { sheet, mosaic, Picture, scaleBar });
}

// A picture to draw on: with a mouse, a finger, a pen, or the keyboard.
"use strict";
window.dcgmm ??= {};
{
  const { Picture, element } = dcgmm;
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const HELP = "arrow keys move the cursor. Space draws. Shift with an arrow key moves and draws.";

  class Pad {
    /** `onBrush(x, y)` is called for points along each stroke, in pixels of a picture of `side`×`side`. */
    constructor({ label, side, onBrush }) {
      Object.assign(this, { side, onBrush, at: [side >> 1, side >> 1], last: null });
      this.picture = new Picture(280);
      this.cursor = element("span", { class: "live-cursor", "aria-hidden": "true" });
      const listeners = {
        keydown: (event) => this.key(event),
        pointerdown: (event) => this.begin(event),
        pointermove: (event) => this.move(event),
        pointerup: () => (this.last = null),
        pointercancel: () => (this.last = null),
      };
      const about = { class: "live-pad", tabindex: 0, role: "application", "aria-label": `${label}. ${HELP}` };
      this.area = element("div", { ...about, ...listeners }, this.picture.canvas, this.cursor);
      this.help = element("p", { class: "live-help" }, `Draw with a mouse, a pen or a finger. By keyboard: ${HELP}`);
      this.placeCursor();
    }

    begin(event) {
      event.preventDefault();
      this.area.focus({ preventScroll: true });
      if (event.isTrusted) this.area.setPointerCapture(event.pointerId);
      this.last = this.pointOf(event);
      this.onBrush(...this.last);
    }

    move(event) {
      if (this.last) this.stroke(this.pointOf(event));
    }

    pointOf(event) {
      const box = this.picture.canvas.getBoundingClientRect();
      const place = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      return place.map((part) => part * this.side - 0.5);
    }

    /** Brush along the line from the last point, half a pixel at a time. */
    stroke(point) {
      const [x, y] = this.last;
      const steps = Math.max(1, Math.ceil(2 * Math.hypot(point[0] - x, point[1] - y)));
      for (let i = 1; i <= steps; i++) {
        this.onBrush(x + ((point[0] - x) * i) / steps, y + ((point[1] - y) * i) / steps);
      }
      this.last = point;
    }

    key(event) {
      const move = ARROWS[event.key];
      if (!move && event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      if (move) this.at = this.at.map((place, i) => Math.min(Math.max(place + move[i], 0), this.side - 1));
      if (!move || event.shiftKey) this.onBrush(...this.at);
      this.placeCursor();
    }

    placeCursor() {
      const [left, top] = this.at.map((place) => `${((place + 0.5) / this.side) * 100}%`);
      Object.assign(this.cursor.style, { left, top });
    }
  }

  Object.assign(dcgmm, { Pad });
}

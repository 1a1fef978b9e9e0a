// The parts of a page: elements, and controls with a label and a value.
"use strict";
window.dcgmm ??= {};
{
  let numberOfControls = 0;

  /** Return a new element; attributes that are functions become listeners. */
  function element(tag, attributes = {}, ...children) {
    const result = document.createElement(tag);
    setAttributes(result, attributes);
    result.append(...children);
    return result;
  }

  /** The same for drawings: an SVG element. */
  function drawing(tag, attributes = {}, ...children) {
    const result = document.createElementNS("http://www.w3.org/2000/svg", tag);
    setAttributes(result, attributes);
    result.append(...children);
    return result;
  }

  function setAttributes(target, attributes) {
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") target.addEventListener(name, value);
      else if (typeof value === "boolean") target.toggleAttribute(name, value);
      else target.setAttribute(name, value);
    }
  }

  function labelled(label, control, ...rest) {
    control.id = `live-control-${numberOfControls++}`;
    return element("div", { class: "live-control" }, element("label", { for: control.id }, label), control, ...rest);
  }

  /** A slider with its label and its value in words; `show` turns a number into these words. */
  function slider({ label, min, max, step = 1, value, show = String, onInput }) {
    const output = element("output", {}, show(value));
    const update = () => {
      output.textContent = show(Number(input.value));
      input.setAttribute("aria-valuetext", output.textContent);
      onInput(Number(input.value));
    };
    const input = element("input", { type: "range", min, max, step, value, input: update });
    input.setAttribute("aria-valuetext", output.textContent);
    return labelled(label, input, output);
  }

  /** A slider for the factor on the drawn noise. */
  function noiseSlider(label, value, onInput) {
    return slider({ label, min: 0, max: 1, step: 0.05, value, show: (factor) => number(factor, 2), onInput });
  }

  /** A list to choose from; `options` are pairs of a value and its text. */
  function choice({ label, options, value, onChange }) {
    const select = element("select", { change: () => onChange(select.value) });
    select.append(...options.map(([key, text]) => new Option(text, key, key === value, key === value)));
    return labelled(label, select);
  }

  function check({ label, checked = false, onChange }) {
    const input = element("input", { type: "checkbox", checked, change: () => onChange(input.checked) });
    return element("div", { class: "live-control" }, element("label", {}, input, ` ${label}`));
  }

  function button(text, onClick) {
    return element("button", { type: "button", click: onClick }, text);
  }

  /** A row of controls. */
  function controls(...children) {
    return element("div", { class: "live-controls" }, ...children);
  }

  /** Something to see, with a caption above it. */
  function panel(caption, ...children) {
    return element("figure", { class: "live-panel" }, element("figcaption", {}, caption), ...children);
  }

  /** The same for pictures as wide as a phone. */
  function widePanel(...parts) {
    const result = panel(...parts);
    result.classList.add("live-wide");
    return result;
  }

  /** A row of panels. */
  function panels(...children) {
    return element("div", { class: "live-panels" }, ...children);
  }

  /** A short text that screen readers read out when it changes. */
  function status() {
    return element("p", { class: "live-status", role: "status" });
  }

  /** A number as text: at most `digits` after the point, with separators and a true minus sign. */
  function number(value, digits = 0) {
    const text = value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    return text.replace("-", "−");
  }

  const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  Object.assign(dcgmm, { element, drawing, slider, noiseSlider, choice, check, button });
  Object.assign(dcgmm, { controls, panel, widePanel, panels, status, number, calm });
}

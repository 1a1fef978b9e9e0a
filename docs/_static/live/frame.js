// The frame of a live figure: which data set, which model, which test image.
"use strict";
window.dcgmm ??= {};
{
  const { button, choice, controls, element, loadImages, loadModel } = dcgmm;
  const DATASETS = [["mnist", "MNIST"], ["fashion_mnist", "FashionMNIST"]];
  const INSTANCES = [["2L-e", "2L-e: two mixtures"], ["3L-a", "3L-a: three mixtures, with pooling"]];

  /** Fill the box of a live figure, and build it anew when another data set or model is chosen. */
  function frame(box, build) {
    const chosen = { dataset: box.dataset.dataset, instance: "2L-e" };
    const body = element("div", {});
    let stop = () => {};
    const rebuild = async () => {
      try {
        const wanted = { ...chosen };
        const model = await loadModel(chosen.instance, chosen.dataset);
        const data = await loadImages(chosen.dataset);
        if (wanted.dataset !== chosen.dataset || wanted.instance !== chosen.instance) return;
        stop();
        body.replaceChildren();
        stop = build(body, model, data) ?? (() => {});
        box.dataset.ready = `${chosen.instance} ${chosen.dataset}`;
      } catch (error) {
        body.replaceChildren(element("p", { role: "alert" }, error.message));
        throw error;
      }
    };
    const change = (name) => (value) => {
      chosen[name] = value;
      rebuild();
    };
    box.replaceChildren(
      controls(
        choice({ label: "Data set", options: DATASETS, value: chosen.dataset, onChange: change("dataset") }),
        choice({ label: "Model", options: INSTANCES, value: chosen.instance, onChange: change("instance") }),
      ),
      body,
    );
    rebuild();
  }

  /** Controls that take a test image: its class, and the next one of this class. `onImage(image)` is called at once. */
  function imageChoice({ names, images }, firstClass, onImage) {
    const shown = { label: firstClass, index: 0 };
    const show = () => onImage(images[shown.label][shown.index].slice());
    const list = choice({
      label: "Test image of class",
      options: names.map((name, label) => [String(label), name]),
      value: String(firstClass),
      onChange: (label) => {
        Object.assign(shown, { label: Number(label), index: 0 });
        show();
      },
    });
    const next = button("Next image", () => {
      shown.index = (shown.index + 1) % images[shown.label].length;
      show();
    });
    return { elements: [list, next], show };
  }

  Object.assign(dcgmm, { frame, imageChoice, figures: {} });
}

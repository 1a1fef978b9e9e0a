"""Live figures: the directive `live`, the models' weights and test images as scripts, and the scripts of a page.

`python docs/live.py` writes the committed pictures of test images anew from the data sets.
"""

import base64
import json
from pathlib import Path

import numpy as np
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from PIL import Image
from sphinx.util.docutils import SphinxDirective

from dcgmm import Folding, MaxPooling, load_pretrained
from dcgmm.datasets import CLASS_NAMES

TEST_IMAGES = Path(__file__).parent / "test_images"
INSTANCES = ("2L-e", "3L-a")
IMAGES_OF_A_CLASS = 8
# Layers with fewer numbers than this keep 32 bits: some log-likelihoods of theirs vary by a hundredth of a nat only.
FEW_NUMBERS = 10_000
SCRIPTS = (
    "windows random mixture model ascent inpainting loading elements colours pictures pad drawings components frame "
    "estimation-figure sampling-figure sharpening-figure inpainting-figure start"
).split()

FIGURES = {
    "estimation": (
        "See what each layer sees",
        "Draw a digit, or take a test image. The image climbs from layer to layer. At each position, a mixture says "
        "which of its components fits best (the responsibilities of Eq. 4), and how well the mixture fits at all (the "
        "log-likelihood of Eq. 3). Choose a component to see where it is responsible.",
    ),
    "sampling": (
        "Send a control signal down",
        "Choose a component of the top layer. Its centroid is a control signal: at each position of the layer below, "
        "it gives a weight to every component. Each position draws one of the $S$ components with the largest weights "
        "(Sec. II-A3). The drawn patches overlap, and their mean is the image. A larger $S$ gives more variety, and "
        "more patches that do not fit together.",
    ),
    "sharpening": (
        "Sharpen step by step",
        "A sample is blurred, because overlapping patches are averaged. Each step of sharpening moves it along the "
        "gradient of the mean log-likelihood that a layer above gives to it (Sec. II-B3). The curve shows this "
        "log-likelihood. The paper takes 1,000 steps of 0.1 along the gradient of the mean over a batch. With the "
        "authors' batch of 100, this is a step of 0.001 for one sample. The figure begins with steps of 0.01, because "
        "you see their effect sooner.",
    ),
    "inpainting": (
        "Erase a part, and let the model complete it",
        "Erase pixels. The top layer draws a component that fits the damaged image (Eq. 8). Below it, positions "
        "that fit keep what they see, and the others follow the signal from above (Eq. 9). If you do not tell the "
        "model which pixels are damaged, it looks for positions that are much less likely than in the training images "
        "(Eq. 6). It misses black holes, because black is the most usual patch of all.",
    ),
}


class LiveFigure(nodes.General, nodes.Element):
    """A place in a page where scripts build a live figure."""


class Live(SphinxDirective):
    """The directive `live`: a live figure, its text, its content. Option `dataset`: the data set that comes first."""

    required_arguments = 1
    has_content = True
    option_spec = {"dataset": directives.unchanged}

    def run(self):
        """Return the figure's box and its text."""
        name = self.arguments[0]
        if name not in FIGURES:
            raise self.error(f"there is no live figure {name!r}, but {', '.join(FIGURES)}")
        title, text = FIGURES[name]
        box = nodes.container(classes=["live-box"])
        lines = [f"**Live: {title}.** {text}", *self.content]
        self.state.nested_parse(StringList(lines, source=self.get_source_info()[0]), self.content_offset, box)
        box += LiveFigure(figure=name, dataset=self.options.get("dataset", "mnist"), title=title)
        return [box]


def visit_live_figure(translator, node):
    """Write the element that a script fills, and a sentence for browsers that run no scripts."""
    translator.body.append(
        translator.starttag(
            node,
            "div",
            CLASS="live",
            **{"data-figure": node["figure"], "data-dataset": node["dataset"], "role": "group"},
            **{"aria-label": f"Live figure: {node['title']}"},
        )
    )
    translator.body.append(
        "<noscript><p>This figure needs JavaScript. The notebooks show the same for fixed images.</p></noscript></div>"
    )
    raise nodes.SkipNode


def add_scripts(app, page, template, context, doctree):
    """Add the scripts and the style to pages that have a live figure."""
    if doctree is not None and next(doctree.findall(LiveFigure), None) is not None:
        for name in SCRIPTS:
            app.add_js_file(f"live/{name}.js")
        app.add_css_file("live/live.css")


def encoded(numbers, kind):
    """Return numbers as text: base64 of a little-endian type such as `<f4`."""
    return base64.b64encode(np.asarray(numbers).astype(kind).tobytes()).decode()


def rounded(layer):
    """Return centroids and scales of a mixture as the live figures hold them, and the bits of a number.

    Args:
        layer: a `GMM` layer.

    Returns:
        Two arrays (K, D), and 16 or 32. With 16 bits, scales below their bound stay below it, because only features
        with such scales get noise.
    """
    means, scales = layer.mu.numpy(), layer.s.numpy()
    if means.size < FEW_NUMBERS:
        return means, scales, 32
    bound = np.float32(np.sqrt(layer.max_precision))
    halves = scales.astype("float16")
    lifted = (scales < bound) & (halves.astype("float32") >= bound)
    halves[lifted] = np.nextafter(halves[lifted], np.float16(0))
    return means.astype("float16"), halves, 16


def described(layer, moments):
    """Return a layer as a dict for JSON; `moments` are those of its log-likelihood, if it is a mixture."""
    if isinstance(layer, Folding | MaxPooling):
        return {"kind": layer.letter, "name": layer.name, "size": layer.size, "strides": layer.strides}
    means, scales, bits = rounded(layer)
    # (L − mean) / sd for L far above the mean gives sd, with the library's care for positions where images are equal.
    far = np.float32(1e6)
    deviation = far / moments.standardised((moments.mean.numpy() + far)[None])[0]
    return {
        "kind": "G",
        "name": layer.name,
        "bits": bits,
        "maxPrecision": layer.max_precision,
        "means": encoded(means, f"<f{bits // 8}"),
        "scales": encoded(scales, f"<f{bits // 8}"),
        "logWeights": encoded(np.log(layer.mixing_weights), "<f4"),
        "mean": encoded(moments.mean.numpy(), "<f4"),
        "deviation": encoded(deviation, "<f4"),
    }


def model_script(instance, dataset):
    """Return the script that holds a committed model.

    Args:
        instance: a name of Table I, of an instance without classifier.
        dataset: `"mnist"` or `"fashion_mnist"`.

    Returns:
        The text of a JavaScript file.
    """
    model = load_pretrained(instance, dataset)
    moments = dict(zip([layer.name for layer in model.gmm_layers], model.moments, strict=True))
    layers = [described(layer, moments.get(layer.name)) for layer in model.stack]
    data = {"instance": instance, "dataset": dataset, "imageShape": model.image_shape, "layers": layers}
    return as_script(f"{instance}-{dataset}", data)


def images_script(dataset):
    """Return the script that holds a data set's class names and some of its test images, 8 bits a pixel."""
    sheet = np.asarray(Image.open(TEST_IMAGES / f"{dataset}.png"))
    names = CLASS_NAMES[dataset]
    tiles = sheet.reshape(len(names), 28, IMAGES_OF_A_CLASS, 28).swapaxes(1, 2)
    images = [[encoded(image, "u1") for image in row] for row in tiles]
    return as_script(f"images-{dataset}", {"names": names, "images": images})


def as_script(name, data):
    """Return a script that puts data under a name into `dcgmm.data`."""
    return f"dcgmm.data[{json.dumps(name)}] = {json.dumps(data, separators=(',', ':'))};\n"


def write_data(app, exception):
    """Write the models and images beside the scripts of the built site."""
    if exception is None and app.builder.format == "html":
        folder = Path(app.outdir) / "_static" / "live" / "data"
        folder.mkdir(parents=True, exist_ok=True)
        for dataset in CLASS_NAMES:
            (folder / f"images-{dataset}.js").write_text(images_script(dataset), encoding="utf-8")
            for instance in INSTANCES:
                (folder / f"{instance}-{dataset}.js").write_text(model_script(instance, dataset), encoding="utf-8")


def first_test_images(dataset):
    """Return a data set's first test images of each class as one grey picture: a row for each class."""
    from dcgmm import load_dataset  # here, because a build of the site needs no data set

    _, _, images, labels = load_dataset(dataset)
    rows = [images[labels == label][:IMAGES_OF_A_CLASS] for label in range(len(CLASS_NAMES[dataset]))]
    return np.rint(np.stack(rows)[..., 0] * 255).astype("uint8").swapaxes(1, 2).reshape(len(rows) * 28, -1)


def setup(app):
    """Register the directive, the scripts and the data."""
    app.add_directive("live", Live)
    app.add_node(LiveFigure, html=(visit_live_figure, None))
    app.connect("html-page-context", add_scripts)
    app.connect("build-finished", write_data)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    for dataset in CLASS_NAMES:
        Image.fromarray(first_test_images(dataset)).save(TEST_IMAGES / f"{dataset}.png", optimize=True)

"""Figures in one style: grids of images, drawings of models, and files with captions."""

import string
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from IPython.display import Image, Markdown, display

from dcgmm import files

WIDTH = 7.2  # inches: the text width of a two-column paper
PALETTE = sns.color_palette("colorblind")

sns.set_theme(context="paper", style="ticks", palette=PALETTE)
plt.rcParams.update({"figure.dpi": 100, "savefig.dpi": 160, "axes.grid.axis": "y"})


def image_grid(ax, images, columns, title=None, letters=None):
    """Show images (N, H, W, C) in rows on one axis, grey from 0 (black) to 1 (white), with thin lines between them.

    Args:
        ax: a Matplotlib axis.
        images: (N, H, W, 1) grey, or (N, H, W, 3) colour.
        columns: images in a row.
        title: above the grid. Default None.
        letters: a short text for each image, written in red into its corner. Default None.
    """
    height, width = images.shape[1:3]
    for i, letter in enumerate(letters or []):
        left, top = (i % columns) * (width + 1) + 1.5, (i // columns) * (height + 1) + 1.5
        ax.text(left, top, letter, color="red", fontsize=6, weight="bold", va="top")
    _sheet(ax, np.clip(images, 0, 1), columns, title, line=0.45, cmap="gray", vmin=0, vmax=1)


def difference_grid(ax, differences, columns, title=None):
    """Show signed images (N, H, W, 1) as `image_grid` does: red above 0, blue below, on one symmetric scale.

    Returns:
        What `figure.colorbar` takes for a scale bar.
    """
    limit = np.abs(differences).max()
    return _sheet(ax, differences, columns, title, line=np.nan, cmap="RdBu_r", vmin=-limit, vmax=limit)


def _sheet(ax, images, columns, title, line, **colours):
    n, height, width, channels = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), line)
    for i, image in enumerate(images):
        top, left = (1 + (i // columns) * (height + 1), 1 + (i % columns) * (width + 1))
        sheet[top : top + height, left : left + width] = image
    ax.set_axis_off()
    ax.set_title(title)
    return ax.imshow(sheet.squeeze(), interpolation="nearest", **colours)


def duplicate_letters(images):
    """Return a letter for every image that occurs more than once, the same for equal images, and "" for the others."""
    _, kind, counts = np.unique(images.reshape(len(images), -1), axis=0, return_inverse=True, return_counts=True)
    letter = dict(zip(np.flatnonzero(counts > 1), string.ascii_letters))
    return [letter.get(k, "") for k in kind]


# What each type of layer does, by its letter: its colour, and the words for estimation and for sampling.
_ROLES = {
    "F": (PALETTE[0], "cut out\npatches", "average\nthe overlap"),
    "P": (PALETTE[2], "take the\nmaximum", "repeat\nneighbours"),
    "G": (PALETTE[1], "compute\nresponsibilities", "draw component,\nthen sample"),
    "C": (PALETTE[4], "compute\nlogits", "weigh\ncomponents"),
}


def draw_model(ax, model):
    """Draw a DCGMM as a chain of layers with the shape after each, and what they do in both directions (Fig. 1).

    The image stands on the left. A box is as high and as deep as a plane has positions, and as wide as it has
    channels (by square root and logarithm, so that all can be seen).

    Args:
        ax: a Matplotlib axis, as wide as the drawing is to be, and about 3 inches high; it loses its own frame.
        model: a `DCGMM`.
    """
    shapes = [model.image_shape]
    for layer in model.stack:
        shapes.append(layer.compute_output_shape((None, *shapes[-1]))[1:])
    n = len(model.stack)
    size = np.clip(7.5 * ax.get_window_extent().width / ax.figure.dpi / (n + 1), 4, 8)
    text = {"ha": "center", "fontsize": size, "linespacing": 1.1}
    ax.set(xlim=(-0.6, n + 0.6), ylim=(0, 1))
    ax.set_axis_off()
    colours = [(0.5, 0.5, 0.5), *(_ROLES[layer.letter][0] for layer in model.stack)]
    ax.text(0, 0.885, "image", color=colours[0], va="bottom", **{**text, "fontsize": size + 2}, weight="bold")
    for i, (shape, colour) in enumerate(zip(shapes, colours)):
        height, width, channels = shape if len(shape) == 3 else (1, 1, *shape)
        extent = 0.26 * np.sqrt(np.array([height, width]) / max(model.image_shape[:2]))
        _draw_box(ax, i, 0.45, 0.04 + 0.025 * np.log2(channels), extent[0], np.array([0.7, 0.35]) * extent[1], colour)
        ax.text(i, 0.235, "×".join(map(str, shape)), va="center", weight="bold", **text)
    for i, layer in enumerate(model.stack):
        colour, upwards, downwards = _ROLES[layer.letter]
        ax.text(i + 0.5, 0.885, layer.name, color=colour, va="bottom", **{**text, "fontsize": size + 2}, weight="bold")
        ax.text(i + 0.5, 0.87, layer.description.replace(", ", "\n"), va="top", **text)
        ax.text(i + 0.5, 0.67, upwards, va="bottom", style="italic", **text)
        ax.text(i + 0.5, 0.17, downwards, va="top", style="italic", **text)
    start = "a class or the weights π" if model.classifier else "the weights π"
    for y, ends, label in (
        (0.64, (-0.4, n + 0.4), "estimation: activities"),
        (0.0, (n + 0.4, -0.4), f"sampling: control signals, from {start}"),
    ):
        ax.annotate("", (ends[1], y), (ends[0], y), arrowprops={"arrowstyle": "-|>", "color": "black"})
        background = {"facecolor": "white", "edgecolor": "none", "pad": 2}
        ax.text(n / 2, y, label, va="center", bbox=background, **text)


def _draw_box(ax, x, y, width, height, depth, colour):
    """Draw a box centred at (x, y), its depth a vector (x, y) to the upper right."""
    left, right = x - (width + depth[0]) / 2, x + (width - depth[0]) / 2
    low, high = y - (height + depth[1]) / 2, y + (height - depth[1]) / 2
    back = np.asarray(depth)
    corners = np.array([(left, low), (right, low), (right, high), (left, high)])
    faces = (
        (corners, 0.55),
        (np.array([corners[3], corners[2], corners[2] + back, corners[3] + back]), 0.75),
        (np.array([corners[1], corners[2], corners[2] + back, corners[1] + back]), 0.35),
    )
    for face, light in faces:
        shade = tuple(light + (1 - light) * np.array(colour) if light > 0.5 else np.array(colour) * 0.9)
        ax.add_patch(plt.Polygon(face, facecolor=shade, edgecolor="black", linewidth=0.6))


def publish(figure, report, name, caption, alt, models=None):
    """Save a figure as PNG and PDF with its caption beside it, and display both.

    Args:
        figure: a Matplotlib figure; it is closed.
        report: an `experiments.Report`.
        name: the files' name without suffix.
        caption: a sentence or two; data set, scale, seed and code version are added.
        alt: what is to be seen, for readers who do not see it.
        models: what the caption calls the models. Default: the report's `instance`.
    """
    path = report.folder("figures") / name
    # Laid out and measured once: to do it for each file would double the time.
    figure.draw_without_rendering()
    figure.set_layout_engine(None)
    box = figure.get_tightbbox().padded(0.1)
    # Neither file may carry the time at which it was made: the same run gives the same bytes.
    png = {"metadata": {"Software": None}, "pil_kwargs": {"optimize": True}}
    figure.savefig(path.with_suffix(".png"), bbox_inches=box, **png)
    figure.savefig(path.with_suffix(".pdf"), bbox_inches=box, metadata={"CreationDate": None})
    plt.close(figure)
    caption = f"{caption} {replace(report, instance=models or report.instance).provenance}"
    files.write(path.with_suffix(".md"), f"![{alt}]({name}.png)\n\n{caption}\n")
    display(Image(path.with_suffix(".png"), alt=alt, width=int(100 * WIDTH)), Markdown(f"*{caption}*"))

"""Figures in one style: grids of images, drawings of models, and files with captions."""

import io
import string
from collections.abc import Sequence
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import seaborn as sns
from IPython.display import Image, Markdown, display
from matplotlib.image import AxesImage

from dcgmm import files, metrics
from dcgmm.experiments.report import Report
from dcgmm.model import DCGMM

WIDTH = 7.2  # inches: the text width of a two-column paper
PALETTE = sns.color_palette("colorblind")
UNSEEN = 1.0  # of 255; at 1.3, steps show in the scale bar of a map

sns.set_theme(context="paper", style="ticks", palette=PALETTE)
plt.rcParams.update({"figure.dpi": 100, "savefig.dpi": 160, "axes.grid.axis": "y"})


def image_grid(
    ax: plt.Axes, images: np.ndarray, columns: int, title: str | None = None, letters: Sequence[str] | None = None
) -> None:
    """Show images in rows on one axis, from 0 (black) to 1 (white), with thin lines between them.

    Args:
        ax: a Matplotlib axis.
        images: images (N, H, W, C): grey, colour, or of other bands, which `in_colours` shows.
        columns: the number of images in a row.
        title: the text above the grid. Default None.
        letters: a short text for each image, shown in red in its corner. Default None.
    """
    height, width = images.shape[1:3]
    for i, letter in enumerate(letters or []):
        left, top = (i % columns) * (width + 1) + 1.5, (i // columns) * (height + 1) + 1.5
        ax.text(left, top, letter, color="red", fontsize=6, weight="bold", va="top")
    _sheet(ax, np.clip(in_colours(images), 0, 1), columns, title, line=0.45, cmap="gray", vmin=0, vmax=1)


def difference_grid(ax: plt.Axes, differences: np.ndarray, columns: int, title: str | None = None) -> AxesImage:
    """Show signed images in rows on one axis: red above 0, blue below 0, on one symmetric scale.

    Args:
        ax: a Matplotlib axis.
        differences: images (N, H, W, C); of several channels, their mean is shown.
        columns: the number of images in a row.
        title: the text above the grid. Default None.

    Returns:
        The drawn image; give it to `figure.colorbar` for a scale bar.
    """
    differences = differences.mean(axis=-1, keepdims=True)
    limit = np.abs(differences).max() or 1.0
    return _sheet(ax, differences, columns, title, line=np.nan, cmap="RdBu_r", vmin=-limit, vmax=limit)


def in_colours(images: np.ndarray) -> np.ndarray:
    """Return images (..., H, W, C) as grey, (..., H, W, 1), or colours, (..., H, W, 3).

    Of two, or of more than three channels, the first is shown as blue, the middle one as green and the last as red, as
    maps of satellites show short to long waves. Of two channels, green is their mean.

    Example:
        >>> in_colours(np.arange(13.0).reshape(1, 1, 13)).ravel().tolist()
        [12.0, 6.0, 0.0]
    """
    channels = images.shape[-1]
    if channels in (1, 3):
        return images
    middle = images.mean(axis=-1) if channels == 2 else images[..., channels // 2]
    return np.stack([images[..., -1], middle, images[..., 0]], axis=-1)


def picture(image: np.ndarray) -> np.ndarray:
    """Return an image (H, W, C) as `Axes.imshow` takes it: (H, W) of one channel, else (H, W, 3) in [0, 1].

    Example:
        >>> picture(np.zeros((28, 28, 1))).shape, picture(np.zeros((28, 28, 13))).shape
        ((28, 28), (28, 28, 3))
    """
    shown = in_colours(image)
    return shown[..., 0] if shown.shape[-1] == 1 else np.clip(shown, 0, 1)


def bands_note(channels: int) -> str:
    """Return the end of a caption: which bands a picture shows. Empty for grey and colour.

    Example:
        >>> bands_note(13), bands_note(1)
        (' Shown of the 13 bands: 1, 7 and 13 as blue, green and red.', '')
    """
    if channels in (1, 3):
        return ""
    if channels == 2:
        return " Shown of the 2 bands: 1 as blue, 2 as red, and their mean as green."
    return f" Shown of the {channels} bands: 1, {channels // 2 + 1} and {channels} as blue, green and red."


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


def duplicate_letters(images: np.ndarray) -> list[str]:
    """Return the same letter for images that are duplicates by `metrics.duplicate_groups`, and "" for all others.

    Args:
        images: images (N, H, W, C).
    """
    groups, counts = np.unique(group_of := metrics.duplicate_groups(images), return_counts=True)
    letter = dict(zip(groups[counts > 1], string.ascii_letters))
    return [letter.get(group, "") for group in group_of]


# The colour of each type of layer, by its letter, and the words for its estimation and its sampling.
_ROLES = {
    "F": (PALETTE[0], "cut out\npatches", "average\nthe overlap"),
    "P": (PALETTE[2], "take the\nmaximum", "repeat\nneighbours"),
    "G": (PALETTE[1], "compute\nresponsibilities", "draw component,\nthen sample"),
    "C": (PALETTE[4], "compute\nlogits", "weigh\ncomponents"),
}
_ROLE_OF_OTHERS = ((0.5, 0.5, 0.5), "go up", "go down")


def draw_model(ax: plt.Axes, model: DCGMM) -> None:
    """Draw a DCGMM as a chain of layers, with the shape after each layer and its work in both directions (Fig. 1).

    The image is on the left. The height and depth of a box show the positions of a plane, by their square root, and
    its width shows the channels, by their logarithm, so that small and large boxes fit into one drawing.

    Args:
        ax: a Matplotlib axis that is about 3 inches high; the drawing fills its width and removes its frame.
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
    roles = [_ROLES.get(getattr(layer, "letter", ""), _ROLE_OF_OTHERS) for layer in model.stack]
    colours = [(0.5, 0.5, 0.5), *(colour for colour, _, _ in roles)]
    ax.text(0, 0.885, "image", color=colours[0], va="bottom", **{**text, "fontsize": size + 2}, weight="bold")
    for i, (shape, colour) in enumerate(zip(shapes, colours)):
        height, width, channels = shape if len(shape) == 3 else (1, 1, *shape)
        extent = 0.26 * np.sqrt(np.array([height, width]) / max(model.image_shape[:2]))
        _draw_box(ax, i, 0.45, 0.04 + 0.025 * np.log2(channels), extent[0], np.array([0.7, 0.35]) * extent[1], colour)
        ax.text(i, 0.235, "×".join(map(str, shape)), va="center", weight="bold", **text)
    for i, (layer, (colour, upwards, downwards)) in enumerate(zip(model.stack, roles)):
        ax.text(i + 0.5, 0.885, layer.name, color=colour, va="bottom", **{**text, "fontsize": size + 2}, weight="bold")
        ax.text(i + 0.5, 0.87, getattr(layer, "description", "").replace(", ", "\n"), va="top", **text)
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
    """Draw a box around (x, y); its depth is a vector (x, y) to the upper right."""
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


def literal(text: str) -> str:
    r"""Return a text, such as the name of a class, that Matplotlib draws as it is, also where it has dollar signs.

    Matplotlib takes what stands between two dollar signs as a formula, and fails if it is none.

    Example:
        >>> print(literal("under 5 $, over 5 $"))
        under 5 \$, over 5 \$
    """
    return text.replace("$", r"\$")


def with_palette(png: bytes) -> bytes:
    """Return a drawn figure with a palette of 256 colours, which halves its file, or as it is if that would show.

    Grey images and lines need few colours. Photographs need more: it would show if pixels moved by more than
    `UNSEEN` on average (root mean square over pixels and channels, of 255).
    """
    drawn = PIL.Image.open(io.BytesIO(png))
    full = drawn.convert("RGB")
    reduced = full.quantize(256, kmeans=3, dither=PIL.Image.Dither.NONE)
    moved = np.asarray(reduced.convert("RGB"), float) - np.asarray(full, float)
    if np.sqrt(np.mean(moved**2)) > UNSEEN:
        return png
    file = io.BytesIO()
    reduced.save(file, "png", optimize=True, dpi=drawn.info["dpi"])
    return file.getvalue()


def publish(figure: plt.Figure, report: Report, name: str, caption: str, alt: str, models: str | None = None) -> None:
    """Save a figure as PNG and PDF and its caption as Markdown, and display both.

    Args:
        figure: a Matplotlib figure; it is closed.
        report: an `experiments.Report`.
        name: the name of the files, without suffix.
        caption: a sentence or two; the data set, scale, seed and code version are added.
        alt: a description of the figure, for readers who cannot see it.
        models: the name of the models in the caption. Default: the report's `instance`.
    """
    path = report.path("figures", name)
    # Compute the layout once, because computing it for each file would take twice the time.
    figure.draw_without_rendering()
    figure.set_layout_engine(None)
    box = figure.get_tightbbox().padded(0.1)
    # Leave out the time of the run, because the same run must give the same bytes.
    with files.replacing(path.with_suffix(".pdf")) as file:
        figure.savefig(file, format="pdf", bbox_inches=box, metadata={"CreationDate": None})
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", bbox_inches=box, metadata={"Software": None})
    with files.replacing(path.with_suffix(".png")) as file:
        file.write(with_palette(drawn.getvalue()))
    plt.close(figure)
    caption = f"{caption} {replace(report, instance=models or report.instance).provenance}"
    files.write(path.with_suffix(".md"), f"![{alt}]({name}.png)\n\n{caption}\n")
    display(Image(path.with_suffix(".png"), alt=alt, width=int(100 * WIDTH)), Markdown(f"*{caption}*"))

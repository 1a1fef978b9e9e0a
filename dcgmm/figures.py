"""What notebooks show: figures in one style, grids of images, and the verdicts on the paper's claims."""

import json
import string

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from IPython.display import Image, Markdown, display

from dcgmm.claims import CLAIMS, verdict

WIDTH = 7.2  # inches: the text width of a two-column paper
PALETTE = sns.color_palette("colorblind")

sns.set_theme(context="paper", style="ticks", palette=PALETTE)
plt.rcParams.update({"figure.dpi": 100, "savefig.dpi": 200, "savefig.bbox": "tight", "axes.grid.axis": "y"})


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


def publish(figure, report, name, caption, alt):
    """Save a figure as PNG and PDF with its caption beside it, and display both.

    Args:
        figure: a Matplotlib figure; it is closed.
        report: an `experiments.Report`.
        name: the files' name without suffix.
        caption: a sentence or two; data set, scale, seed and code version are added.
        alt: what is to be seen, for readers who do not see it.
    """
    path = report.folder("figures") / name
    # Neither file may carry the time at which it was made: the same run gives the same bytes.
    figure.savefig(path.with_suffix(".png"), metadata={"Software": None})
    figure.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None})
    plt.close(figure)
    caption = f"{caption} {report.provenance}"
    path.with_suffix(".md").write_text(f"![{alt}]({name}.png)\n\n{caption}\n", encoding="utf-8")
    display(Image(path.with_suffix(".png"), alt=alt, width=int(100 * WIDTH)), Markdown(f"*{caption}*"))


def judge(report, claim, checks, numbers):
    """Save the verdict on one of the paper's claims, and display it.

    Args:
        report: an `experiments.Report`.
        claim: a key of `CLAIMS`, such as `"C5"`.
        checks: booleans, the parts of the claim: it is kept where all hold, partly kept where some do.
        numbers: a sentence with the numbers that decide, with their interval over repetitions where there is one.
    """
    judged = {"claim": claim, "statement": CLAIMS[claim], "verdict": verdict(checks), "numbers": numbers}
    path = report.folder("tables") / f"{claim}.json"
    path.write_text(json.dumps(judged, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    display(Markdown(f"> **{claim}: {judged['verdict']}.** *{judged['statement']}*\n>\n> {numbers}"))

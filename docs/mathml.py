"""Formulas as MathML, which browsers show without scripts, made when the site is built."""

from functools import partial
from importlib.resources import files
from pathlib import Path

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.util import logging
from sphinx.util.fileutil import copy_asset_file

CONVERTER = LatexToMathML(fancy_error=False)


def visit(translator, node, display):
    """Append a formula to a page; one that cannot be read gives a warning, which fails the build."""
    formula = node.astext()
    if r"\tag" in formula:
        formula = rf"\begin{{equation}}{formula}\end{{equation}}"
    try:
        formula = CONVERTER.convert_with_local_state(formula, displaystyle=display)
    except LatexError as error:
        logging.getLogger(__name__).warning("%s in the formula %s", error, formula, location=node)
        formula = translator.encode(formula)
    translator.body.append(translator.starttag(node, "div" if display else "span", "", CLASS="math"))
    translator.body.append(formula + ("</div>\n" if display else "</span>"))
    raise nodes.SkipNode


def copy_font(app, exception):
    """Copy a font that can set formulas: not every system has one."""
    if exception is None:
        copy_asset_file(files("ziamath.fonts") / "STIXTwoMath-Regular.ttf", Path(app.outdir) / "_static")


def setup(app):
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (partial(visit, display=False), None), (partial(visit, display=True), None))
    app.connect("build-finished", copy_font)
    return {"parallel_read_safe": True}

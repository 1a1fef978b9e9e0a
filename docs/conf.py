"""Settings of the site, `make site`: the committed results, the library's pages and the errata, with no network."""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "Deep convolutional Gaussian mixture models"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml", "live", "pages"]

# Show stored outputs; do not run notebooks.
nb_execution_mode = "off"
nb_render_markdown_format = "myst"
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "dollarmath"]
myst_heading_anchors = 3

# The report is a page of its own, which the pipeline makes.
exclude_patterns = ["report"]

default_role = "code"
smartquotes_action = "D"  # dashes alone: the prime in H' is no quote
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"DCGMM {metadata.version('dcgmm')}"
pygments_dark_style = "monokai"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_copyright = False
html_use_index = False
html_domain_indices = False
# The search would fetch its summaries, but browsers refuse this for pages from the file system.
html_show_search_summary = False

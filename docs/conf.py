"""The site: the pages of this folder, and a reference made from the docstrings. ``tox -e docs`` builds it.

Warnings are errors. Nothing is fetched, neither by the build nor by the pages that it writes.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from rxruns import __version__

project = "rxruns"
author = "rxruns contributors"
release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_pages",
    "sphinx_references",
]
nitpicky = True
exclude_patterns = ["_build"]

# Drawings, not Python, stand in the indented blocks of docstrings.
highlight_language = "none"

# Anchors of headings as code hosts make them, so that one link is right in both places.
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
python_maximum_signature_line_length = 90
python_display_short_literal_types = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"rxruns {release}"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}

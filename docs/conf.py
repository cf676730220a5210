"""Settings of the documentation: `make docs` builds it into docs/_build, offline, with warnings as errors."""

import sys
from importlib.util import find_spec
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

project = "minima_volume"
author = "The minima_volume developers"
copyright = author
html_title = "minima_volume"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_gallery.gen_gallery", "mathml"]
exclude_patterns = ["_build", "_ext", "examples", "README.md"]
# The API page documents the package once it is grouped into subpackages.
if find_spec("minima_volume.estimators") is None:
    exclude_patterns.append("api.md")
    suppress_warnings = ["toc.excluded", "toc.not_readable"]

myst_enable_extensions = ["alert", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

napoleon_google_docstring = True
napoleon_numpy_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"

sphinx_gallery_conf = {
    "image_scrapers": ("figures.scrape_figures",),
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"/(?!plot_)\w+\.py",
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "abort_on_example_error": True,
    "matplotlib_animations": False,
    "copyfile_regex": "",
}

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0072b2", "color-brand-content": "#0072b2"},
    "dark_css_variables": {"color-brand-primary": "#56b4e9", "color-brand-content": "#56b4e9"},
}


def setup(app: Sphinx) -> None:
    """Show the map of the package, a block that a test reads, as plain text."""
    app.add_lexer("wings", TextLexer)

"""Settings of the documentation: `make docs` builds it into docs/_build, offline, with warnings as errors.

Sphinx runs as `python -m sphinx` in the repository's root, so that the package and `docs._ext` can be imported.
"""

import re

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

from minima_volume.pipeline.parent import end_with_make

end_with_make()

project = "minima_volume"
author = "The minima_volume developers"
copyright = author
html_title = "minima_volume"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "docs._ext.mathml",
]
exclude_patterns = ["_build", "_ext", "examples"]
default_role = "code"  # single backticks in docstrings

myst_enable_extensions = ["alert", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

napoleon_google_docstring = True
napoleon_numpy_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"

sphinx_gallery_conf = {
    "image_scrapers": ("docs._ext.figures.scrape_figures",),
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"/(?!plot_)\w+\.py",
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "abort_on_example_error": True,
    "run_stale_examples": True,  # what they show depends on the package, not on their text alone
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


# Bars and asterisks that reStructuredText would read as markup. Docstrings use them as mathematics: |u|, θ*.
MARKUP = re.compile(r"(?<!\\)[|*]")


def escape_mathematics(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Show bars and asterisks of docstrings as they are written, except in doctests."""
    lines[:] = [line if line.lstrip().startswith((">>>", "...")) else MARKUP.sub(r"\\\g<0>", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Show the map of the package, a block that a test reads, as plain text."""
    app.add_lexer("wings", TextLexer)
    app.connect("autodoc-process-docstring", escape_mathematics, priority=100)  # before napoleon adds its own markup

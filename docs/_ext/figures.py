"""Show the figures of gallery examples, also those that were made without pyplot."""

from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst, matplotlib_scraper


def scrape_figures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Pyplot's figures, and a figure named `figure` that an example made without pyplot, such as `Measurement.plot`."""
    drawn = matplotlib_scraper(block, block_vars, gallery_conf)
    figure = block_vars["example_globals"].pop("figure", None)
    if drawn or not isinstance(figure, Figure):
        return str(drawn)
    path = next(block_vars["image_path_iterator"])
    figure.savefig(path)
    return str(figure_rst([path], gallery_conf["src_dir"]))

"""Write formulas as MathML, which browsers render themselves: no JavaScript, no network, no LaTeX.

Docutils holds the translator from LaTeX; this extension only connects it to Sphinx.
"""

import html
import re
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)

# Browsers put no space around the names of functions, and stretch the bars of a norm over its subscripts.
BEFORE = re.compile(r"(</m(?:i|n|sub|sup)>\s*)(<mi>(?:ln|exp|max|min|det|sd|mean)</mi>)")
AFTER = re.compile(r"(<mo>&ApplyFunction;</mo>\s*)(?=<m(?:i|n|sub|sup|subsup|frac)[ >])")
NORM = re.compile(r"<mo(?=[^>]*>‖)")
SPACE = '<mspace width="0.17em"/>'


def _translate(self: Any, node: nodes.math | nodes.math_block, *, as_block: bool) -> str:
    """MathML of a node; a formula that cannot be translated is a warning, so an error under `-W`, and stays as LaTeX."""
    source = node.astext()
    try:
        formula = NORM.sub('<mo stretchy="false"', str(tex2mathml(source, as_block=as_block)))
        return AFTER.sub(rf"\1{SPACE}", BEFORE.sub(rf"\1{SPACE}\2", formula))
    except SyntaxError as error:
        logger.warning("Expected LaTeX that docutils translates, got %s: %s", source, error, location=node)
        return f"<code>{html.escape(source)}</code>"


def visit_math(self: Any, node: nodes.math) -> None:
    """A formula in running text."""
    self.body.append(f'<span class="math">{_translate(self, node, as_block=False)}</span>')
    raise nodes.SkipNode


def visit_displaymath(self: Any, node: nodes.math_block) -> None:
    """A formula on its own line, in a container that scrolls where the window is narrow."""
    self.body.append(f'<div class="math-block">{_translate(self, node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer under the name `mathml`."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

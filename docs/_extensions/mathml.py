"""Formulas as MathML, which browsers draw themselves: no script, no font and no network."""

from __future__ import annotations

import re
import unicodedata

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator


def mathml(formula: str, display: str) -> str:
    """A formula with its symbols as operators, and infinity as a number: browsers set the space around them by that.

    Bars of a norm keep their size, and a minimum that is displayed has what it is taken over below it.
    """
    text = convert(formula, display=display).replace("<mo>&#x0221E;</mo>", "<mn>&#x0221E;</mn>")
    text = text.replace("<mo>&#x02016;</mo>", '<mo stretchy="false">&#x02016;</mo>')
    if display == "block":
        text = re.sub(r"<msub>(<mo>(?:min|max)</mo><mi>[^<]*</mi>)</msub>", r"<munder>\1</munder>", text)
    return re.sub(r"<mi>&#x([0-9A-F]+);</mi>", _operator, text)


def _operator(found: re.Match[str]) -> str:
    symbol = not unicodedata.category(chr(int(found[1], 16))).startswith("L")
    return f'<mo stretchy="false">&#x{found[1]};</mo>' if symbol else found[0]


def visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    """A formula in a line of text."""
    translator.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    r"""A formula on lines of its own, ``\\`` and ``&`` as in amsmath's aligned."""
    formula = node.astext().strip()
    if "\\\\" in formula and "\\begin" not in formula:
        formula = rf"\begin{{aligned}}{formula}\end{{aligned}}"
    translator.body.append(translator.starttag(node, "div", CLASS="math"))
    translator.body.append(mathml(formula, "block"))
    translator.body.append("</div>")
    raise nodes.SkipNode


def setup(app: Sphinx) -> ExtensionMetadata:
    """Give Sphinx the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

"""Write a table as LaTeX (booktabs)."""

from __future__ import annotations

from convexrml.documents.blocks import Table

_TEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}"}
_TEX |= {"^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "ℓ": r"$\ell$", "ε": r"$\varepsilon$", "∞": r"$\infty$"}
_TEX |= {"–": "--"}


def latex(table: Table) -> str:
    """A floating table, with title and note as its caption."""
    head = " & ".join(map(_tex, table.header))
    body = [" & ".join(map(_tex, line)) + r" \\" for line in table.lines]
    caption = ". ".join(_tex(text) for text in (table.title, table.note) if text)
    parts = [r"\begin{table}", r"\centering", rf"\caption{{{caption}}}"]
    parts += [rf"\begin{{tabular}}{{{'l' * len(table.header)}}}", r"\toprule", head + r" \\", r"\midrule", *body]
    return "\n".join([*parts, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)

"""Write a report: as Markdown with figures beside it, and as one HTML page that needs nothing else."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from convexrml.compare.pictures import as_data, as_png
from convexrml.compare.report import Block, Picture, Section, Table

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; margin: 1.6em 0 0.5em; }
nav a { margin-right: 1em; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; margin: 0.6em 0; font-variant-numeric: tabular-nums; }
p.title { margin: 1em 0 0; }
p.title, summary { font-size: 13px; }
summary { cursor: pointer; }
th, td { padding: 0.2em 0.7em 0.2em 0; text-align: right; white-space: nowrap; border-bottom: 1px solid #8884; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
td.long { white-space: normal; min-width: 24em; }
td.wrong { color: #c22; font-weight: 600; }
img { max-width: 100%; background: white; border-radius: 4px; }
code { font-size: 0.92em; }
"""


def write_markdown(sections: Sequence[Section], folder: Path, name: str = "report.md") -> list[Path]:
    """Write the report and its figures into a folder.

    Returns
    -------
    list of Path
        The files written, the report first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written, parts = [folder / name], []
    for section in sections:
        parts.append(f"{'#' * section.level} {section.heading}")
        for block in section.blocks:
            if isinstance(block, Picture):
                path = folder / f"{block.name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(as_png(block.figure))
                written.append(path)
            parts.append(markdown(block))
    written[0].write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return written


def markdown(block: Block) -> str:
    """One block as Markdown; a picture is named as a file beside the document."""
    if isinstance(block, str):
        return block
    if isinstance(block, Picture):
        return f"![{block.words}]({block.name}.png)"
    cells = [[cell.replace("|", "\\|") for cell in line] for line in (block.header, *block.lines)]
    rule = [_rule(column) for column in zip(*cells, strict=True)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in (cells[0], rule, *cells[1:]))
    if block.folded:
        return f"<details><summary>{html.escape(block.title)}</summary>\n\n{table}\n\n</details>"
    return f"{block.title}:\n\n{table}" if block.title else table


def write_html(sections: Sequence[Section], path: Path) -> Path:
    """Write the report as one page: no script, no file beside it, nothing from the network."""
    path.parent.mkdir(parents=True, exist_ok=True)
    title = html.escape(sections[0].heading)
    links = "".join(f'<a href="#{_anchor(s.heading)}">{html.escape(s.heading)}</a>' for s in sections if s.level == 2)
    body = []
    for number, section in enumerate(sections):
        level, heading = section.level, html.escape(section.heading)
        body.append(f'<h{level} id="{_anchor(section.heading)}">{heading}</h{level}>')
        body += [f"<nav>{links}</nav>"] if number == 0 else []
        body += [_as_html(block) for block in section.blocks]
    path.write_text(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n",
        encoding="utf-8",
    )
    return path


def _as_html(block: Block) -> str:
    if isinstance(block, str):
        return f"<p>{_inline(block)}</p>"
    if isinstance(block, Picture):
        return f'<p><img src="{as_data(block.figure)}" alt="{html.escape(block.words)}"></p>'
    return _table_as_html(block)


def _table_as_html(block: Table) -> str:
    numeric = [_rule(column) == "---:" for column in zip(block.header, *block.lines, strict=True)]

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(_cell(cell, tag, right) for cell, right in zip(cells, numeric, strict=True)) + "</tr>"

    title = f'<p class="title">{_inline(block.title)}:</p>' if block.title and not block.folded else ""
    head, rows = line(block.header, "th"), "\n".join(line(cells, "td") for cells in block.lines)
    table = f'{title}<div class="wide"><table><thead>{head}</thead>\n<tbody>{rows}</tbody></table></div>'
    return f"<details><summary>{_inline(block.title)}</summary>{table}</details>" if block.folded else table


def _cell(cell: str, tag: str, right: bool) -> str:
    kinds = [] if right else ["text"]
    kinds += ["long"] if len(cell) > 80 else []
    kinds += ["wrong"] if cell.startswith("wrong ") else []
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    return f"<{tag}{kind}>{html.escape(cell)}</{tag}>"


def _inline(text: str) -> str:
    """The two marks that the report's prose uses: **strong** and `code`."""
    marks: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
        (r"\*\*(.+?)\*\*", lambda found: f"<strong>{found[1]}</strong>"),
        (r"`(.+?)`", lambda found: f"<code>{found[1]}</code>"),
    )
    text = html.escape(text)
    for pattern, mark in marks:
        text = re.sub(pattern, mark, text)
    return text


def _rule(column: Sequence[str]) -> str:
    """Right for columns in which no entry below the header is a word."""
    return "---" if any(cell[:1].isalpha() or cell[:1] == "[" for cell in column[1:]) else "---:"


def _anchor(heading: str) -> str:
    return re.sub(r"\W+", "-", heading.lower()).strip("-")

"""Write a document as one HTML page: no script, no file beside it, nothing from the network."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path

from convexrml.documents.blocks import Alarm, Block, Picture, Section, Table, Verbatim, is_numeric

_LONG = 80  # letters in a cell that is worth more than one line
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; margin: 1.6em 0 0.5em; }
nav a { margin-right: 1em; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; margin: 0.6em 0; font-variant-numeric: tabular-nums; }
p.title { margin: 1em 0 0; }
p.title, summary { font-size: 13px; }
p.note { font-size: 13px; max-width: 60rem; opacity: 0.8; margin-top: 0.2em; }
summary { cursor: pointer; }
th, td { padding: 0.2em 0.7em 0.2em 0; text-align: right; white-space: nowrap; border-bottom: 1px solid #8884; }
th { border-bottom: 2px solid #8888; vertical-align: bottom; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
td.long { white-space: normal; min-width: 24em; }
td.wrong, p.alarm { color: #c22; font-weight: 600; }
figure { display: inline-block; margin: 0.8rem 1rem 0.8rem 0; max-width: 100%; vertical-align: top; }
figcaption { font-size: 13px; max-width: 44rem; opacity: 0.8; }
img { max-width: 100%; background: white; border-radius: 4px; }
pre { overflow-x: auto; font-size: 13px; }
code { font-size: 0.92em; }
"""


def write_html(sections: Sequence[Section], path: Path) -> Path:
    """Write the page; the first section's heading is its title, and headings of level 2 are listed below it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    title = html.escape(sections[0].heading)
    links = "".join(f'<a href="#{_anchor(s.heading)}">{html.escape(s.heading)}</a>' for s in sections if s.level == 2)
    body = []
    for number, section in enumerate(sections):
        level, heading = section.level, html.escape(section.heading)
        body.append(f'<h{level} id="{_anchor(section.heading)}">{heading}</h{level}>')
        body += [f"<nav>{links}</nav>"] if number == 0 and links else []
        body += map(_block, section.blocks)
    path.write_text(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n",
        encoding="utf-8",
    )
    return path


def _block(block: Block) -> str:
    match block:
        case Picture():
            words = html.escape(block.words)
            image = f'<img src="{block.data_uri}" alt="{words}">'
            return f"<figure>{image}<figcaption>{words}</figcaption></figure>"
        case Alarm():
            return f'<p class="alarm">{_inline(block.text)}</p>'
        case Verbatim():
            return f"<pre>{html.escape(block.text)}</pre>"
        case Table():
            return _table(block)
        case str():
            return f"<p>{_inline(block)}</p>"


def _table(table: Table) -> str:
    numeric = [is_numeric(column) for column in zip(table.header, *table.lines, strict=True)]

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(_cell(cell, tag, right) for cell, right in zip(cells, numeric, strict=True)) + "</tr>"

    head, rows = line(table.header, "th"), "\n".join(line(cells, "td") for cells in table.lines)
    shown = f'<div class="wide"><table><thead>{head}</thead>\n<tbody>{rows}</tbody></table></div>'
    shown += f'<p class="note">{_inline(table.note)}</p>' if table.note else ""
    if table.folded:
        return f"<details><summary>{_inline(table.title)}</summary>{shown}</details>"
    return f'<p class="title">{_inline(table.title)}:</p>{shown}' if table.title else shown


def _cell(cell: str, tag: str, right: bool) -> str:
    kinds = [] if right else ["text"]
    kinds += ["long"] if len(cell) > _LONG else []
    kinds += ["wrong"] if cell.startswith("wrong ") else []
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    return f"<{tag}{kind}>{html.escape(cell)}</{tag}>"


def _inline(text: str) -> str:
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html.escape(text))
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)


def _anchor(heading: str) -> str:
    return re.sub(r"\W+", "-", heading.lower()).strip("-")

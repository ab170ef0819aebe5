"""Write a document as Markdown, with its pictures as files beside it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from convexrml.documents.blocks import Alarm, Block, Picture, Section, Table, Verbatim, is_numeric


def write_markdown(sections: Sequence[Section], path: Path) -> list[Path]:
    """Write a document and its pictures.

    Returns
    -------
    list of Path
        The files written, the document first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = []
    for block in (block for section in sections for block in section.blocks if isinstance(block, Picture)):
        pictures.append(path.parent / f"{block.name}.png")
        pictures[-1].parent.mkdir(parents=True, exist_ok=True)
        pictures[-1].write_bytes(block.png)
    path.write_text("\n\n".join(part for section in sections for part in _section(section)) + "\n", encoding="utf-8")
    return [path, *pictures]


def _section(section: Section) -> list[str]:
    return [f"{'#' * section.level} {section.heading}", *map(_block, section.blocks)]


def _block(block: Block) -> str:
    match block:
        case Picture():
            return f"![{block.words}]({block.name}.png)"
        case Alarm():
            return f"**{block.text}**"
        case Verbatim():
            return f"```\n{block.text.rstrip()}\n```"
        case Table():
            return _table(block)
        case str():
            return block


def _table(table: Table) -> str:
    columns = zip(table.header, *table.lines, strict=True)
    rule = ["---:" if is_numeric(column) else "---" for column in columns]
    lines = [_line(table.header), _line(rule), *map(_line, table.lines)]
    text = "\n".join(lines) + (f"\n\n{table.note}" if table.note else "")
    if table.folded:
        return f"<details><summary>{html.escape(table.title)}</summary>\n\n{text}\n\n</details>"
    return f"{table.title}:\n\n{text}" if table.title else text


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

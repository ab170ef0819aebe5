"""What a document is made of.  Text may use two marks of Markdown: ``**strong**`` and a pair of backquotes for code."""

from __future__ import annotations

import base64
import dataclasses
import functools
import io

from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes
    ----------
    header : tuple of str
    lines : tuple of tuple of str
    title : str
    note : str
        What a reader has to know to read it; stands below.
    folded : bool
        Shown on request, where the medium can do that.
    """

    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    title: str = ""
    note: str = ""
    folded: bool = False


def png_of(figure: Figure) -> bytes:
    """A figure as PNG: the same bytes for the same figure."""
    held = io.BytesIO()
    figure.savefig(held, format="png", metadata={"Software": None})
    return held.getvalue()


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure, the name of its file without ending, and what it shows in words."""

    name: str
    figure: Figure
    words: str

    @functools.cached_property
    def png(self) -> bytes:
        """The picture."""
        return png_of(self.figure)

    @property
    def data_uri(self) -> str:
        """The picture as an address, for a page that is one file."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclasses.dataclass(frozen=True)
class Alarm:
    """A text that nobody should miss."""

    text: str


@dataclasses.dataclass(frozen=True)
class Verbatim:
    """Text that keeps its lines, such as a file."""

    text: str


Block = str | Table | Picture | Alarm | Verbatim


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading of a level (1 is the document's) and what stands under it."""

    level: int
    heading: str
    blocks: tuple[Block, ...] = ()


def is_numeric(column: tuple[str, ...]) -> bool:
    """Whether a column (its header first) is set flush right: no entry below the header is a word."""
    return not any(cell[:1].isalpha() or cell[:1] == "[" for cell in column[1:])

"""For the gallery: examples come in the order in which their README lists them."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "examples" / "README.md"
LISTED = re.findall(r"^\| \[(\w+\.py)\]", README.read_text(encoding="utf-8"), re.MULTILINE)


def by_readme(file: str) -> int:
    """The key by which examples are sorted; one that is not listed comes last."""
    name = Path(file).name
    return LISTED.index(name) if name in LISTED else len(LISTED)

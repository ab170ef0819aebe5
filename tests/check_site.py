"""Look at every page of the built site: nothing is fetched from the network, and every link inside it leads somewhere.

python tests/check_site.py docs/_build/html
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser loads by itself, by element and attribute; <a href> and <link rel="canonical"> it does not.
LOADED = {("link", "href")} | {
    (element, attribute)
    for element in ("audio", "embed", "iframe", "img", "input", "object", "script", "source", "track", "video")
    for attribute in ("src", "srcset", "data", "poster")
}
IN_STYLES = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)


class Page(HTMLParser):
    """The addresses that a page loads, those that it links to, and its own anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = IN_STYLES.findall(text)
        self.linked: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if (tag, name) in LOADED:
                self.loaded.append(value)
            elif (tag, name) == ("a", "href"):
                self.linked.append(value)
            elif name == "id" or (tag, name) == ("a", "name"):
                self.anchors.add(value)


def is_outside(address: str) -> bool:
    """Whether an address leads off the site."""
    return bool(urlsplit(address).netloc) or urlsplit(address).scheme not in ("", "data")


def faults(site: Path) -> Iterator[str]:
    """What is wrong with a site, one sentence each."""
    written = [path for path in sorted(site.rglob("*.html")) if path.relative_to(site).parts[0] != "_static"]
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in written}
    if not pages:
        yield f"{site}: no pages"
    for path, page in pages.items():
        where = path.relative_to(site.resolve())
        yield from (f"{where}: loads {address}" for address in page.loaded if is_outside(address))
        for address in page.linked + page.loaded:
            if is_outside(address):
                continue
            parts = urlsplit(address)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                yield f"{where}: links to {address}, which is not there"
            elif target in pages and parts.fragment and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{where}: links to {address}, which has no such place"
    for path in sorted(site.rglob("*.css")):
        fetched = IN_STYLES.findall(path.read_text(encoding="utf-8"))
        yield from (f"{path.relative_to(site)}: loads {address}" for address in fetched)


def main(site: str) -> int:
    found = sorted(set(faults(Path(site))))
    print("\n".join(found) if found else f"{site}: loads nothing from the network, and its links lead somewhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""Mend the links from source pages back to the reference.

viewcode keeps one name per file by which its objects are documented: for a file with names of `convexrml` itself, that
is wrong for those that are documented under the module they live in.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata


def mend(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Point at the object's name in its module where the package has none of that name."""
    if not pagename.startswith("_modules/convexrml/"):
        return
    module = pagename.removeprefix("_modules/").replace("/", ".")
    documented = app.env.domains.python_domain.objects

    def place(found: re.Match[str]) -> str:
        return found[0] if found[1] in documented else f"#{module}.{found[2]}"

    context["body"] = re.sub(r"#(convexrml\.([\w.]+))", place, context["body"])


def setup(app: Sphinx) -> ExtensionMetadata:
    """Look at every page before it is written."""
    app.connect("html-page-context", mend)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

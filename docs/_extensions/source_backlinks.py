"""Mend the links from source pages back to the reference.

viewcode keeps one name per file by which its objects are documented.  For a file of which some are documented as names
of `convexrml` itself, and others as names of the module that they live in, that is wrong for some of them.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata


def mend(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Point at the object by the name that it is documented by."""
    if not pagename.startswith("_modules/convexrml/"):
        return
    module = pagename.removeprefix("_modules/").replace("/", ".")
    documented = app.env.domains.python_domain.objects

    def place(found: re.Match[str]) -> str:
        names = [found[1]]
        parts = found[1].split(".")
        for split in range(1, len(parts)):  # of module and object; the longer an object's name, the surer it is
            local = ".".join(parts[split:])
            names += [f"{module}.{local}", *(name for name in documented if name.endswith(f".{local}"))]
        return "#" + next(documented[name].node_id for name in names if name in documented)

    context["body"] = re.sub(r"#(convexrml\.[\w.]+)", place, context["body"])


def setup(app: Sphinx) -> ExtensionMetadata:
    """Look at every page before it is written."""
    app.connect("html-page-context", mend)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

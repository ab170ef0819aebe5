"""The command line's own help, command by command: ``.. command-help:: convexrml.cli:main convexrml``."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

WIDTH = 80


def contexts(command: click.Command, name: str, above: click.Context | None = None) -> Iterator[click.Context]:
    """A command and all that are below it."""
    settings = {**command.context_settings, "max_content_width": WIDTH, "terminal_width": WIDTH}
    context = command.context_class(command, info_name=name, parent=above, **settings)
    yield context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from contexts(found, below, context)


class CommandHelp(SphinxDirective):
    """A section for each command, with what ``--help`` prints."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        """Ask the commands."""
        module, attribute = self.arguments[0].split(":")
        sections: list[nodes.Node] = []
        for context in contexts(getattr(importlib.import_module(module), attribute), self.arguments[1]):
            title = context.command_path
            section = nodes.section("", nodes.title(title, title), ids=[nodes.make_id(title)])
            text = click.unstyle(context.get_help())
            section += nodes.literal_block(text, text, language="text")
            sections.append(section)
        return sections


def setup(app: Sphinx) -> ExtensionMetadata:
    """Give Sphinx the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

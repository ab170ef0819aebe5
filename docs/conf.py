"""How Sphinx builds the site: `make docs`.  Nothing is fetched from the network, here or by a reader's browser."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

from example_order import by_readme
from saved_pictures import saved_pictures

import convexrml

project = "convexrml"
author = "The convexrml developers"
project_copyright = author
version = release = convexrml.__version__

extensions = [
    "command_help",
    "mathml",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "source_backlinks",
]
exclude_patterns = ["_build", "_extensions"]
templates_path = ["_templates"]
default_role = "py:obj"  # what a docstring has in single backticks
# Every reference to a name of convexrml has to lead somewhere; other projects are not looked up, that takes network.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!convexrml\.).*")]

# Markdown
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4
html_math_renderer = "mathml"

# Docstrings: fields stand in the section Attributes, so that only methods and properties are listed one by one.
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True}
autosummary_generate = False
suppress_warnings = ["config.cache"]  # the gallery's settings hold a function, so that they are never unchanged
numpydoc_show_class_members = False

# Examples are run, and what they print and save is shown.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "image_scrapers": (saved_pictures,),
    "reset_modules": (),
    "capture_repr": (),
    "doc_module": ("convexrml",),
    "reference_url": {"convexrml": None},
    "backreferences_dir": "gallery/backreferences",
    "within_subsection_order": by_readme,
    "default_thumb_file": str(Path(__file__).parent / "figures" / "power_diagram.png"),
    "download_all_examples": False,
    "notebook_extensions": (),
    "show_signature": False,
    "write_computation_times": False,
    "remove_config_comments": True,
}

html_theme = "pydata_sphinx_theme"
html_title = "convexrml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "convexrml"},
    "navbar_align": "left",
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": []}

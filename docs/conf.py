"""The site: ``python -m sphinx -W --keep-going docs build/docs``. Needs the extra ``docs``.

The pages load nothing from other hosts.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import generated

import banken

project = "banken"
author = "the authors of banken"
version = release = banken.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
root_doc = "index"
nitpicky = False  # types of the standard library would need its inventory, from another host

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autoclass_content = "class"
default_role = "code"
smartquotes = False  # two hyphens are an option

html_theme = "furo"
html_title = "banken"
html_show_copyright = False
html_show_sphinx = False
html_static_path: list[str] = []
html_copy_source = False


def setup(app: Any) -> None:
    """What is made from the code is put in while a page is read."""
    app.connect("source-read", generated.insert)
    app.connect("autodoc-process-docstring", generated.docstring)
    app.connect("autodoc-process-signature", generated.signature)

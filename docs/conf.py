"""How Sphinx builds the documentation: `make docs`, strict, without a network."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "ddb-transfer"
release = installed_version("ddb-transfer")
extensions = ["myst_parser", "sphinx_click"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# shared/README.md is written for its place in the repository, and included here
suppress_warnings = ["myst.header"]
nitpicky = True
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "ddb-transfer"
# Pages are read from a disk as well: nothing is loaded from elsewhere.
html_show_sphinx = False
html_copy_source = False

# SPDX-License-Identifier: GPL-2.0
# `make docs`: Sphinx over the pages as they are.
project = "pith"
author = copyright = "pith's developers"
extensions = ["myst_parser"]
exclude_patterns = ["performance/*"]
source_suffix = {".md": "markdown"}
root_doc = "index"
html_theme = "alabaster"
html_theme_options = {"description": "a hypervisor small enough to read and real enough to use", "page_width": "1100px"}
html_sidebars = {"**": ["about.html", "navigation.html", "searchbox.html"]}
html_show_sphinx = False
html_show_copyright = False
myst_heading_anchors = 3
nitpicky = True

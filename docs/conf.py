"""Sphinx configuration."""

from importlib.metadata import version as installed_version

project = "wsnursery"
author = "The wsnursery authors"
copyright = "2026, The wsnursery authors"
release = version = installed_version("wsnursery")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib_trio",
]
exclude_patterns = ["_build", "performance"]
default_role = "code"
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Cancellation", "Errors", "Concurrency", "Checkpoint", "Source"]

html_theme = "furo"
html_title = "wsnursery"

"""Sphinx configuration."""

import re
from typing import Any

from sphinx.application import Sphinx

from wsnursery import __version__

project = "wsnursery"
author = "The wsnursery authors"
copyright = "2026, The wsnursery authors"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib_trio",
]
exclude_patterns = ["_build", "performance"]
default_role = "code"
myst_heading_anchors = 3
nitpicky = True
# There is no inventory of other projects, for building needs no network. Without a dot: aliases.
nitpick_ignore_regex = [
    (
        "py:.*",
        r"(anyio|asyncio|collections|contextlib|enum|logging|os|pathlib|ssl|typing|uuid)\..*",
    ),
    ("py:.*", r"dataclasses\..*|Application|Connection|Message|Talk|TaskStatus|UUID"),
    ("py:.*", r"PosArgs|wsnursery\..*\.T"),
    ("py:.*", r"wsnursery\.rooms\._(memberships\.Joinable|presence\.(Joined|Left))"),
    ("py:.*", r"wsnursery\._engine\.connection\.Sides"),
    ("py:.*", r"(hypercorn|opentelemetry|starlette|trio|trio_websocket)\..*"),
]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Cancellation", "Errors", "Concurrency", "Checkpoint", "Source"]

html_theme = "furo"
html_title = "wsnursery"

LANGUAGES = {"quickstart.zh": "zh"}
"""Pages that are not in English."""


def name_language(*arguments: Any) -> None:
    """Browsers and screen readers choose fonts and voices by it."""
    _app, page, _template, context, _doctree = arguments
    context["language"] = LANGUAGES.get(page, "en")


COLON = "\N{RATIO}"
"""What stands for a colon while napoleon looks: before one it expects an attribute's type."""


def hide_colon(*arguments: Any) -> None:
    """Let the first line of an attribute's docstring be a sentence with a colon."""
    _app, what, _name, _object, _options, lines = arguments
    if what in {"attribute", "property"}:
        lines[:1] = [line.replace(":", COLON) for line in lines[:1]]


def show_colon(*arguments: Any) -> None:
    """Undo `hide_colon`."""
    _app, _what, _name, _object, _options, lines = arguments
    lines[:] = [line.replace(COLON, ":") for line in lines]


def shorten_options(*arguments: Any) -> tuple[str | None, str | None]:
    """Write a default ``Options()`` as it stands in the source, not with every field."""
    *_, signature, returns = arguments
    if signature is not None:
        signature = re.sub(r"(?<= )Options\(receive_buffer=.*?hooks=\(\)\)", "Options()", signature)
    return signature, returns


def setup(app: Sphinx) -> None:
    """Sphinx calls it."""
    app.connect("autodoc-process-signature", shorten_options)
    app.connect("autodoc-process-docstring", hide_colon, priority=400)
    app.connect("autodoc-process-docstring", show_colon, priority=600)
    app.connect("html-page-context", name_language)

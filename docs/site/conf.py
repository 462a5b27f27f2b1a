"""The documentation as a site: `make docs` writes it to build/docs.

The sources are the Markdown files where they lie, so that their links lead to the same places on
the site and beside the code. A link or name that leads nowhere is an error.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hawkmoth.util import compiler

import linnet

project = "linnet"
version = release = linnet.__version__
copyright = "the authors of linnet"
extensions = ["myst_parser", "sphinx.ext.autodoc", "hawkmoth"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "bench/results/README.md", "third_party/README.md"]
exclude_patterns = [".*", "build", "dist", "tests"]

smartquotes = False

html_theme = "furo"
html_title = "linnet"
html_extra_path = ["index.html"]
html_show_sourcelink = html_copy_source = False
html_theme_options = {"top_of_page_buttons": []}

myst_heading_anchors = 4
myst_enable_extensions = ["html_image"]
suppress_warnings = ["ref.python"]  # two classes have a field of one name

autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": True}
hawkmoth_root = str(Path(__file__).parents[2] / "cpp" / "include")
hawkmoth_clang = compiler.get_include_args("cpp")


def restructured(lines: list[str], parameters: bool) -> list[str]:
    """A docstring as reStructuredText: `names` as code, its list of parameters as such, and what is
    indented in a paragraph of its own verbatim."""
    text = re.sub(r"(?<!`)`([^`\n]+)`(?!`)", r"``\1``", "\n".join(lines))
    text = re.sub(r"(?<=\s)\*(?=\w)", r"\\*", text)
    text = re.sub(r":?\n\n(?=  )", r"\n\n::\n\n", text)
    if parameters:
        text = re.sub(r"^(\w+(?:, \w+)*): +(?=\S)", r":param \1: ", text, flags=re.M)
        text = re.sub(r"^(?!:| )(.+)\n(?=:param)", r"\1\n\n", text, flags=re.M)
        text = re.sub(r"(^:param .*\n(?: .*\n)*)(?=[^: \n])", r"\1\n", text, flags=re.M)
    return text.split("\n")


def on_docstring(app: Any, what: str, *arguments: Any) -> None:
    lines = arguments[-1]
    lines[:] = restructured(lines, parameters=what in ("class", "function", "method"))


def skip(app: Any, what: str, name: str, thing: Any, *ignored: Any) -> bool | None:
    """Fields of named tuples have a docstring that says nothing; the class's tells of them."""
    return True if type(thing).__name__ == "_tuplegetter" else None


def on_comment(app: Any, lines: list[str], transform: str, options: Any) -> None:
    lines[:] = restructured([line.removeprefix(" * ") for line in lines], parameters=False)


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", on_docstring)
    app.connect("autodoc-skip-member", skip)
    app.connect("hawkmoth-process-docstring", on_comment)

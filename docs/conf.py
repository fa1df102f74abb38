"""The documentation site: `make docs` builds it, without network, into docs/_build."""

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "tools")]

project = "Swarm Learning"
author = "The open Swarm Learning founders"
project_copyright = "The open Swarm Learning founders, Apache-2.0"
html_title = "Swarm Learning"

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]
highlight_language = "text"
smartquotes = False  # options begin with two hyphens

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b6e4f", "color-brand-content": "#0b6e4f"},
    "dark_css_variables": {"color-brand-primary": "#5ec9a1", "color-brand-content": "#5ec9a1"},
}


def _generate(app: Sphinx) -> None:
    from reference import write

    write(HERE / "reference")


def _name_files(app: Sphinx, page: str, content: list[str]) -> None:
    """A link to a file of the source, which the site does not have, becomes its name."""
    if page.startswith("reference/"):
        return  # written for the site alone
    content[0] = re.sub(r"\[([^\]]+)\]\(\.\./([^)#]+)(?:#[^)]*)?\)", _named, content[0])


def _named(link: re.Match[str]) -> str:
    return f"`{link[2]}`" if link[1].strip("`") in link[2] else f"{link[1]} (`{link[2]}` in the source)"


def setup(app: Sphinx) -> None:
    """Writes the reference from the code before Sphinx looks for pages."""
    app.connect("config-inited", lambda app, config: _generate(app))
    app.connect("source-read", _name_files)

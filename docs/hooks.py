"""What the site has that docs/ has not: the pages at the repository's root, with their links as the site has them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
#: Pages of the repository's root, by what the site calls them.
PAGES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "security.md": "SECURITY.md",
}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the root."""
    for name, source in PAGES.items():
        files.append(File.generated(config, name, content=_relinked((ROOT / source).read_text(encoding="utf-8"))))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:  # noqa: ARG001 (mkdocs names them)
    """Let pages of docs/ link to those of the root."""
    depth = page.file.src_uri.count("/")
    for name, source in PAGES.items():
        markdown = markdown.replace(f"]({'../' * (depth + 1)}{source})", f"]({'../' * depth}{name})")
    return markdown


def _relinked(text: str) -> str:
    for name, source in PAGES.items():
        text = text.replace(f"]({source})", f"]({name})")
    return re.sub(r"\]\(docs/", "](", text)

"""mkdocs calls this for each page: of what lies outside of docs/ the site has only the name."""

from __future__ import annotations

import re

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)\s]+)\)")


def on_page_markdown(markdown: str, **_: object) -> str:
    """``[words](../terraform/variables.tf)`` becomes words and the path in the repository."""

    def named(link: re.Match[str]) -> str:
        words, path = link.groups()
        return f"`{path}`" if words.strip("`") == path else f"{words} (`{path}`)"

    return _OUTSIDE.sub(named, markdown)

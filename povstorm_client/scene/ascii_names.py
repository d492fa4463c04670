"""Names for the workspace that POV-Ray 3.7 can open; load_scene lays scenes out under them.

It takes no characters but ASCII's in the names of files, in options and in scenes alike (tried with
3.7.0.10: it looks for a blank instead), and no double quote in options.
"""

from __future__ import annotations

import hashlib
import re

_FOREIGN = re.compile(r"[^ !#-~]")


def ascii_path(path: str) -> str:
    """The path with every character that POV-Ray cannot take replaced; different paths stay so."""
    if not _FOREIGN.search(path):
        return path
    return "/".join(_ascii_name(part) for part in path.split("/"))


def _ascii_name(name: str) -> str:
    if not _FOREIGN.search(name):
        return name
    # In front, as POV-Ray tells kinds of files by their ends.
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:12]
    return f"u{digest}_{_FOREIGN.sub('_', name)}"

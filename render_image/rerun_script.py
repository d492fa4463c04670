"""A frame's command as a shell script that can be run again and edited; open_frame writes it."""

from __future__ import annotations

import shlex
from pathlib import Path

from render_image.limits import Limits

_NAME = "rerun.sh"


def write_rerun_script(
    root: Path,
    title: str,
    command: list[str],
    *,
    environment: dict[str, str],
    limits: Limits,
    before: list[str] | None,
) -> Path:
    """Write the script into ``root``, the folder with the frame's workspace; returns its path.

    before: the sandbox's arguments, None for no sandbox. The script finds its folder by itself, so
    that it can be moved.
    """
    plain = ["env", "-i", *(f"{name}={value}" for name, value in environment.items())]
    wrapped = [*limits.arguments(), *(plain if before is None else before)]
    lines = [
        "#!/bin/sh",
        f"# {title}: its command, to be run again and edited.",
        "set -eu",
        'here=$(cd "$(dirname "$0")" && pwd)',
        'cd "$here/workspace"',
        "exec " + " \\\n  ".join([*_lines(wrapped, root), *_lines(command, root)]),
    ]
    script = root / _NAME
    script.write_text("\n".join(lines) + "\n")
    script.chmod(0o755)
    return script


def _lines(words: list[str], root: Path) -> list[str]:
    """The words in the shell's spelling, each option with its values on a line of its own."""
    lines: list[str] = []
    for word in words:
        quoted = _quoted(word, str(root))
        if not lines or word.startswith(("--", "+")):
            lines.append(quoted)
        else:
            lines[-1] += f" {quoted}"
    return lines


def _quoted(word: str, root: str) -> str:
    """For the shell; the folder of the script is what the script finds out."""
    head, found, rest = word.partition(root)
    if not found:
        return shlex.quote(word)
    return f'{shlex.quote(head) if head else ""}"$here"{shlex.quote(rest) if rest else ""}'

"""A frame's command as a shell script that can be run again and edited; open_frame writes it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from render_image.frame_limits import Limits

_NAME = "rerun.sh"


def write_rerun_script(
    root: Path,
    title: str,
    command: list[str],
    *,
    folder: Path | None = None,
    environment: dict[str, str],
    limits: Limits,
    before: list[str] | None,
) -> Path:
    """Write the script into ``root``, the folder with the frame's workspace; returns its path.

    folder: the command's current one; the workspace in ``root`` if None. before: the sandbox's
    arguments, None for no sandbox. The script finds its folder by itself, so that it can be moved.
    """
    variables = [f"{name}={value}" for name, value in environment.items()]
    lines = [
        *_with_values(limits.arguments()),
        *([["env", "-i"], *([each] for each in variables)] if before is None else ()),
        *_with_values(before or []),
        *([word] for word in command),
    ]
    script = root / _NAME
    text = (
        "#!/bin/sh\n"
        f"# {title}: its command, to be run again and edited.\n"
        "set -eu\n"
        'here=$(cd "$(dirname "$0")" && pwd)\n'
        f"cd {_quoted(str(folder or root / 'workspace'), str(root))}\n"
        "exec "
        + " \\\n  ".join(" ".join(_quoted(word, str(root)) for word in line) for line in lines)
        + "\n"
    )
    # Names of files are in it, whose bytes stay what they are.
    script.write_bytes(os.fsencode(text))
    script.chmod(0o755)
    return script


def _with_values(words: list[str]) -> list[list[str]]:
    """A program's words by lines: each option with its values."""
    lines: list[list[str]] = []
    for word in words:
        if not lines or word.startswith("--"):
            lines.append([])
        lines[-1].append(word)
    return lines


def _quoted(word: str, root: str) -> str:
    """For the shell; the folder of the script is what the script finds out."""
    head, found, rest = word.partition(root)
    if not found:
        return shlex.quote(word)
    return f'{shlex.quote(head) if head else ""}"$here"{shlex.quote(rest) if rest else ""}'

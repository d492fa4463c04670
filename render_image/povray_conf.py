"""A run's own povray.conf: POV-Ray's restrictions on files and programs, as narrow as they go.

render_unit writes one for each frame, into the frame's HOME. POV-Ray takes the stricter of it and
the machine's (POV-Ray 3.7 reference, 1.4.3.2), so a machine that allows a scene to start programs
does not allow it here. Debian's build enforces the part on programs only (tried).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from povstorm_client.tools import PovRay


def write_povray_conf(
    home: Path, povray: PovRay, *, readable: Iterable[str], writable: Iterable[str]
) -> None:
    """Write the file below ``home``; readable and writable: folders, with all that is in them."""
    lines = ["[File I/O Security]", "restricted", "", "[Shellout Security]", "forbidden", ""]
    lines += ["[Permitted Paths]"]
    lines += [f'read* = "{path}"' for path in readable]
    lines += [f'read+write* = "{path}"' for path in writable]
    version = re.match(r"\d+\.\d+", povray.version)
    folder = home / ".povray" / (version[0] if version else "3.7")
    folder.mkdir(parents=True)
    (folder / "povray.conf").write_text("\n".join(lines) + "\n")

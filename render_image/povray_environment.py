"""What POV-Ray finds around it beside its workspace: environment variables and a povray.conf.

render_unit and open_frame prepare it before they start POV-Ray.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from povstorm_client.programs.povray_waits import preload
from povstorm_client.programs.tools import PovRay
from povstorm_client.scene.search import system_ini
from render_image.sandbox import Sandbox, View, povray_folders
from render_image.workspace import Workspace


def prepare_environment(
    workspace: Workspace, povray: PovRay, bwrap: Sandbox | None
) -> dict[str, str]:
    """Write the workspace's povray.conf; returns the environment variables to start POV-Ray with.

    bwrap: the sandbox that it will run in, None for none.
    """
    view = bwrap.view if bwrap else _outside_view(workspace, povray)
    write_povray_conf(
        workspace.home,
        povray,
        readable=[view.shared, *map(str, sorted(povray_folders()))],
        writable=[view.workspace, view.temporary],
    )
    return _environment(view)


def _outside_view(workspace: Workspace, povray: PovRay) -> View:
    """The folders as they are."""
    libraries = map(str, povray.libraries)
    return View(
        workspace=str(workspace.folder),
        shared=str(workspace.shared or workspace.folder / "shared"),
        home=str(workspace.home),
        temporary=str(workspace.temporary),
        # Blanks and colons part the names in LD_PRELOAD, and cannot be quoted (ld.so(8)).
        libraries=tuple(library for library in libraries if not {" ", ":"} & set(library)),
    )


def _environment(view: View) -> dict[str, str]:
    """Nothing of the user's: neither secrets nor an own povray.ini that would change pixels."""
    environment = {
        "HOME": view.home,
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "TMPDIR": view.temporary,
    }
    environment |= preload(*view.libraries)
    # Named, the installation's settings come before a povray.ini in the workspace.
    ini = system_ini()
    return environment if ini is None else {**environment, "POVINI": str(ini)}


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
    (folder / "povray.conf").write_bytes(os.fsencode("\n".join(lines) + "\n"))

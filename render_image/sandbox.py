"""The sandbox around POV-Ray: bubblewrap, so that only a frame's own files exist for its scene.

render_unit runs each frame behind it. POV-Ray's own restrictions on reading and writing are not
enforced in Debian's build (POV-Ray/povray#158), so the operating system's have to be.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from povstorm_client.errors import ToolError
from povstorm_client.programs.bubblewrap import bubblewrap_problem, probe
from povstorm_client.programs.povray_waits import preload
from povstorm_client.programs.sandbox_mode import SandboxMode
from povstorm_client.programs.tools import POVRAY_VARIABLE, PovRay
from povstorm_client.scene.search import installed_folders, system_ini
from render_image.process import open_text
from render_image.system_calls import filter_program
from render_image.workspace import Workspace

# Where a scene finds itself; the same on every machine, so that logs tell nothing of the real one.
_WORKSPACE = "/workspace"
_HOME = "/home/povray"
_TEMPORARY = "/tmp"  # noqa: S108 - the sandbox's own; POV-Ray 3.7 has the name built in
_OWN_PLACES = (_WORKSPACE, _HOME, _TEMPORARY)
_LIBRARIES = "/lib"
# The kernel's overflow user, who owns nothing.
_NOBODY = "65534"
# Where the dynamic linker finds libraries by their names.
_LIBRARY_CACHE = Path("/etc/ld.so.cache")
_LIBRARY = re.compile(r"(/\S+) \(0x")
_TRYING = threading.Lock()


@dataclass(frozen=True)
class View:
    """How POV-Ray sees its folders, in the sandbox or outside of it.

    libraries: those that are loaded into it, as far as they can be.
    """

    workspace: str
    shared: str
    home: str
    temporary: str
    libraries: tuple[str, ...] = ()


class Sandbox:
    """bubblewrap, set up for one installation of POV-Ray.

    In the sandbox exist, all read-only: POV-Ray, the libraries that it is linked with, its includes
    and settings, and the job's shared tree; and, to be written to, the frame's workspace and
    temporary folder. There is no other program, no shell, no device, no /proc, no network; no other
    process can be seen; the user owns nothing and cannot gain anything. filtered: whether system
    calls are (system_calls.py); locked: whether bubblewrap forbids further user namespaces.
    """

    def __init__(
        self, bwrap: str, povray: PovRay, *, filtered: bool = True, locked: bool = True
    ) -> None:
        libraries = {f"{_LIBRARIES}/{library.name}": library for library in povray.libraries}
        self.view = View(_WORKSPACE, f"{_WORKSPACE}/shared", _HOME, _TEMPORARY, tuple(libraries))
        self.system_calls = filter_program() if filtered else b""
        self._before = [
            *(bwrap, "--unshare-all", "--die-with-parent", "--as-pid-1", "--clearenv"),
            *("--uid", _NOBODY, "--gid", _NOBODY, "--cap-drop", "ALL"),
            # It wants to be told again what --unshare-all includes.
            *(("--unshare-user", "--disable-userns") if locked else ()),
        ]
        for path in _needed_paths(povray):
            self._before += ["--ro-bind", str(path), str(path)]
        for place, library in libraries.items():
            self._before += ["--ro-bind", str(library), place]

    def arguments(
        self,
        workspace: Workspace,
        environment: dict[str, str],
        info: int | None = None,
        system_calls: int | None = None,
        *,
        beside: Mapping[Path, str] | None = None,
        current: str = "",
    ) -> list[str]:
        """What to put before POV-Ray's command.

        beside: what else it may read, and where it sees that. current: its current directory there,
        if not the workspace's.

        bubblewrap writes its pid to descriptor ``info``, and reads the filter of system calls from
        ``system_calls``.

        As the first process of its namespace POV-Ray is waited for by bubblewrap itself: with an
        init process in between, its CPU time would be lost to ``wait4(2)`` (measured).
        """
        arguments = [*self._before, *(("--info-fd", str(info)) if info is not None else ())]
        if system_calls is not None:
            arguments += ["--seccomp", str(system_calls)]
        arguments += ["--bind", str(workspace.folder), _WORKSPACE]
        if workspace.shared is not None:
            arguments += ["--ro-bind", str(workspace.shared), self.view.shared]
        arguments += ["--ro-bind", str(workspace.home), _HOME]
        arguments += ["--bind", str(workspace.temporary), _TEMPORARY]
        for path, place in (beside or {}).items():
            arguments += ["--ro-bind", str(path), place]
        for name, value in environment.items():
            arguments += ["--setenv", name, value]
        inside = Path(_WORKSPACE) / workspace.current.relative_to(workspace.folder)
        # Last, so that the folders above can still be made.
        return [*arguments, "--remount-ro", "/", "--chdir", current or str(inside), "--"]

    def problem(self, povray: PovRay) -> str:
        """Why POV-Ray does not start in here; "" if it does."""
        with open_text(self.system_calls) as program:
            filtering = ("--seccomp", str(program)) if program is not None else ()
            loaded = preload(*self.view.libraries).items()
            setting = [word for pair in loaded for word in ("--setenv", *pair)]
            # What a frame has of its own there hides what the machine has below these.
            hidden = [word for place in _OWN_PLACES for word in ("--tmpfs", place)]
            asked = [str(povray.path), "--version"]
            command = [*self._before, *hidden, *filtering, *setting, "--", *asked]
            return probe(command, program)


def open_sandbox(povray: PovRay, mode: SandboxMode) -> Sandbox | None:
    """The sandbox for this POV-Ray; None where it is off, or, with a warning, bubblewrap not there.

    Raises ToolError if it can't be had and mode is "required", and where bubblewrap works and this
    POV-Ray does not run in it: nobody was told that its scenes run uncontained.
    """
    if mode == "off":
        return None
    # Frames that begin together ask together: one tries, and warns, for all.
    with _TRYING:
        sandbox, problem = _open(povray)
    if problem and (mode == "required" or not bubblewrap_problem()):
        raise ToolError(f"scenes cannot be contained: {problem}")
    return sandbox


@functools.cache
def _open(povray: PovRay) -> tuple[Sandbox | None, str]:
    bwrap, problem = shutil.which("bwrap"), ""
    if bwrap is not None:
        # An old bubblewrap knows no --disable-userns, and a kernel may lack seccomp.
        for filtered, locked in ((True, True), (True, False), (False, True), (False, False)):
            sandbox = Sandbox(bwrap, povray, filtered=filtered, locked=locked)
            problem = sandbox.problem(povray)
            if not problem:
                if not sandbox.system_calls:
                    logging.getLogger(__name__).warning(
                        "no filter of system calls is to be had here: see docs/security.md"
                    )
                return sandbox, ""
    if lacking := bubblewrap_problem():
        logging.getLogger(__name__).warning("scenes run uncontained: %s", lacking)
    return None, lacking or (
        f"{povray.path} does not run in bubblewrap ({problem}): give one that does, or, for scenes "
        'that you trust, --no-sandbox (sandbox="off")'
    )


def povray_folders() -> frozenset[Path]:
    """Where this machine has the settings, includes and fonts of the POV-Ray that renders."""
    return _folders_of(os.environ.get(POVRAY_VARIABLE, ""))


@functools.cache
def _folders_of(_povray: str) -> frozenset[Path]:
    # Which POV-Ray it is decides where system_ini looks.
    ini = system_ini()
    folders = installed_folders() | ({ini.parent} if ini else set())
    # A library path such as "." or "/" is no folder of the installation's own.
    own = {path for path in folders if path.is_absolute() and path != Path("/")}
    # Debian's fonts are links from the includes to the fonts of the system.
    links = {path.resolve() for folder in own for path in folder.rglob("*") if path.is_symlink()}
    return frozenset(own | {path if path.is_dir() else path.parent for path in links})


def _needed_paths(povray: PovRay) -> list[Path]:
    """What of this machine POV-Ray needs to run: program, libraries, settings, includes, fonts."""
    paths = {povray.path, _LIBRARY_CACHE, *_library_folders(povray.path), *povray_folders()}
    existing = sorted(path for path in paths if path.exists())
    # A folder comes with all that is below it.
    return [path for path in existing if not any(other in paths for other in path.parents)]


def _library_folders(program: Path) -> set[Path]:
    """The folders of the shared libraries that a program loads, its loader's among them."""
    # As ldd(1) asks, which is a shell script of some processes; a static program, which needs no
    # libraries, tells its version then.
    finished = subprocess.run(
        [str(program), "--version"],
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C", "LD_TRACE_LOADED_OBJECTS": "1"},
    )
    return {Path(path).parent for path in _LIBRARY.findall(finished.stdout)}

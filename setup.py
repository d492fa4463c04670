"""Build the libraries for POV-Ray where there is a C compiler; pyproject.toml has all else.

Without them POV-Ray renders the same pixels, more slowly, and scenes cannot be traced; so no
compiler is no error.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

PROGRAMS = Path("povstorm_client/programs")
SOURCES = {
    PROGRAMS / "libpovraywaits.so": PROGRAMS / "povray_waits.c",
    PROGRAMS / "libpovraywindow.so": PROGRAMS / "povray_window.c",
    Path("render_image/libpovrayfiles.so"): Path("render_image/povray_files.c"),
}
# The name under which a program that is linked with SDL asks the loader for it.
NAMES = {PROGRAMS / "libpovraywindow.so": "libSDL-1.2.so.0"}
# By its path, as nothing is installed yet.
with_plain_stack = runpy.run_path(str(PROGRAMS / "plain_stack.py"))["with_plain_stack"]


def compiler() -> str | None:
    """The C compiler to use: $CC, or the first that is there; tcc is the lightest (0.3 MB)."""
    names = (os.environ.get("CC"), "cc", "gcc", "clang", "tcc")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def can_build() -> bool:
    """Whether this system is one that the library is written for, with a compiler."""
    return sys.platform == "linux" and sys.maxsize > 2**32 and compiler() is not None


class BuildWithLibrary(build_py):
    """Compiles the library into the package: where it is installed from, if editable."""

    def run(self) -> None:
        """Build the package as usual, then the libraries."""
        super().run()
        if not can_build():
            self.warn(
                "no C compiler: POV-Ray will keep its long waits, and scenes cannot be traced "
                "(apt install tcc mends it)"
            )
            return
        for library, source in SOURCES.items():
            target = library if self.editable_mode else Path(self.build_lib) / library
            self._compile(source, target, NAMES.get(library, library.name))

    def _compile(self, source: Path, target: Path, name: str) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        # -nostdlib: what it calls is in every program that it is loaded into.
        options = ["-shared", "-fPIC", "-O2", "-nostdlib", f"-Wl,-soname={name}"]
        command = [str(compiler()), *options, "-o", str(partial), str(source)]
        try:
            subprocess.run(command, check=True)
        except subprocess.CalledProcessError as error:
            self.warn(f"there will be no {target.name}: {error}")
            partial.unlink(missing_ok=True)
        else:
            partial.write_bytes(with_plain_stack(partial.read_bytes()))
            partial.replace(target)


class WheelWithLibrary(bdist_wheel):
    """A wheel that has the library is for this platform, though for any Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """The wheel's tag: of the platform if there is a library in it."""
        python, abi, platform = super().get_tag()
        if not can_build():
            return python, abi, platform
        from sysconfig import get_platform

        return python, abi, get_platform().replace("-", "_").replace(".", "_")


setup(cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": WheelWithLibrary})

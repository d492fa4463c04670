"""The google provider's bindings (provider_bindings.txt); provider_schema reads them.

The package is kept in ~/.cache/povstorm, as it has 67 MB: delete the folder to fetch it again.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

REQUIREMENT = Path(__file__).with_suffix(".txt")
_PINNED = re.search(r"^cdktn-provider-google==(\S+)", REQUIREMENT.read_text(), re.MULTILINE)
_FETCH_SECONDS = 600
_FILES = ("index.js", "index.d.ts")


class CannotFetchBindingsError(Exception):
    """The package index has no answer; the message is pip's."""


@dataclass(frozen=True)
class Bindings:
    """A resource's generated code, and its declarations, which have the documentation."""

    code: str
    declarations: str


def read_bindings(folders: Iterable[str]) -> dict[str, Bindings]:
    """The bindings of resources, each named by its folder (``storage-bucket``), or ``provider``.

    Raises KeyError for a folder that the provider does not have.
    """
    folders = list(folders)
    wanted = {f"package/lib/{folder}/{file}" for folder in folders for file in _FILES}
    found = {}
    with zipfile.ZipFile(_wheel()) as wheel:
        (packed,) = [name for name in wheel.namelist() if name.endswith(".jsii.tgz")]
        with wheel.open(packed) as file, tarfile.open(fileobj=file, mode="r|gz") as package:
            for member in package:
                if member.name in wanted:
                    content = package.extractfile(member)
                    assert content is not None
                    found[member.name] = content.read().decode()
    if missing := wanted - set(found):
        raise KeyError(f"the google provider has no {', '.join(sorted(missing))}")
    return {
        folder: Bindings(*(found[f"package/lib/{folder}/{file}"] for file in _FILES))
        for folder in folders
    }


def _wheel() -> Path:
    assert _PINNED is not None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "povstorm" / "google-provider-bindings" / _PINNED[1]
    if not list(folder.glob("*.whl")):
        _download(folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def _download(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--require-hashes"]
        command += ["--requirement", str(REQUIREMENT), "--dest", fresh]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_FETCH_SECONDS
        )
        if done.returncode:
            raise CannotFetchBindingsError(done.stderr.strip()[-500:])
        folder.mkdir(exist_ok=True)
        for wheel in Path(fresh).glob("*.whl"):
            # Several test processes may fetch at once: each puts the same, whole file there.
            wheel.replace(folder / wheel.name)

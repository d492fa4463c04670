"""Rules for paths inside a frame's workspace; WorkUnit, RenderSettings and Job check with these."""

from __future__ import annotations

import posixpath
import re

from povstorm_client.errors import InputError

# Directories that the workspace gives a meaning of its own (links made by render_image).
RESERVED = ("shared", "output")
# The shared resources below it lie in the workspace too where a scene has a folder of its own.
SCENE_FOLDER = "scene"
# Linux NAME_MAX and a generous part of PATH_MAX.
_MAX_NAME_BYTES = 255
_MAX_PATH_BYTES = 1_024
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check_workspace_path(path: str, what: str) -> None:
    """Raise InputError unless path is relative, normalised and stays inside the workspace."""
    if not path:
        raise InputError(f"{what} has an empty path: name a file")
    if path.startswith("/"):
        raise InputError(f"{what} {path!r} is absolute: give a path relative to the workspace")
    if _CONTROL.search(path):
        raise InputError(f"{what} {path!r} has a control character in it: rename it")
    if "\\" in path:
        raise InputError(f"{what} {path!r} has a backslash in it: separate folders with '/'")
    if ".." in path.split("/"):
        raise InputError(f"{what} {path!r} has '..' in it: paths stay inside the workspace")
    if posixpath.normpath(path) != path:
        raise InputError(
            f"{what} {path!r} is not normalised: write {posixpath.normpath(path)!r} instead"
        )
    try:
        encoded = path.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{what} {path!r} is not valid Unicode: rename it") from error
    if len(encoded) > _MAX_PATH_BYTES or any(
        len(part) > _MAX_NAME_BYTES for part in encoded.split(b"/")
    ):
        raise InputError(f"{what} {path[:60]!r}… is too long: shorten it")


def check_inline_path(path: str) -> None:
    """Raise InputError unless path may be an inline resource: in the workspace, not reserved."""
    check_workspace_path(path, "inline resource")
    if path.split("/", 1)[0].casefold() in RESERVED or path == ".":
        raise InputError(
            f"inline resource {path!r} would lie in ./shared or ./output, which belong to the job: "
            "choose another folder"
        )

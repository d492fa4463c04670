"""The names of what a frame wrote to ./output: which can be stored, and saved anywhere.

render_unit asks before it stores anything of the frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from povstorm_client.errors import InputError, RenderError
from povstorm_client.frames.doubled_outputs import folded
from povstorm_client.frames.result import is_image_name
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.paths import check_workspace_path


def check_output_names(unit: WorkUnit, names: Iterable[str]) -> None:
    """Raise RenderError, not retryable, for a name that would be lost, or take another's place.

    names: paths below ./output. They have to be names of files on Linux without control
    characters and backslashes, within the length of a storage's keys; and to stay apart where
    capitals and small letters are the same, as in the folders of macOS and Windows that results
    are saved to: from each other, from the folders among them, and from the frames' images.
    """
    seen: dict[str, str] = {}
    for name in names:
        try:
            check_workspace_path(name, "the frame's output")
            check_workspace_path(f"{unit.offload_gcs_prefix}/{name}", "the frame's output")
        except InputError as error:
            raise RenderError(str(error), retryable=False) from error
        # No frame may write another's image.
        if name != unit.image_name and is_image_name(folded(name)):
            raise RenderError(
                f"the scene wrote output/{name}, which is {_whose(unit, name)} image"
                f"{'' if name == folded(name) else ' where case does not count'}: rename it",
                retryable=False,
            )
        # With its folders: "Data" beside "data/notes.txt" is a file that has to be a folder.
        for where in (name, *map(str, PurePosixPath(name).parents[:-1])):
            other = seen.setdefault(folded(where), where)
            if other != where:
                raise RenderError(
                    f"the scene wrote both output/{other} and output/{where}, which are one where "
                    "case does not count: rename one",
                    retryable=False,
                )


def _whose(unit: WorkUnit, name: str) -> str:
    return "this frame's" if folded(name) == folded(unit.image_name) else "another frame's"

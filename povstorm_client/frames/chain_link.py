"""ChainLink: a frame that goes on from what the frame before it has rendered.

load_scene finds such scenes; their frames are rendered in order, each with the files that the one
before left laid into its workspace, as POV-Ray's own loop leaves them in the scene's folder.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from povstorm_client.argument_checks import check_type
from povstorm_client.errors import InputError
from povstorm_client.paths import check_workspace_path


@dataclass(frozen=True)
class ChainLink:
    """Where a frame stands in its chain.

    images: what POV-Ray's own loop calls its images, as a path in the workspace without number and
    ending, e.g. ``"scene/orbit"``. keeps: those of this frame's and of earlier images that later
    frames read, by such paths. after: work unit id of the frame before, "" for the first; the Job
    fills it in.
    """

    images: str
    keeps: tuple[str, ...] = field(default=())
    after: str = ""

    def __post_init__(self) -> None:
        """Links come from manifests too."""
        check_type("keeps", self.keeps, tuple, "a list of texts")
        for path in (self.images, *self.keeps):
            check_type("an image of the chain", path, str, "a text")
            check_workspace_path(path, "an image of the chain")
        check_type("after", self.after, str, "a text")
        if "/" in self.after:
            raise InputError(f"{self.after!r:.80} is no work unit's id")

    def to_json(self) -> dict[str, Any]:
        """Plain data, for the manifest."""
        return {"images": self.images, "keeps": list(self.keeps), "after": self.after}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ChainLink:
        """The inverse of to_json; raises InputError, KeyError or TypeError for what is none."""
        return cls(data["images"], tuple(data["keeps"]), data["after"])

"""WorkUnit: everything that is needed to render one frame.

Client programs make them, the manifest carries them, render_image turns them into an image.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from povstorm_client.argument_checks import check_type
from povstorm_client.errors import InputError
from povstorm_client.frames.chain_link import ChainLink
from povstorm_client.frames.render_settings import RenderSettings
from povstorm_client.paths import check_inline_path, check_workspace_path
from povstorm_client.storage import layout

# A frame's own data; what many frames share belongs into the job's shared resources.
MAX_INLINE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class WorkUnit:
    """One frame.

    settings: how to render; frame: which frame of the animation.
    inline_resource: path in the workspace → base64 of the file's bytes (strict alphabet, padded).
    shared_resource_gcs_prefix: storage prefix linked into the workspace as ``./shared``.
    shared_digest: of what the frame uses of it, where that is known; otherwise all of it counts.
    offload_gcs_prefix: storage prefix that receives what is written to ``./output``.
    job_id: the job it belongs to. The last four are filled in by the Job.
    sub_frame_resource: sub-frame of motion blur, from 0 → inline resources that it has beside the
    frame's, or in their place.
    link: where it stands among frames that are rendered in order, None for one by itself.

    Raises InputError for a frame outside of the animation and for bad inline resources.
    """

    settings: RenderSettings
    frame: int = 1
    inline_resource: dict[str, str] = field(default_factory=dict)
    shared_resource_gcs_prefix: str = ""
    offload_gcs_prefix: str = ""
    job_id: str = ""
    shared_digest: str = ""
    link: ChainLink | None = None
    sub_frame_resource: dict[int, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_types()
        first, last = self.settings.initial_frame, self.settings.final_frame
        if not first <= self.settings.loop_frame(self.frame) <= last:
            raise InputError(
                f"frame {self.frame} is outside of the animation, which has frames {first} to "
                f"{last}: set initial_frame and final_frame in the RenderSettings"
            )
        total = 0
        for path, content in self.inline_resource.items():
            total += len(_decode(path, content))
            for folder in PurePosixPath(path).parents:
                if str(folder) in self.inline_resource:
                    raise _both(str(folder), path, self.frame)
        for sub_frame, files in self.sub_frame_resource.items():
            if not 0 <= sub_frame < self.settings.motion_blur:
                raise InputError(
                    f"frame {self.frame} has an inline resource of sub-frame {sub_frame}, and "
                    f"{self.settings.motion_blur} sub-frames, from 0: set motion_blur in the "
                    "RenderSettings"
                )
            total += sum(len(_decode(path, content)) for path, content in files.items())
        self._check_inline_size(total)

    def __repr__(self) -> str:
        settings = self.settings
        own = f", {len(self.inline_resource)} inline" if self.inline_resource else ""
        job = f" of {self.job_id}" if self.job_id else ""
        return (
            f"<WorkUnit frame {self.frame}{job}: {settings.scene!r}, "
            f"{settings.width}x{settings.height}{own}>"
        )

    def _check_types(self) -> None:
        """Units come from manifests too."""
        check_type(
            "settings", self.settings, RenderSettings, "a RenderSettings: RenderSettings(scene=…)"
        )
        check_type("inline_resource", self.inline_resource, dict, "a dict: path → base64")
        if not isinstance(self.frame, int) or isinstance(self.frame, bool):
            raise InputError(f"frame is {self.frame!r}, which is not a whole number")
        for name in ("shared_resource_gcs_prefix", "offload_gcs_prefix", "job_id"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise InputError(f"{name} is {value!r}, which is not a text")
            if value:
                check_workspace_path(value, name)
        check_type("link", self.link, (ChainLink, type(None)), "a ChainLink, or None")
        if self.shared_digest and not layout.is_digest(str(self.shared_digest)):
            raise InputError(f"shared_digest is {self.shared_digest!r:.80}, which is no SHA-256")
        for path, content in self.inline_resource.items():
            if not isinstance(path, str) or not isinstance(content, str):
                raise InputError(f"inline resource {path!r} is not a text")

    def add_inline_resource(
        self, path: str, content: bytes | str, *, sub_frame: int | None = None
    ) -> None:
        """Put a file into this frame's workspace; text is stored as UTF-8.

        sub_frame: of motion blur, from 0, that alone has the file, in place of one of that path
        that all have; None for all.

        Raises InputError if the path is absolute, leaves the workspace, names ./shared or
        ./output, is taken already or is a folder of another, or if it is too much data.
        """
        check_type("path", path, str, "a text: the file's path in the workspace")
        check_type("content", content, (bytes, str), "bytes or a text")
        check_inline_path(path)
        if sub_frame is not None and not 0 <= sub_frame < self.settings.motion_blur:
            raise InputError(
                f"sub_frame is {sub_frame}: frame {self.frame} has {self.settings.motion_blur}, "
                "from 0; set motion_blur in the RenderSettings"
            )
        resources = self.inline_resource
        if sub_frame is not None:
            resources = self.sub_frame_resource.setdefault(sub_frame, {})
        for taken in resources:
            if taken == path:
                raise InputError(f"inline resource {path!r} was added twice to frame {self.frame}")
            if taken.startswith(f"{path}/") or path.startswith(f"{taken}/"):
                raise _both(taken, path, self.frame)
        try:
            data = content.encode() if isinstance(content, str) else content
        except UnicodeEncodeError as error:
            raise InputError(f"content of {path!r} is not valid Unicode: give bytes") from error
        every = (self.inline_resource, *self.sub_frame_resource.values())
        held = sum(len(text) // 4 * 3 for files in every for text in files.values())
        self._check_inline_size(held + len(data))
        resources[path] = base64.b64encode(data).decode("ascii")
        self.__dict__.pop("_kept_digest", None)

    def _check_inline_size(self, total: int) -> None:
        if total > MAX_INLINE_BYTES:
            raise InputError(
                f"frame {self.frame} has {total:,} bytes of inline resources, more than "
                f"{MAX_INLINE_BYTES:,}: put what frames share into the job's shared resources"
            )

    def inline_files(self) -> dict[str, bytes]:
        """The decoded inline resources: path in the workspace → bytes."""
        return {path: _decode(path, text) for path, text in self.inline_resource.items()}

    def for_sub_frame(self, sub_frame: int) -> WorkUnit:
        """The unit with the inline resources that a sub-frame has."""
        own = self.sub_frame_resource.get(sub_frame, {})
        return replace(self, inline_resource=self.inline_resource | own, sub_frame_resource={})

    @property
    def cmd(self) -> list[str]:
        """POV-Ray's argument list for this frame, run in the workspace."""
        return self.settings.command(self.frame)

    @property
    def image_name(self) -> str:
        """The name of the image in ``./output``."""
        return self.settings.image_name(self.frame)

    @property
    def name(self) -> str:
        """The frame's name in logs, task runs and reports, e.g. ``frame-0042``."""
        return f"frame-{self.frame:04d}"

    def content_digest(self) -> str:
        """SHA-256 (hex) of all that decides the picture, apart from POV-Ray itself.

        The shared prefix stands for the shared files: it names their tree digest; shared_digest
        stands for those that the frame uses.
        """
        # A flow asks a dozen times for each frame; before a unit belongs to a job it may change.
        return self._kept_digest if self.job_id else self._digest()

    @cached_property
    def _kept_digest(self) -> str:
        return self._digest()

    def _digest(self) -> str:
        prefix = self.shared_resource_gcs_prefix
        content: dict[str, Any] = {
            "cmd": self.cmd,
            "inline": {
                path: hashlib.sha256(data).hexdigest() for path, data in self.inline_files().items()
            },
        }
        if self.shared_digest:
            content["used"] = self.shared_digest
        else:
            content["shared"] = prefix.rstrip("/").rsplit("/", 1)[-1]
        if self.settings.motion_blur:
            content["motion blur"] = {
                "sub-frames": [
                    self.settings.sub_frame_command(self.frame, sub_frame)
                    for sub_frame in range(self.settings.motion_blur)
                ],
                "inline": sorted(self.sub_frame_resource.items()),
            }
        if self.link is not None:
            content["link"] = self.link.to_json()
        if self.settings.folder:
            content |= {"folder": self.settings.folder, "writable": list(self.settings.writable)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def content_group(self) -> str:
        """16 hex digits that frames of one animation share, and that equal frames have in common.

        By it the cache tells which of an animation's frames it has in one listing.
        """
        settings = self.settings
        content: list[Any] = [settings.command(settings.initial_frame)]
        if not self.shared_digest:
            # Where it is known what each frame uses, equal frames may have unequal trees.
            content += [self.shared_resource_gcs_prefix.rstrip("/").rsplit("/", 1)[-1]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    @property
    def work_unit_id(self) -> str:
        """Generated from the frame and its content, so that an equal unit finds its result."""
        return f"{self.name}-{self.content_digest()[:12]}"

    def assigned(
        self,
        *,
        job_id: str,
        shared_prefix: str,
        offload_prefix: str,
        shared_digest: str = "",
        after: str = "",
    ) -> WorkUnit:
        """A copy that belongs to a job; after: of a chain, the id of the frame before."""
        return replace(
            self,
            job_id=job_id,
            shared_resource_gcs_prefix=shared_prefix,
            offload_gcs_prefix=offload_prefix,
            shared_digest=shared_digest,
            link=None if self.link is None else replace(self.link, after=after),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data, one line of ``work_units.jsonl``; cmd and id are there to be read by people.

        A reader rebuilds both from the other fields, so that a changed line runs no other program.
        """
        return {
            "work_unit_id": self.work_unit_id,
            "job_id": self.job_id,
            "frame": self.frame,
            "shared_resource_gcs_prefix": self.shared_resource_gcs_prefix,
            "shared_digest": self.shared_digest,
            "offload_gcs_prefix": self.offload_gcs_prefix,
            "inline_resource": self.inline_resource,
            "settings": self.settings.to_json(),
            "cmd": self.cmd,
            **({} if self.link is None else {"link": self.link.to_json()}),
            **(
                {
                    "sub_frame_resource": {
                        str(at): own for at, own in self.sub_frame_resource.items()
                    }
                }
                if self.sub_frame_resource
                else {}
            ),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any], kept: dict[object, Any] | None = None) -> WorkUnit:
        """The inverse of to_json; raises InputError for what is not a WorkUnit.

        kept: settings and texts of the units that were read before, and is added to, so that the
        frames of a job have one copy of what they share.
        """
        kept = {} if kept is None else kept
        try:
            settings = ("settings", repr(data["settings"]))
            if settings not in kept:
                kept[settings] = RenderSettings.from_json(data["settings"])
            return cls(
                settings=kept[settings],
                frame=data["frame"],
                inline_resource={
                    path: kept.setdefault(text, text) if isinstance(text, str) else text
                    for path, text in dict(data["inline_resource"]).items()
                },
                shared_resource_gcs_prefix=data["shared_resource_gcs_prefix"],
                offload_gcs_prefix=data["offload_gcs_prefix"],
                job_id=data["job_id"],
                shared_digest=data.get("shared_digest", ""),
                link=ChainLink.from_json(data["link"]) if "link" in data else None,
                sub_frame_resource={
                    int(at): dict(own) for at, own in data.get("sub_frame_resource", {}).items()
                },
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"a work unit of the manifest is not readable: {error!r}") from error


def _both(one: str, other: str, frame: int) -> InputError:
    return InputError(
        f"inline resources {one!r} and {other!r} of frame {frame} cannot both exist: one is a "
        "folder of the other"
    )


def _decode(path: str, text: str) -> bytes:
    check_inline_path(path)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(
            f"inline resource {path!r} is not base64 ({error}): "
            "use add_inline_resource, which encodes it"
        ) from error


def check_belongs(unit: WorkUnit, job_id: str) -> None:
    """Raise InputError unless a unit reads and writes in its own job only.

    The shared tree may be any: its digest tells nobody anything who does not know its content.
    """
    prefix = unit.shared_resource_gcs_prefix
    digest = prefix.rpartition("/")[2]
    if (
        unit.job_id != job_id
        or unit.offload_gcs_prefix != layout.output(job_id)
        or (prefix and not (layout.is_digest(digest) and prefix == layout.shared(digest)))
    ):
        raise InputError(f"{unit.name} names another job than {job_id}, or places of another job")

"""KnownFrames: which frames' pictures are there already, by the content that decides them.

draft_loop.py asks after each save. A frame is known by the cache's own key, its content digest. It
is not known what files a frame uses of a scene that was just saved, so the frame is drawn under the
digest of all files. Where the scene is run later (scene/trace.py), the picture is known too by the
files that the frame used, and by what it looked for and did not find. As long as those are the
same, so is what POV-Ray does, and with it the frame: whatever else was saved.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.shared_use import SharedUse
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.scene.load_scene import Scene
from povstorm_client.storage import layout

# Of a content digest: hex digits enough to tell all drafts of a session apart.
_VERSION_DIGITS = 32
# Ways in which a frame used files that are remembered: who goes back and forth has a few.
_MOST_USES = 8


@dataclass(frozen=True)
class Draft:
    """A frame as it is now. unit: what renders it; version: names its picture.

    is_exact: whether it is known which files it uses.
    """

    unit: WorkUnit
    version: str
    is_exact: bool


@dataclass(frozen=True)
class SharedTree:
    """The scene's files as laid out in the draft folder. digests: path below ./shared → SHA-256."""

    prefix: str
    digests: Mapping[str, str]


class KnownFrames:
    """The pictures of a session; not for several threads at once."""

    def __init__(self) -> None:
        # Version → result, those that were shown last at the end.
        self._drawn: OrderedDict[str, FrameResult] = OrderedDict()
        self._versions: dict[str, str] = {}
        self._uses: defaultdict[int, list[SharedUse]] = defaultdict(list)

    def drafts(self, scene: Scene, tree: SharedTree) -> list[Draft]:
        """The scene's frames."""
        known: dict[SharedUse, str | None] = {}

        def digest_of(use: SharedUse) -> str | None:
            if use not in known:
                known[use] = _digest_if_it_holds(use, tree.digests)
            return known[use]

        return [self._draft(unit, scene, tree, digest_of) for unit in scene.work_units()]

    def _draft(
        self,
        unit: WorkUnit,
        scene: Scene,
        tree: SharedTree,
        digest_of: Callable[[SharedUse], str | None],
    ) -> Draft:
        traced = scene.uses.get(unit.frame)
        for use in [traced] if traced is not None else self._uses[unit.frame]:
            if (used := digest_of(use)) is None:
                continue
            exact = _assigned(unit, tree, used)
            version = self._versions.get(exact.content_digest())
            if version is not None or traced is not None:
                version = version or exact.content_digest()[:_VERSION_DIGITS]
                return Draft(_assigned(unit, tree, used, version), version, is_exact=True)
        digest = _assigned(unit, tree).content_digest()
        version = self._versions.get(digest, digest[:_VERSION_DIGITS])
        return Draft(_assigned(unit, tree, version=version), version, is_exact=False)

    def drawn(self, version: str) -> FrameResult | None:
        """The result of the picture of that name; None if there is none."""
        return self._drawn.get(version)

    def add(self, draft: Draft, result: FrameResult) -> None:
        """A draft was drawn."""
        self._drawn[draft.version] = result
        self._versions[draft.unit.content_digest()] = draft.version

    def learn(
        self, drafts: Sequence[Draft], uses: Mapping[int, SharedUse], tree: SharedTree
    ) -> None:
        """Know drafts by what their frames use, too; uses: as seen with the tree's files."""
        for draft in drafts:
            use = uses.get(draft.unit.frame)
            if use is None or draft.version not in self._drawn:
                continue
            used = _digest_if_it_holds(use, tree.digests)
            if used is None:
                continue
            exact = _assigned(draft.unit, tree, used)
            self._versions[exact.content_digest()] = draft.version
            remembered = self._uses[draft.unit.frame]
            if use in remembered:
                remembered.remove(use)
            remembered.insert(0, use)
            del remembered[_MOST_USES:]

    def shown(self, versions: Sequence[str]) -> None:
        """Take note that these are wanted now."""
        for version in versions:
            if version in self._drawn:
                self._drawn.move_to_end(version)

    def forget_beyond(self, most_bytes: int, wanted: Sequence[str]) -> list[str]:
        """Forget those that were shown longest ago, until the rest takes no more; their versions.

        wanted: versions that stay in any case.
        """
        total = sum(map(_bytes, self._drawn.values()))
        kept = set(wanted)
        gone = []
        for version, result in list(self._drawn.items()):
            if total <= most_bytes:
                break
            if version not in kept:
                total -= _bytes(result)
                del self._drawn[version]
                gone.append(version)
        forgotten = set(gone)
        if forgotten:
            self._versions = {
                digest: version
                for digest, version in self._versions.items()
                if version not in forgotten
            }
        return gone


def draft_job(version: str) -> str:
    """The id of the job that a draft is to render_unit: it has a prefix of its own, by content."""
    return f"draft-{version}"


def _assigned(unit: WorkUnit, tree: SharedTree, used: str = "", version: str = "") -> WorkUnit:
    job_id = draft_job(version)
    return unit.assigned(
        job_id=job_id,
        shared_prefix=tree.prefix,
        offload_prefix=layout.output(job_id),
        shared_digest=used,
    )


def _digest_if_it_holds(use: SharedUse, digests: Mapping[str, str]) -> str | None:
    """What the cache knows the use by; None where files came or went that it tells of."""
    if not use.read <= digests.keys() or use.missing & digests.keys():
        return None
    return use.digest(digests)


def _bytes(result: FrameResult) -> int:
    # Its log and result take some KiB.
    return result.image_bytes + (16 << 10)

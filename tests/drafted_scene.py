"""The page of drafts with frames that are drawn when a test says so, without POV-Ray."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.frames.tone_mapping import ToneMapping
from povstorm_client.live.page_server import LiveServer
from povstorm_client.storage import layout
from povstorm_client.watch.draft_feed import DraftFeed
from povstorm_client.watch.draft_folder import DraftFolder
from povstorm_client.watch.known_frames import Draft, draft_job
from povstorm_client.watch.scene_problem import SceneProblem
from povstorm_client.watch.watch_server import scene_address, watch_server
from tests.synthetic_job import picture, rendered


class DraftedScene:
    """A scene of so many frames."""

    def __init__(self, folder: Path, frames: int, name: str = "orbit.ini") -> None:
        folder.mkdir()
        self.name = name
        self.folder = DraftFolder(folder, ToneMapping())
        self.feed = DraftFeed()
        self.drafts: list[Draft] = []
        self._saves = 0
        self.save(frames)

    def save(self, frames: int, changed: set[int] | None = None) -> None:
        """A save, after which so many frames are to be drawn, or of the same ones those named."""
        self._saves += 1
        settings = RenderSettings(scene="orbit.pov", width=80, height=60, final_frame=frames)
        before = {draft.unit.frame: draft for draft in self.drafts}
        self.drafts = [
            before[frame]
            if changed is not None and frame not in changed
            else _draft(WorkUnit(settings, frame=frame), f"{self._saves:016x}{frame:016x}")
            for frame in range(1, frames + 1)
        ]
        results = [self.feed.result(draft.version) for draft in self.drafts]
        self.feed.begin(self.drafts, results, what="orbit.pov saved", saved=0.0)

    def draw(self, *frames: int) -> None:
        for frame in frames:
            draft = self.drafts[frame - 1]
            result = rendered(draft.unit, started=0.0, seconds=0.3)
            data = picture(frame + 40 * self._saves, 80, 60)
            key = f"{layout.output(draft.unit.job_id)}/{draft.unit.image_name}"
            self.folder.storage.write(key, data)
            self.feed.drew(frame - 1, draft, result)

    def fail(self, frame: int, problem: SceneProblem) -> None:
        self.feed.fail(frame - 1, problem)

    @contextmanager
    def served(self, home: Path) -> Iterator[LiveServer]:
        address = scene_address(home, "/scene", self.name)
        command = f"povstorm render {self.name}"
        with watch_server(
            self.feed, self.folder, address, name=self.name, command=command, rate=24.0
        ) as server:
            yield server


def _draft(unit: WorkUnit, version: str) -> Draft:
    job_id = draft_job(version)
    unit = replace(unit, job_id=job_id, offload_gcs_prefix=layout.output(job_id))
    return Draft(unit, version, is_exact=False)

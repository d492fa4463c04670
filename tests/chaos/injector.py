"""Injector: the faults of one run, each at its moment, and how often each explains a rendering."""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Set

import psutil

from povstorm_client.storage import layout
from tests.chaos.client_program import ClientProgram
from tests.chaos.gate import Gate, Holds
from tests.chaos.plan import FRAMES, ChaosPlan, ServerFault
from tests.chaos.processes import (
    frames_of,
    processes_with,
    renderings_without,
    servers_of,
)
from tests.chaos.watcher import Watcher
from tests.chaos.world import World

# Between two faults, so that the first is noticed before the next one hides it.
_APART_SECONDS = 0.5
_DISK_FULL_SECONDS = 4.0
_CALLS_TO_FAIL = 3
# For a flow to end after its client: it cancels its executions, and tells Prefect.
_FLOW_ENDS_SECONDS = 40
# For what a killed process has started to end with it.
_CHILDREN_END_SECONDS = 20
_FLOW = "flows.local_run"
_CONTAINER = "render_image.entrypoint"
# What the names of segments' waves begin with (layout.is_segment_wave).
_SEGMENTS = "v"
# So many frames are done before a flow's own server answers, or is killed.
_FRAMES_WITHOUT = 4


class Injector:
    """Injects what a plan says into a job that client programs run.

    faults: injected, by kind. explained: how many renderings beyond the first the faults explain,
    by frame; deliveries: by how much a frame's renderings are multiplied.
    """

    def __init__(self, plan: ChaosPlan, world: World, job_id: str, watcher: Watcher) -> None:
        self._plan = plan
        self._world = world
        self._job_id = job_id
        self._watcher = watcher
        self._random = random.Random(plan.seed)  # noqa: S311 - no secret
        self._not_before = 0.0
        # The fault of each, and how many frames are done when it comes, or has passed.
        self._own_servers: dict[psutil.Process, tuple[ServerFault | None, int]] = {}
        self.explained: Counter[int] = Counter()
        self.deliveries = (1 + plan.twice) * (1 + plan.run_tasks_twice)
        self.faults: Counter[str] = Counter(
            {
                "job run twice at once": int(plan.twice),
                "tasks delivered twice": int(plan.run_tasks_twice),
                "submit accepted without an answer": plan.lose_answers,
                "submit refused by a quota": plan.refuse_runs,
                "tasks moved while they render": int(plan.move_tasks),
                "room for two tasks alone": int(plan.small_quota),
                "clock ahead or behind": int(bool(plan.skew)),
                "machine busy": int(plan.busy),
            }
        )
        self._due: list[tuple[str, int, Callable[[list[ClientProgram]], bool]]] = [
            (name, moment, action)
            for name, moments, action in (
                ("kill_povray", plan.kill_povray, self._kill_povray),
                ("kill_container", plan.kill_container, self._kill_container),
                ("kill_flow", plan.kill_flow, self._kill_flow),
                ("kill_client", plan.kill_client, self._kill_client),
                ("cancel", plan.cancel, self._cancel),
                ("fill_disk", plan.fill_disk, self._fill_disk),
                ("fail_calls", plan.fail_calls, self._fail_calls),
                ("stop_prefect", [FRAMES // 3] * bool(plan.stop_prefect), self._stop_prefect),
                ("hold_prefect", [FRAMES // 2] * bool(plan.hold_prefect), self._hold_prefect),
                # These have no moment but that what they break is there.
                ("kill_started", [0] * plan.kill_started, self._kill_started),
                ("kill_encoder", [0] * plan.kill_encoder, self._kill_encoder),
                ("lose_segment", [0] * plan.lose_segment, self._lose_segment),
                ("kill_encoding", [0] * plan.kill_encoding, self._kill_encoding),
                ("kill_joining", [0] * plan.kill_joining, self._kill_joining),
            )
            for moment in moments
        ]
        self._gate = Gate()
        if world.cloud is not None:
            world.cloud.storage.admit = self._gate.admit
            for fault, holds in _held(job_id).items():
                if fault in self.missed:
                    self._gate.close(fault, holds)

    @property
    def missed(self) -> list[str]:
        """The faults, by the plan's names, that have found nothing to break so far."""
        return [name for name, _, _ in self._due]

    def inject(self, clients: list[ClientProgram]) -> None:
        """Inject one fault that is due; what finds nothing to break stays due."""
        if self._plan.own_servers:
            self._break_own_servers()
        if not self._due or time.monotonic() < self._not_before:
            return
        rendered = len(self._watcher.rendered())
        for name, moment, action in self._due:
            if rendered >= moment and action(clients):
                self._due.remove((name, moment, action))
                self._gate.open(name)
                self._not_before = time.monotonic() + _APART_SECONDS
                return

    def _break_own_servers(self) -> None:
        """Whatever becomes of them, no frame is rendered again for it."""
        rendered = len(self._watcher.rendered())
        for server in servers_of(self._world.prefect_home):
            with contextlib.suppress(psutil.NoSuchProcess):
                if server not in self._own_servers:
                    self._begin_with(server, rendered)
                fault, until = self._own_servers[server]
                if fault is None or rendered < until:
                    continue
                self._own_servers[server] = (None, 0)
                if fault == "late":
                    server.resume()
                else:
                    server.kill()

    def _begin_with(self, server: psutil.Process, rendered: int) -> None:
        """A server was started: the next fault is its."""
        begun = len(self._own_servers)
        fault = self._plan.own_servers[begun] if begun < len(self._plan.own_servers) else None
        until = 0 if fault == "never up" else min(FRAMES, rendered + _FRAMES_WITHOUT)
        self._own_servers[server] = (fault, until)
        if fault == "late":
            server.suspend()
        if fault is not None:
            self.faults[f"own Prefect server {fault}"] += 1

    def _kill_povray(self, _: list[ClientProgram]) -> bool:
        rendering = self._watcher.look_at_processes()
        if not rendering:
            return False
        victim = self._random.choice(list(rendering))
        self._kill(victim, "POV-Ray killed")
        self._explain([rendering[victim]])
        return True

    def _kill_container(self, _: list[ClientProgram]) -> bool:
        containers = processes_with(_CONTAINER, self._job_id)
        if not containers:
            return False
        victim = self._random.choice(containers)
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.suspend()
            own = frames_of(victim.children(recursive=True))
            self._kill(victim, "container killed")
            elsewhere = self._rendering_after(_CONTAINER)
            self._explain(self._unfinished() - (elsewhere - own))
        if self._plan.run_tasks_twice:
            # What it had not begun is rendered by its twin, and in another wave as well.
            self._explain(set(range(1, FRAMES + 1)) - self._watcher.rendered() - self._unfinished())
        return True

    def _kill_flow(self, _: list[ClientProgram]) -> bool:
        flows = processes_with(_FLOW, self._job_id)
        if not flows:
            return False
        self._kill(self._random.choice(flows), "flow killed")
        if self._world.cloud is None:  # containers go on, and are taken over
            self._rendering_after(_FLOW)
            self._explain(self._unfinished())
        return True

    def _kill_started(self, clients: list[ClientProgram]) -> bool:
        return bool(processes_with(_CONTAINER, self._job_id)) and self._kill_flow(clients)

    def _kill_encoder(self, _: list[ClientProgram]) -> bool:
        encoders = processes_with(_CONTAINER, layout.wave(self._job_id, _SEGMENTS))
        if not encoders or not self._gate.is_waited_for("kill_encoder"):
            return False
        self._kill(self._random.choice(encoders), "container that encodes killed")
        return True

    def _kill_joining(self, clients: list[ClientProgram]) -> bool:
        return self._gate.is_waited_for("kill_joining") and self._kill_flow(clients)

    def _lose_segment(self, _: list[ClientProgram]) -> bool:
        stored = self._stored_segments()
        if not stored:
            return False
        self._world.direct.remove(self._random.choice(stored))
        self.faults["segment lost"] += 1
        return True

    def _kill_encoding(self, clients: list[ClientProgram]) -> bool:
        return bool(self._stored_segments()) and self._kill_flow(clients)

    def _stored_segments(self) -> list[str]:
        """What is stored of segments, if at least one of them is there."""
        keys = [entry.key for entry in self._world.direct.list(layout.segments(self._job_id))]
        return sorted(keys) if any(key.endswith(".json") for key in keys) else []

    def _kill_client(self, clients: list[ClientProgram]) -> bool:
        running = [client for client in clients if client.returncode is None and client.flows()]
        if not running:
            return False
        victim = self._random.choice(running)
        flows = victim.flows()
        victim.kill()
        self.faults["client killed"] += 1
        self._wait_for_the_end_of(flows)
        return True

    def _cancel(self, _: list[ClientProgram]) -> bool:
        flows = processes_with(_FLOW, self._job_id)
        if not flows:
            return False
        self._world.cluster.cancel(self._job_id)
        self.faults["job cancelled"] += 1
        self._wait_for_the_end_of(flows)
        return True

    def _wait_for_the_end_of(self, flows: list[psutil.Process]) -> None:
        """A flow that was told to stop takes what was in work along."""
        _, left = psutil.wait_procs(flows, _FLOW_ENDS_SECONDS)
        assert not left, f"a flow does not stop: {left}"
        if self._world.cloud is None:
            self._rendering_after(_FLOW)
        else:
            self._watcher.look_at_processes()
        self._explain(self._unfinished())

    def _rendering_after(self, owner: str) -> Set[int]:
        """The frames that POV-Ray renders below the owners that live.

        What those have left that were killed ends a moment later, in which POV-Ray may begin.
        """
        deadline = time.monotonic() + _CHILDREN_END_SECONDS
        while renderings_without(self._watcher.scene, processes_with(owner, self._job_id)):
            assert time.monotonic() < deadline, "what was killed has left processes"
            time.sleep(0.05)
        return set(self._watcher.look_at_processes().values())

    def _fill_disk(self, _: list[ClientProgram]) -> bool:
        disk = self._world.disk
        if disk is None:
            return True
        before = self._watcher.renderings()
        self.faults["disk full"] += 1
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        time.sleep(_DISK_FULL_SECONDS)
        filler.unlink()
        self._watcher.look_at_processes()
        # Whatever was rendered meanwhile could not be stored.
        self.explained += self._watcher.renderings() - before
        self._explain(self._unfinished())
        return True

    def _fail_calls(self, _: list[ClientProgram]) -> bool:
        if self._world.cloud is not None:
            self._world.cloud.run.set_knobs(fail_calls=_CALLS_TO_FAIL)
            self.faults["Cloud Run call failed"] += _CALLS_TO_FAIL
        return True

    def _stop_prefect(self, _: list[ClientProgram]) -> bool:
        self.faults["Prefect server stopped"] += 1
        with self._world.prefect.stopped():
            time.sleep(self._plan.stop_prefect)
        return True

    def _hold_prefect(self, _: list[ClientProgram]) -> bool:
        self.faults["Prefect server held"] += 1
        with self._world.prefect.held():
            time.sleep(self._plan.hold_prefect)
        return True

    def _kill(self, process: psutil.Process, kind: str) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
            self.faults[kind] += 1

    def _explain(self, frames: Iterable[int]) -> None:
        self.explained.update(frames)

    def _unfinished(self) -> Set[int]:
        """Frames that were begun and have no result."""
        return set(self._watcher.renderings()) - self._watcher.rendered()


def _held(job_id: str) -> dict[str, Holds]:
    """Which calls to a bucket wait for the faults that are to come before them."""
    results, segments = f"{layout.results(job_id)}/", f"{layout.segments(job_id)}/"
    video = layout.video(job_id, "mp4")

    def stores_result(kind: str, name: str) -> bool:
        return kind == "insert" and name.startswith(results)

    def stores_record(kind: str, name: str) -> bool:
        return kind == "insert" and name.startswith(segments) and name.endswith(".json")

    def joins(kind: str, name: str) -> bool:
        return (kind, name) == ("compose", video)

    return {
        "kill_started": stores_result,
        "kill_encoder": stores_record,
        **dict.fromkeys(("lose_segment", "kill_encoding", "kill_joining"), joins),
    }

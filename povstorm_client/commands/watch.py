"""``povstorm watch``: save a file of a scene, see the frames that it changes."""

from __future__ import annotations

import shlex
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Optional

import typer

from povstorm_client.commands.live import NoOpen, open_page
from povstorm_client.commands.scene_options import (
    Declare,
    Exposure,
    Fps,
    Frames,
    Include,
    Povray,
    Sandbox,
    SceneArgument,
    Size,
    Switches,
    ToneMapOption,
    fields_by_option,
    sandbox_mode,
)
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.frames.video_losses import refuse_needless_tone
from povstorm_client.programs.sandbox_mode import announce_sandbox, sandbox_mode_here
from povstorm_client.programs.tools import require_povray
from povstorm_client.scene.load_scene import Scene
from povstorm_client.scene_job import read_scene
from povstorm_client.storage.povstorm_home import home_folder

_DEFAULTS = JobSettings()
_FPS = str(_DEFAULTS.fps)


def watch(
    scene: SceneArgument,
    switches: Switches = None,
    frames: Frames = None,
    size: Size = None,
    include: Include = None,
    declare: Declare = None,
    fps: Fps = _FPS,
    tone_map: ToneMapOption = _DEFAULTS.tone_map,
    exposure: Exposure = _DEFAULTS.exposure,
    sandbox: Sandbox = None,
    povray: Povray = None,
    port: Annotated[
        Optional[int],  # noqa: UP045 - typer reads it at run time
        typer.Option(min=1024, max=65535, help="Of the page; one of the scene's own by default"),
    ] = None,
    no_open: NoOpen = False,
) -> None:
    """Draw a scene's frames in the browser whenever a file of it is saved.

    Small and fast, as render --preview does, and only what the save changes.
    Until Ctrl-C, on this machine only. Drafts are no jobs: nothing is stored.
    """
    # Not at the top: a web server and templates, which no other command needs.
    from povstorm_client.watch.draft_feed import DraftFeed
    from povstorm_client.watch.draft_folder import draft_folder
    from povstorm_client.watch.draft_loop import DraftLoop
    from povstorm_client.watch.watch_server import scene_address, watch_server

    require_povray()
    here = Path.cwd()
    mode = sandbox_mode(sandbox) or sandbox_mode_here()
    announce_sandbox(mode)
    with fields_by_option():
        settings = JobSettings(fps=fps, tone_map=tone_map, exposure=exposure)

    def read(*, always_trace: bool, stop: threading.Event, warn: Callable[[str], None]) -> Scene:
        read = read_scene(
            scene,
            switches=switches,
            frames=frames,
            size=size,
            preview=True,
            include=include,
            declare=declare,
            threads=None,
            warn=warn,
            sandbox=mode,
            always_trace=always_trace,
            stop_trace=stop,
        )
        refuse_needless_tone(settings.tone_mapping, read.settings)
        return read

    feed = DraftFeed()
    with draft_folder(settings.tone_mapping) as folder:
        loop = DraftLoop(read, scene, here, folder, feed, _say)
        loop.open()
        name = Path(scene).name
        address = scene_address(home_folder(), str(here), scene)
        with watch_server(
            feed,
            folder,
            address,
            name=name,
            command=_command_for_real(),
            rate=float(settings.frames_per_second),
            port=port,
        ) as server:
            print(f"page    {server.address.url}", flush=True)
            print("povstorm: drafts are drawn on this machine until Ctrl-C", file=sys.stderr)
            if not no_open:
                open_page(server.address.url)
            loop.run(mode)


def _say(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", flush=True)


def _command_for_real() -> str:
    """What renders the scene as it was given here."""
    words, own = sys.argv[1:], {"--port": 1, "--no-open": 0}
    kept: list[str] = []
    while words:
        word = words.pop(0)
        if word in own:
            del words[: own[word]]
        elif word.partition("=")[0] not in own:
            kept.append(word)
    kept[kept.index("watch")] = "render"
    return f"povstorm {shlex.join(kept)}"

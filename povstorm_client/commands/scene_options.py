"""The arguments and options by which commands take a scene, as typer reads them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from povstorm_client.errors import FieldError, InputError
from povstorm_client.frames.job_settings import PREFERENCES, VIDEO_ENDINGS, JobSettings
from povstorm_client.frames.render_settings import MOST_SUB_FRAMES
from povstorm_client.frames.tone_mapping import TONE_MAPS
from povstorm_client.frames.video_options import VIDEO_CODECS
from povstorm_client.programs.sandbox_mode import SandboxMode
from povstorm_client.programs.tools import choose_povray
from povstorm_client.scene_job import settings_of_options

# Places of their own in --help: of the video, of frames that fail or never end, and of options that
# are of no use on this machine.
VIDEO = "Video"
FAILURES = "Failures and limits"
CLOUD = "Google Cloud"


def _chosen(path: Path | None) -> Path | None:
    if path is not None:
        choose_povray(path)
    return path


def _blurred(moments: int | None) -> int | None:
    # RenderSettings has 0 for none, which nobody asks for by an option.
    if moments is not None and not 2 <= moments <= MOST_SUB_FRAMES:
        raise InputError(
            f"--motion-blur is {moments}: give 2 to {MOST_SUB_FRAMES} moments, or leave it out for "
            "sharp frames"
        )
    return moments


def output_path(text: str) -> Path:
    """What --output names; InputError for nothing, which would be the current folder."""
    if not text.strip():
        raise InputError("--output is empty: name a place for the results, or leave it out")
    return Path(text)


SceneArgument = Annotated[
    str,
    typer.Argument(metavar="SCENE", help="FILE.ini, FILE.ini\\[section], FILE.pov or 'step_*.pov'"),
]
Switches = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads it at run time
    typer.Argument(metavar="POV-RAY_OPTIONS", help="As for povray: +W640 +KFF60 +A0.3 Quality=9"),
]
Frames = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Frames to render: 1-120, 1-100x10 (every tenth), 1,5,9-12"),
]
Size = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="WxH", help="Image size, e.g. 1920x1080"),
]
Fps = Annotated[
    str, typer.Option(help="Frames a second of the video; 24000/1001 works", rich_help_panel=VIDEO)
]
Output = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        metavar="FOLDER",
        parser=output_path,
        help="Where to put the results; NAME_render by default, NAME_preview",
    ),
]
Video = Annotated[
    str,
    typer.Option(help=f"Video format: {', '.join(VIDEO_ENDINGS)}, or none", rich_help_panel=VIDEO),
]
Codec = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help=f"Codec of the video, instead of the format's own: {', '.join(VIDEO_CODECS)}",
        rich_help_panel=VIDEO,
    ),
]
Crf = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        metavar="N",
        help="Quality of the video, ffmpeg's -crf: 0 is the best, and the largest file",
        rich_help_panel=VIDEO,
    ),
]
ToneMapOption = Annotated[
    str,
    typer.Option(
        "--tone-map",
        help=f"How OpenEXR and HDR images (+FE, +FH) are shown: {', '.join(TONE_MAPS)}",
        rich_help_panel=VIDEO,
    ),
]
Exposure = Annotated[
    float,
    typer.Option(
        metavar="STOPS",
        help="How many times twice as bright before that, such as 1 or -0.5",
        rich_help_panel=VIDEO,
    ),
]
Include = Annotated[
    Optional[list[Path]],  # noqa: UP045
    typer.Option(metavar="PATH", help="A file or folder the scene needs under a computed name"),
]
Preview = Annotated[
    bool,
    typer.Option(
        "--preview", help="A small and fast sample, to see the motion, and what all would take"
    ),
]
Go = Annotated[bool, typer.Option("--go", help="After --preview, render all without being asked")]
Live = Annotated[
    bool, typer.Option("--live", help="Show the frames in the browser while they are rendered")
]
NoOpen = Annotated[bool, typer.Option("--no-open", help="With --live: only say where the page is")]
Trace = Annotated[
    bool,
    typer.Option(
        "--trace",
        help="Parse all frames first, so that each is cached by the files that it uses itself",
    ),
]
Declare = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        metavar="NAME=VALUES", help="Render with each value: NumStones=3..9, Size=0..1x0.25, N=3,5"
    ),
]
MotionBlur = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        metavar="N",
        help="Make each frame the average of N moments, in linear light",
        callback=_blurred,
    ),
]
Shutter = Annotated[
    float,
    typer.Option(metavar="DEGREES", help="How long that is, of the 360 from a frame to the next"),
]
Povray = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        metavar="PATH",
        help="POV-Ray to render with on this machine, instead of the one on PATH",
        callback=_chosen,
    ),
]
Audio = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(metavar="FILE", help="Sound for the saved video, which ends with its frames"),
]
InOrder = Annotated[
    bool,
    typer.Option(
        "--in-order",
        help="Render frames that go on from each other's images there all the same, one at a time",
        rich_help_panel=CLOUD,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the frames, files and plan, render nothing")
]
AllowMissingFrames = Annotated[
    bool,
    typer.Option(
        "--allow-missing-frames", help="Make the video even if frames failed", rich_help_panel=VIDEO
    ),
]
Retries = Annotated[
    int, typer.Option(help="Further attempts for a frame that was lost", rich_help_panel=FAILURES)
]
FrameTimeout = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        metavar="SECONDS",
        help="Stop a frame that takes longer; off: never",
        rich_help_panel=FAILURES,
    ),
]
StallTimeout = Annotated[
    str,
    typer.Option(
        metavar="SECONDS",
        help="Stop a frame that renders no further pixel for so long; off: never",
        rich_help_panel=FAILURES,
    ),
]
FrameMemory = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        metavar="GIB",
        help="Memory for a frame on this machine; most of it by default",
        rich_help_panel=FAILURES,
    ),
]
Sandbox = Annotated[
    Optional[bool],  # noqa: UP045
    typer.Option(
        "--sandbox/--no-sandbox",
        help="Contain scenes that this machine renders, or not; by default where that works",
    ),
]
Threads = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(help="POV-Ray's threads a frame; 1 for an animation, all cores for a still"),
]
Prefer = Annotated[
    str,
    typer.Option(metavar="WHAT", help=f"Render {', '.join(PREFERENCES)}", rich_help_panel=CLOUD),
]
Lean = Annotated[str, typer.Option(hidden=True, help="The older name of --prefer")]
MaxCost = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(metavar="USD", help="Refuse to spend more on this job", rich_help_panel=CLOUD),
]
SecondsPerFrame = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        metavar="S",
        help="Plan with so many CPU seconds a frame, unmeasured",
        rich_help_panel=CLOUD,
    ),
]


def sandbox_mode(sandbox: bool | None) -> SandboxMode | None:
    """What --sandbox or --no-sandbox asks for; None where neither was given."""
    if sandbox is None:
        return None
    return "required" if sandbox else "off"


_DEFAULTS = JobSettings()
# What JobSettings is asked for by: option → its type for typer, and its default.
JOB_OPTIONS: dict[str, tuple[Any, Any]] = {
    "fps": (Fps, _DEFAULTS.fps),
    "video": (Video, _DEFAULTS.video),
    "codec": (Codec, _DEFAULTS.codec),
    "crf": (Crf, _DEFAULTS.crf),
    "tone_map": (ToneMapOption, _DEFAULTS.tone_map),
    "exposure": (Exposure, _DEFAULTS.exposure),
    "allow_missing_frames": (AllowMissingFrames, _DEFAULTS.allow_missing_frames),
    "retries": (Retries, _DEFAULTS.retries),
    "frame_timeout": (FrameTimeout, _DEFAULTS.frame_timeout),
    "stall_timeout": (StallTimeout, str(_DEFAULTS.stall_timeout)),
    "frame_memory": (FrameMemory, _DEFAULTS.frame_memory),
    "prefer": (Prefer, _DEFAULTS.prefer),
    "lean": (Lean, ""),
    "max_cost": (MaxCost, _DEFAULTS.max_usd),
    "seconds_per_frame": (SecondsPerFrame, _DEFAULTS.seconds_per_frame),
}


@contextmanager
def fields_by_option() -> Iterator[None]:
    """Say what is wrong with a field of JobSettings of the option that sets it."""
    try:
        yield
    except FieldError as error:
        option = {"max_usd": "max_cost"}.get(error.field, error.field)
        if option not in JOB_OPTIONS:
            raise
        raise FieldError(f"--{option.replace('_', '-')}", error.what) from error


def with_job_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command with JOB_OPTIONS in the place of its keyword ``settings``, made from them.

    typer reads a command's options from its signature, and knows no dataclass there.
    """

    @wraps(command)
    def asked(**given: Any) -> None:  # noqa: ANN401 - whatever typer read
        options = {name: given.pop(name) for name in JOB_OPTIONS}
        with fields_by_option():
            settings = settings_of_options(**options)
        command(**given, settings=settings)

    own = inspect.signature(command, eval_str=True)
    parameters = [
        *(each for each in own.parameters.values() if each.name != "settings"),
        *(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default
            )
            for name, (kind, default) in JOB_OPTIONS.items()
        ),
    ]
    asked.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    asked.__annotations__ = {each.name: each.annotation for each in parameters}
    return asked

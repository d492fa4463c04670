"""A scene's options, as POV-Ray reads them, made RenderSettings and frames; for load_scene."""

from __future__ import annotations

from povstorm_client.frames.render_settings import RenderSettings
from povstorm_client.programs.tools import povray_is_newer
from povstorm_client.scene.frame_choice import parse_frames, subset
from povstorm_client.scene.ini import PovraySettings
from povstorm_client.scene.ini_options import NEWER
from povstorm_client.scene.tree import SceneTree

# POV-Ray's size where neither the scene nor any povray.ini gives one (tried with 3.7.0.10).
_DEFAULT_SIZE = (160, 120)
_PREVIEW_SHRINK = 4
_PREVIEW_SMALLEST = 160
# Without area lights, media and the like: POV-Ray's +Q levels.
_PREVIEW_QUALITY = 8
# POV-Ray takes the nearest of what it knows for other numbers.
_MOST_METHOD, _MOST_DEPTH, _MOST_QUALITY = 2, 9, 11
_NEWER_METHOD = 3  # of POV-Ray 3.8


def render_settings_of(
    settings: PovraySettings, tree: SceneTree, size: tuple[int, int] | None, preview: bool
) -> RenderSettings:
    """How all frames are rendered; size and preview as load_scene has them."""
    width, height = size or (
        int(settings.numbers.get("width", _DEFAULT_SIZE[0])),
        int(settings.numbers.get("height", _DEFAULT_SIZE[1])),
    )
    antialias = settings.numbers.get("antialias_threshold", 0.3)
    quality = settings.integer("quality")
    is_antialiased = settings.switched.get("antialias", False)
    if preview:
        width, height = _preview_size(width, height)
        is_antialiased = False
        quality = min(_PREVIEW_QUALITY, 9 if quality is None else quality)
    method = settings.integer("sampling_method")
    if method is not None and method <= 0:
        is_antialiased, method = False, None
    depth = settings.integer("antialias_depth")
    jitter = settings.numbers.get("jitter_amount")
    if settings.switched.get("jitter") is False:
        jitter = 0.0
    header = [f"Include_Header={name}"] if (name := settings.values.get("include_header")) else []
    first, last, one_frame_loop = _loop(settings)
    return RenderSettings(
        scene=tree.scene,
        width=width,
        height=height,
        antialias=antialias if is_antialiased else None,
        antialias_method=None if method is None else min(method, _most_method()),
        antialias_depth=None if depth is None else _antialias_depth(depth),
        antialias_gamma=settings.numbers.get("antialias_gamma"),
        jitter=jitter,
        quality=9 if quality is None else min(max(quality, 0), _MOST_QUALITY),
        initial_frame=first,
        final_frame=last,
        initial_clock=settings.numbers.get("initial_clock", 0.0),
        final_clock=settings.numbers.get("final_clock", 1.0),
        cyclic=settings.switched.get("cyclic_animation", False),
        one_frame_loop=one_frame_loop,
        clock=settings.numbers.get("clock"),
        library_paths=tree.library_paths,
        folder=tree.folder,
        writable=tree.writable,
        options=(*settings.options.values(), *header),
    )


def newer_option(settings: RenderSettings) -> str:
    """The first of the options that POV-Ray 3.7 does not have; "" if there is none."""
    if settings.antialias_method == _NEWER_METHOD:
        return f"+AM{_NEWER_METHOD}"
    return next((each for each in settings.options if NEWER.match(each)), "")


def method_warnings(settings: PovraySettings) -> list[str]:
    """That POV-Ray 3.7 has another antialiasing than the 3.8's that was asked for (tried)."""
    if settings.integer("sampling_method") != _NEWER_METHOD or povray_is_newer():
        return []
    return [
        f"+AM{_NEWER_METHOD} is an antialiasing of POV-Ray 3.8; 3.7, which renders here, takes it "
        f"for +AM{_MOST_METHOD}: ask for that, or name a POV-Ray 3.8 with --povray PATH"
    ]


def _most_method() -> int:
    return _NEWER_METHOD if povray_is_newer() else _MOST_METHOD


def _loop(settings: PovraySettings) -> tuple[int, int, bool]:
    """First and last frame, and whether POV-Ray loops over a single frame 1 or 0.

    As POV-Ray does (tried): frames below 0 are frame 0, the last is no less than the first where
    it is not told, and a still is only what is told to be frame 1 of 1, 0 of 0, or nothing.
    """
    initial, final = settings.integer("initial_frame"), settings.integer("final_frame")
    first = 1 if initial is None else max(initial, 0)
    last = max(1, first) if final is None else final
    is_still = (initial or 0, final or 0) in ((0, 0), (1, 1))
    if is_still and final is None:
        return 1, 1, False
    return first, last, not is_still and (first, last) in ((1, 1), (0, 0))


def _antialias_depth(depth: int) -> int:
    """POV-Ray takes 0 for 1, and all else that is not 1 to 9 for 9."""
    return max(1, depth) if 0 <= depth <= _MOST_DEPTH else _MOST_DEPTH


def _preview_size(width: int, height: int) -> tuple[int, int]:
    """A quarter, but not below 160 pixels, and even, as videos like it."""
    shrink = max(1.0, min(_PREVIEW_SHRINK, width / _PREVIEW_SMALLEST))
    return max(2, round(width / shrink / 2) * 2), max(2, round(height / shrink / 2) * 2)


def chosen_frames(
    render_settings: RenderSettings, settings: PovraySettings, chosen: str | None
) -> tuple[int, ...]:
    """The frames that --frames, or else POV-Ray's own options, ask for; ascending."""
    first, last = render_settings.initial_frame, render_settings.final_frame
    if chosen is not None:
        return parse_frames(chosen, first, last)
    return subset(
        first,
        last,
        settings.numbers.get("subset_start_frame"),
        settings.numbers.get("subset_end_frame"),
        cyclic=render_settings.cyclic,
        step=settings.integer("frame_step") or 1,
    )


def loop_frames(
    numbers: tuple[int, ...],
    render_settings: RenderSettings,
    settings: PovraySettings,
    chosen: str | None,
) -> range:
    """The frames that POV-Ray's own loop goes through up to the last one that is wanted.

    A choice of --frames is one of the whole animation's, while Subset_Start_Frame and Frame_Step
    are POV-Ray's own: its loop begins with that frame, and leaves the others out.
    """
    if chosen is not None:
        return range(render_settings.initial_frame, numbers[-1] + 1)
    step = max(1, settings.integer("frame_step") or 1)
    return range(numbers[0], numbers[-1] + 1, step)

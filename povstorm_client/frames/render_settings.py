"""RenderSettings: how POV-Ray is to render an animation's frames, and the options that say so.

Client programs make one per animation; a WorkUnit turns it into its POV-Ray command.
"""

from __future__ import annotations

import math
import posixpath
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from povstorm_client.errors import InputError
from povstorm_client.frames.ranges import MAX_FRAMES
from povstorm_client.paths import SCENE_FOLDER, check_workspace_path

# POV-Ray 3.7 keeps image dimensions in 32 bits; PNG encoders and memory give up long before.
MAX_PIXELS_PER_SIDE = 65_535

# More show no difference, and are rendered one after another.
MOST_SUB_FRAMES = 256
_FULL_SHUTTER = 360
# What would make other images than RGB in sRGB.
_NOT_BLURRED = re.compile(r"\+UA|Output_Alpha=on|Grayscale_Output=on|File_Gamma=|Dither=on|\+F[EH]")
# The images' file ending by the option that asks for their type, of which the last one counts.
_ENDINGS = {"+FN": ".png", "+FE": ".exr", "+FH": ".hdr"}
IMAGE_ENDINGS = tuple(_ENDINGS.values())
# POV-Ray 3.7 refuses more (+WT).
MAX_THREADS = 512
# POV-Ray keeps frame numbers in 32 bits, and adds one to see whether there is a next frame.
_MAX_FRAME = 2**31 - 2
_WHOLE = ("motion_blur", "width", "height", "quality", "initial_frame", "final_frame", "threads")
_MAYBE_WHOLE = ("antialias_method", "antialias_depth")
_REAL = ("initial_clock", "final_clock", "shutter")
_MAYBE_REAL = ("clock", "antialias", "antialias_gamma", "jitter")
# Options that change the picture and nothing else: no files, no streams, no programs
# (POV-Ray 3.7 reference, section 3.2 "Command-Line and INI-File Options").
_ALLOWED_OPTIONS = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        r"\+A[MR]?\d*\.?\d+|\+A|-A",
        r"[+-]J\d*\.?\d*",
        r"\+R\d+",
        r"\+AG\d*\.?\d+",
        r"[+-]MB\d*",
        r"[+-]BS[BC]?|\+BS\d+|\+BM[12]",
        r"[+-]UR|[+-]UL|[+-]UV|[+-]U[AO]?|[+-]UA",
        r"[+-]SU",
        r"\+MV\d+(\.\d+)?",
        r"\+FN([5-9]|1[0-6])?|\+F[EH]",
        r"\+WT\d+",
        r"\+RP\d*|\+BP\d+",
        r"\+HR|-HR|\+RVP|-RVP",
        r"\+U[FO]|-U[FO]|\+UF|\+UO",
        r"Bounding_Method=-?\d+|Bounding_Threshold=-?\d+|Bounding=(on|off)",
        r"(Light_Buffer|Vista_Buffer|Remove_Bounds|Split_Unions|High_Reproducibility)=(on|off)",
        r"Output_Alpha=(on|off)|Dither=(on|off)|Dither_Method=[A-Za-z0-9]+",
        r"Display_Gamma=[\d.a-zA-Z]+|File_Gamma=[\d.a-zA-Z]+",
        r"BSP_(MaxDepth|ISectCost|BaseAccessCost|ChildAccessCost|MissChance)=-?\d*\.?\d+",
        r"Include_Header=(?!/|.*\.\.)[\w.]([ !#-&(-~]*[!#-&(-~])?",
        r"Render_(Block_Size|Block_Step|Pattern)=-?\d+",
        r"Preview_(Start|End)_Size=-?\d+|Version=\d+(\.\d+)?",
        r"(Field_Render|Odd_Field|Grayscale_Output|Radiosity_Vain_Pretrace)=(on|off)",
        # Of POV-Ray 3.8.
        r"Antialias_Confidence=\d*\.?\d+|Stochastic_Seed=-?\d+|Greyscale_Output=(on|off)",
        r"Declare=[A-Za-z_][A-Za-z0-9_]*=[-+]?\d*\.?\d+([eE][-+]?\d+)?",
    )
)


@dataclass(frozen=True)
class RenderSettings:
    """What all frames of an animation have in common.

    scene: the scene file's path in the workspace, e.g. ``"shared/orbit.pov"``.
    width, height: image size in pixels.
    antialias: POV-Ray's threshold (``+A``), or None for none.
    antialias_method (``+AM``: 1 fixed grid, 2 adaptive), antialias_depth (``+R``),
    antialias_gamma (``+AG``), jitter (``+J`` amount, 0 is off, None is POV-Ray's default).
    quality: 0 (flat) to 11 (everything), POV-Ray's ``+Q``.
    initial_frame .. final_frame, initial_clock .. final_clock, cyclic: POV-Ray's animation loop;
    a scene sees exactly the clock variables that the loop gives it.
    one_frame_loop: whether the loop runs for frame 1 of 1, or 0 of 0, too. POV-Ray does so where
    it is told only one of the two; its clock is then no number, as its own loop's is.
    clock: for a still (one frame, no loop), its clock value.
    library_paths: workspace paths that POV-Ray searches for included files, in this order.
    options: further POV-Ray options, from a list of those that only change the picture, or its
    type: +FE is OpenEXR, +FH Radiance HDR, with linear light without bounds.
    threads: POV-Ray's render threads; with 1 the same frame always gets the same pixels.
    folder: POV-Ray's current folder in the workspace; empty is the workspace itself. Another one
    is ``"scene"`` or below it, and then what the shared resources have in ``scene`` lies in the
    workspace too, for scenes that name files from where they are.
    writable: files and folders below ``scene`` that the scene writes to, or asks for: files are
    copies there, not links to the shared resources, and folders exist.
    variant: digits that tell which of a job's variants this is, where it renders an animation or
    a still several times, e.g. with other values; they begin its images' and its frames' numbers.
    motion_blur: how many sub-frames a frame is the average of, 0 for none; shutter: degrees of the
    frame's time, 360, for which they are spread, from the frame's own clock on.

    Raises InputError for values that POV-Ray would refuse or misread.
    """

    scene: str
    width: int = 800
    height: int = 600
    antialias: float | None = None
    antialias_method: int | None = None
    antialias_depth: int | None = None
    antialias_gamma: float | None = None
    jitter: float | None = None
    quality: int = 9
    initial_frame: int = 1
    final_frame: int = 1
    initial_clock: float = 0.0
    final_clock: float = 1.0
    cyclic: bool = False
    one_frame_loop: bool = False
    clock: float | None = None
    library_paths: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    threads: int = 1
    folder: str = ""
    writable: tuple[str, ...] = ()
    variant: str = ""
    motion_blur: int = 0
    shutter: float = 180.0

    def __post_init__(self) -> None:
        self._check_types()
        self._check_numbers()
        self._check_folder()
        for path, what in [
            (self.scene, "the scene"),
            *((path, "a library path") for path in self.library_paths),
        ]:
            check_workspace_path(path, what)
            named = self._from_folder(path)
            if not named.isascii() or '"' in named:
                raise InputError(
                    f"{what} {path!r} has a character that POV-Ray 3.7 takes in no option "
                    "(non-ASCII, or a double quote): rename it"
                )
        for name in ("width", "height"):
            value = getattr(self, name)
            if not 1 <= value <= MAX_PIXELS_PER_SIDE:
                raise InputError(
                    f"{name} is {value}: an image is 1 to {MAX_PIXELS_PER_SIDE} pixels a side"
                )
        if self.variant and not re.fullmatch(r"[0-9]{1,9}", self.variant):
            raise InputError(f"variant is {self.variant!r}: it is digits, at most 9, such as '03'")
        self._check_images()
        if not 0 <= self.quality <= 11:
            raise InputError(f"quality is {self.quality}: POV-Ray knows 0 to 11")
        if self.initial_frame < 0:
            raise InputError(f"initial frame is {self.initial_frame}: frames are counted from 0 up")
        if self.final_frame < self.initial_frame:
            raise InputError(
                f"final frame {self.final_frame} is before initial frame {self.initial_frame}: "
                "the animation has no frames; swap them"
            )
        if self.final_frame > _MAX_FRAME:
            raise InputError(
                f"final frame is {self.final_frame}: POV-Ray counts to {_MAX_FRAME:,}, "
                f"and a job has at most {MAX_FRAMES:,} frames"
            )
        if not 1 <= self.threads <= MAX_THREADS:
            raise InputError(f"threads is {self.threads}: POV-Ray takes 1 to {MAX_THREADS}")
        for option in self.options:
            if not any(pattern.fullmatch(option) for pattern in _ALLOWED_OPTIONS):
                raise InputError(
                    f"POV-Ray option {option!r} is not among those a frame may have "
                    "(only what changes the picture); remove it"
                )

    def _check_images(self) -> None:
        self._check_motion_blur()
        if self.is_unbounded and "Grayscale_Output=on" in self.options:
            raise InputError(
                "POV-Ray writes OpenEXR and HDR images in colour only: remove Grayscale_Output, or "
                "+FE and +FH"
            )

    def _check_motion_blur(self) -> None:
        if not 0 < self.shutter <= _FULL_SHUTTER:
            raise InputError(f"shutter is {self.shutter:g}: it is degrees, above 0 to 360")
        if not self.motion_blur:
            return
        if not 2 <= self.motion_blur <= MOST_SUB_FRAMES:
            raise InputError(
                f"motion blur is of {self.motion_blur} sub-frames: give 2 to {MOST_SUB_FRAMES}"
            )
        if not self.is_animation:
            raise InputError(
                "motion blur is of a time between frames, and a still has none: make it a frame of "
                "an animation (+KFF)"
            )
        refused = [option for option in self.options if _NOT_BLURRED.match(option)]
        if refused:
            raise InputError(
                f"{refused[0]} cannot be together with motion blur, whose images are RGB in sRGB: "
                "remove one of them"
            )

    def _check_folder(self) -> None:
        paths = [*((self.folder,) if self.folder else ()), *self.writable]
        for path in paths:
            check_workspace_path(path, "a folder of the scene")
            if path.split("/", 1)[0] != SCENE_FOLDER:
                raise InputError(
                    f"the folder {path!r} is not in {SCENE_FOLDER!r}: the scene's folders are below"
                    " it, in the shared resources and in the workspace"
                )
        if self.writable and not self.folder:
            raise InputError(
                "writable paths are for a scene with a folder of its own: give folder too"
            )

    def _from_folder(self, path: str) -> str:
        """A workspace path as POV-Ray is to be told it."""
        return posixpath.relpath(f"/{path}", f"/{self.folder}") if self.folder else path

    def _check_numbers(self) -> None:
        for name, most in (("antialias_method", 3), ("antialias_depth", 9)):
            if getattr(self, name) is not None and not 1 <= getattr(self, name) <= most:
                raise InputError(f"{name} is {getattr(self, name)}: POV-Ray knows 1 to {most}")
        for name in (*_REAL, *_MAYBE_REAL):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise InputError(f"{name} is {number}: it has to be a finite number")

    def _check_types(self) -> None:
        """Settings come from manifests too, and whatever is in them ends up in the command."""
        for names, types, what in (
            (("scene", "folder", "variant"), (str,), "a text"),
            (("cyclic", "one_frame_loop"), (bool,), "true or false"),
            (("library_paths", "options", "writable"), (tuple,), "a list of texts"),
            (_WHOLE, (int,), "a whole number"),
            (_MAYBE_WHOLE, (int, type(None)), "a whole number"),
            (_REAL, (int, float), "a number"),
            (_MAYBE_REAL, (int, float, type(None)), "a number"),
        ):
            for name in names:
                value = getattr(self, name)
                # To Python, True is the number 1.
                if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                    raise InputError(f"{name} is {value!r}, which is not {what}")
        for name in ("library_paths", "options", "writable"):
            if not all(isinstance(value, str) for value in getattr(self, name)):
                raise InputError(f"{name} is {getattr(self, name)!r}, which is not a list of texts")

    @property
    def is_animation(self) -> bool:
        """Whether POV-Ray runs its animation loop (for frame 1 of 1, or 0 of 0, if told so)."""
        return self.one_frame_loop or not self._is_one_frame

    @property
    def _is_one_frame(self) -> bool:
        return (self.initial_frame, self.final_frame) in ((1, 1), (0, 0))

    def number_of(self, loop_frame: int) -> int:
        """The number of a frame of POV-Ray's own loop in a job: the variant's digits come first."""
        if not self.variant:
            return loop_frame
        return int(self.variant + (self._digits_of(loop_frame) if self.is_animation else ""))

    def loop_frame(self, frame: int) -> int:
        """The frame of POV-Ray's own loop that a number in a job means: number_of, inverted."""
        if not self.variant:
            return frame
        if not self.is_animation:
            return self.initial_frame if frame == int(self.variant) else -1
        before = int(self.variant + "0" * len(self._digits_of(0)))
        return frame - before

    def _digits_of(self, loop_frame: int) -> str:
        """POV-Ray pads the frame number to the width of the final one.

        A cyclic animation's final frame counts as one more (POV-Ray 3.7.0.10, tried).
        """
        return f"{loop_frame:0{len(str(self.final_frame + self.cyclic))}d}"

    def image_name(self, frame: int) -> str:
        """The image's file name, in which POV-Ray puts the frame's digits after a variant's."""
        if not self.is_animation:
            return f"frame_{self.variant or 1}{self.image_ending}"
        digits = self._digits_of(self.loop_frame(frame))
        return f"frame_{self.variant}{digits}{self.image_ending}"

    def clock_of(self, frame: int) -> float:
        """The ``clock`` that a scene sees in this frame, as POV-Ray's animation loop counts it.

        A loop of one frame divides by no steps: POV-Ray's clock is no number there (3.7.0.10,
        tried), and this is initial_clock.
        """
        if not self.is_animation:
            return self.clock or 0.0
        steps = self.final_frame - self.initial_frame + self.cyclic
        if steps == 0:
            return self.initial_clock
        share = (self.loop_frame(frame) - self.initial_frame) / steps
        return self.initial_clock + share * (self.final_clock - self.initial_clock)

    def command(self, frame: int) -> list[str]:
        """POV-Ray's argument list for one frame, without a shell's quoting.

        The frame is run as a subset of the whole loop, which gives the scene the loop's own
        ``clock``, ``clock_delta``, ``initial_clock``… (POV-Ray 3.7 reference, 3.2.1.1).
        """
        loop_frame = self.loop_frame(frame)
        own = f"frame_{self.variant}{self.image_ending}"
        image = own if self.is_animation else self.image_name(frame)
        arguments = [
            "povray",
            f"+I{quoted(self._from_folder(self.scene))}",
            f"+O{self._from_folder(f'output/{image}')}",
            f"+W{self.width}",
            f"+H{self.height}",
            f"+Q{self.quality}",
        ]
        if self.antialias is None:
            arguments.append("-A")
        else:
            arguments += self._threshold(self.antialias)
            if self.antialias_method is not None:
                arguments.append(f"+AM{self.antialias_method}")
            if self.antialias_depth is not None:
                arguments.append(f"+R{self.antialias_depth}")
            if self.antialias_gamma is not None:
                arguments.append(f"+AG{decimal(self.antialias_gamma)}")
            if self.jitter is not None:
                arguments.append(f"+J{decimal(self.jitter)}" if self.jitter > 0 else "-J")
        if self.is_animation:
            arguments += [
                *self._first_frame(),
                f"+KFF{self.final_frame}",
                f"+KI{decimal(self.initial_clock)}",
                f"+KF{decimal(self.final_clock)}",
                "+KC" if self.cyclic else "-KC",
                f"+SF{loop_frame}",
                f"+EF{loop_frame}",
            ]
        elif self.clock is not None:
            arguments.append(f"+K{decimal(self.clock)}")
        arguments += [f"+L{quoted(self._from_folder(path))}" for path in self.library_paths]
        # Settings that decide what files are written, after the user's own so that they win.
        arguments += [_argument(option) for option in self.options]
        arguments += ["+FN" if not self._has_file_type else "", f"+WT{self.threads}"]
        arguments += ["-D", "-P", "+GA"]
        return [argument for argument in arguments if argument]

    def sub_frame_command(self, frame: int, sub_frame: int) -> list[str]:
        """POV-Ray's argument list for a sub-frame, from 0, with linear values in a PPM.

        The whole loop's clocks are shifted by a part of what lies between two frames, so that
        ``frame_number`` and ``clock_delta`` stay the frame's; later options win.
        """
        shift = self.clock_shift(sub_frame)
        return [
            *self.command(frame),
            f"+O{self._from_folder(f'output/frame_{self.variant}.ppm')}",
            "+FP16",
            "File_Gamma=1.0",
            f"+KI{decimal(self.initial_clock + shift)}",
            f"+KF{decimal(self.final_clock + shift)}",
        ]

    def clock_shift(self, sub_frame: int) -> float:
        """What is added to the clock of each frame for a sub-frame of it, from 0."""
        steps = self.final_frame - self.initial_frame + self.cyclic
        delta = (self.final_clock - self.initial_clock) / steps if steps else 0.0
        return delta * self.shutter / _FULL_SHUTTER * sub_frame / self.motion_blur

    @property
    def bits(self) -> int:
        """Bits a colour of a motion-blurred image: 16 where more than 8 are asked for."""
        given = [option[3:] for option in self.options if option.startswith("+FN")]
        return 16 if given and int(given[-1] or 8) > 8 else 8

    def _threshold(self, threshold: float) -> list[str]:
        """POV-Ray takes thresholds of all sizes, but as +A only those between 0 and 1 (tried)."""
        if 0 < threshold < 1:
            return [f"+A{decimal(threshold)}"]
        return ["Antialias=on", f"Antialias_Threshold={decimal(threshold)}"]

    def _first_frame(self) -> list[str]:
        """The loop's first frame, told so that POV-Ray runs its loop."""
        if not self._is_one_frame:
            return [f"+KFI{self.initial_frame}"]
        # POV-Ray takes the same two numbers for a still; its first frame is 1 if there is no word
        # of it, and 0 if it is below 0.
        return [] if self.initial_frame == 1 else ["+KFI-1"]

    @property
    def _has_file_type(self) -> bool:
        return any(option[:3] in _ENDINGS for option in self.options)

    @property
    def image_ending(self) -> str:
        """One of IMAGE_ENDINGS."""
        given = [option[:3] for option in self.options if option[:3] in _ENDINGS]
        return _ENDINGS[given[-1]] if given else ".png"

    @property
    def is_unbounded(self) -> bool:
        """Whether the images hold linear light, as bright as it is: OpenEXR and Radiance HDR."""
        return self.image_ending != ".png"

    def to_json(self) -> dict[str, Any]:
        """Plain data, for the manifest."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.__dict__.items()
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RenderSettings:
        """The inverse of to_json; raises InputError for what is not such data."""
        if not isinstance(data, dict):
            raise InputError(f"the render settings are not readable: {data!r:.60}")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        try:
            return cls(**values)
        except (TypeError, OverflowError) as error:
            raise InputError(f"the render settings are not readable: {error}") from error


def quoted(path: str) -> str:
    """POV-Ray splits and interprets unquoted arguments itself (tried with 3.7.0.10)."""
    return path if re.fullmatch(r"[\w./-]+", path) else f'"{path}"'


def _argument(option: str) -> str:
    """An option as POV-Ray takes it: the file name of a header may have blanks."""
    name, equals, value = option.partition("=")
    return f"{name}={quoted(value)}" if equals and name == "Include_Header" else option


def decimal(value: float) -> str:
    """The shortest decimal that POV-Ray reads back as the same double, without an exponent."""
    return format(Decimal(repr(float(value))), "f").removesuffix(".0")

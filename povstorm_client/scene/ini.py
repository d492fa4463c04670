"""Read POV-Ray's settings: ini files with their sections, and command-line switches.

load_scene calls it. The syntax is that of the POV-Ray 3.7 reference, section 3.2 "Command-Line and
INI-File Options"; what the reference leaves open was tried with POV-Ray 3.7.0.10.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from povstorm_client.errors import InputError

_TRUE = ("on", "true", "yes", "1")
_FALSE = ("off", "false", "no", "0")

_NUMBERS = {
    "width", "height", "quality", "clock", "initial_frame", "final_frame", "initial_clock",
    "final_clock", "subset_start_frame", "subset_end_frame", "antialias_threshold",
    "antialias_depth", "antialias_gamma", "jitter_amount", "sampling_method", "bits_per_color",
}  # fmt: skip
_SWITCHED = {"antialias", "jitter", "cyclic_animation"}
# Handed to POV-Ray as they are: they change the picture, and RenderSettings lets them through.
_PASSED = {
    name.casefold(): name
    for name in (
        "Bounding", "Bounding_Method", "Bounding_Threshold", "Light_Buffer", "Vista_Buffer",
        "Remove_Bounds", "Split_Unions", "High_Reproducibility", "Output_Alpha", "Dither",
        "Dither_Method", "Display_Gamma", "File_Gamma", "BSP_MaxDepth", "BSP_IsectCost",
        "BSP_BaseCost", "BSP_ChildCost", "BSP_MissChance",
    )
}  # fmt: skip
_PASSED_SWITCHES = {
    "bounding", "light_buffer", "vista_buffer", "remove_bounds", "split_unions",
    "high_reproducibility", "output_alpha", "dither",
}  # fmt: skip
# About windows, consoles, log files, threads and file naming: povstorm's own business.
_IGNORED = {
    "display", "video_mode", "palette", "pause_when_done", "verbose", "draw_vistas", "test_abort",
    "test_abort_count", "preview_start_size", "preview_end_size", "continue_trace", "create_ini",
    "output_to_file", "output_file_name", "buffer_output", "buffer_size", "all_console",
    "debug_console", "fatal_console", "render_console", "statistic_console", "warning_console",
    "all_file", "debug_file", "fatal_file", "render_file", "statistic_file", "warning_file",
    "append_file", "warning_level", "work_threads", "render_block_size", "render_block_step",
    "render_pattern", "create_histogram", "histogram_name", "histogram_type",
    "histogram_grid_size", "compression", "radiosity", "max_image_buffer_memory",
    "real_time_raytracing", "lightbuffer",
}  # fmt: skip
_SHELL = re.compile(r"(pre|post)_(scene|frame)_(command|return)|(user_abort|fatal_error)_\w+")
_UNSUPPORTED = {
    "start_row", "end_row", "start_column", "end_column", "field_render", "odd_field",
}  # fmt: skip

# The switches that are another way to write a key; longer ones first where one begins another.
_SWITCHES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), key)
    for pattern, key in (
        (r"\+KFI(.+)", "initial_frame"),
        (r"\+KFF(.+)", "final_frame"),
        (r"\+KI(.+)", "initial_clock"),
        (r"\+KF(.+)", "final_clock"),
        (r"([+-])KC", "cyclic_animation"),
        (r"\+K(.+)", "clock"),
        (r"\+SF(.+)", "subset_start_frame"),
        (r"\+EF(.+)", "subset_end_frame"),
        (r"\+(?:SR|SC|ER|EC).+", "start_row"),
        (r"[+-]UF|\+UO", "field_render"),
        (r"\+SP.*|\+EP.*", "preview_start_size"),
        (r"\+I(.+)", "input_file_name"),
        (r"\+HI(.+)", "include_header"),
        (r"[+-]H[TNSRG].*", "histogram_name"),
        (r"\+L(.+)", "library_path"),
        (r"\+W(\d.*)", "width"),
        (r"\+WT.*", "work_threads"),
        (r"\+WL.*", "warning_level"),
        (r"\+H(\d.*)", "height"),
        (r"\+AM(.+)", "sampling_method"),
        (r"\+AG(.+)", "antialias_gamma"),
        (r"\+R(\d+)", "antialias_depth"),
        (r"\+Q(.+)", "quality"),
        (r"\+MV(.+)", "version"),
        (r"([+-])UA", "output_alpha"),
        (r"([+-])UR", "remove_bounds"),
        (r"([+-])SU", "split_unions"),
        (r"([+-])UL", "light_buffer"),
        (r"([+-])UV", "vista_buffer"),
        (r"([+-])HR", "high_reproducibility"),
        (r"\+BM(.+)", "bounding_method"),
        (r"\+F(\w*)", "output_file_type"),
        (r"[+-](?:D|P|V|X|C|O|B|BI|RP|RVP|G[ADFIRSW]|UD|THFS|MI)(?![A-Za-z]).*", "display"),
        (r"[+-](?:D|G|GI|RP|BP|O).*", "display"),
        (r"-F", "display"),
    )
)


@dataclass
class PovraySettings:
    """What ini files and switches said, by POV-Ray's key in lower case; later ones win.

    library_paths are as written, in order; options are POV-Ray options to hand on.
    """

    values: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    switched: dict[str, bool] = field(default_factory=dict)
    library_paths: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def integer(self, key: str) -> int | None:
        """A number that counts something; POV-Ray cuts off its fraction."""
        number = self.numbers.get(key)
        return None if number is None else int(number)


def read_ini(settings: PovraySettings, path: Path, sections: tuple[str, ...] = ()) -> None:
    """Add an ini file: what precedes its first section, and the sections that are asked for.

    Section names compare without regard to case and repeated blanks; several sections of one
    name all count. Raises InputError, with file and line, for what POV-Ray would refuse, for
    shell-out commands, and for a section that the file does not have.
    """
    wanted = {_section_name(section): section for section in sections}
    seen: set[str] = set()
    current: str | None = None
    for number, line in enumerate(_lines(path), start=1):
        text = _without_comment(line).strip()
        if text.startswith("[") and text.endswith("]"):
            current = _section_name(text[1:-1])
            seen.add(current)
        elif text and (current is None or current in wanted):
            _read_line(settings, text, path, f"{path}:{number}")
    for name, section in wanted.items():
        if name not in seen:
            known = ", ".join(f"[{name}]" for name in sorted(seen)) or "none"
            raise InputError(f"{path} has no section [{section}]; it has {known}")


def read_switches(settings: PovraySettings, words: Iterable[str]) -> None:
    """Add command-line words: switches such as ``+W640``, ``Key=value``, further ini files."""
    for word in words:
        _read_word(settings, word, Path(), "command line")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise InputError(f"ini file {path} cannot be read: {error.strerror}") from error


def _section_name(name: str) -> str:
    return " ".join(name.casefold().split())


def _without_comment(line: str) -> str:
    quote = ""
    for place, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == ";" or (character == "#" and not line[:place].strip()):
            return line[:place]
    return line


def _read_line(settings: PovraySettings, text: str, path: Path, where: str) -> None:
    if re.match(r"[A-Za-z_]+\s*=", text):
        key, _, value = text.partition("=")
        _set(settings, key.strip(), _unquoted(value.strip()), path, where)
    else:
        for word in _words(text):
            _read_word(settings, word, path, where)


def _words(text: str) -> Iterator[str]:
    """Words that blanks separate; quotes keep blanks together and vanish."""
    for match in re.finditer(r"(?:[^\s\"']+|\"[^\"]*\"|'[^']*')+", text):
        yield re.sub(r"[\"']", "", match[0])


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def _read_word(settings: PovraySettings, word: str, path: Path, where: str) -> None:
    if re.match(r"[A-Za-z_]+=", word):
        key, _, value = word.partition("=")
        _set(settings, key, _unquoted(value), path, where)
        return
    if not word.startswith(("+", "-")):
        if word.casefold().endswith(".ini"):
            read_ini(settings, path.parent / word)
        else:
            settings.values["input_file_name"] = word
        return
    if match := re.fullmatch(r"\+A(\d*\.?\d*)|-A(\d*\.?\d*)", word, re.IGNORECASE):
        settings.switched["antialias"] = word[0] == "+"
        if match[1]:
            settings.numbers["antialias_threshold"] = float(match[1])
        return
    if match := re.fullmatch(r"([+-])J(\d*\.?\d*)", word, re.IGNORECASE):
        settings.switched["jitter"] = match[1] == "+"
        if match[2]:
            settings.numbers["jitter_amount"] = float(match[2])
        return
    if match := re.fullmatch(r"([+-])MB(\d*)", word, re.IGNORECASE):
        settings.options["bounding"] = word
        return
    for pattern, key in _SWITCHES:
        if match := pattern.fullmatch(word):
            value = match[1] if match.groups() else ""
            value = {"+": "on", "-": "off"}.get(value, value)
            _set(settings, key, value, path, where, as_written=word)
            return
    raise InputError(f"{where}: POV-Ray has no option {word!r}: check its spelling")


def _set(
    settings: PovraySettings,
    key: str,
    value: str,
    path: Path,
    where: str,
    *,
    as_written: str | None = None,
) -> None:
    name = key.casefold()
    written = as_written or f"{key}={value}"
    if name in _NUMBERS:
        settings.numbers[name] = _number(value, written, where)
        # As in POV-Ray, giving a detail of antialiasing does not turn it on.
    elif name in _SWITCHED:
        settings.switched[name] = _switch(value, written, where)
    elif name == "library_path":
        settings.library_paths.append(value)
    elif name in ("input_file_name", "include_header"):
        settings.values[name] = value
    elif name == "include_ini":
        read_ini(settings, path.parent / value)
    elif name == "declare":
        settings.options[f"declare {value.partition('=')[0]}"] = f"Declare={value}"
    elif name == "version":
        settings.options["version"] = f"+MV{value}"
    elif name == "output_file_type":
        _set_file_type(settings, value, where)
    elif name in _PASSED:
        if name in _PASSED_SWITCHES:
            value = "on" if _switch(value, written, where) else "off"
        settings.options[name] = f"{_PASSED[name]}={value}"
    elif name not in _IGNORED:
        _refuse(name, value, written, where)


def _refuse(name: str, value: str, written: str, where: str) -> None:
    if _SHELL.fullmatch(name):
        raise InputError(
            f"{where}: {written!r} would run a program: povstorm runs none beside POV-Ray; "
            "remove the line and run the program yourself"
        )
    if name not in _UNSUPPORTED:
        raise InputError(f"{where}: POV-Ray has no option {written!r}: check its spelling")
    if value.casefold() not in _FALSE:
        raise InputError(
            f"{where}: {written!r} is not supported: povstorm renders whole frames; remove it"
        )


def _set_file_type(settings: PovraySettings, value: str, where: str) -> None:
    kind = value[:1].upper()
    if kind == "N":
        if value[1:] in ("8", "16"):
            settings.options["output_file_type"] = f"+FN{value[1:]}"
    elif kind:
        settings.warnings.append(f"{where}: povstorm writes PNG images, not file type {value!r}")


def _number(value: str, written: str, where: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise InputError(f"{where}: {written!r} needs a number") from error


def _switch(value: str, written: str, where: str) -> bool:
    if value.casefold() in _TRUE:
        return True
    if value.casefold() in _FALSE:
        return False
    raise InputError(f"{where}: {written!r} is neither on nor off")

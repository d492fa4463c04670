"""Read POV-Ray's settings: ini files with their sections, and command-line switches.

load_scene calls it. The syntax is that of the POV-Ray 3.7 reference, section 3.2 "Command-Line and
INI-File Options"; what the reference leaves open was tried with POV-Ray 3.7.0.10.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from re import Match
from typing import TypeVar

from povstorm_client.errors import InputError
from povstorm_client.frames.render_settings import decimal
from povstorm_client.plain_files import check_plain
from povstorm_client.programs.tools import povray_is_newer
from povstorm_client.scene import ini_values
from povstorm_client.scene.ini_options import (
    KEYS,
    NEWER,
    NEWER_KEYS,
    NEWER_SWITCHES,
    SWITCHES,
    Key,
    Switch,
)
from povstorm_client.scene.ini_text import (
    OPTION,
    QUOTED,
    SWITCH,
    WORD,
    lines,
    options_of_word,
    plain_value,
    section_name,
    split_sections,
    unquoted,
)

# An Include_Ini that names itself; POV-Ray would read until it runs out of files.
_DEEPEST = 20
# POV-Ray takes the nearest of these for other numbers of bits a colour.
_LEAST_BITS, _MOST_BITS = 5, 16
_Value = TypeVar("_Value")


@dataclass
class PovraySettings:
    """What ini files and switches said, by POV-Ray's key in lower case; later ones win.

    library_paths are as written, in order; output is where POV-Ray's own loop would put its images,
    which povstorm does not; options are POV-Ray options to hand on. Of several Declares of one name
    the first wins (tried; case counts). read: the ini files.
    """

    values: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    switched: dict[str, bool] = field(default_factory=dict)
    library_paths: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    output: str = field(default="", compare=False)
    read: list[Path] = field(default_factory=list, compare=False)

    def integer(self, key: str) -> int | None:
        """A number that counts something; POV-Ray cuts off its fraction."""
        number = self.numbers.get(key)
        return None if number is None else int(number)


@dataclass(frozen=True)
class _Place:
    """Where an option stands: for messages, and to find the ini files that it names."""

    text: str
    folders: tuple[Path, ...]
    depth: int = 0


def read_ini(
    settings: PovraySettings,
    path: Path,
    sections: tuple[str, ...] = (),
    *,
    folder: Path | None = None,
    _depth: int = 0,
) -> None:
    """Add an ini file: what precedes its first section, and the sections that are asked for.

    Section names compare without regard to case and repeated blanks; several sections of one
    name all count. POV-Ray takes only the first section asked for, and only with the same blanks:
    a warning tells where that makes a difference. Further ini files that it names are looked for in
    folder (POV-Ray's current one), in the library paths given so far, and beside it.

    Raises InputError, with file and line, for what POV-Ray would refuse or misread, for shell-out
    commands, and for a section that the file does not have.
    """
    if _depth > _DEEPEST:
        raise InputError(f"{path} is included by itself: remove its Include_Ini")
    settings.read.append(path)
    folders = (*((folder,) if folder else ()), path.parent)
    wanted = {section_name(section): section for section in sections}
    seen: set[str] = set()
    if len(wanted) > 1:
        settings.warnings.append(
            f"{path}: POV-Ray reads the first section alone of {_bracketed(sections)}, here all "
            f"count; for POV-Ray name the file once for each, {path.name}[{sections[0]}]"
        )
    current: str | None = None
    for number, line in enumerate(lines(path), start=1):
        text = line.strip()
        if text.startswith("["):
            name, end, _ = text[1:].partition("]")
            if not end:
                raise InputError(f"{path}:{number}: section {text!r} has no closing bracket")
            current = section_name(name)
            seen.add(current)
            if current in wanted and name.casefold() != wanted[current].casefold():
                settings.warnings.append(
                    f"{path}:{number}: POV-Ray does not take [{name}] for [{wanted[current]}], as "
                    "the blanks differ: write them alike"
                )
        elif current is None or current in wanted:
            _read_line(settings, text, _Place(f"{path}:{number}", folders, _depth))
    for name, section in wanted.items():
        if name not in seen:
            known = ", ".join(f"[{name}]" for name in sorted(seen)) or "none"
            raise InputError(f"{path} has no section [{section}]; it has {known}")


def _bracketed(sections: tuple[str, ...]) -> str:
    return "".join(f"[{section}]" for section in sections)


def names_file(word: str) -> bool:
    """Whether a command-line word is a scene or an ini file, no option and no library path."""
    if word[:1] in ("+", "-") or word.endswith("/"):
        return False
    match = OPTION.match(word)
    return match is None or not _is_key(match[1])


def split_words(words: Iterable[str], folder: Path | None = None) -> list[str]:
    """Command-line words one option or file each, as POV-Ray takes a shell's words apart.

    A file of folder that has blanks in its name stays one, other than in POV-Ray.
    """
    split: list[str] = []
    for word in words:
        file = (folder or Path()) / split_sections(word)[0]
        # Unlike Path.is_file it takes no offence at a name that is too long.
        is_file = names_file(word) and os.path.isfile(file)  # noqa: PTH113
        split += [word] if is_file else options_of_word(word, _is_key)
    return split


def read_switches(
    settings: PovraySettings, words: Iterable[str], *, folder: Path | None = None
) -> None:
    """Add command-line words: switches such as ``+W640``, ``Key=value``, further ini files."""
    place = _Place("command line", (folder or Path(),))
    for word in split_words(words, folder):
        if (match := OPTION.match(word)) and _is_key(match[1]):
            _set(settings, match[1], unquoted(word[match.end() :]), word, place)
        elif word[:1] in ("+", "-"):
            letters, quote, _ = word.partition('"')
            value = unquoted(word[len(letters) :]) if quote else None
            _read_switch(settings, letters, value, word, place)
        else:
            _read_word(settings, unquoted(word), place)


def _read_line(settings: PovraySettings, text: str, place: _Place) -> None:
    """Switches and file names, as many as there are, and at most one ``Key=value`` at the end."""
    position = 0
    while position < len(text) and text[position] not in ";#":
        if match := OPTION.match(text, position):
            position = _read_option(settings, match, text, place)
        elif match := SWITCH.match(text, position):
            value = QUOTED.match(text, match.end())
            position = (value or match).end()
            quoted = unquoted(value[0]) if value else None
            _read_switch(settings, match[0], quoted, text[match.start() : position], place)
        elif match := QUOTED.match(text, position) or WORD.match(text, position):
            position = match.end()
            _read_word(settings, unquoted(match[0]), place)
        else:
            raise InputError(f"{place.text}: {text[position:]!r} is not understood: correct it")
        position += len(text[position:]) - len(text[position:].lstrip())


def _read_option(settings: PovraySettings, match: Match[str], text: str, place: _Place) -> int:
    """``Key=value, value…``; what else the line holds POV-Ray skips, so a warning tells."""
    key, position = match[1], match.end()
    while True:
        quoted = QUOTED.match(text, position)
        value = quoted[0] if quoted else plain_value(text, position, _is_key)
        _set(settings, key, unquoted(value), f"{key}={value}", place)
        rest = text[position + len(value) :].lstrip()
        if not rest.startswith(","):
            break
        position = len(text) - len(rest[1:].lstrip())
    if rest and rest[0] not in ";#":
        settings.warnings.append(
            f"{place.text}: POV-Ray ignores {rest!r}: an option ends its line; use a line for each"
        )
    return len(text)


def _read_switch(
    settings: PovraySettings, word: str, quoted: str | None, written: str, place: _Place
) -> None:
    if NEWER.match(word):
        key = NEWER_SWITCHES.get(word[1:3].upper())
        if key is None or not povray_is_newer():
            raise _unknown(written, place)
        _set(settings, key, word[3:], written, place)
        return
    bare: Switch | None = None
    for switch in SWITCHES:
        if not word[1:].upper().startswith(switch.letters):
            continue
        value = word[1 + len(switch.letters) :]
        if quoted is not None:
            if value:
                break
            value = quoted
        if switch.value_key if value else switch.sign_key:
            _apply(settings, switch, word[0] == "+", value, written, place)
            return
        bare = bare or switch
    raise _unknown(written, place) if bare is None else _without_value(bare, written, place)


def _apply(
    settings: PovraySettings, switch: Switch, is_on: bool, value: str, written: str, place: _Place
) -> None:
    if switch.sign_key:
        _set(settings, switch.sign_key, "on" if is_on else "off", written, place)
    if switch.value_key == "+F" and value:
        _set_file_type(settings, value, written, place)
    elif value and switch.letters in ("SF", "EF"):
        # Only after the letters SF0 or EF0 POV-Ray reads a fraction.
        frame = _read(ini_values.integer, value, written, place)
        _set(settings, switch.value_key, str(frame), written, place)
    elif value:
        _set(settings, switch.value_key, value, written, place)


def _is_key(name: str) -> bool:
    return _known_key(name) is not None


def _known_key(name: str) -> Key | None:
    """The key that the POV-Ray that renders here has by that name."""
    newer = NEWER_KEYS.get(name.casefold())
    if newer is not None and povray_is_newer():
        return newer
    return KEYS.get(name.casefold())


def _read_word(settings: PovraySettings, word: str, place: _Place) -> None:
    """A scene, a library path, or else an ini file, by how the name ends."""
    if "=" in word:
        raise _unknown(word, place)
    if word.casefold().endswith(".pov"):
        settings.values["input_file_name"] = word
    elif word.endswith("/"):
        settings.library_paths.append(word)
    else:
        _include(settings, word, place)


def _unknown(written: str, place: _Place) -> InputError:
    if NEWER.match(written):
        return InputError(
            f"{place.text}: {written!r} is an option of POV-Ray 3.8, and 3.7, which renders here, "
            "has none like it: remove it, or name a POV-Ray 3.8 with --povray PATH"
        )
    return InputError(f"{place.text}: POV-Ray has no option {written!r}: check its spelling")


def _without_value(switch: Switch, written: str, place: _Place) -> InputError:
    instead = ", or --output FOLDER for where results go" if switch.letters == "O" else ""
    return InputError(
        f"{place.text}: POV-Ray's option {written!r} wants its value right behind it, as in "
        f"{written.strip()}VALUE{instead}"
    )


def _include(settings: PovraySettings, name: str, place: _Place) -> None:
    file, sections = split_sections(name)
    current, *beside = place.folders
    for folder in (current, *(current / path for path in settings.library_paths), *beside):
        for path in (folder / file, folder / f"{file}.ini"):
            check_plain(path)
            if path.is_file():
                read_ini(settings, path, sections, folder=current, _depth=place.depth + 1)
                return
    raise InputError(f"{place.text}: {name!r} is neither an option nor an ini file that exists")


def _set(settings: PovraySettings, key: str, value: str, written: str, place: _Place) -> None:
    known = _known_key(key)
    if known is None:
        raise _unknown(written, place)
    name = key.casefold()
    match known.kind:
        case "integer":
            settings.numbers[name] = _read(ini_values.integer, value, written, place)
        case "number":
            settings.numbers[name] = _read(ini_values.number, value, written, place)
        case "on/off":
            settings.switched[name] = _read(ini_values.switch, value, written, place)
        case "text" | "library" | "output" | "ini":
            _take_path(settings, known, value, place)
        case "declare":
            _declare(settings, value, written, place)
        case "file type":
            # Only its first letter counts in an ini (tried): N16 is 8 bits there, +FN16 is not.
            _set_file_type(settings, value[:1], written, place)
        case "bits" | "passed on/off" | "passed integer" | "passed number" | "passed text":
            _hand_on(settings, known, value, written, place)
        case "program" | "refused":
            _refuse(known, value, written, place)
        case "ignored":
            pass


def _take_path(settings: PovraySettings, key: Key, value: str, place: _Place) -> None:
    match key.kind:
        case "library":
            settings.library_paths.append(value)
        case "output":
            settings.output = value
        case "ini":
            _include(settings, value, place)
        case _:
            settings.values[key.name.casefold()] = value


def _declare(settings: PovraySettings, value: str, written: str, place: _Place) -> None:
    name, equals, number = value.partition("=")
    if not equals:
        raise InputError(f"{place.text}: {written!r} has no value: write Declare=NAME=NUMBER")
    declared = decimal(_read(ini_values.number, number, written, place))
    settings.options.setdefault(f"declare {name}", f"Declare={name}={declared}")


def _hand_on(settings: PovraySettings, key: Key, value: str, written: str, place: _Place) -> None:
    match key.kind:
        case "bits":
            bits = _read(ini_values.integer, value, written, place)
            option = f"+FN{min(max(bits, _LEAST_BITS), _MOST_BITS)}"
        case "passed on/off":
            is_on = _read(ini_values.switch, value, written, place)
            option = f"{key.name}={'on' if is_on else 'off'}"
        case "passed integer":
            option = f"{key.name}={_read(ini_values.integer, value, written, place)}"
        case "passed number":
            option = f"{key.name}={decimal(_read(ini_values.number, value, written, place))}"
        case _:
            option = f"{key.name}={value}"
    settings.options["bits_per_color" if key.kind == "bits" else key.name.casefold()] = option
    if key.kind == "bits" and "file type" in settings.options:
        # Bits alone make no other type of it, as +FN would that comes last.
        settings.options["file type"] = settings.options.pop("file type")


def _refuse(key: Key, value: str, written: str, place: _Place) -> None:
    if key.kind == "program" and value:
        raise InputError(
            f"{place.text}: {written!r} would run a program: povstorm runs none beside POV-Ray; "
            "remove the line and run the program yourself"
        )
    if key.kind == "refused" and not ini_values.is_off(value):
        raise InputError(
            f"{place.text}: {written!r} is not supported: povstorm renders whole frames, each one "
            "by itself; remove it"
        )


def _set_file_type(settings: PovraySettings, value: str, written: str, place: _Place) -> None:
    """``+FN16``: the letter of a format, then bits per colour or g for grey."""
    kind, detail = value[:1].upper(), value[1:].casefold()
    if detail == "g":
        settings.options["grayscale_output"] = "Grayscale_Output=on"
    elif detail:
        _set(settings, "Bits_Per_Color", detail, written, place)
    # The last one counts, also of options.
    settings.options.pop("file type", None)
    if kind in ("E", "H"):
        settings.options["file type"] = f"+F{kind}"
    elif kind not in ("N", "S", ""):
        settings.warnings.append(
            f"{place.text}: povstorm writes PNG images (or OpenEXR and HDR, +FE and +FH), not file "
            f"type {kind}"
        )


def _read(reader: Callable[[str], _Value], value: str, written: str, place: _Place) -> _Value:
    try:
        return reader(value)
    except ValueError as error:
        raise InputError(f"{place.text}: {written!r} {error}") from error

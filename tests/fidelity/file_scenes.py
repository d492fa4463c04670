"""Scenes that do all sorts of things with files, in folders of all shapes, and what comes of it.

tests/integration/test_file_fidelity.py renders some; ``python -m tests.fidelity.file_scenes 1000``
as many as are wanted. Everything that a scene finds, reads or misses goes into one number, which is
the colour of its background.
"""

from __future__ import annotations

import itertools
import posixpath
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from povstorm_client.errors import InputError, RenderError
from povstorm_client.launch.trace_process import trace_scene
from povstorm_client.scene.load_scene import load_scene
from povstorm_client.scene.trace import Tracer
from povstorm_client.storage.folder import FolderStorage
from tests.fidelity.compare import by_povray, by_povstorm, differences

FRAMES = ("+W32", "+H24", "+KFF3")
# POV-Ray reads on for ever in what is a folder.
_SECONDS = 20
_FOLDERS = ("", "shared", "output", "scene", "sub", "sub/deep", "lib", "übrig")
_INCLUDES = ("c.inc", "d.inc", "colors.inc", "consts.inc", "part1.inc", "part2.inc", "a b.inc")
_TEXTS = ("data.txt", "data", "name.txt", "log.txt", "data1.txt", "data2.txt")
_IMAGES = ("tex1.png", "tex2.png")
_BATCH = 100
# What tells the user that povstorm cannot know.
_TOLD = (
    "can name any file",
    "can write to any file",
    "frames differ from POV-Ray's",
    "is appended to",
)
# What is refused of a scene that POV-Ray itself renders, however well it is known.
_NOT_TRACED = (
    "absolute paths",
    "folders that are not there",
    "out of a linked folder",
    "POV-Ray's own images",
    "needs files that are not there",
)


@dataclass(frozen=True)
class FileScene:
    """files: path → content; folders: empty ones; words: POV-Ray's, in the folder cwd."""

    files: dict[str, bytes]
    folders: tuple[str, ...]
    cwd: str
    words: tuple[str, ...]

    def write(self, top: Path) -> Path:
        """Make its files below ``top``; returns the folder to stand in."""
        for folder in (*self.folders, self.cwd):
            (top / folder).mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_bytes(content)
        return top / self.cwd


def _mix(value: object) -> str:
    return f"#declare V = mod(V * 7 + {value}, 251);\n"


def _png(red: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    head = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    rows = (b"\0" + bytes((red, 0, 0)) * 2) * 2
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


_folder = st.sampled_from(_FOLDERS)
_WAYS = ("", "", "", "", "", "", "./", "sub/../", "nowhere/../")
_EXPRESSIONS = (
    '"{path}"',
    '"{path}"',
    '"{path}"',
    '"{stem}"',
    'concat("{head}", "{tail}")',
    'concat("{stem}", "{ending}")',
    'concat("{unnumbered}", str(frame_number, 0, 0), "{ending}")',
    'concat("{unnumbered}", str(3 - frame_number, 0, 0), "{ending}")',
    'Named("{path}")',
    'strlwr("{path}")',
    '#if (frame_number = 2) "{path}" #else "{other}" #end',
    "Declared",
)
_FOLDER_NAMES = ("", "nothing", "sub", "output", "shared", "../sub", "../shared/own.pov")
_NOWHERE = ("o.txt", "c.inc", "../c.inc", "nowhere.inc", "../shared/own.pov")


@dataclass(frozen=True)
class _Names:
    """Draws names of files that are there, most of the time, as seen from a folder."""

    draw: st.DrawFn
    there: tuple[str, ...]

    def one(self, *endings: str, others: tuple[str, ...] = _NOWHERE) -> str:
        """An expression for the name of a file with one of the endings, or one of the others."""
        fitting = [name for name in self.there if name.endswith(endings)]
        paths = st.sampled_from(fitting or _NOWHERE)
        path = self.draw(st.one_of(*[paths] * 7, st.sampled_from(others)))
        other = self.draw(paths)
        path = self.draw(st.sampled_from(_WAYS)) + path
        stem, dot, ending = path.rpartition(".")
        if not dot or "/" in ending:
            stem, ending = path, ""
        return self.draw(st.sampled_from(_EXPRESSIONS)).format(
            path=path,
            other=other,
            stem=stem,
            ending=dot + ending if ending else "",
            head=path[:2],
            tail=path[2:],
            unnumbered=stem.rstrip("123"),
        )


def _read(name: str) -> str:
    return f"#fopen R {name} read\n#read (R, N)\n#fclose R\n" + _mix("N")


def _write(name: str, mode: str, value: str = "frame_number") -> str:
    return f'#fopen W {name} {mode}\n#write (W, {value}, ",")\n#fclose W\n'


def _if_there(name: str, body: str) -> str:
    return f"#if (file_exists({name}))\n{body}#end\n"


def _use(names: _Names) -> str:
    """A statement that reads, or asks for, what is there."""
    kind = names.draw(st.integers(0, 8))
    if kind <= 3:
        name = names.one(".inc")
        included = f"#include {name}\n"
        return included if kind == 0 else _if_there(name, included)
    if kind <= 5:
        asked = names.one(".inc", ".txt", "data", ".png", others=(*_FOLDER_NAMES, *_NOWHERE))
        return _mix(f"5 * file_exists({asked})")
    if kind == 6:
        name = names.one(".png")
        image = f"#local F = function {{ pigment {{ image_map {{ png {name} }} }} }}\n" + _mix(
            "int(F(0.5, 0.5, 0).red * 200)"
        )
        return _if_there(name, image)
    if kind == 7:
        name = names.one(".txt", "data")
        return _if_there(name, _read(name))
    return names.draw(
        st.sampled_from(
            (
                '#fopen R "name.txt" read\n#read (R, N, S)\n#fclose R\n#include S\n',
                '#fopen R "name.txt" read\n#read (R, N, S)\n#fclose R\n'
                + _mix("5 * file_exists(S)"),
                '#include "strings.inc"\nParse_String("#declare V = V + 3;")\n',
                '#include "strings.inc"\nParse_String("#include \\"c.inc\\"")\n',
                '#include "shapes.inc"\n',
                '#include "colors.inc"\n',
            )
        )
    )


def _keep(names: _Names) -> str:
    """Statements that write."""
    draw = names.draw
    written = draw(
        st.sampled_from(
            ('"o.txt"', '"log.txt"', '"sub/o.txt"', '"output/o.txt"', '"data.txt"', '"../o.txt"')
        )
    )
    if draw(st.integers(0, 4)) == 0:
        written = names.one(".txt", ".inc")
    other = draw(st.sampled_from((written, written, '"log.txt"', '"data.txt"')))
    return draw(
        st.sampled_from(
            (
                _write(written, "write") + _read(written),
                _write(written, "write") + _if_there(other, _read(other)),
                _if_there(written, _read(written)) + _write(written, "write"),
                _if_there(other, _read(other)) + _write(written, "append"),
                _write(written, "append") + _if_there(other, _read(other)),
                _write(written, "append"),
                _write(written, "write", "3") + _write(written, "append") + _read(other),
                f"#macro Keep(Name)\n{_write('Name', 'write')}#end\nKeep({written})\n"
                + _if_there(written, _read(written)),
                f"#if (frame_number = 1)\n{_write(written, 'write')}#end\n"
                + _if_there(written, _read(written)),
                f"#while (V < 40)\n{_write(written, 'write')}{_read(written)}#end\n",
                f'#fopen W "made.inc" write\n#write (W, "#include \\"", {written}, "\\"\\n")\n'
                '#fclose W\n#include "made.inc"\n',
            )
        )
    )


def _statement(names: _Names) -> str:
    made = (_keep if names.draw(st.integers(0, 3)) == 0 else _use)(names)
    frame = names.draw(st.sampled_from((0, 0, 0, 0, 1, 2, 3)))
    return f"#if (frame_number = {frame})\n{made}#end\n" if frame else made


@st.composite
def file_scenes(draw: st.DrawFn) -> FileScene:
    """A scene in a folder, its statements, and files of which it names some."""
    files: dict[str, bytes] = {}
    numbers = itertools.count(draw(st.integers(1, 50)))
    for name in (*_INCLUDES, *_TEXTS, *_IMAGES):
        for folder in draw(st.lists(_folder, min_size=1, max_size=3, unique=True)):
            files[_join(folder, name)] = _content(name, next(numbers))
    cwd = draw(st.sampled_from(("", "", "", "sub", "shared", "lib", "übrig")))
    home = draw(st.sampled_from((cwd, cwd, "", "sub", "scene")))
    up = "../" * len(Path(cwd).parts)
    paths = draw(st.lists(st.sampled_from(("lib", "sub", "shared", ".")), max_size=2, unique=True))
    seen = {posixpath.relpath(f"/{name}", f"/{cwd}") for name in files}
    seen |= {
        posixpath.relpath(f"/{name}", posixpath.normpath(f"/{path}"))
        for name in files
        for path in paths
        if name.startswith(f"{path}/")
    }
    names = _Names(draw, tuple(sorted(name for name in seen if name.isascii())))
    nested = [draw(st.sampled_from([name for name in files if name.endswith(".inc")]))]
    for name in nested if draw(st.booleans()) else ():
        files[name] = f"{_mix(201)}{_statement(names)}".encode()
    statements = "".join(_statement(names) for _ in range(draw(st.integers(2, 6))))
    declared = draw(st.sampled_from([name for name in names.there if name.endswith(".inc")]))
    files[_join(home, "own.pov")] = (
        "#version 3.7; global_settings { assumed_gamma 1 }\n#declare V = 11;\n"
        f'#macro Named(Name) Name #end\n#declare Declared = "{declared}";\n'
        f"{statements}"
        "background { rgb <V / 251, mod(V, 16) / 16, 0.5> }\n"
    ).encode()
    path = posixpath.relpath(f"/{_join(home, 'own.pov')}", f"/{cwd}")
    library = tuple(f"+L{up}{each}" for each in paths)
    folders = draw(st.lists(st.sampled_from(_FOLDERS[1:]), max_size=3, unique=True))
    return FileScene(files, tuple(folders), cwd, (f"+I{path}", *library, *FRAMES))


def _content(name: str, number: int) -> bytes:
    if name.endswith(".png"):
        return _png(number * 4 % 256)
    if name == "name.txt":
        return f'{number}, "{("c.inc", "sub/d.inc", "colors.inc")[number % 3]}"\n'.encode()
    if name.endswith(".inc"):
        return _mix(number).encode()
    return f"{number},\n".encode()


def outcome(scene: FileScene, top: Path, tracer: Tracer | None = None) -> str:
    """What came of it: one of ALL_RIGHT, else what went wrong, unsaid."""

    def place(whose: str) -> Path:
        """With a folder above it that is nobody else's: scenes write, and look, there too."""
        return top / whose / "folder"

    with ThreadPoolExecutor(1) as beside:
        theirs = beside.submit(_by_povray, scene, place("theirs"))
        here = scene.write(place("ours"))
        [path] = [word.removeprefix("+I") for word in scene.words if word.startswith("+I")]
        words = [word for word in scene.words if not word.startswith("+I")]
        try:
            loaded = load_scene(path, switches=words, cwd=here, tracer=tracer)
        except InputError as error:
            loaded, refusal = None, str(error)
        images = theirs.result()
    if images is None:
        return "fails in POV-Ray"
    if loaded is None:
        return "refused" if tracer is None else _why_refused(refusal)
    try:
        ours = by_povstorm(loaded, FolderStorage(top / "storage"))
        different = differences(ours, images)
    except RenderError as error:
        ours, different = {}, [f"fails in povstorm alone: {error}"]
    if not different:
        return "equal"
    if any(words in warning for warning in loaded.warnings for words in _TOLD):
        return "told"
    again = _by_povray(scene, place("again"))
    if again is not None and not differences(ours, again):
        # POV-Ray's first answer was another than its second.
        return "equal"
    return "; ".join([*different, f"POV-Ray: {_colours(images)}", f"povstorm: {_colours(ours)}"])


def _colours(images: dict[str, Path]) -> str:
    """Each image's background, which is all that there is on it."""
    first = (f"{name} {Image.open(path).getpixel((0, 0))}" for name, path in images.items())
    return ", ".join(sorted(first))


def _why_refused(refusal: str) -> str:
    """Why a scene that could be traced was refused: with a reason that tracing cannot mend."""
    known = any(words in refusal for words in _NOT_TRACED)
    return "refused" if known else f"refused: {refusal}"


def _by_povray(scene: FileScene, top: Path) -> dict[str, Path] | None:
    try:
        return by_povray(scene.write(top), *scene.words, timeout=_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None


def outcomes(
    scenes: Iterable[FileScene], top: Path, at_once: int = 8, tracer: Tracer | None = None
) -> Counter[str]:
    """Render scenes, several at once: POV-Ray sleeps most of its time. Prints what differs."""
    counted: Counter[str] = Counter()

    def one(numbered: tuple[int, FileScene]) -> str:
        folder = top / str(numbered[0])
        folder.mkdir(parents=True)
        said = outcome(numbered[1], folder, tracer)
        if said in ALL_RIGHT:
            shutil.rmtree(folder)
        else:
            print(f"{said}\n{folder}: povray {' '.join(numbered[1].words)} in {numbered[1].cwd!r}")
        return said

    with ThreadPoolExecutor(at_once) as pool:
        counted.update(pool.map(one, enumerate(scenes)))
    return counted


ALL_RIGHT = ("equal", "refused", "told", "fails in POV-Ray")


def drawn(count: int, *, again: bool = False) -> list[FileScene]:
    """So many scenes, no two alike; again: the same ones as the last time."""
    scenes: list[FileScene] = []

    @settings(
        max_examples=count, database=None, derandomize=again, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(file_scenes())
    def draw(scene: FileScene) -> None:
        scenes.append(scene)

    draw()
    return scenes


def main(count: int) -> int:
    """Render so many scenes; 1 if any differs without a word."""
    total: Counter[str] = Counter()
    top = Path(tempfile.mkdtemp(prefix="povstorm-file-scenes-"))
    while total.total() < count:
        total.update(outcomes(drawn(_BATCH), top / str(total.total()), tracer=trace_scene))
        print(dict(total), flush=True)
    return 1 if total.keys() - set(ALL_RIGHT) else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))

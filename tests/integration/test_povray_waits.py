"""Taking POV-Ray's waits and windows away changes nothing else: pixels, words, exits, resume."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from PIL import Image

from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.programs import povray_waits, povray_window
from povstorm_client.programs.measure_waits import measure_waits
from povstorm_client.programs.plain_stack import with_plain_stack
from povstorm_client.programs.povray_waits import preload, waits_library
from povstorm_client.programs.povray_window import window_library
from povstorm_client.programs.sandbox_mode import SandboxMode
from povstorm_client.programs.tools import POVRAY_VARIABLE, require_povray
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from render_image.render_unit import render_unit

ANIMATIONS = Path("/usr/share/doc/povray/examples/animations")
# Of this one the package lacks the scene, so that POV-Ray itself cannot render it.
RENDERABLE = sorted(folder.name for folder in ANIMATIONS.iterdir() if folder.name != "reflection")
ENDLESS = "#version 3.7; #while (1) #end\n"
# Half a second of tracing, so that a signal finds it at work.
LONG = """#version 3.7; global_settings { assumed_gamma 1 }
camera { location -4*z look_at 0 } light_source { -9 1 area_light x*3, y*3, 9, 9 }
#for (I, 0, 60) sphere { <mod(I, 8) - 4, int(I / 8) - 4, 0>, 0.6 pigment { rgb 1 } } #end
plane { -z, -2 pigment { rgb 0.7 } finish { reflection 0.4 } }
"""


@dataclass(frozen=True)
class Ran:
    """What POV-Ray did: exit code, its words without times, peak memory in bytes."""

    returncode: int
    words: list[str]
    peak: int


@pytest.fixture(scope="module")
def library() -> Path:
    found = waits_library()
    assert found is not None, "make setup builds it: is there a C compiler?"
    return found


@pytest.fixture(params=["plain", "short"])
def variables(request: pytest.FixtureRequest, library: Path) -> dict[str, str]:
    return preloaded() if request.param == "short" else {}


def preloaded() -> dict[str, str]:
    """The variables with which frames are rendered."""
    libraries = require_povray().libraries
    assert [each.name for each in libraries] == ["libpovraywaits.so", "libpovraywindow.so"]
    return preload(*map(str, libraries))


def start(folder: Path, variables: dict[str, str], *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["povray", *words, "-D"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def run(folder: Path, variables: dict[str, str], *words: str) -> Ran:
    process = start(folder, variables, *words)
    text = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Ran(process.returncode, statistics(text), usage.ru_maxrss * 1024)


def statistics(text: str) -> list[str]:
    """The lines of statistics, apart from what differs from run to run."""
    counted = re.compile(r"^(Pixels|Rays|\w[\w ()]* {2,}\d|Shadow|Reflected|Finite|Infinite|Light)")
    lines = [line for line in text.splitlines() if counted.match(line)]
    return [line for line in lines if "Time" not in line and "seconds" not in line]


def pixels(folder: Path) -> dict[str, tuple[str, tuple[int, int], bytes]]:
    found = {}
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as image:
            found[path.name] = image.mode, image.size, image.tobytes()
    return found


def animation(folder: Path, name: str, variables: dict[str, str]) -> tuple[Ran, dict]:
    copy = folder / name
    shutil.copytree(ANIMATIONS / name, copy)
    (copy / "out").mkdir()
    [ini] = copy.glob("*.ini")
    words = ("+W40", "+H30", "+WT1", "+KFI1", "+KFF12", "+SF5", "+EF7", "+Oout/f.png")
    return run(copy, variables, ini.name, *words), pixels(copy / "out")


def test_all_example_animations_have_the_same_pixels_and_statistics(tmp_path: Path, library: Path):
    assert len(RENDERABLE) == 16

    def both(name: str) -> tuple[tuple[Ran, dict], tuple[Ran, dict]]:
        return (
            animation(tmp_path / "plain", name, {}),
            animation(tmp_path / "short", name, preloaded()),
        )

    with ThreadPoolExecutor(6) as pool:
        for name, (plain, short) in zip(RENDERABLE, pool.map(both, RENDERABLE), strict=True):
            assert len(plain[1]) == 3, name
            assert short[1] == plain[1], name
            assert (short[0].returncode, short[0].words) == (0, plain[0].words), name
            assert any(line.startswith("Pixels") for line in short[0].words), name
            assert short[0].peak < plain[0].peak * 1.1 + (4 << 20), name


def test_exit_codes_stay(tmp_path: Path, variables: dict[str, str]):
    (tmp_path / "wrong.pov").write_text("sphere { 0,")
    (tmp_path / "good.pov").write_text(LONG)
    assert run(tmp_path, variables, "wrong.pov").returncode == 1
    assert run(tmp_path, variables, "missing.pov").returncode == 1
    assert run(tmp_path, variables, "good.pov", "+W8", "+H8").returncode == 0


@pytest.mark.parametrize(
    ("sent", "returncode"), [(signal.SIGTERM, 2), (signal.SIGINT, 2), (signal.SIGKILL, -9)]
)
def test_signals_end_it_as_ever(
    tmp_path: Path, variables: dict[str, str], sent: signal.Signals, returncode: int
):
    (tmp_path / "long.pov").write_text(LONG)
    words = ("long.pov", "+W640", "+H480", "+A0.01", "+R5", "+WT1", "+Olong.png")
    process = start(tmp_path, variables, *words)
    await_state_file(tmp_path)
    process.send_signal(sent)
    process.stderr.read()
    assert process.wait() == returncode


def await_state_file(folder: Path) -> None:
    """Until a picture is being rendered, and has some of its pixels."""
    while not any(path.stat().st_size > 10_000 for path in folder.glob("*.pov-state")):
        time.sleep(0.01)


PICTURE = ("long.pov", "+W160", "+H120", "+A0.05", "+R3", "+WT1", "+Olong.png")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a picture that was not stopped."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "long.pov").write_text(LONG)
    assert run(folder, {}, *PICTURE).returncode == 0
    return folder


def test_a_stopped_picture_is_gone_on_with_to_the_same_pixels(
    tmp_path: Path, variables: dict[str, str], whole: Path
):
    (tmp_path / "long.pov").write_text(LONG)
    process = start(tmp_path, variables, *PICTURE)
    await_state_file(tmp_path)
    process.terminate()
    process.stderr.read()
    assert process.wait() == 2
    assert run(tmp_path, variables, *PICTURE, "+C").returncode == 0
    assert pixels(tmp_path) == pixels(whole)


def test_an_empty_picture_takes_a_fraction_of_its_time(library: Path):
    seconds = measure_waits(require_povray())
    # 0.69 s and 0.03 s on a quiet machine; on a busy one both wait for the processor.
    assert seconds["short"] < seconds["plain"]


@pytest.mark.parametrize("sandbox", ["required", "off"])
def test_frames_are_rendered_with_it_and_without_what_windows_need(
    storage: FolderStorage, library: Path, sandbox: SandboxMode
):
    unit = WorkUnit(RenderSettings("scene.pov", width=8, height=8))
    unit.add_inline_resource("scene.pov", ENDLESS)
    unit = unit.assigned(job_id="j", shared_prefix="", offload_prefix=layout.output("j"))

    async def look() -> bool:
        rendering = asyncio.create_task(
            render_unit(unit, storage, require_povray(), sandbox=sandbox, timeout=20)
        )
        try:
            while not rendering.done():
                await asyncio.sleep(0.05)
                for maps in maps_of_povrays():
                    if "povraywaits.so" in maps and "libpng" in maps:
                        assert "povraywindow.so" in maps
                        assert "libX11" not in maps
                        return True
        finally:
            rendering.cancel()
            await asyncio.gather(rendering, return_exceptions=True)
        return False

    assert asyncio.run(look())


def maps_of_povrays() -> Iterator[str]:
    """What the POV-Rays below this process have in their memory."""
    for process in psutil.Process().children(recursive=True):
        try:
            if process.name() == "povray":
                yield Path(f"/proc/{process.pid}/maps").read_text()
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            continue


def test_nothing_is_executable_that_can_be_written_to(tmp_path: Path):
    assert "wx" not in maps_with(tmp_path, preloaded())


@pytest.mark.parametrize("compiler", ["cc", "tcc"])
def test_nor_is_it_with_a_library_of_any_compiler(tmp_path: Path, compiler: str):
    built = tmp_path / "libpovraywaits.so"
    source = povray_waits._BUILT.with_name("povray_waits.c")
    command = [compiler, "-shared", "-fPIC", "-nostdlib", "-o", str(built), str(source)]
    subprocess.run(command, check=True)
    built.write_bytes(with_plain_stack(built.read_bytes()))

    maps = maps_with(tmp_path, preload(str(built)))

    assert str(built) in maps
    assert "wx" not in maps


def maps_with(folder: Path, variables: dict[str, str]) -> str:
    """What a POV-Ray that parses has in its memory, started with these variables."""
    (folder / "endless.pov").write_text(ENDLESS)
    process = start(folder, variables, "endless.pov", "+W8", "+H8")
    try:
        # The parser is a thread of its own, after those of the front end.
        while len(list(Path(f"/proc/{process.pid}/task").iterdir())) < 4:
            assert process.poll() is None
            time.sleep(0.01)
        return Path(f"/proc/{process.pid}/maps").read_text()
    finally:
        process.kill()
        process.communicate()


def test_without_a_built_library_frames_are_rendered_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(povray_waits, "_BUILT", tmp_path / "none.so")
    assert waits_library() is None
    assert set(measure_waits(require_povray())) == {"plain"}


def test_a_library_that_cannot_be_loaded_is_warned_of_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"\x7fELF of another machine")
    monkeypatch.setattr(povray_waits, "_BUILT", broken)
    with caplog.at_level(logging.WARNING):
        assert waits_library() is None
    assert "POV-Ray keeps its long waits" in caplog.text


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, library: Path):
    monkeypatch.setenv(povray_waits.VARIABLE, "off")
    assert waits_library() is None
    assert window_library(str(require_povray().path)) is None


def test_a_window_that_is_asked_for_is_none_and_the_picture_is_there(tmp_path: Path):
    (tmp_path / "scene.pov").write_text(LONG)
    done = subprocess.run(
        ["povray", "scene.pov", "+W8", "+H6", "+D"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **preloaded()},
        capture_output=True,
        check=True,
    )
    assert b"povstorm opens no windows" in done.stderr
    assert len(pixels(tmp_path)) == 1


def test_a_povray_that_needs_more_of_sdl_is_started_with_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    little = tmp_path / "little.so"
    (tmp_path / "little.c").write_text("int SDL_Init(unsigned it) { return it ? -1 : 0; }\n")
    name = "-Wl,-soname=libSDL-1.2.so.0"
    command = ["tcc", "-shared", "-nostdlib", name, "-o", str(little), "little.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    monkeypatch.setattr(povray_window, "_BUILT", little)
    # Under another path, as what is known of a POV-Ray is kept by its path.
    povray = tmp_path / "povray"
    povray.symlink_to(require_povray().path)
    assert window_library(str(povray)) == little

    monkeypatch.setenv(POVRAY_VARIABLE, str(povray))

    assert require_povray().window is None
    assert require_povray().version.startswith("3.7")


def test_a_script_that_starts_some_povray_starts_it_with_sdl(tmp_path: Path):
    script = tmp_path / "povray"
    script.write_text('#!/bin/sh\nexec povray "$@"\n')
    script.chmod(0o755)
    assert window_library(str(script)) is None

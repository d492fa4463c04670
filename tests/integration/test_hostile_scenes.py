"""Scenes that want more than their frame: each is contained or refused, and the error says why.

They run in the sandbox as everybody's do. ``POVSTORM_SANDBOX=off pytest tests/integration/
test_hostile_scenes.py`` takes it away, and shows what each of them does then.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from povstorm_client import Cluster, InputError, Job, RenderError, RenderSettings, WorkUnit
from povstorm_client.programs.bubblewrap import bubblewrap_problem
from povstorm_client.programs.sandbox_mode import sandbox_mode_here
from povstorm_client.programs.tools import PovRay, require_povray
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from render_image.frame_limits import Limits
from render_image.image_check import check_image
from render_image.process import run_process
from render_image.render_unit import render_unit
from render_image.sandbox import open_sandbox
from render_image.workspace import make_workspace
from tests.conftest import SPHERE

pytestmark = pytest.mark.skipif(
    bool(bubblewrap_problem()), reason=f"no sandbox here: {bubblewrap_problem()}"
)

JOB = "job"
TREE = layout.shared("a" * 64)
MARKER = "Hidden_Treasure"
MIB = 1 << 20


def unit(scene: str, **inline: bytes) -> WorkUnit:
    settings = RenderSettings(scene="scene.pov", width=32, height=24)
    made = WorkUnit(settings)
    made.add_inline_resource("scene.pov", scene)
    for name, content in inline.items():
        made.add_inline_resource(name.replace("__", "."), content)
    return made.assigned(job_id=JOB, shared_prefix=TREE, offload_prefix=layout.output(JOB))


def render(made: WorkUnit, storage: FolderStorage, **options):
    options = {"sandbox": sandbox_mode_here(), "timeout": 60, **options}
    return asyncio.run(render_unit(made, storage, require_povray(), **options))


def refused(made: WorkUnit, storage: FolderStorage, **options) -> str:
    """Render what must fail; returns the error without POV-Ray's output."""
    with pytest.raises(RenderError) as error:
        render(made, storage, **options)
    assert list(storage.list(layout.output(JOB))) == [], "a failed frame leaves no output"
    return str(error.value).splitlines()[0]


def all_that_is_told(made: WorkUnit, storage: FolderStorage) -> str:
    """The frame's log and result, which people who did not write the scene can read."""
    log = storage.read(layout.log(JOB, made.work_unit_id)).decode(errors="replace")
    return log + json.dumps(json.loads(storage.read(layout.result(JOB, made.work_unit_id))))


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder that the user may read and write, as most of a machine is.

    Its name is short, because POV-Ray cuts its messages.
    """
    folder = Path(tempfile.mkdtemp(prefix="o"))
    (folder / "secret.inc").write_text(f'{MARKER} "{MARKER}"\n')
    (folder / "secret.txt").write_text(f'"{MARKER}"\n')
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def shared_file(storage: FolderStorage) -> Path:
    storage.write(f"{TREE}/colour.inc", b"#declare Colour = rgb 1;\n")
    return storage.path(f"{TREE}/colour.inc")


@pytest.mark.parametrize("where", ["{outside}/new.txt", "../new.txt", "shared/new.txt"])
def test_nothing_is_written_outside_of_the_workspace(
    where: str, storage: FolderStorage, outside: Path, shared_file: Path, tmp_path: Path
):
    path = where.format(outside=outside)
    scene = f'{SPHERE}\n#fopen F "{path}" write\n#write (F, "x")\n#fclose F\n'
    error = refused(unit(scene), storage)
    assert "Cannot open user file" in error
    assert "a frame sees its own files" in error or "shared" in path
    assert not list(tmp_path.rglob("new.txt"))
    assert not (outside / "new.txt").exists()


@pytest.mark.parametrize("mode", ["write", "append"])
def test_what_other_frames_and_jobs_share_cannot_be_changed(
    mode: str, storage: FolderStorage, shared_file: Path
):
    before = shared_file.read_bytes()
    scene = f'{SPHERE}\n#fopen F "shared/colour.inc" {mode}\n#write (F, "x")\n#fclose F\n'
    refused(unit(scene), storage)
    assert shared_file.read_bytes() == before


def test_the_workspace_and_output_are_the_frames_own(storage: FolderStorage, shared_file: Path):
    scene = (
        f'{SPHERE}\n#include "shared/colour.inc"\n#fopen F "notes.inc" write\n'
        '#write (F, "#declare Note = str(6 * 7, 0, 0);")\n#fclose F\n#include "notes.inc"\n'
        '#fopen G "output/kept.txt" write\n#write (G, Note)\n#fclose G\n'
    )
    assert render(unit(scene), storage).extra_outputs == ["kept.txt"]
    assert storage.read(f"{layout.output(JOB)}/kept.txt") == b"42"


def test_an_included_file_of_the_machine_is_not_there_and_its_words_are_told_to_nobody(
    storage: FolderStorage, outside: Path
):
    for path in (outside / "secret.inc", Path("/etc/passwd")):
        made = unit(f'{SPHERE}\n#include "{path}"\n')
        error = refused(made, storage)
        assert "Cannot open include file" in error
        assert "a frame sees its own files" in error
        told = all_that_is_told(made, storage)
        assert MARKER not in told
        assert "identifier 'root'" not in told


@pytest.mark.parametrize("path", ["{root}/{other}", "shared/../../../{other}"])
def test_another_jobs_files_in_the_same_storage_cannot_be_read(path: str, storage: FolderStorage):
    other = f"{layout.output('other')}/notes.txt"
    storage.write(other, f'"{MARKER}"'.encode())
    storage.write(f"{TREE}/colour.inc", b"")
    path = path.format(root=storage.root, other=other)
    made = unit(f'{SPHERE}\n#fopen F "{path}" read\n#read (F, X)\n#debug concat(X, "\\n")\n')
    refused(made, storage)
    assert MARKER not in all_that_is_told(made, storage)


def test_the_environment_of_other_processes_cannot_be_read(storage: FolderStorage):
    with subprocess.Popen(["sleep", "100"], env={MARKER: "1"}) as other:
        try:
            for path in (f"/proc/{other.pid}/environ", "/proc/self/environ", "/proc/mounts"):
                made = unit(f'{SPHERE}\n#include "{path}"\n')
                assert "Cannot open include file" in refused(made, storage)
                assert MARKER not in all_that_is_told(made, storage)
        finally:
            other.kill()


def test_a_link_among_the_shared_resources_leads_nowhere(
    storage: FolderStorage, outside: Path, tmp_path: Path
):
    folder = tmp_path / "scene"
    folder.mkdir()
    (folder / "link.inc").symlink_to(outside / "secret.inc")
    with pytest.raises(InputError, match="a link that leaves"):
        Job(Cluster.local(storage.root), "links").add_shared_resources(folder)

    # Somebody has put it into the storage all the same.
    storage.path(TREE).mkdir(parents=True)
    storage.path(f"{TREE}/link.inc").symlink_to(outside / "secret.inc")
    made = unit(f'{SPHERE}\n#include "shared/link.inc"\n')
    refused(made, storage)
    assert MARKER not in all_that_is_told(made, storage)


def test_a_picture_of_the_machine_does_not_get_into_the_frame(
    storage: FolderStorage, outside: Path
):
    (outside / "secret.png").write_bytes(png(4, 4))
    scene = f'plane {{ z, 1 pigment {{ image_map {{ png "{outside}/secret.png" }} }} }}'
    assert "secret.png" in refused(unit(SPHERE + scene), storage)


def test_a_povray_ini_of_the_scene_is_not_obeyed(storage: FolderStorage, outside: Path):
    """POV-Ray reads one in its current folder, and its options can start programs and write."""
    ini = (
        f'Pre_Scene_Command="touch {outside}/started"\nAll_File={outside}/all.txt\n'
        f"Create_Ini={outside}/made.ini\nLibrary_Path={outside}\nQuality=0\n"
    )
    plain = render(unit(SPHERE), storage)
    with_ini = render(unit(SPHERE, povray__ini=ini.encode()), storage)
    assert with_ini.statistics.rays == plain.statistics.rays
    assert {path.name for path in outside.iterdir()} == {"secret.inc", "secret.txt"}


def test_no_program_is_started_even_where_the_machines_settings_allow_it(
    storage: FolderStorage, tmp_path: Path
):
    settings = tmp_path / "settings"
    shutil.copytree("/etc/povray/3.7", settings)
    conf = settings / "povray.conf"
    conf.write_text(conf.read_text().replace(";allowed", "allowed").replace("\nforbid", "\n;"))
    ini = settings / "povray.ini"
    ini.write_text(f'Pre_Scene_Command="/usr/bin/touch {tmp_path}/started"\n{ini.read_text()}')
    program = tmp_path / "povray"
    program.write_text(
        f"#!/bin/sh\nexec bwrap --dev-bind / / --bind {settings} /etc/povray/3.7 "
        f'{require_povray().path} "$@"\n'
    )
    program.chmod(0o755)
    made = unit(SPHERE)
    allowing = PovRay(program, require_povray().version)
    asyncio.run(render_unit(made, storage, allowing, sandbox="off"))
    assert "prohibited" in all_that_is_told(made, storage)
    assert not (tmp_path / "started").exists()


def test_one_who_has_taken_povray_over_finds_nothing_to_go_on_with(
    storage: FolderStorage, tmp_path: Path
):
    """A shell stands for a POV-Ray that a broken image file has made run other code."""
    shell = PovRay(Path("/bin/dash"), "3.7.0.test")
    attack = """
        for path in /etc/passwd /proc/1 /sys/kernel /dev/null /root /bin/sh /usr/bin/povray; do
            test -e $path && echo "there is $path"
        done
        for path in / /etc /home/povray /workspace/shared /usr/share /lib; do
            echo x > $path/mark && echo "wrote $path"
        done
        cd /workspace/output && echo fine > mark && echo "wrote output"
        kill -9 $OTHER && echo "killed $OTHER"
        /usr/bin/id && echo "started a program"
        (while :; do :; done) &
        (while :; do :; done) &
    """
    told = tmp_path / "told.txt"
    with subprocess.Popen(["sleep", "100"]) as other:
        try:
            asyncio.run(in_sandbox(shell, ["/bin/dash", "-c", attack], storage, told, other.pid))
            said = told.read_text().splitlines()
            # What begins with the shell's name is what it was refused.
            assert [line for line in said if line and "/bin/dash:" not in line] == ["wrote output"]
            assert other.poll() is None
        finally:
            other.kill()
    left = [process for process in psutil.process_iter() if process_is(process, "dash")]
    assert left == [], "all that was started in the sandbox ends with it"


async def in_sandbox(
    program: PovRay, command: list[str], storage: FolderStorage, told: Path, other: int
) -> None:
    """Run a command where POV-Ray would run, without POV-Ray's own check of the sandbox."""
    from render_image.sandbox import Sandbox

    if sandbox_mode_here() == "off":
        pytest.skip("it would go through")
    storage.write(f"{TREE}/colour.inc", b"")
    bwrap = Sandbox(shutil.which("bwrap"), program)
    with make_workspace(unit(SPHERE), storage, link_shared=False) as workspace:
        await run_process(
            command,
            cwd=workspace.folder,
            environment={},
            log=told,
            timeout=60,
            sandbox=partial(bwrap.arguments, workspace, {"OTHER": str(other)}),
            system_calls=bwrap.system_calls,
        )


def process_is(process: psutil.Process, name: str) -> bool:
    try:
        return "while :" in " ".join(process.cmdline()) and process.name() == name
    except psutil.Error:
        return False


def test_an_endless_loop_is_stopped_for_making_no_progress(storage: FolderStorage):
    made = unit("#declare I = 0;\n#while (true) #declare I = I + 1; #end\n")
    error = refused(made, storage, limits=Limits(stall_seconds=1))
    assert "no progress for 1 s while parsing the scene" in error
    assert "stall_timeout" in error


@pytest.mark.parametrize(
    ("loop", "limits", "words"),
    [
        ("", Limits(file_bytes=8 * MIB), "a file of 8"),
        (
            '#fclose F #fopen F concat("output/", str(I, 0, 0)) write',
            Limits(output_bytes=8 * MIB),
            "more than 8",
        ),
        (
            '#fclose F #fopen F concat("output/", str(I, 0, 0)) write',
            Limits(files=500),
            "500 files",
        ),
    ],
)
def test_a_scene_that_writes_without_end_is_stopped(
    loop: str, limits: Limits, words: str, storage: FolderStorage
):
    scene = (
        '#declare S = "0123456789abcdef";\n#for (I, 1, 8) #declare S = concat(S, S); #end\n'
        f'#fopen F "output/0" write\n#declare I = 0;\n#while (true) #declare I = I + 1;\n'
        f"#write (F, S) {loop}\n#end\n"
    )
    assert words in refused(unit(scene), storage, limits=limits)


def test_a_scene_that_prints_without_end_is_stopped_and_its_log_is_short(storage: FolderStorage):
    made = unit('#while (true) #debug "I will not stop\\n" #end\n')
    assert "it printed more than" in refused(made, storage, limits=Limits(log_bytes=MIB))
    assert "bytes left out" in all_that_is_told(made, storage)
    assert storage.stat(layout.log(JOB, made.work_unit_id)).size < 1.1 * MIB


def png(width: int, height: int, rows: int | None = None) -> bytes:
    """A black image that is small however large it says to be; rows: how many are really there."""
    packer = zlib.compressobj(1)
    row = b"\0" + bytes(width * 3)
    data = (
        b"".join(packer.compress(row) for _ in range(height if rows is None else rows))
        + packer.flush()
    )

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def bomb() -> bytes:
    return png(9_000, 9_000)


def test_a_decompression_bomb_runs_into_the_memory_limit(storage: FolderStorage, bomb: bytes):
    scene = SPHERE + 'plane { z, 1 pigment { image_map { png "bomb.png" } } }'
    error = refused(unit(scene, bomb__png=bomb), storage, limits=Limits(memory_bytes=256 * MIB))
    assert "256 MiB of memory" in error
    assert "frame_memory" in error


def test_a_frame_that_eats_memory_step_by_step_is_stopped(storage: FolderStorage):
    scene = "#declare A = array[4000000];\n#for (I, 0, 3999999) #declare A[I] = <I, I, I>; #end\n"
    error = refused(unit(scene), storage, limits=Limits(memory_bytes=128 * MIB))
    assert "128 MiB of memory" in error


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_of_another_size_is_not_even_decoded(tmp_path: Path):
    """POV-Ray ends well without an image if the scene is empty; the scene can have written one."""
    (tmp_path / "frame_1.png").write_bytes(png(10_000, 10_000, rows=1))
    with pytest.raises(RenderError, match="is 10000x10000 pixels, not 32x24"):
        check_image(tmp_path / "frame_1.png", 32, 24)


@pytest.mark.parametrize("name", ["frame_2.png", "frame_0001.png", "a\\\\b.txt", "a\tb.txt"])
def test_a_frame_leaves_other_frames_images_and_odd_names_alone(name: str, storage: FolderStorage):
    scene = f'{SPHERE}\n#fopen F "output/{name}" write\n#write (F, "x")\n#fclose F\n'
    assert "output" in refused(unit(scene), storage)


def test_a_sandbox_changes_nothing_about_a_good_frame(storage: FolderStorage):
    heavy = "#for (I, 1, 400000) #declare X = sqrt(I); #end\n" + SPHERE
    plain = render(unit(heavy), storage, sandbox="off").statistics
    contained = render(unit(heavy), storage, sandbox="required").statistics
    assert contained.rays == plain.rays
    # What the kernel counted is that of POV-Ray itself, not of what stands around it.
    assert plain.cpu_seconds / 2 < contained.cpu_seconds < plain.cpu_seconds * 2
    assert abs(contained.peak_memory_bytes - plain.peak_memory_bytes) < 8 * MIB


def test_a_cancelled_frame_leaves_no_process(storage: FolderStorage):
    made = unit("#while (true) #end\n")

    async def cancel_soon() -> None:
        task = asyncio.create_task(
            render_unit(made, storage, require_povray(), sandbox=sandbox_mode_here())
        )
        while not povray_children():
            await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(cancel_soon())
    assert povray_children() == []


def povray_children() -> list[psutil.Process]:
    found = psutil.Process(os.getpid()).children(recursive=True)
    return [child for child in found if child.name() in {"povray", "bwrap"}]


def test_the_sandbox_is_had_here():
    assert open_sandbox(require_povray(), "required") is not None


ROOT = Path(__file__).parents[2]
IN_A_CONTAINER = """
import asyncio, json, sys
from pathlib import Path
from povstorm_client import RenderError, WorkUnit
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.programs.tools import require_povray
from render_image.render_unit import render_unit

storage = FolderStorage(Path("/tmp/storage"))
for line in sys.stdin:
    try:
        made = WorkUnit.from_json(json.loads(line))
        print(asyncio.run(render_unit(made, storage, require_povray())).state)
    except RenderError as error:
        print(str(error).splitlines()[0])
"""


def test_in_a_container_that_may_not_make_a_sandbox_its_read_only_root_stands(tmp_path: Path):
    """Another bubblewrap stands for the container: a read-only root, a user, no namespaces."""
    container = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    # The checkout may lie in the /tmp that is hidden.
    container += [
        "--tmpfs",
        "/tmp",
        "--ro-bind",
        str(ROOT),
        str(ROOT),
        "--unshare-all",
        "--unshare-user",
        "--uid",
        "1000",
    ]
    container += ["--disable-userns"]
    writing = f'{SPHERE}\n#fopen F "/etc/new.txt" write\n#write (F, "x")\n#fclose F\n'
    endless = f'#while (true) #debug "{"more " * 40}\\n" #end\n'
    lines = [json.dumps(unit(scene).to_json()) for scene in (SPHERE, writing, endless)]
    done = subprocess.run(
        [*container, sys.executable, "-P", "-c", IN_A_CONTAINER],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    good, written, printed = done.stdout.splitlines()
    assert good == "rendered"
    assert "Cannot open user file /etc/new.txt" in written
    assert "it printed more than" in printed
    assert done.stderr.count("scenes run uncontained") == 1

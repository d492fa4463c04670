"""However ``povstorm`` is started, it ends in a line and an exit code, never in a traceback."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from povstorm_client import command_line
from tests.forked_povstorm import ForkedPovstorm

POVSTORM = str(Path(sys.executable).with_name("povstorm"))
JOB = "a-20260102-030405-ab12"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for number in range(200):
        (tmp_path / "home/jobs" / f"a-20260102-030405-{number:04x}").mkdir(parents=True)
    (tmp_path / "anim.ini").write_text("Input_File_Name=anim.pov\nFinal_Frame=3\n")
    (tmp_path / "anim.pov").write_text("camera { location 0 }\n")
    (tmp_path / "folder.ini").mkdir()
    (tmp_path / "nul.ini").write_bytes(b'Input_File_Name="a\0b.pov"\n')
    (tmp_path / "noise.ini").write_bytes(bytes(range(256)))
    (tmp_path / "file").write_text("")
    return tmp_path


def povstorm(*words: str | bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [POVSTORM, *words],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("words", "environment", "message"),
    [
        (["render", "folder.ini"], {}, "folder.ini is a folder"),
        (["render", "nul.ini"], {}, "a?b.pov"),
        (["render", "noise.ini"], {}, "noise.ini:"),
        (["render", b"\xff\xfe.pov"], {}, "??.pov does not exist"),
        (["render", "anim.ini", "--frame-memory", "nan"], {}, "--frame-memory is nan"),
        (["render", "anim.ini", "--frame-memory", "inf"], {}, "--frame-memory is inf"),
        (["render", "anim.ini", "--frame-timeout", "nan"], {}, "--frame-timeout is 'nan'"),
        (["render", "anim.ini", "--max-cost", "nan"], {}, "--max-cost is nan"),
        (["render", "anim.ini", "--output", "file"], {}, "file cannot be written to"),
        (["status", "../../etc"], {}, "job id '../../etc' is not usable"),
        (["status", "\x1b[2Jx"], {}, "x1b[2Jx"),
        (["frame", JOB, "-5"], {}, f"there is no job '{JOB}'"),
        (["--cluster", ".", "jobs"], {}, "cannot be read (Is a directory)"),
        (["--cluster", "file", "jobs"], {}, "file is not JSON"),
        (["jobs"], {"POVSTORM_HOME": "file"}, "cannot be made"),
        (["doctor"], {"POVSTORM_HOME": "file"}, ""),
        (["jobs"], {"POVSTORM_HOME": "~nobody-at-all/x"}, "set HOME"),
        (["render", "anim.ini"], {"POVSTORM_SANDBOX": "x"}, "sandbox 'x' is not known"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(
    folder: Path,
    forked: ForkedPovstorm,
    words: list[str | bytes],
    environment: dict[str, str],
    message: str,
):
    done = forked.run(words, {**os.environ, **environment})
    assert done.returncode == 1
    said = done.stderr.decode()
    assert message in said
    assert said.count("\n") == (1 if message else 0)
    assert "\x1b" not in said


def test_a_reader_that_has_enough_is_no_error(folder: Path):
    with subprocess.Popen(
        [POVSTORM, "jobs", "--all"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_what_nobody_reads_on_standard_error_keeps_no_command_from_its_end(folder: Path):
    warned = ["render", "anim.ini", "--dry-run", "--declare", "Nothing=1,2"]
    assert b"no file of the scene uses Nothing" in povstorm(*warned).stderr
    with subprocess.Popen(
        [POVSTORM, *warned], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stderr.close()
        assert b"scene    anim" in process.stdout.read()
    assert process.returncode == 0


def test_output_that_cannot_be_written_is_told(folder: Path):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([POVSTORM, "jobs"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"povstorm: ")
    assert b"No space left on device" in done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("closed", [">&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(folder: Path, closed: str):
    done = subprocess.run(
        ["sh", "-c", f'"$0" jobs {closed}', POVSTORM], capture_output=True, check=False
    )
    assert done.returncode == 0
    assert done.stderr == b""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_that_lacks_a_character_is_given_its_number(folder: Path, encoding: str):
    done = povstorm("render", "größe漢.pov", LC_ALL="C", PYTHONIOENCODING=encoding)
    assert done.returncode == 1
    assert "gr" in done.stderr.decode(encoding)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("columns", ["1", "20", "abc"])
def test_a_narrow_terminal_is_wide_enough(folder: Path, forked: ForkedPovstorm, columns: str):
    done = forked.run(["render", "--help"], {**os.environ, "COLUMNS": columns})
    assert done.returncode == 0
    assert done.stderr == b""


BUG = """
import povstorm_client.command_line as command_line
def run(words):
    raise {error}
command_line.run = run
"""


def run_with(
    forked: ForkedPovstorm, error: str, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return forked.run(["jobs"], {**os.environ, **environment}, before=BUG.format(error=error))


def test_a_bug_is_a_line_that_says_where_its_traceback_is(folder: Path, forked: ForkedPovstorm):
    done = run_with(forked, "ZeroDivisionError('by \\x1b[2J nothing')")
    assert done.returncode == 70
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("povstorm: a bug of povstorm's: ZeroDivisionError: by ?[2J nothing;")
    (kept,) = folder.glob("povstorm-bug-*.txt")
    assert str(kept) in line
    assert "Traceback" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0


def test_a_bug_s_traceback_is_shown_to_who_asks(folder: Path, forked: ForkedPovstorm):
    done = run_with(forked, "KeyError('x')", POVSTORM_DEBUG="1")
    assert done.returncode == 70
    assert b"Traceback" in done.stderr
    assert list(folder.glob("povstorm-bug-*")) == []


@pytest.mark.parametrize(
    "error", ["MemoryError()", "RecursionError()", "UnicodeDecodeError('a', b'', 0, 1, 'b')"]
)
def test_an_exception_of_any_kind_is_a_line(folder: Path, forked: ForkedPovstorm, error: str):
    done = run_with(forked, error)
    assert done.returncode == 70
    assert len(done.stderr.splitlines()) == 1


def test_what_the_machine_refuses_is_told_with_the_file(folder: Path, forked: ForkedPovstorm):
    done = run_with(forked, "PermissionError(13, 'Permission denied', '/etc/secret')")
    assert done.returncode == 1
    assert done.stderr == b"povstorm: /etc/secret: Permission denied\n"


@pytest.mark.parametrize(
    "where", ["povstorm_client.command_line", "povstorm_client.cluster", "typer", "rich.console"]
)
def test_ctrl_c_while_it_starts_is_exit_code_130_and_a_line(folder: Path, where: str):
    program = f"""
import sys, signal, importlib.abc, os
class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {where!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
signal.signal(signal.SIGINT, signal.default_int_handler)
from povstorm_client.cli import main
sys.argv = ["povstorm", "--help"]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr == b"povstorm: stopped\n"


def test_ctrl_c_in_a_command_that_says_nothing_of_it_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(*_words: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("povstorm_client.commands.render.read_scene", interrupted)
    assert command_line.run(["render", "a.pov"]) == 128 + signal.SIGINT
    assert capsys.readouterr().err == "povstorm: stopped\n"


WAITS = """
import sys, time, povstorm_client.command_line as command_line
from povstorm_client.cli import main
def jobs(words):
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("clearing up", flush=True)
        time.sleep(0.5)
        print("cleared up", file=sys.stderr, flush=True)
        raise
command_line.app = lambda words, **_: jobs(words)
sys.argv = ["povstorm", "jobs"]
main()
"""


# Whoever runs the tests may do so under nohup, which is inherited.
HEARS_HANGUP = ("env", "--default-signal=HUP")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_terminated_clears_up_as_after_ctrl_c(how: signal.Signals):
    with subprocess.Popen(
        [*HEARS_HANGUP, sys.executable, "-c", WAITS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(how)
        assert process.stdout.readline() == "clearing up\n"
        process.send_signal(how)  # as timeout(1) and shells send it, twice
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + how
        assert process.stderr.read() == "cleared up\npovstorm: stopped\n"


def test_a_command_whose_terminal_is_closed_clears_up(tmp_path: Path):
    done = tmp_path / "done"
    program = WAITS.replace('print("cleared up"', f'open({str(done)!r}, "w"); print(""')
    terminal, ours = pty.openpty()
    process = subprocess.Popen(
        [*HEARS_HANGUP, sys.executable, "-c", program],
        stdin=ours,
        stdout=ours,
        stderr=ours,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no threads here
    )
    os.close(ours)
    assert os.read(terminal, 5) == b"ready"
    os.close(terminal)
    assert process.wait(30) == 128 + signal.SIGHUP
    assert done.exists()


def test_a_command_that_nohup_started_outlives_its_terminal():
    with subprocess.Popen(
        ["nohup", sys.executable, "-c", WAITS.replace("60", "0.5")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == 0


def test_the_version_is_told_before_anything_heavy_is_imported(folder: Path):
    done = povstorm("--version")
    assert done.returncode == 0
    assert done.stdout.startswith(b"povstorm ")
    program = (
        "import sys, povstorm_client.cli\n"
        "sys.argv = ['povstorm', '--version']\n"
        "try: povstorm_client.cli.main()\n"
        "finally: print({'typer', 'rich', 'google', 'povstorm_client.job'} & {*sys.modules})"
    )
    light = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert light.stdout.splitlines()[1] == b"set()"

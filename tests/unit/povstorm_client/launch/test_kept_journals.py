"""Journals of runs are kept until Prefect is told of them, and no longer."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

import pytest

from povstorm_client.launch import kept_journals as module
from povstorm_client.launch.kept_journals import (
    JournalOf,
    forget_job,
    journal_folder,
    keep_journal,
    kept_journals,
    note_end_of_turn,
    note_turn,
    remove_old_journals,
    take_up,
    teller_of,
    who_has_turn,
)

JOB = "file:///frames/jobs/a-1"
MONTH = 31 * 86400


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return journal_folder(tmp_path, JOB)


def journal_of(begun: float = 1e9, told_at: float = 4e9) -> JournalOf:
    return JournalOf(JOB, "", "the run", begun, told_at)


def test_a_journal_has_a_teller_and_a_run_as_long_as_their_files_are_open(folder: Path):
    kept, about, events = keep_journal(folder, journal_of())
    assert kept_journals(folder) == [kept]
    assert (kept.has_teller, kept.run_has_ended, kept.is_due) == (True, False, False)
    events.close()
    assert (kept.has_teller, kept.run_has_ended, kept.is_due) == (True, True, True)
    about.close()
    assert not kept.has_teller


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "gone link", "damaged", "endless"])
def test_what_is_no_journal_keeps_no_other_from_being_told_of(
    folder: Path, tmp_path: Path, kind: str
):
    kept, about, events = keep_journal(folder, journal_of())
    about.close()
    events.close()
    other = folder / "000.json"
    if kind == "folder":
        other.mkdir()
    elif kind == "pipe":
        os.mkfifo(other)
    elif "link" in kind:
        other.symlink_to(kept.path if kind == "link" else tmp_path / "nowhere")
    else:
        other.write_bytes(b"{" if kind == "damaged" else b" " * (1 << 20))

    assert kept_journals(folder) == [kept]
    remove_old_journals(folder)
    forget_job(tmp_path, JOB)
    assert kept_journals(folder) == []


def test_its_files_are_its_user_s_alone(folder: Path):
    kept, about, events = keep_journal(folder, journal_of())
    with about, events:
        assert {path.stat().st_mode & 0o077 for path in (folder, kept.path, kept.events)} == {0}


def test_they_are_in_the_order_in_which_their_runs_began(folder: Path):
    for begun in (3.0, 1.0, 2.0):
        for file in keep_journal(folder, journal_of(begun))[1:]:
            file.close()
    assert [each.of.begun for each in kept_journals(folder)] == [1.0, 2.0, 3.0]


def test_a_run_that_goes_on_is_told_of_when_it_is_time(folder: Path):
    kept, about, events = keep_journal(folder, journal_of(told_at=time.time()))
    with about, events:
        assert kept.is_due


def test_those_of_a_deleted_job_are_removed_unless_somebody_is_to_tell_of_them(
    folder: Path, tmp_path: Path
):
    with_teller, about, events = keep_journal(folder, journal_of())
    for file in keep_journal(folder, journal_of())[1:]:
        file.close()
    with about, events:
        forget_job(tmp_path, "file:///frames/jobs/another")
        assert len(kept_journals(folder)) == 2
        forget_job(tmp_path, JOB)
        assert kept_journals(folder) == [with_teller]


def test_what_nobody_has_told_of_in_a_month_is_removed_of_each_place(folder: Path, tmp_path: Path):
    other = journal_folder(tmp_path, "gs://bucket/jobs/a-1")
    assert other != folder
    files = [keep_journal(place, journal_of()) for place in (folder, folder, other)]
    for _, about, events in files[1:]:
        about.close()
        events.close()
    for kept, _, _ in files:
        for path in (kept.path, kept.events):
            os.utime(path, (0, time.time() - MONTH))

    remove_old_journals(folder)

    assert kept_journals(folder) == [files[0][0]], "somebody is to tell of it"
    assert list(other.iterdir()) == []
    for file in files[0][1:]:
        file.close()


@pytest.mark.parametrize("variable", ["PREFECT_API_URL", "PREFECT_HOME"])
def test_who_is_told_of_elsewhere_has_other_journals(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
):
    monkeypatch.setenv(variable, "http://127.0.0.1:4321/api")
    elsewhere = journal_folder(tmp_path, JOB)
    assert elsewhere != folder
    is_kept = journal_folder(tmp_path, JOB, "http://127.0.0.1:4321/api") == folder
    assert is_kept == (variable == "PREFECT_API_URL"), "the kept server has the flows' own history"


def test_nothing_is_started_where_all_have_a_teller(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    started: list[list[str]] = []
    monkeypatch.setattr(
        module.subprocess, "Popen", lambda command, **_: started.append(command[-2:])
    )
    _, about, events = keep_journal(folder, journal_of())
    with about, events:
        take_up(tmp_path)
        assert started == []
    take_up(tmp_path)
    assert started == [[str(folder), ""]]


def left_journal(folder: Path) -> None:
    for file in keep_journal(folder, journal_of())[1:]:
        file.close()


def test_nothing_is_started_where_a_process_tells_that_goes_on_to_what_is_left(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    started: list[list[str]] = []
    monkeypatch.setattr(
        module.subprocess, "Popen", lambda command, **_: started.append(command[-2:])
    )
    left_journal(folder)
    with (folder / module.TURN).open("a+b") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        note_turn(turn.fileno(), "http://127.0.0.1:4200/api")
        take_up(tmp_path)
        assert started == []
        note_end_of_turn(turn.fileno())
        take_up(tmp_path)
        assert len(started) == 1, "that one has looked for the last time"
        note_turn(turn.fileno(), "http://127.0.0.1:4200/api")
    take_up(tmp_path)
    assert len(started) == 2, "that one was killed"


def test_who_tells_of_a_run_is_known_by_its_journal(folder: Path, tmp_path: Path):
    assert teller_of(tmp_path, JOB, "the run") == "unknown"
    _, about, events = keep_journal(folder, journal_of())
    with events, about:
        assert teller_of(tmp_path, JOB, "the run") == "here"
        assert teller_of(tmp_path, JOB, "another run") == "unknown"
    assert teller_of(tmp_path, JOB, "the run") == "nobody"
    with (folder / module.TURN).open("a+b") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        note_turn(turn.fileno(), "")
        assert teller_of(tmp_path, JOB, "the run") == "here"


def test_a_journal_of_before_versions_were_noted_is_read(folder: Path):
    folder.mkdir(parents=True)
    whose = (
        '{"job_uri": "%s", "gcp_credentials": "", "run": "the run", "begun": 1e9, "told_at": 4e9}'
    )
    (folder / "1.json").write_text(whose % JOB)
    (kept,) = kept_journals(folder)
    assert (kept.of, kept.is_known) == (journal_of(), True)


def test_a_journal_that_another_version_wrote_otherwise_still_names_its_run(folder: Path):
    folder.mkdir(parents=True)
    whose = {
        "job_uri": JOB,
        "gcp_credentials": "",
        "run": "the run",
        "since": [1],
        "version": "9.0",
    }
    (folder / "1.json").write_text(json.dumps(whose))
    (kept,) = kept_journals(folder)
    assert (kept.of.job_uri, kept.of.run, kept.of.version) == (JOB, "the run", "9.0")
    assert not kept.is_known
    assert kept.is_due, "that it is not told of is to be said"


def test_who_has_the_turn_is_noted(tmp_path: Path):
    assert who_has_turn(tmp_path) == (0, "")
    turn = os.open(tmp_path / module.TURN, os.O_RDWR | os.O_CREAT)
    note_turn(turn, "http://127.0.0.1:4200/api")
    assert who_has_turn(tmp_path) == (os.getpid(), "http://127.0.0.1:4200/api")
    os.close(turn)

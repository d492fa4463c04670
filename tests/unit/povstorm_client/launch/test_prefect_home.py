"""A fresh Prefect home begins with a migrated database; what is there already is left alone."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from povstorm_client.launch import prefect_home
from povstorm_client.launch.prefect_home import migrated_database, seed_prefect_home


@pytest.fixture
def migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    database = tmp_path / "migrated.db"
    database.write_bytes(b"migrated")
    monkeypatch.setattr(prefect_home, "migrated_database", lambda: database)
    return database


def test_a_fresh_home_gets_the_migrated_database_and_nothing_else(tmp_path: Path, migrated: Path):
    home = tmp_path / "new" / "home"
    assert seed_prefect_home({"PREFECT_HOME": str(home)})
    assert [path.name for path in home.iterdir()] == ["prefect.db"]
    assert (home / "prefect.db").read_bytes() == b"migrated"


def test_the_home_and_its_database_are_their_users_alone(tmp_path: Path, migrated: Path):
    before = os.umask(0)
    try:
        assert seed_prefect_home({"PREFECT_HOME": str(tmp_path / "home")})
    finally:
        os.umask(before)
    modes = [
        stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "home", tmp_path / "home" / "prefect.db")
    ]
    assert modes == [0o700, 0o600]


def test_the_database_of_a_home_is_never_replaced(tmp_path: Path, migrated: Path):
    (tmp_path / "prefect.db").write_bytes(b"the user's history")
    assert not seed_prefect_home({"PREFECT_HOME": str(tmp_path)})
    assert (tmp_path / "prefect.db").read_bytes() == b"the user's history"


@pytest.mark.parametrize(
    "name",
    [
        "PREFECT_API_URL",
        "PREFECT_API_DATABASE_CONNECTION_URL",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    ],
)
def test_who_has_a_server_or_a_database_elsewhere_gets_none(
    tmp_path: Path, migrated: Path, name: str
):
    home = tmp_path / "home"
    assert not seed_prefect_home({"PREFECT_HOME": str(home), name: "somewhere"})
    assert not home.exists()


def test_without_a_migrated_database_prefect_is_left_to_make_its_own(
    tmp_path: Path, migrated: Path
):
    migrated.unlink()
    home = tmp_path / "home"
    assert not seed_prefect_home({"PREFECT_HOME": str(home)})
    assert not home.exists()


def test_setup_has_made_a_whole_database_of_this_prefects_tables():
    with closing(sqlite3.connect(migrated_database())) as database:
        tables = {name for (name,) in database.execute("select name from sqlite_master")}
        assert {"flow_run", "task_run", "alembic_version"} <= tables
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
        assert database.execute("select count(*) from flow_run").fetchone() == (0,)

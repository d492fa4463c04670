"""Prefect is told of a run when that is a small part of what the run has taken, or as chosen."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from povstorm_client import Cluster, InputError
from povstorm_client.launch.telling_time import VARIABLE, is_never_told, seconds_until_told


@pytest.fixture(autouse=True)
def nothing_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    for name in (VARIABLE, "PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)


def test_the_more_cores_there_are_and_the_less_it_takes_the_sooner(
    monkeypatch: pytest.MonkeyPatch,
):
    assert seconds_until_told(2) == pytest.approx(140)
    assert seconds_until_told(16) == pytest.approx(17.5)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert seconds_until_told(2) == pytest.approx(80)


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("2.5", 2.5)])
def test_the_variable_says_it_whatever_else_is_chosen(
    text: str, seconds: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(VARIABLE, text)
    assert seconds_until_told(2) == seconds
    assert not is_never_told()


def test_never_is_said_by_its_name(monkeypatch: pytest.MonkeyPatch):
    assert not is_never_told()
    monkeypatch.setenv(VARIABLE, "never")
    assert is_never_told()
    assert seconds_until_told(2) == math.inf


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf", "Never", "1e7"])
def test_what_is_no_number_of_seconds_is_refused_before_any_work(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(InputError, match=f"{VARIABLE} is '{text}': give the seconds"):
        Cluster.local(tmp_path / "storage").require_prefect_server()

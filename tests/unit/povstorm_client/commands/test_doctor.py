"""What ``povstorm doctor`` prints of its checks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer

from povstorm_client.commands import doctor as command
from povstorm_client.doctor.check import Check, judged

QUOTA = Check("quota", passed=True, finding="200 vCPU; plans use 20", remedy="to use all: set it")


def printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *checks: Check
) -> list[str]:
    cluster = SimpleNamespace(check=lambda: list(checks))
    monkeypatch.setattr(command, "chosen_cluster", lambda _: cluster)
    command.doctor(cast(Any, None))
    return capsys.readouterr().out.splitlines()


def test_what_is_fine_and_could_be_had_otherwise_is_told_with_how(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    fine = judged("ffmpeg", passed=True, finding="7.1", remedy="install it")

    lines = printed(monkeypatch, capsys, fine, QUOTA)

    assert lines == [
        "ok      ffmpeg: 7.1",
        "ok      quota: 200 vCPU; plans use 20",
        "        to use all: set it",
    ]


def test_the_same_remedy_of_several_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    denied = [
        Check(name, passed=True, finding="denied", remedy="ask as its owner", known=False)
        for name in ("quota", "alert")
    ]

    lines = printed(monkeypatch, capsys, *denied)

    assert lines == ["?       quota: denied", "        ask as its owner", "?       alert: denied"]


def test_what_is_wrong_is_told_with_its_remedy_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    wrong = judged("ffmpeg", passed=False, finding="there is none", remedy="install it")

    with pytest.raises(typer.Exit) as ended:
        printed(monkeypatch, capsys, wrong)

    assert ended.value.exit_code == 1
    assert capsys.readouterr().out.splitlines() == [
        "FAILED  ffmpeg: there is none",
        "        install it",
    ]

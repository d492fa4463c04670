"""The command that a preview prints is the one that --go would have run."""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client.commands.output_folder import whole_folder
from povstorm_client.commands.prospect import whole_words


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a.ini", "--preview"], ["a.ini"]),
        (["--preview", "a.ini", "--output", "x"], ["a.ini", "--output", "x_render"]),
        (["a.ini", "--output=x", "--preview"], ["a.ini", "--output=x_render"]),
    ],
)
def test_it_leaves_out_the_preview_and_names_the_folder_for_all(
    words: list[str], expected: list[str]
):
    assert whole_words(words, Path("x_render")) == expected


def test_all_frames_go_beside_the_previews_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert whole_folder(Path("x")) == Path("x_render")
    assert whole_folder(Path("a/x/")) == Path("a/x_render")
    assert whole_folder(Path()) == tmp_path.with_name(f"{tmp_path.name}_render")
    assert whole_folder(Path("a/..")) == tmp_path.with_name(f"{tmp_path.name}_render")
    assert whole_folder(Path("/")) == Path("/_render")

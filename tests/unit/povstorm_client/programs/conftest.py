"""Control groups made of files, as the kernel shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client.programs import control_groups


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that writes files of control groups, name → text; returns the outermost's folder.

    own: the group that this process is in.
    """

    def make(files: dict[str, str], *, own: str = "/") -> Path:
        root = tmp_path / "cgroup"
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        (tmp_path / "own").write_text(f"4:memory:/elsewhere\n0::{own}\n")
        monkeypatch.setattr(control_groups, "_OWN", tmp_path / "own")
        return root

    return make

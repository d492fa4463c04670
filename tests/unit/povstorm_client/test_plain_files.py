"""A user's files are read whole, or refused by what they are; nothing is waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from povstorm_client.errors import InputError
from povstorm_client.plain_files import open_plain, read_plain, read_source


@pytest.mark.parametrize("read", [open_plain, read_plain, read_source])
def test_a_pipe_is_refused_by_name(tmp_path: Path, read):
    os.mkfifo(tmp_path / "part.inc")

    with pytest.raises(InputError, match=r"part\.inc is a pipe, not a file"):
        read(tmp_path / "part.inc")


def test_a_device_is_refused():
    with pytest.raises(InputError, match="is a device, not a file"):
        read_plain(Path("/dev/zero"))


def test_a_source_has_one_kind_of_line_ends_and_every_byte(tmp_path: Path):
    file = tmp_path / "a.pov"
    file.write_bytes(b"one\r\ntwo\rthree\xff\n")

    assert read_source(file) == "one\ntwo\nthree\xff\n"
    assert read_plain(file) == b"one\r\ntwo\rthree\xff\n"

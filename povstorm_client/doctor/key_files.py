"""Whether a service account's key lies about in a folder, from where it could be uploaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from povstorm_client.doctor.check import Check

# A key is a JSON file of some 2.4 KB: https://cloud.google.com/iam/docs/keys-create-delete.
_MOST_BYTES = 16_384
_MARKS = (b'"private_key"', b'"service_account"')
# Of others' making, and large.
_LEFT_OUT = {".git", ".venv", "node_modules", ".terraform", "__pycache__"}
_MOST_FILES = 20_000


def check_key_files(folder: Path) -> Check:
    """No key file is in the folder, or below it."""
    name = "key files"
    keys = sorted(_keys(folder))
    if not keys:
        return Check(name, passed=True, finding=f"there is none in {folder}")
    return Check(
        name,
        passed=False,
        finding=f"{', '.join(map(str, keys))}: what is built or committed from here may take it "
        "along, and who has it is that account",
        remedy="delete the file, and the key with it: `gcloud iam service-accounts keys list`, "
        "`… delete`; docs/deploy.md makes one outside of this folder only",
    )


def _keys(folder: Path) -> Iterator[Path]:
    looked = 0
    for parent, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if each not in _LEFT_OUT]
        for name in names:
            if not name.endswith((".json", ".key")):
                continue
            looked += 1
            if looked > _MOST_FILES:
                return
            path = Path(parent, name)
            try:
                if not path.is_file() or path.stat().st_size > _MOST_BYTES:
                    continue
                content = path.read_bytes()
            except OSError:
                continue  # it cannot be read, so it cannot be uploaded from here
            if all(mark in content for mark in _MARKS):
                yield path

"""Cloud Build is sent what the images are built of, and nothing else that lies here.

By gcloud itself, where it is installed, and everywhere by git, whose rules .gcloudignore has.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
_IMAGES = ("render_image/Dockerfile", "deployments/Dockerfile")
# What people have lying about: each of these in each folder, and in a folder of its own there.
_FOREIGN = (
    *("key.json", "outputs.json", "pool.json", "credentials", "id_rsa", "key.pem", "a.p12"),
    *(".env", ".env.production", ".netrc", ".npmrc", ".pypirc", ".gitconfig", ".bash_history"),
    *("terraform.tfstate", "terraform.tfstate.backup", "terraform.tfvars", "crash.log"),
    *("me.png", "film.mp4", "notes.txt", "letter.md", "data.csv", "db.sqlite3", "a.pyc", "a.so"),
    *("Dockerfile.old", "main.py.orig", ".main.py.swp", "main.py~"),
)


@functools.cache
def _files() -> tuple[str, ...]:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return tuple(listed.stdout.split())


@functools.cache
def _built_of() -> frozenset[str]:
    """The repository's files that the images are built of."""
    wanted: set[str] = {".dockerignore", *_IMAGES}
    for image in _IMAGES:
        for line in (ROOT / image).read_text().splitlines():
            if line.startswith("COPY ") and "--from" not in line:
                for source in line.split()[1:-1]:
                    wanted |= {
                        name for name in _files() if name == source or name.startswith(f"{source}/")
                    }
    return frozenset(wanted)


def _foreign() -> Iterator[str]:
    """Files that are none of the repository's, in its folders and in new ones."""
    folders = {str(parent) for name in _files() for parent in PurePosixPath(name).parents}
    for folder in sorted(folders):
        for name in _FOREIGN:
            yield str(PurePosixPath(folder, name))
        yield str(PurePosixPath(folder, "private", "keys", "a.py"))


def _by_gcloud(folder: Path, config: Path) -> set[str]:
    done = subprocess.run(
        ["gcloud", "meta", "list-files-for-upload", str(folder)],
        env={**os.environ, "CLOUDSDK_CONFIG": str(config)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines())


def _by_git(folder: Path) -> set[str]:
    done = subprocess.run(
        ["git", "ls-files", "-z", "--others", f"--exclude-from={folder}/.gcloudignore"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split("\0")) - {""}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's files, empty, and foreign ones between them."""
    folder = tmp_path_factory.mktemp("repository")
    for name in {*_files(), *_foreign()}:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    shutil.copy(ROOT / ".gcloudignore", folder)
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    return folder


@pytest.fixture(scope="module", params=["gcloud", "git"])
def uploaded(
    request: pytest.FixtureRequest, checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> set[str]:
    """What goes up."""
    if request.param == "git":
        return _by_git(checkout)
    if shutil.which("gcloud") is None:
        pytest.skip("there is no gcloud here: https://cloud.google.com/sdk/docs/install")
    return _by_gcloud(checkout, tmp_path_factory.mktemp("gcloud"))


def test_all_that_the_images_are_built_of_is_uploaded(uploaded: set[str]):
    assert _built_of() - uploaded == set()


def test_nothing_else_is_uploaded_wherever_it_lies(uploaded: set[str]):
    assert uploaded - _built_of() == set()


# Beside what is in the repository: a new file of a source's kind, in a folder of sources.
_KINDS = {".c", ".css", ".html", ".js", ".py"}
_SOURCES = sorted({str(PurePosixPath(name).parent) for name in _built_of()} - {"."})
_NAMES = st.text(
    st.characters(categories=["L", "N", "P", "S"], exclude_characters="/\\"), min_size=1
)


_ENDINGS = sorted({"", ".json", ".env", ".tfstate", ".pem", ".txt", ".sh", ".toml", *_KINDS})


@settings(max_examples=30)
@given(name=_NAMES, below=st.lists(_NAMES, max_size=2))
def test_whatever_is_no_source_in_a_folder_of_sources_stays_here(
    checkout: Path, name: str, below: list[str]
):
    """Any name, with each ending, in each folder of sources, below it and beside it."""
    assume(not {".", ".."} & {name, *below})
    asked = {
        str(PurePosixPath(folder, *below, f"{name}{ending}"))
        for folder in (".", *_SOURCES)
        for ending in _ENDINGS
    } - {"."}
    ignored = subprocess.run(
        [
            *("git", "-c", f"core.excludesFile={checkout}/.gcloudignore"),
            *("check-ignore", "--no-index", "-z", "--stdin"),
        ],
        cwd=checkout,
        input="\0".join(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ignored.stderr == ""
    for path in asked - set(ignored.stdout.split("\0")):
        place = PurePosixPath(path)
        is_source = str(place.parent) in _SOURCES and place.suffix in _KINDS
        assert is_source or path in _built_of(), path

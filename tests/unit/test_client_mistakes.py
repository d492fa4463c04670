"""What a client program passes by mistake is an InputError that names the argument."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client import Cluster, InputError, Job, RenderSettings, WorkUnit

SETTINGS = RenderSettings(scene="a.pov", final_frame=10)
# What argument takes none of these values.
WRONG: dict[str, tuple[Any, ...]] = {
    "fps": (None, True, [24], b"24", object()),
    "video": (4, b"mp4", ["mp4"]),
    "allow_missing_frames": (None, 1, "yes"),
    "retries": ("3", None, True, 2.5, float("nan")),
    "frame_timeout": ("60", True, float("nan"), float("inf"), [1]),
    "stall_timeout": ("60", True, float("nan"), float("inf")),
    "frame_memory": ("1G", True, 1e9, float("nan")),
    "sandbox": (True, 1, "on", ["off"]),
    "lean": (None, 3, ["fastest"]),
    "max_usd": ("5", True, float("nan")),
    "seconds_per_frame": ("5", True, float("nan")),
}


@pytest.fixture
def job(cluster: Cluster) -> Job:
    return Job(cluster, "j")


@pytest.mark.parametrize(
    ("argument", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_job_names_the_argument_that_is_of_a_wrong_type(
    cluster: Cluster, argument: str, value: object
):
    with pytest.raises(InputError, match="video format" if argument == "video" else argument):
        Job(cluster, "j", **{argument: value})


@pytest.mark.parametrize("cluster", ["here", None, 5, Path("/tmp")])
def test_what_is_no_cluster_is_refused(cluster: Any):
    with pytest.raises(InputError, match=r"cluster is .*Cluster\.local\(\) makes one"):
        Job(cluster, "j")
    with pytest.raises(InputError, match="cluster is"):
        Job.open(cluster, "j-20260102-030405-ab12")


@pytest.mark.parametrize("name", [5, None, b"j", True])
def test_a_name_and_an_id_are_texts(cluster: Cluster, name: Any):
    with pytest.raises(InputError, match="name is"):
        Job(cluster, name)
    with pytest.raises(InputError, match="job_id is"):
        Job.open(cluster, name)


@pytest.mark.parametrize("settings", ["a.pov", None, {"scene": "a.pov"}])
def test_a_text_is_no_settings(settings: Any):
    with pytest.raises(InputError, match=r"settings is .* not a RenderSettings"):
        WorkUnit(settings)


@pytest.mark.parametrize("content", [5, None, ["a"], Path("a.inc")])
def test_content_is_bytes_or_a_text(content: Any):
    with pytest.raises(InputError, match=r"content is .* not bytes or a text"):
        WorkUnit(SETTINGS).add_inline_resource("a.inc", content)
    with pytest.raises(InputError, match="path is"):
        WorkUnit(SETTINGS).add_inline_resource(content, "")


def test_a_text_is_no_work_unit(job: Job):
    with pytest.raises(InputError, match=r"unit is 'frame 1', which is not a WorkUnit"):
        job.add_work_unit("frame 1")  # type: ignore[arg-type]


@pytest.mark.parametrize("path", [5, None, b"frames", "a\0b", ["frames"]])
def test_what_is_no_path_is_refused_by_its_argument(job: Job, cluster: Cluster, path: Any):
    for call in (
        lambda: job.add_shared_resources(path),
        lambda: job.add_shared_files({"a.pov": path}),
        lambda: job.save_images(path),
        lambda: job.save_video(path),
        lambda: job.save_report(path),
        lambda: Cluster.from_terraform_outputs(path),
    ):
        with pytest.raises(InputError, match=r"path is|folder is|files\['a\.pov'\] is"):
            call()
    if path is not None:
        with pytest.raises(InputError, match="folder is"):
            Cluster.local(path)


def test_a_home_folder_of_nobody_is_one_clear_error():
    with pytest.raises(InputError, match="set HOME"):
        Cluster.local("~nobody-at-all/povstorm")


def test_what_is_asked_for_before_a_run_is_told_that_it_has_not_run(job: Job, tmp_path: Path):
    unit = WorkUnit(SETTINGS)
    unit.add_inline_resource("a.pov", "")
    job.add_work_unit(unit)
    asked = (
        lambda: job.save_images(tmp_path / "frames"),
        lambda: job.save_video(tmp_path / "j.mp4"),
        lambda: job.save_report(tmp_path / "report.html"),
        job.statistics,
    )
    for call in (*asked, job.images, job.results):
        with pytest.raises(InputError, match="has not run"):
            call()
    job.submit()
    for call in asked:
        with pytest.raises(InputError, match="has not run"):
            call()
    assert job.images() == {}, "a program may wait for the first images"
    assert not (tmp_path / "frames").exists()


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=5),
    st.binary(max_size=5),
    st.lists(st.integers(), max_size=2),
)


@given(st.dictionaries(st.sampled_from(sorted(WRONG)), ANYTHING, max_size=3))
def test_no_argument_of_a_job_ends_in_another_exception(arguments: dict[str, Any]):
    try:
        Job(Cluster("file:///nowhere"), "j", **arguments)
    except InputError as error:
        assert str(error)


@given(ANYTHING, ANYTHING, ANYTHING)
def test_no_argument_of_a_unit_ends_in_another_exception(frame: Any, path: Any, content: Any):
    try:
        WorkUnit(SETTINGS, frame=frame)
        WorkUnit(SETTINGS).add_inline_resource(path, content)
    except InputError as error:
        assert str(error)


def test_a_job_that_is_not_there_cannot_be_cancelled_and_nothing_is_left_of_the_attempt(
    cluster: Cluster, job: Job
):
    unit = WorkUnit(SETTINGS)
    unit.add_inline_resource("a.pov", "")
    job.add_work_unit(unit)
    job.submit()
    stored = Path(cluster.storage_uri.removeprefix("file://"))
    before = sorted(stored.rglob("*"))
    for job_id in ("typo-20260102-030405-ab12", "../x", ""):
        with pytest.raises(InputError, match="job"):
            cluster.cancel(job_id)
    assert sorted(stored.rglob("*")) == before
    assert cluster.cancel(job.job_id) == []


def test_the_damage_of_a_job_that_was_never_submitted_is_not_none_but_unknown(job: Job):
    with pytest.raises(InputError, match="has not run"):
        job.damage()

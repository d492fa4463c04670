"""A job's statistics add up, survive storage, and are documented field by field."""

from __future__ import annotations

import json
import types
import typing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client.errors import StorageError
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.frames.result import FrameResult, FrameStatistics
from povstorm_client.jobs.statistics import FrameLine, JobStatistics, Percentiles
from povstorm_client.jobs.summarize import summarize

START = 1_000.0
DOCUMENTATION = Path(__file__).parents[4] / "docs" / "statistics.md"
SCHEMA = DOCUMENTATION.with_name("statistics.schema.json")


def result(frame: int, *, wall: float = 1.0, state: str = "rendered", cached: bool = False):
    taken = FrameStatistics(0.1, 0.0, 0.0, 0.0, 0.8, 0.9 * wall, wall, 2**20, 768, 900, 10, 555)
    rendered = state == "rendered"
    return FrameResult(
        work_unit_id=f"frame-{frame}",
        job_id="job",
        frame=frame,
        state=state,
        attempt=2,
        host="host",
        started=START - 500 if cached else START + 1,
        ended=START + 2,
        cache_hit=cached,
        image=f"frame_{frame}.png" if rendered else "",
        image_bytes=555 if rendered else 0,
        statistics=taken if rendered else None,
        error="" if rendered else "no such file",
    )


def statistics_of(results: list[FrameResult], expected: range, seconds: float = 2.0, *, cores=None):
    return summarize(
        results,
        job_id="job",
        name="name",
        expected_frames=expected,
        started=START,
        ended=START + seconds,
        video=None,
        cores=cores,
    )


results = st.lists(
    st.tuples(
        st.floats(0.001, 1e4),
        st.sampled_from(["rendered", "failed", "cached"]),
    ),
    max_size=30,
).map(
    lambda frames: [
        result(
            number,
            wall=wall,
            state="failed" if kind == "failed" else "rendered",
            cached=kind == "cached",
        )
        for number, (wall, kind) in enumerate(frames, start=1)
    ]
)


@given(results, st.floats(0, 1e5))
def test_totals_add_up_and_percentiles_ascend(results: list[FrameResult], seconds: float):
    found = statistics_of(results, range(1, len(results) + 3), seconds)
    assert found.frames_rendered + found.frames_failed == len(results)
    assert len(found.frames_missing) == found.frames_expected - found.frames_rendered
    now = [line for line in results if line.state == "rendered" and not line.cache_hit]
    assert found.wall_seconds == pytest.approx(sum(r.statistics.wall_seconds for r in now))
    assert (found.wall_percentiles is None) == (not now)
    if found.wall_percentiles:
        p = found.wall_percentiles
        assert p.p50 <= p.p90 <= p.p99 <= p.maximum
        assert p.maximum == max(r.statistics.wall_seconds for r in now)
    assert str(found)


@given(results)
def test_statistics_survive_storage(results: list[FrameResult]):
    found = statistics_of(results, range(1, len(results) + 1))
    assert JobStatistics.from_json(json.loads(json.dumps(found.to_json()))) == found


@given(results)
def test_what_is_stored_is_the_same_as_their_plain_data(results: list[FrameResult]):
    statistics = statistics_of(results, range(1, 31))
    assert json.loads(statistics.stored()) == json.loads(json.dumps(statistics.to_json()))
    assert statistics.stored().startswith(b'{\n  "schema": ')


def test_povrays_own_loop_is_estimated_from_cpu_time_cores_and_what_it_waits():
    # Of each frame's CPU seconds a ninth is parsing, on one core; the rest is shared by both.
    found = statistics_of([result(1, wall=10), result(2, wall=20)], range(1, 3), cores=2.0)
    each = [cpu / 9 + cpu * 8 / 9 / 2 + 0.22 for cpu in (9, 18)]
    assert found.own_loop_seconds == pytest.approx(0.5 + sum(each))
    assert found.cores == 2.0


@given(results, st.floats(0.1, 512))
def test_the_own_loop_is_never_said_to_beat_the_cores_or_to_be_slower_than_one(
    results: list[FrameResult], cores: float
):
    found = statistics_of(results, range(1, len(results) + 1), cores=cores)
    now = [r for r in results if r.state == "rendered" and not r.cache_hit]
    if not now:
        assert found.own_loop_seconds is None
        return
    waits = 0.5 + 0.22 * len(now)
    assert found.own_loop_seconds >= waits + found.cpu_seconds / max(1, cores) - 1e-6
    assert found.own_loop_seconds <= waits + found.cpu_seconds + 1e-6


def test_frames_that_were_not_rendered_now_are_no_work_of_the_own_loop():
    alone = statistics_of([result(2)], range(1, 3), cores=2.0)
    with_cached = statistics_of([result(1, cached=True), result(2)], range(1, 3), cores=2.0)
    assert with_cached.own_loop_seconds == alone.own_loop_seconds
    earlier_run = replace(result(1), started=START - 1)
    again = statistics_of([earlier_run, result(2)], range(1, 3), cores=2.0)
    assert again.own_loop_seconds == alone.own_loop_seconds


def test_what_several_machines_rendered_is_compared_with_no_loop():
    assert statistics_of([result(1)], range(1, 2)).own_loop_seconds is None


def test_frames_from_the_cache_count_as_rendered_but_not_as_work():
    found = statistics_of([result(1, cached=True), result(2)], range(1, 3))
    assert (found.frames_rendered, found.frames_from_cache, found.attempts) == (2, 1, 2)
    assert found.wall_seconds == 1.0


def test_attempts_after_a_frames_first_are_retries():
    found = statistics_of([result(1), result(2, state="failed"), result(3, cached=True)], range(4))
    assert (found.attempts, found.retries) == (4, 2)


def test_statistics_of_another_schema_are_refused_by_both_numbers():
    data = statistics_of([result(1)], range(1, 2)).to_json()
    with pytest.raises(StorageError, match="schema 99, this povstorm reads 2"):
        JobStatistics.from_json({**data, "schema": 99})
    del data["frames"]
    with pytest.raises(StorageError, match="not readable: Object missing required field `frames`"):
        JobStatistics.from_json(data)


@pytest.mark.parametrize(
    ("frames", "text"),
    [([], ""), ([3], "3"), ([1, 2, 3, 5, 7, 8], "1-3, 5, 7-8"), ([2, 1, 2], "1-2")],
)
def test_frame_numbers_are_written_as_ranges(frames: list[int], text: str):
    assert frame_ranges(frames) == text


def test_long_lists_of_frames_are_cut():
    assert frame_ranges(range(0, 200, 2)).endswith("… (100 in all)")


def test_every_field_of_statistics_json_is_documented_and_nothing_else():
    documented = [
        line.split("`")[1]
        for line in DOCUMENTATION.read_text().splitlines()
        if line.startswith("| `")
    ]
    kinds = (JobStatistics, FrameLine, Percentiles)
    assert documented == [field.name for kind in kinds for field in fields(kind)]


def in_json_schema(kind: Any) -> dict[str, Any]:
    """How JSON Schema says a field's Python type."""
    simple = {int: "integer", float: "number", str: "string", bool: "boolean"}
    if kind in simple:
        return {"type": simple[kind]}
    if kind in (FrameLine, Percentiles):
        return {"$ref": f"#/$defs/{kind.__name__}"}
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return {"type": "array", "items": in_json_schema(arguments[0])}
    if origin is dict:
        return {"type": "object"}
    # What is annotated with bounds is united by typing itself.
    if origin in (types.UnionType, typing.Union) and type(None) in arguments:
        [other] = set(arguments) - {type(None)}
        return {"anyOf": [in_json_schema(other), {"type": "null"}]}
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", [JobStatistics, FrameLine, Percentiles])
def test_the_json_schema_has_every_field_with_its_type_and_nothing_else(kind: type):
    schema = json.loads(SCHEMA.read_text())
    described = schema if kind is JobStatistics else schema["$defs"][kind.__name__]
    hints = typing.get_type_hints(kind)
    assert described["additionalProperties"] is False
    assert described["required"] == list(hints)
    without_texts = {
        name: {key: value for key, value in field.items() if key not in ("description", "const")}
        for name, field in described["properties"].items()
    }
    assert without_texts == {name: in_json_schema(hint) for name, hint in hints.items()}
    assert all("description" in field for field in described["properties"].values())


def fits(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Whether a value is what a schema describes, as far as statistics.schema.json goes."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in schema:
        return any(fits(value, choice, root) for choice in schema["anyOf"])
    if "const" in schema and value != schema["const"]:
        return False
    kind = schema["type"]
    if kind == "array":
        return isinstance(value, list) and all(fits(v, schema["items"], root) for v in value)
    if kind == "object":
        return isinstance(value, dict) and (
            "properties" not in schema
            or (
                set(value) == set(schema["required"])
                and all(fits(v, schema["properties"][name], root) for name, v in value.items())
            )
        )
    kinds = {
        "integer": int,
        "number": (int, float),
        "string": str,
        "boolean": bool,
        "null": type(None),
    }
    return isinstance(value, kinds[kind]) and (kind == "boolean" or not isinstance(value, bool))


@given(results)
def test_stored_statistics_fit_the_json_schema(results: list[FrameResult]):
    schema = json.loads(SCHEMA.read_text())
    stored = json.loads(json.dumps(statistics_of(results, range(1, len(results) + 2)).to_json()))
    assert fits(stored, schema, schema)
    assert not fits({**stored, "schema": 1}, schema, schema)
    assert not fits({**stored, "rays": "many"}, schema, schema)

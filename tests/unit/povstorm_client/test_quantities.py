"""Ages as people type them, ages and sizes as they read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client import InputError
from povstorm_client.quantities import (
    age_seconds,
    age_words,
    byte_size,
    counted,
    duration,
    memory_size,
    usd,
)

UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@given(st.integers(0, 999_999_999), st.sampled_from(sorted(UNITS)), st.booleans(), st.booleans())
def test_an_age_is_a_number_of_its_unit(number: int, unit: str, upper: bool, blank: bool):
    text = f"{number}{unit.upper() if upper else unit}"
    assert age_seconds(f" {text} " if blank else text) == number * UNITS[unit]


@given(st.integers(0, 9999), st.integers(0, 99))
def test_an_age_may_have_a_fraction(whole: int, hundredths: int):
    assert age_seconds(f"{whole}.{hundredths:02}h") == pytest.approx(
        (whole + hundredths / 100) * 3600
    )


@given(st.text())
def test_whatever_is_typed_is_an_age_or_one_clear_error(text: str):
    try:
        assert age_seconds(text) >= 0
    except InputError as error:
        assert "30d" in str(error)


@pytest.mark.parametrize(
    "text", ["", "30", "d", "30 d", "-1d", "1e9d", "inf d", "30s", "٣d", "1.d"]
)
def test_what_is_no_age_is_refused(text: str):
    with pytest.raises(InputError, match="not a number and its unit"):
        age_seconds(text)


def test_words():
    assert [age_words(each) for each in (-1, 59, 60, 7200, 864_000)] == [
        *("0 s", "59 s", "1 min", "2 h", "10 d")
    ]
    assert [duration(each) for each in (9.6, 61, 3661)] == ["9.6 s", "1 min 01 s", "1 h 01 min"]
    assert [duration(each) for each in (0.0999, 90_000)] == ["0.1 s", "25 h 00 min"]
    assert [byte_size(each) for each in (0, 999, 1500, 2.5e9)] == [
        "0 bytes",
        "999 bytes",
        "1.5 kB",
        "2.5 GB",
    ]


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (12, "12 bytes"),
        (60_123_456, "57.3 MiB"),
        (123 << 20, "123 MiB"),
        (2048, "2 KiB"),
        (3 << 19, "1.5 MiB"),
        (64 << 20, "64 MiB"),
        (5 << 28, "1.25 GiB"),
        (1023 << 30, "1023 GiB"),
        (1 << 41, "2 TiB"),
    ],
)
def test_memory_and_limits_are_told_in_the_units_in_which_they_are_set(count: int, words: str):
    assert memory_size(count) == words


def test_what_took_time_or_money_is_never_told_as_nothing():
    assert [duration(each) for each in (0, 1e-6, 0.04)] == ["0.0 s", "0.01 s", "0.04 s"]
    assert [usd(each) for each in (0, 1e-9, 0.0002)] == ["$0.000", "$0.0001", "$0.0002"]


def test_one_thing_is_not_several():
    assert [counted(count, "job") for count in (0, 1, 12)] == ["0 jobs", "1 job", "12 jobs"]

"""When it is tried again whether the bucket lets containers in, and when that is given up."""

from __future__ import annotations

import pytest

from povstorm_client.errors import CloudError
from tasks.renderers.cloud_run.wave_setting import Pace
from tasks.waves.bucket_access import BucketAccess

MINUTES = "what was granted a moment ago takes minutes to be in force"


def test_nothing_is_held_back_while_containers_are_let_in():
    access = BucketAccess((30.0,))

    assert not access.holds_back(0.0)
    assert access.waits_for(0.0) == ""
    access.check()


def test_each_refused_wave_is_followed_by_a_longer_wait_and_the_last_by_an_error():
    access, now = BucketAccess((30.0, 60.0)), 100.0
    for wait in (30.0, 60.0):
        access.refused(launched=now, now=now + 5.0)
        access.check()
        assert access.holds_back(now + 4.9 + wait)
        assert MINUTES in access.waits_for(now + 4.9 + wait)
        now += 5.0 + wait
        assert not access.holds_back(now)
        assert access.waits_for(now) == ""

    access.refused(launched=now, now=now + 5.0)

    assert access.holds_back(now + 1e9)
    with pytest.raises(CloudError, match=f"tried 3 times, with 1 min 30 s.*{MINUTES}") as refusal:
        access.check()
    assert refusal.value.kind == "refused"


def test_waves_that_were_on_their_way_when_it_was_told_count_once():
    access = BucketAccess((30.0,))
    for now in (10.0, 11.0, 12.0):
        access.refused(launched=1.0, now=now)

    access.check()
    assert not access.holds_back(40.0)


def test_a_container_that_is_let_in_ends_the_wait():
    access = BucketAccess(())
    access.refused(launched=0.0, now=1.0)
    access.granted()

    access.check()
    assert not access.holds_back(1.0)


def test_a_job_that_is_a_little_too_early_outlasts_what_google_says_of_grants():
    assert sum(Pace().grants) > 7 * 60.0

"""What tasks do where no Prefect run calls them, and once Prefect's server is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from prefect import task
from prefect.utilities.annotations import quote

from tasks import prefect_run
from tasks.prefect_run import PrefectLostError, call, get_run_logger, is_recorded, unless_lost


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    prefect_run._lost.clear()


@task
async def doubled(values: list[int], *, times: int = 2) -> list[int]:
    return values * times


def test_outside_of_a_run_a_task_is_its_function_and_gets_plain_arguments():
    assert not is_recorded()
    assert asyncio.run(call(doubled, quote([1]), times=quote(3))) == [1, 1, 1]


def test_outside_of_a_run_what_matters_is_logged_all_the_same(caplog: pytest.LogCaptureFixture):
    get_run_logger().warning("a frame was damaged")

    assert "a frame was damaged" in caplog.text


def test_an_answer_is_waited_for_while_the_server_lives():
    async def ask() -> int:
        prefect_run.watched()
        return await unless_lost(asyncio.sleep(0, result=7))

    assert asyncio.run(ask()) == 7


def test_a_lost_server_is_not_waited_for():
    async def ask() -> None:
        lost = prefect_run.watched()
        asyncio.get_running_loop().call_soon(lost.set)
        with pytest.raises(PrefectLostError):
            await unless_lost(asyncio.sleep(3600))
        assert prefect_run.is_lost()
        assert len(asyncio.all_tasks()) <= 2, "whoever waits is told to end"

    asyncio.run(ask())

"""An execution that cannot be stopped is left to a person, who is told the command."""

from __future__ import annotations

import asyncio
import logging

import pytest

from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.errors import CloudError
from tasks.renderers.cloud_run.wave_setting import Pace
from tasks.waves.executions import Executions
from tasks.waves.wave import Wave

FLEET = CloudRunFleet("a-project", "a-region", (CloudRunJob("small", 1, 512, 4, 0, 600),))
PLACE = "--region a-region --project a-project"


class AwayApi:
    """Google does not answer."""

    def cancel(self, execution: str) -> None:
        raise CloudError("no answer", "unclear")

    def executions(self, job: str) -> list[object]:
        raise CloudError("no answer", "unclear")


@pytest.mark.parametrize(
    ("execution", "commands"),
    [
        (
            "projects/a-project/locations/a-region/jobs/small/executions/small-x7k2p",
            [f"`gcloud run jobs executions cancel small-x7k2p {PLACE}`"],
        ),
        (
            None,
            [
                f"`gcloud run jobs executions list --job small {PLACE}`",
                f"`gcloud run jobs executions cancel NAME {PLACE}`",
                "gs://bucket/jobs/j/waves/w0001",
            ],
        ),
    ],
    ids=["its name is known", "its start had no answer"],
)
def test_what_cannot_be_stopped_is_named_with_the_command_that_stops_it(
    execution: str | None, commands: list[str], caplog: pytest.LogCaptureFixture
):
    logger = logging.getLogger(__name__)
    executions = Executions(AwayApi(), FLEET, "gs://bucket/jobs/j/waves/", Pace(), logger)  # type: ignore[arg-type]
    wave = Wave("w0001", "waves/w0001", [["a"]], 0, 100.0, 7.0, execution=execution)

    asyncio.run(executions.stop(wave))

    (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [command for command in commands if command not in error] == []
    assert "no answer" in error

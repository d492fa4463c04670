"""What the tests share: a scratch storage, small scenes, Prefect's home and one server."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from povstorm_client import Cluster, RenderSettings, WorkUnit
from povstorm_client.launch import telling_time
from povstorm_client.launch.prefect_home import seed_prefect_home
from povstorm_client.storage.folder import FolderStorage
from tests.chaos.prefect_server import PrefectServer, chosen
from tests.distribution import shared_out

# Machines are shared: how long an example takes says nothing.
hypothesis.settings.register_profile(
    "povstorm", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("povstorm")

# A shell that starts the tests in the background has them, and the programs that they start and
# interrupt, ignore SIGINT.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SPHERE = """#version 3.7;
global_settings { assumed_gamma 1 }
camera { location -4*z look_at 0 }
light_source { <5, 8, -9> rgb 1 }
sphere { <sin(clock * 2 * pi), 0, 0>, 1 pigment { rgb <1, 0.4, 0.1> } finish { phong 1 } }
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--deep", action="store_true", help="collect tests/deep too: `make deep`")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave tests/deep to who asks for it."""
    is_deep = collection_path == Path(__file__).with_name("deep")
    return True if is_deep and not config.getoption("deep") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have each of pytest-xdist's processes begin with its share of what takes long."""
    shared = shared_out(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    assert sorted(map(id, shared)) == sorted(map(id, items)), "all tests, and each once"
    items[:] = shared


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "storage")


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster.local(tmp_path / "storage")


@pytest.fixture(scope="session", autouse=True)
def prefect_home(tmp_path_factory: pytest.TempPathFactory):
    """Each test process has Prefect's database, profiles and server state to itself.

    Prefect is told of no run but where a test asks for it: that takes three times as much as a
    small job.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.delenv("PREFECT_API_URL", raising=False)
        patch.setenv("POVSTORM_HOME", str(tmp_path_factory.mktemp("povstorm")))
        patch.setenv(telling_time.VARIABLE, telling_time.NEVER)
        # Flows do so too; servers that tests start themselves come up as fast.
        seed_prefect_home()
        yield
    # Prefect's embedded server tells its end after pytest has closed what that is written to.
    logging.getLogger("prefect").setLevel(logging.WARNING)


@pytest.fixture(scope="session")
def prefect(prefect_home) -> Iterator[PrefectServer]:
    """The one Prefect server of a test process: each costs seconds to start, and more to run."""
    with PrefectServer() as server:
        yield server


@pytest.fixture(scope="session")
def prefect_server(prefect: PrefectServer) -> str:
    """The API url of the server; flows started while it lives report to it."""
    return prefect.url


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Prefect told of the test's runs, as it is of a user's."""
    monkeypatch.delenv(telling_time.VARIABLE)


@pytest.fixture
def on_server(prefect_server: str, told: None) -> Iterator[str]:
    """Have the test's flows report to the server, which saves starting one for each."""
    with chosen(prefect_server):
        yield prefect_server


@pytest.fixture
def small_settings() -> RenderSettings:
    return RenderSettings(scene="sphere.pov", width=32, height=24, final_frame=4)


@pytest.fixture
def sphere_unit(small_settings: RenderSettings):
    """A function that makes a work unit with the sphere scene as an inline resource."""

    def make(frame: int = 1, scene: str = SPHERE) -> WorkUnit:
        unit = WorkUnit(small_settings, frame=frame)
        unit.add_inline_resource("sphere.pov", scene)
        return unit

    return make

"""The checks of ``povstorm doctor``: storage, render jobs and deployment, each with its remedy.

machine_checks.py has those of this machine.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from functools import partial

from povstorm_client.cloud_run.api import CloudRunApi
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.doctor.check import Check, checked, judged
from povstorm_client.doctor.pool_checks import LookAtSecret, check_pool
from povstorm_client.errors import StorageError
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from povstorm_client.version import povstorm_version


def check_storage(open_storage: Callable[[], Storage], *, bucket: bool) -> Check:
    """The storage takes an object, gives it back, and deletes it."""

    def try_it() -> str:
        storage = open_storage()
        key = layout.check(secrets.token_hex(8))
        content = secrets.token_bytes(16)
        storage.write(key, content)
        try:
            if storage.read(key) != content:
                raise StorageError(f"{storage.uri} gave back other bytes than were written")
        finally:
            storage.delete(key)
        return f"{storage.uri} can be written, read and cleared"

    return checked(
        "storage",
        try_it,
        "check the bucket's name in the outputs file, and that you have roles/storage.objectUser "
        "on it"
        if bucket
        else "set POVSTORM_HOME to a folder of your own",
    )


def check_render_jobs(api: CloudRunApi, fleet: CloudRunFleet, render_image: str) -> Iterator[Check]:
    """Each render job is there, may be run, and runs the image that the outputs name."""
    for job in fleet.jobs:
        path = fleet.job_path(job)
        found = checked(
            f"render job {job.name}",
            partial(api.image, path),
            "run `terraform apply`, and `terraform output -json > outputs.json` again",
        )
        yield found
        if not found.passed:
            continue
        yield _check_permissions(api, path, job.name)
        if found.finding != render_image:
            yield Check(
                f"image of {job.name}",
                passed=False,
                finding=f"it runs {found.finding}, the outputs file says {render_image}",
                remedy="run `terraform apply`, and write the outputs file anew",
            )
    yield _check_version(render_image)


def _check_permissions(api: CloudRunApi, path: str, name: str) -> Check:
    def ask() -> str:
        missing = api.missing_permissions(path)
        if missing:
            raise StorageError(f"you lack {', '.join(missing)}")
        return "may be run with overrides"

    return checked(
        f"permissions on {name}",
        ask,
        "have yourself, or the orchestrator's service account, granted "
        "roles/run.jobsExecutorWithOverrides and roles/run.viewer on it",
    )


def _check_version(render_image: str) -> Check:
    tag = render_image.partition("@")[0].rpartition(":")[2]
    version = povstorm_version()
    return judged(
        "image version",
        passed=tag == version,
        finding=f"the render image is {tag}, this client {version}",
        remedy=f"build and push the image of {version} (docs/deploy.md), set render_image_tag to "
        "it and run `terraform apply`, or install the client of the image's version",
    )


def secret_unknown(name: str, secret: str, version: str) -> Check:
    """What is to be said of a secret of flows where there is no project to ask for it."""
    return Check(
        name,
        passed=True,
        finding=f"comes from Secret Manager ({secret}), which was not asked",
        remedy="povstorm --cluster outputs.json doctor asks it",
        known=False,
    )


def check_deployment(
    deployment: str, *, server_in_network: bool, look_at_secret: LookAtSecret
) -> Iterator[Check]:
    """The Prefect server answers, has the deployment, and its pool takes runs and can run them.

    server_in_network, look_at_secret: as of pool_checks.check_pool.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import WorkPool, WorkPoolStatus
    from prefect.exceptions import ObjectNotFound

    def find_pool() -> WorkPool:
        with get_client(sync_client=True) as client:
            found = client.read_deployment_by_name(deployment)
            if found.work_pool_name is None:
                raise StorageError(f"deployment {deployment} has no work pool")
            return client.read_work_pool(found.work_pool_name)

    pools: list[WorkPool] = []

    def look() -> str:
        try:
            pools.append(find_pool())
        except ObjectNotFound as error:
            raise StorageError("the Prefect server has no such deployment, or no pool") from error
        # Prefect's client lets every error of its server and of the network through.
        except Exception as error:
            raise StorageError(f"{type(error).__name__}: {error}") from error
        return f"runs on work pool {pools[0].name}"

    yield checked(
        f"deployment {deployment}",
        look,
        "check PREFECT_API_URL (or `prefect cloud login`), then `prefect deploy` (docs/deploy.md)",
    )
    for pool in pools:
        waiting = pool.status == WorkPoolStatus.NOT_READY and not pool.is_push_pool
        finding = "is paused" if pool.is_paused else "has no worker" if waiting else "takes runs"
        yield judged(
            f"work pool {pool.name}",
            passed=not (pool.is_paused or waiting),
            finding=finding,
            remedy=f"prefect work-pool resume {pool.name}"
            if pool.is_paused
            else f"prefect worker start --pool {pool.name}",
        )
        yield from check_pool(
            pool.name,
            pool.type,
            pool.base_job_template,
            server_in_network=server_in_network,
            look_at_secret=look_at_secret,
        )

"""Cluster: where jobs are stored and run. Client programs make one; Job works on it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from povstorm_client.argument_checks import check_path, check_type
from povstorm_client.cloud_run.api import (
    EMULATOR_VARIABLE,
    CloudRunApi,
    ExecutionState,
    GoogleCloudRun,
)
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.terraform_outputs import TerraformOutputs, read_terraform_outputs
from povstorm_client.doctor import cluster_checks, project_checks
from povstorm_client.doctor.check import Check
from povstorm_client.doctor.google_apis import GoogleApis
from povstorm_client.doctor.key_files import check_key_files
from povstorm_client.errors import InputError, PovstormError
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.jobs.manifest import read_work_units, require_job
from povstorm_client.jobs.state import announced_run
from povstorm_client.jobs.storage_marker import check_storage, foreign_content, mark_storage
from povstorm_client.jobs.summary import JobSummary, newest_jobs
from povstorm_client.launch.deployed_flow import DeployedFlow, require_deployment_takes_runs
from povstorm_client.launch.flow_process import FlowProcess
from povstorm_client.launch.prefect_home import require_prefect_home
from povstorm_client.launch.running_flow import RunningFlow
from povstorm_client.programs.sandbox_mode import SandboxMode, announce_sandbox
from povstorm_client.programs.tools import require_povray
from povstorm_client.storage import layout
from povstorm_client.storage.credentials import google_credentials
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.job_address import job_uri
from povstorm_client.storage.open_storage import open_storage
from povstorm_client.storage.povstorm_home import expanded, home_folder
from povstorm_client.storage.protocol import Storage

DEFAULT_DEPLOYMENT = "render-job/cloud"


@dataclass(frozen=True)
class Cluster:
    """The storage that jobs of this cluster live in, and what renders them.

    storage_uri: ``file:///FOLDER`` or ``gs://BUCKET``. outputs: the terraform-managed resources,
    None for a cluster that is this machine. deployment: the Prefect deployment that runs the
    flow, None to run it here (the frames are rendered where outputs says all the same).
    gcp_credentials: name of a prefect-gcp GcpCredentials block, "" for the application default
    credentials.
    """

    storage_uri: str
    outputs: TerraformOutputs | None = None
    deployment: str | None = None
    gcp_credentials: str = ""

    def __post_init__(self) -> None:
        check_type("storage_uri", self.storage_uri, str, "a text: Cluster.local() makes one")
        if self.outputs is not None:
            check_type("outputs", self.outputs, TerraformOutputs, "TerraformOutputs or None")
        if self.deployment is not None:
            check_type("deployment", self.deployment, str, "a text such as 'render-job/cloud'")
            if not all(self.deployment.partition("/")):
                raise InputError(
                    f"deployment {self.deployment!r} is not FLOW/NAME: give for example "
                    f"{DEFAULT_DEPLOYMENT}"
                )
        check_type("gcp_credentials", self.gcp_credentials, str, "a text: the name of a block")

    def __repr__(self) -> str:
        if self.outputs is None:
            where = "this machine"
        else:
            where = f"Cloud Run in {self.outputs.region}, {self.outputs.project_id}"
        flows = f", flows on {self.deployment}" if self.deployment else ""
        return f"<Cluster {where}, {self.storage_uri}{flows}>"

    def _repr_html_(self) -> str:
        """The cluster in a notebook, with its newest jobs."""
        from povstorm_client.jobs.notebook import cluster_html

        return cluster_html(self)

    @classmethod
    def local(cls, folder: str | Path | None = None) -> Cluster:
        """Use this machine, with a folder as the storage: ``$POVSTORM_HOME``, else ``~/.povstorm``.

        The folder also holds the cache: frames rendered once are found there again. It is made
        when a job is submitted.
        """
        chosen = home_folder() if folder in (None, "") else expanded(check_path("folder", folder))
        return cls(chosen.absolute().as_uri())

    @classmethod
    def from_terraform_outputs(
        cls, path: str | Path, *, deployment: str | None = None, gcp_credentials: str = ""
    ) -> Cluster:
        """Use Google Cloud, as ``terraform output -json > outputs.json`` describes it.

        deployment: e.g. ``"render-job/cloud"``: the flow runs on that deployment's work pool,
        and goes on when this program ends. Raises InputError for a file that is not such output,
        naming what is missing in it.
        """
        outputs = read_terraform_outputs(check_path("path", path))
        return cls(f"gs://{outputs.bucket}", outputs, deployment, gcp_credentials)

    @cached_property
    def storage(self) -> Storage:
        """The storage, opened, to look at.

        Raises StorageError if it cannot be, or has other things than povstorm's in it.
        """
        _ = self._is_marked
        return self._opened

    @cached_property
    def claimed_storage(self) -> Storage:
        """The storage, to write to and delete from: marked as povstorm's.

        Raises StorageError for a folder or bucket that has other things than povstorm's in it.
        """
        if not self._is_marked:
            mark_storage(self._opened)
        self._opened.prepare()
        return self._opened

    def adopt(self) -> str:
        """Mark the storage as povstorm's, whatever is in it; returns what is foreign, in words.

        Things that povstorm would not have written stay as they are, always.
        """
        storage = self._opened
        foreign = foreign_content(storage)
        mark_storage(storage)
        return foreign

    @cached_property
    def _is_marked(self) -> bool:
        return check_storage(self._opened)

    @cached_property
    def _opened(self) -> Storage:
        return open_storage(self.storage_uri, google_credentials(self.gcp_credentials))

    @cached_property
    def cloud_run_api(self) -> CloudRunApi | None:
        """The Cloud Run Admin API with this cluster's credentials; None for this machine."""
        if self.outputs is None:
            return None
        return GoogleCloudRun(google_credentials(self.gcp_credentials))

    def fleet(self, settings: JobSettings | None = None) -> CloudRunFleet | None:
        """The Cloud Run jobs that frames may use; None where they are rendered on this machine."""
        if self.outputs is None:
            return None
        chosen = settings or JobSettings()
        return CloudRunFleet(
            self.outputs.project_id,
            self.outputs.region,
            tuple(self.outputs.render_jobs),
            chosen.prefer,
            chosen.max_usd,
            chosen.seconds_per_frame,
        )

    def require_tools(self, settings: JobSettings) -> None:
        """Raise ToolError unless this machine has what its part of a job's work needs.

        StorageError if a flow runs here and cannot write to Prefect's folder.

        The Prefect server that was chosen is looked at too; InputError if a deployment has none.
        """
        self.require_prefect_server()
        if self.deployment is None:
            require_prefect_home()
        if self.outputs is None:
            require_povray()
        if settings.video is not None and self.deployment is None:
            settings.video_options.require_encoder(settings.video)

    def start(self, job_id: str, *, sandbox: SandboxMode = "auto") -> RunningFlow:
        """Start the flow for a stored job: on the deployment, or as a process of this machine.

        sandbox: whether scenes are contained that this machine renders; where they can't be, it
        is a printed warning, or, if "required", a ToolError.
        """
        storage = self.claimed_storage
        storage.remove(layout.cancel_request(job_id))
        uri = job_uri(storage, job_id)
        with announced_run(storage, job_id):
            return self._start(job_id, uri, sandbox)

    def _start(self, job_id: str, uri: str, sandbox: SandboxMode) -> RunningFlow:
        storage = self.storage
        if self.deployment is not None:
            if sandbox == "required" and self.outputs is None:
                print(
                    "povstorm: warning: whether scenes are contained is chosen where the worker "
                    "runs: start it with POVSTORM_SANDBOX=required",
                    file=sys.stderr,
                )
            return DeployedFlow.start(
                self.deployment, uri, self.gcp_credentials, lambda: self._ask_to_stop(job_id)
            )
        if self.outputs is None:
            announce_sandbox(sandbox)
        if isinstance(storage, FolderStorage):
            log = storage.path(layout.flow_log(job_id))
        else:
            # Not where a job of this machine's own would be.
            log = home_folder() / layout.FLOW_LOGS / f"{job_id}.txt"
        return FlowProcess(
            uri, self.gcp_credentials, log, sandbox=sandbox, server_url=_kept_server()
        )

    def require_prefect_server(self) -> None:
        """Raise ToolError if the chosen Prefect server does not answer.

        One that is there, and too busy to answer soon, is a warning to a run on this machine, which
        goes on without it and has it told when it answers.

        InputError where a deployment needs one and none is chosen, or it has no such deployment, or
        when Prefect is to be told of a run cannot be read.
        """
        # Importing what asks it takes a tenth of a command's start.
        from povstorm_client.launch.prefect_server import VARIABLE, require_server
        from povstorm_client.launch.telling_time import chosen_seconds

        chosen_seconds()
        on_silence = _warn_of_silence if self.deployment is None else None
        if require_server(on_silence) is None and self.deployment is not None:
            raise InputError(
                f"the deployment {self.deployment} is on a Prefect server, and none is chosen: set "
                f"{VARIABLE} (`prefect server start` prints it), or `prefect cloud login`"
            )
        if self.deployment is not None:
            require_deployment_takes_runs(
                self.deployment, from_folder=self.storage_uri.startswith("file:")
            )

    def require_deployment(self) -> None:
        """Raise InputError unless flows of this cluster outlive this program."""
        if self.deployment is None:
            raise InputError(
                "this cluster runs its flows in this program, which must stay: to submit and "
                "leave choose a deployment: --deployment render-job/local with a worker on this "
                f"machine, or on Google Cloud --cluster OUTPUTS.JSON --deployment "
                f"{DEFAULT_DEPLOYMENT} (docs/deploy.md)"
            )

    def submit(self, job_id: str) -> DeployedFlow:
        """Start the flow for a stored job on a deployment, and leave it to itself.

        Raises InputError for a cluster without one.
        """
        self.require_deployment()
        started = self.start(job_id)
        assert isinstance(started, DeployedFlow)  # noqa: S101 - for the type checker
        return started

    def jobs(self, most: int | None = None, *, sizes: bool = False) -> list[JobSummary]:
        """The stored jobs, the newest first: so many, or all.

        A job that cannot be read is one of them, and its summary says why. sizes: count their
        bytes too, which lists all of their objects.
        """
        return newest_jobs(self.storage, most, sizes=sizes)

    def executions(self, job_id: str) -> list[ExecutionState]:
        """The Cloud Run executions that rendered frames of a job, the newest first."""
        waves = f"{self.storage_uri}/{layout.wave(job_id, '')}"
        found = [each for each in self._executions() if each.wave_uri.startswith(waves)]
        return sorted(found, key=lambda execution: execution.created, reverse=True)

    def jobs_at_work(self) -> set[str]:
        """The ids of the jobs that Cloud Run executions are rendering frames of."""
        return {
            layout.job_of_wave(execution.wave_uri.removeprefix(f"{self.storage_uri}/"))
            for execution in self._executions()
            if execution.completed is None
        }

    def _executions(self) -> list[ExecutionState]:
        api, fleet = self.cloud_run_api, self.fleet()
        if api is None or fleet is None:
            return []
        return [each for job in fleet.jobs for each in api.executions(fleet.job_path(job))]

    def frame_log(self, job_id: str, frame: int) -> str:
        """POV-Ray's output for a frame; raises InputError if the job has no such frame or log."""
        storage = self.storage
        units = {unit.frame: unit for unit in read_work_units(storage, job_id)}
        if frame not in units:
            raise InputError(f"job {job_id} has no frame {frame}")
        log = FrameResults(storage, job_id).log(units[frame])
        if log is None:
            raise InputError(f"frame {frame} of job {job_id} has no log yet: it was not tried")
        return log.decode(errors="replace")

    def cancel(self, job_id: str) -> list[ExecutionState]:
        """Have the job's flow stop, wherever it runs, and stop the executions that are at work.

        Finished frames stay. Returns the executions that were stopped. Raises InputError if the
        cluster has no such job.
        """
        require_job(self.claimed_storage, job_id)
        # The flow looks for this, and would only start lost frames again without it.
        self._ask_to_stop(job_id)
        running = [each for each in self.executions(job_id) if each.completed is None]
        api = self.cloud_run_api
        for execution in running:
            if api is not None:
                api.cancel(execution.name)
        return running

    def check(self) -> list[Check]:
        """Whether all is there that a render needs: `povstorm doctor` prints it."""
        from povstorm_client.doctor import machine_checks as here

        found: list[Check] = []
        if self.outputs is None:
            found += [*here.check_povray(), here.check_waits()]
            found += [here.check_sandbox(), here.check_memory()]
        if self.deployment is None:
            found.append(here.check_ffmpeg())
        found.append(
            cluster_checks.check_storage(lambda: self.storage, bucket=self.outputs is not None)
        )
        found += here.check_storage_folder(lambda: self.storage)
        if found[-1].name != "storage" or found[-1].passed:
            found.append(here.check_clock(lambda: self.storage))
        if self.deployment is None:
            found.append(here.check_temporary_folder())
        found += here.check_prefect()
        api, fleet = self.cloud_run_api, self.fleet()
        if self.outputs is not None and api is not None and fleet is not None:
            found += cluster_checks.check_render_jobs(api, fleet, self.outputs.render_image)
            found.append(check_key_files(Path.cwd()))
        in_network, look_at_secret = False, cluster_checks.secret_unknown
        if self.outputs is not None and EMULATOR_VARIABLE not in os.environ:
            apis = GoogleApis(self.outputs.project_id, google_credentials(self.gcp_credentials))
            if not self.gcp_credentials:
                found.append(project_checks.check_login(self.outputs))
            found += project_checks.check_project(apis, self.outputs)
            in_network = project_checks.server_in_network(apis, self.outputs)
            look_at_secret = partial(project_checks.check_secret_of_flows, apis, self.outputs)
        if self.deployment is not None:
            found += cluster_checks.check_deployment(
                self.deployment, server_in_network=in_network, look_at_secret=look_at_secret
            )
        return found

    def _ask_to_stop(self, job_id: str) -> None:
        self.claimed_storage.write(layout.cancel_request(job_id), b"{}")

    def with_deployment(self, deployment: str | None) -> Cluster:
        """The same cluster with its flows run by that deployment; None: by this program."""
        return replace(self, deployment=deployment)


def _warn_of_silence(words: str) -> None:
    print(f"povstorm: warning: {words}: it is told of the run when it does", file=sys.stderr)


def _kept_server() -> str | None:
    """The API of what `povstorm server` keeps, if that is to be had: flows can do without."""
    from povstorm_client.launch.kept_server import server_for_flows

    try:
        return server_for_flows(home_folder())
    except PovstormError as error:
        print(f"povstorm: warning: {error}", file=sys.stderr)
        return None

"""``povstorm clean``: delete old jobs, and what no job refers to any more."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import Annotated, Optional

import typer

from povstorm_client.cleaning.job_choice import choose_jobs
from povstorm_client.cleaning.job_deletion import delete_job, reasons_to_keep, storage_time
from povstorm_client.cleaning.unreferenced import (
    Unreferenced,
    delete_unreferenced,
    find_unreferenced,
)
from povstorm_client.cluster import Cluster
from povstorm_client.commands.chosen_cluster import chosen_cluster
from povstorm_client.commands.job_argument import complete_job
from povstorm_client.commands.job_table import print_jobs
from povstorm_client.errors import InputError
from povstorm_client.jobs.state import LOST_SECONDS
from povstorm_client.jobs.summary import JobSummary, job_bytes
from povstorm_client.launch.kept_journals import forget_job
from povstorm_client.quantities import age_seconds, byte_size, counted
from povstorm_client.storage.job_address import check_job_id, job_uri
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.povstorm_home import home_folder
from povstorm_client.storage.protocol import Storage
from povstorm_client.termination import ToldInterrupt, tell_stopped

# Of the jobs that a short form could mean.
_MOST_NAMED = 5


def clean(
    context: typer.Context,
    job_ids: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads it at run time
        typer.Argument(
            metavar="JOB",
            help="Jobs to delete, as `povstorm jobs` lists them",
            autocompletion=complete_job,
        ),
    ] = None,
    older_than: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="AGE", help="Jobs submitted longer ago: 30d, 12h, 2w"),
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only jobs that failed or were cancelled")
    ] = False,
    keep: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(metavar="N", min=0, help="Spare the N newest jobs"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be deleted, delete nothing")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask")] = False,
) -> None:
    """Delete jobs with their frames, and uploaded files that no job needs any more.

    Give jobs, or conditions that all have to apply. Other jobs keep their frames; jobs that run
    are left alone.
    """
    cluster = chosen_cluster(context)
    storage = cluster.claimed_storage
    everything = cluster.jobs()
    if job_ids:
        if older_than is not None or failed or keep is not None:
            raise InputError("give jobs, or --older-than, --failed and --keep, but not both")
        chosen = _named(cluster, everything, job_ids)
    else:
        chosen = _fitting(cluster, everything, older_than, failed=failed, keep=keep)
    ids = [job.job_id for job in chosen]
    unused = find_unreferenced(storage, storage_time(storage), without=ids)
    size = _show(cluster, chosen, unused)
    if not (ids or unused.files or unused.leftovers):
        print("nothing to delete")
        return
    if dry_run:
        return
    if not yes:
        _ask(f"Delete {counted(len(ids), 'job')} and what is unused, {byte_size(size)} in all?")
    flows_run = any(_may_run(job) for job in everything if job.job_id not in ids)
    _delete(storage, ids, with_cache=not flows_run)


def _delete(storage: Storage, job_ids: list[str], *, with_cache: bool) -> None:
    try:
        for job_id in job_ids:
            delete_job(storage, job_id, with_cache=with_cache)
            print(f"deleted  {job_id}", flush=True)
            forget_job(home_folder(), job_uri(storage, job_id))
        unused = delete_unreferenced(storage)
    except KeyboardInterrupt as stop:
        tell_stopped("; the same command goes on from there")
        raise ToldInterrupt from stop
    if unused.files or unused.leftovers:
        print(f"deleted  {_unused_words(unused)}")


def _fitting(
    cluster: Cluster,
    everything: list[JobSummary],
    older_than: str | None,
    *,
    failed: bool,
    keep: int | None,
) -> list[JobSummary]:
    """The jobs that all conditions apply to, without those that must stay, of which it tells."""
    if older_than is None and not failed and keep is None:
        raise InputError(
            "say what to delete: jobs by their ids, or --older-than 30d, --failed, --keep N (the "
            "newest N stay; --keep 0: all jobs are deleted); --dry-run shows it"
        )
    age = None if older_than is None else age_seconds(older_than)
    found = choose_jobs(everything, time.time(), older_than=age, failed=failed, keep=keep or 0)
    reasons = _reasons_to_keep(cluster, found)
    for job_id, reason in reasons.items():
        print(f"left alone  {job_id}: {reason}")
    return [job for job in found if job.job_id not in reasons]


def _reasons_to_keep(cluster: Cluster, jobs: list[JobSummary]) -> dict[str, str]:
    ids = [job.job_id for job in jobs]
    return reasons_to_keep(cluster.claimed_storage, ids, at_work=cluster.jobs_at_work())


def _may_run(job: JobSummary) -> bool:
    """Whether a flow may be at work on the job, or begin to be in this moment."""
    silent = time.time() - (job.updated or job.created)
    return not job.ended and not job.problem and silent < LOST_SECONDS


def _named(cluster: Cluster, everything: list[JobSummary], job_ids: list[str]) -> list[JobSummary]:
    """The jobs of these whole ids; InputError for others, and for one that must stay."""
    by_id = {job.job_id: job for job in everything}
    for job_id in job_ids:
        check_job_id(job_id)
        if job_id not in by_id:
            meant = [each.job_id for each in everything if each.job_id.startswith(job_id)]
            if meant or (job_id == "last" and everything):
                raise InputError(
                    f"{job_id!r} is a short form, and jobs to be deleted are named by their whole "
                    f"ids: {', '.join((meant or [everything[0].job_id])[:_MOST_NAMED])}"
                )
            raise InputError(
                f"there is no job {job_id!r} in {cluster.storage_uri}: look with `povstorm jobs`"
            )
    chosen = [by_id[job_id] for job_id in dict.fromkeys(job_ids)]
    for job_id, reason in _reasons_to_keep(cluster, chosen).items():
        raise InputError(f"job {job_id} is not deleted: {reason}")
    return chosen


def _show(cluster: Cluster, chosen: list[JobSummary], unused: Unreferenced) -> int:
    """Print what is to be deleted; returns its size in bytes."""
    sizes = in_parallel(lambda job: job_bytes(cluster.storage, job.job_id), chosen)
    sized = [replace(job, bytes=size) for job, size in zip(chosen, sizes, strict=True)]
    if sized:
        print_jobs(sized)
    if unused.files or unused.leftovers:
        print(f"unused   {_unused_words(unused)}")
    if unused.unreadable:
        print(
            "uploaded files stay, since it cannot be told what these jobs need: "
            + ", ".join(unused.unreadable)
        )
    return sum(job.bytes or 0 for job in sized) + unused.bytes


def _unused_words(unused: Unreferenced) -> str:
    words = []
    if unused.files:
        words.append(f"{counted(len(unused.files), 'uploaded file')}, {byte_size(unused.bytes)}")
    if unused.leftovers:
        words.append(f"what is left of {counted(len(unused.leftovers), 'job')}")
    return "; ".join(words)


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise InputError("nobody is there to ask: give --yes, or look with --dry-run")
    if not typer.confirm(question):
        print("nothing was deleted")
        raise typer.Exit(1)

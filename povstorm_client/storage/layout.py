"""The storage layout: which key holds what. All rooms take their keys from here.

``blobs/``, ``shared/``, ``jobs/``, ``estimates/``, ``results/`` (Prefect's persisted task
results) and ``cleaning/`` are the same under a folder and in a bucket. What is deleted has to have
the exact shape of such a key: there may be other things in a storage.
"""

from __future__ import annotations

import re

# Says that a folder or bucket is povstorm's; storage_marker.py writes and reads it.
MARKER = "povstorm.json"
RESULT_CACHE = "results"
JOBS = "jobs"
BLOBS = "blobs/sha256"
SHARED = "shared"
# There while a `povstorm clean` deletes what no job refers to.
SWEEP = "cleaning/sweep.json"
# Which of them was the last that ended.
LAST_SWEEP = "cleaning/last_sweep.json"
DELETIONS = "cleaning/jobs"
CHECKS = "checks"
# In $POVSTORM_HOME: what flows printed that run here for a job in a bucket.
FLOW_LOGS = "flow_logs"
# In $POVSTORM_HOME: where each job's results were saved to, for `povstorm retry` and `fetch`.
OUTPUT_FOLDERS = "output_folders"
# In $POVSTORM_HOME: the Prefect server that `povstorm server` keeps.
PREFECT_SERVER = "prefect_server"
# In $POVSTORM_HOME: the journals of runs of which Prefect is to be told.
PREFECT_JOURNALS = "prefect_journals"
# In $POVSTORM_HOME: what the addresses of live pages are made from.
LIVE_PAGE = "live_page"
# In a folder: what is being written and is no object yet.
PARTIALS = ".partial"

# What all objects but the marker lie below.
PREFIXES = ("blobs", SHARED, JOBS, "estimates", RESULT_CACHE, "cleaning", CHECKS)
# All that povstorm writes at a storage's root.
_OWN = frozenset(
    (
        *(MARKER, FLOW_LOGS, OUTPUT_FOLDERS, PREFECT_SERVER, PREFECT_JOURNALS, LIVE_PAGE),
        *(PARTIALS, *PREFIXES),
    )
)
# What docs/deploy.md has people put into a cluster's bucket, and the sources of its images.
_BESIDE_IN_A_BUCKET = frozenset(("outputs.json", "scenes", "builds"))

JOB_ID = r"[a-z0-9][a-z0-9-]{0,99}"
_DIGEST = r"[0-9a-f]{64}"
_JOB_ID_SHAPE = re.compile(JOB_ID)
_DIGEST_SHAPE = re.compile(_DIGEST)
_JOB_SHAPE = re.compile(
    rf"{JOBS}/{JOB_ID}/"
    r"((job|state|cancel|plan|statistics)\.json|work_units\.jsonl|video\.[a-z0-9]{1,8}|report\.html"
    r"|(results|attempts|left)/[^/]+\.json|logs/[^/]+\.txt|(output|waves|segments)/.+)",
    re.DOTALL,
)
_TREE_SHAPE = re.compile(rf"{SHARED}/{_DIGEST}/.+", re.DOTALL)
_BLOB_SHAPE = re.compile(rf"{BLOBS}/{_DIGEST}")
_CACHE_GROUP = r"[0-9a-f]{16}"
_CACHE_LIST_SHAPE = re.compile(
    rf"{RESULT_CACHE}/{_CACHE_GROUP}/of-(?P<job>{JOB_ID})/[0-9a-f]{{16}}\.json"
)
# Prefect's keys: ours of frames, of which those of povstorm 0.1 have no group, and hex digits of
# its own.
_CACHE_SHAPE = re.compile(
    rf"{RESULT_CACHE}/(({_CACHE_GROUP}/)?frame-{_DIGEST}-.+|[0-9a-f]{{16,}})", re.DOTALL
)
_ESTIMATE_SHAPE = re.compile(rf"estimates/{_DIGEST}\.json")
_CLEANING_SHAPE = re.compile(
    rf"{SWEEP}|{LAST_SWEEP}|{DELETIONS}/{JOB_ID}\.json|cleaning/clock-[0-9a-f]{{16}}"
)
_SHAPES = (
    *(_JOB_SHAPE, _TREE_SHAPE, _BLOB_SHAPE, _CACHE_SHAPE, _CACHE_LIST_SHAPE, _ESTIMATE_SHAPE),
    _CLEANING_SHAPE,
    re.compile(rf"{CHECKS}/[0-9a-f]{{16}}"),
)


def is_own(key: str) -> bool:
    """Whether a key has exactly the shape of one that povstorm writes: nothing else is deleted."""
    return any(shape.fullmatch(key) for shape in _SHAPES)


def is_own_name(name: str, *, bucket: bool) -> bool:
    """Whether something of this name may be expected at the root of a folder, or a bucket."""
    return name in _OWN or (bucket and name in _BESIDE_IN_A_BUCKET)


def is_job_id(name: str) -> bool:
    """Whether a job can have this id: safe in keys, file names and labels."""
    return _JOB_ID_SHAPE.fullmatch(name) is not None


def is_digest(text: str) -> bool:
    """Whether this is a SHA-256 in hex."""
    return _DIGEST_SHAPE.fullmatch(text) is not None


def cached_frames(group: str) -> str:
    """The prefix of the cache's entries for the frames of an animation, which share a group."""
    return f"{RESULT_CACHE}/{group}"


def cached_frame(name: str) -> str:
    """The cache's entry of that name, which begins with its frame's group."""
    return f"{RESULT_CACHE}/{name}"


def taken_over(name: str) -> str:
    """The name of a folder's entry of that frame for the job that took it over last."""
    return f"{name}-taken-over"


def cached_frame_name(key: str) -> str:
    """The name of a cache's entry, by its key."""
    return key.removeprefix(f"{RESULT_CACHE}/")


def cache_lists(group: str, job_id: str) -> str:
    """The prefix of the lists of an animation's frames that a job has, for the cache."""
    return f"{cached_frames(group)}/of-{job_id}"


def cache_list(group: str, job_id: str, token: str) -> str:
    """Which frames a job has rendered or taken over, some at a time; token: 16 hex digits."""
    return f"{cache_lists(group, job_id)}/{token}.json"


def job_of_cache_list(key: str) -> str | None:
    """The id of the job whose frames such a list has; None for another key."""
    shape = _CACHE_LIST_SHAPE.fullmatch(key)
    return None if shape is None else shape["job"]


def blob(sha256: str) -> str:
    """An uploaded file's content, named by its SHA-256 (hex)."""
    return f"{BLOBS}/{sha256}"


def shared(tree_digest: str) -> str:
    """The prefix of a staged, immutable set of shared resources."""
    return f"{SHARED}/{tree_digest}"


def job(job_id: str) -> str:
    """The prefix of all that belongs to one job."""
    return f"{JOBS}/{job_id}"


def job_manifest(job_id: str) -> str:
    """Settings, frame list, shared tree, who, when, version."""
    return f"{job(job_id)}/job.json"


def work_units(job_id: str) -> str:
    """One WorkUnit a line."""
    return f"{job(job_id)}/work_units.jsonl"


def job_state(job_id: str) -> str:
    """What the flow is doing now, for whoever polls."""
    return f"{job(job_id)}/state.json"


def cancel_request(job_id: str) -> str:
    """There while somebody wants the job's flow to stop."""
    return f"{job(job_id)}/cancel.json"


def output(job_id: str) -> str:
    """The offload prefix: what the frames wrote to ``./output``."""
    return f"{job(job_id)}/output"


def results(job_id: str) -> str:
    """The prefix of the FrameResults."""
    return f"{job(job_id)}/results"


def result(job_id: str, work_unit_id: str) -> str:
    """The FrameResult of a unit's last attempt; written last, so it is the commit point."""
    return f"{results(job_id)}/{work_unit_id}.json"


def attempts(job_id: str) -> str:
    """The prefix of the attempts that failed."""
    return f"{job(job_id)}/attempts"


def attempt(job_id: str, work_unit_id: str, number: int, noticed: float) -> str:
    """The FrameResult of an attempt that failed, kept for the report.

    number counts from 1 in each run of the job; noticed, Unix seconds, tells the runs apart.
    """
    return f"{attempts(job_id)}/{work_unit_id}-{number}-{round(noticed * 1000)}.json"


def left(job_id: str, work_unit_id: str) -> str:
    """The files that a frame leaves to the next, of frames that are rendered in order."""
    return f"{job(job_id)}/left/{work_unit_id}.json"


def logs(job_id: str) -> str:
    """Where POV-Ray's output of each frame is."""
    return f"{job(job_id)}/logs"


def log(job_id: str, work_unit_id: str) -> str:
    """POV-Ray's whole output for a unit's last attempt."""
    return f"{job(job_id)}/logs/{work_unit_id}.txt"


def flow_log(job_id: str) -> str:
    """What a flow that runs as a local process printed."""
    return f"{job(job_id)}/logs/flow.txt"


def wave(job_id: str, wave_id: str) -> str:
    """The prefix of a wave: the frames of one Cloud Run execution."""
    return f"{job(job_id)}/waves/{wave_id}"


def is_segment_wave(wave_id: str) -> bool:
    """Whether a wave encodes segments of its job's video, instead of frames."""
    return wave_id.startswith("v")


def wave_share(wave: str, task_index: int) -> str:
    """What one array task of the wave has to render."""
    return f"{wave}/{task_index:05d}.json"


def wave_index(wave: str) -> str:
    """Which task has which units: for whoever takes over the wave."""
    return f"{wave}/index.json"


def wave_claims(wave: str) -> str:
    """The prefix of the claims: which task renders which of the frames that any may take."""
    return f"{wave}/claims"


def wave_claim(wave: str, work_unit_id: str) -> str:
    """There since a task took the frame."""
    return f"{wave_claims(wave)}/{work_unit_id}.json"


def wave_gifts(wave: str) -> str:
    """The prefix of what is given to the tasks of a wave that was started ahead of its segments."""
    return f"{wave}/given"


def wave_gift(wave: str, task_index: int, number: int) -> str:
    """What a task of such a wave has to encode next; number counts from 0."""
    return f"{wave_gifts(wave)}/{task_index:05d}-{number:05d}.json"


def task_of_gift(key: str) -> int:
    """The index of the task that something was given to; ValueError if the key does not tell."""
    return int(key.rpartition("/")[2].partition("-")[0])


def job_of_key(key: str) -> str:
    """The id of the job that a key below ``jobs/`` belongs to."""
    return key.removeprefix(f"{JOBS}/").partition("/")[0]


def job_of_wave(wave: str) -> str:
    """The id of the job that a wave's prefix belongs to."""
    return job_of_key(wave)


def plan(job_id: str) -> str:
    """How the frames were shared out on Cloud Run: predicted and actual time and cost."""
    return f"{job(job_id)}/plan.json"


def estimate(digest: str) -> str:
    """What frames of a scene took in its last run, or will take by a preview."""
    return f"estimates/{digest}.json"


def video(job_id: str, ending: str) -> str:
    """The finished video; ending is the container's, e.g. ``mp4``."""
    return f"{job(job_id)}/video.{ending}"


def segments(job_id: str) -> str:
    """The prefix of the video's segments, until it is joined of them."""
    return f"{job(job_id)}/segments"


def segment_record(segments: str, name: str) -> str:
    """What is in a segment; written last, so it is the commit point."""
    return f"{segments}/{name}.json"


def segment_part(segments: str, name: str, number: int) -> str:
    """A part of a segment's frames' data, or of a video that is made in one pass."""
    return f"{segments}/{name}-{number:05d}"


def statistics(job_id: str) -> str:
    """The job's statistics.json."""
    return f"{job(job_id)}/statistics.json"


def deletion(job_id: str) -> str:
    """There from before a job's first object is deleted until its last one is."""
    return f"{DELETIONS}/{job_id}.json"


def report(job_id: str) -> str:
    """The page about the job, one file that opens offline."""
    return f"{job(job_id)}/report.html"


def clock(token: str) -> str:
    """There for a moment, to learn what time the storage has; token: 16 hex digits."""
    return f"cleaning/clock-{token}"


def check(token: str) -> str:
    """There for a moment, while `povstorm doctor` tries the storage; token: 16 hex digits."""
    return f"{CHECKS}/{token}"

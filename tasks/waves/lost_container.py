"""What happened to a container that has not stored all of its share, in words for people."""

from __future__ import annotations

from povstorm_client.cloud_run.api import TaskState


def what_happened(task: TaskState | None, memory_mib: int) -> str:
    """How it ended, as what follows the container's name; memory_mib: what it had.

    task: what Google says of it, None for nothing.
    """
    if task is None or not task.has_ended:
        return "was not at work when its execution ended"
    if task.outcome == "cancelled":
        return "was cancelled"
    if task.out_of_memory:
        return f"ran out of its {memory_mib} MiB of memory"
    how = f"signal {task.term_signal}" if task.term_signal else f"exit code {task.exit_code}"
    words = f": {task.message}" if task.message else ""
    return f"was lost with {how}{words}"

"""Whether a job was cancelled; who starts waves, of frames or segments, asks before it does."""

from __future__ import annotations

import asyncio

from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage


async def is_cancelled(storage: Storage, job_id: str) -> bool:
    """Whether somebody wants the job to stop: its flow, which looks now and then, ends in a moment.

    Until then nothing is to be started that would be billed, and what was stopped has not failed.
    If another run of the job takes the note back first, this one goes on.
    """
    note = layout.cancel_request(job_id)
    return await asyncio.to_thread(storage.stat, note) is not None

"""SharedUse: what one frame uses of its job's shared resources, where that is known.

load_scene finds it out by running a scene, client programs may know it. Job makes the digest of it
that the frame's cache key has in place of that of all shared resources.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from povstorm_client.errors import InputError


@dataclass(frozen=True)
class SharedUse:
    """What one frame uses of ``./shared``: to the cache it is the same as long as that is.

    read: the files, by their paths below ``./shared``.

    missing: what the frame looked for and is no file there, by paths as of files that are. An
    answer that something is not there decides the picture too.
    """

    read: frozenset[str]
    missing: frozenset[str] = frozenset()

    def digest(self, shared: Mapping[str, str]) -> str:
        """SHA-256 (hex) of what is used; shared: path below ``./shared`` → SHA-256 of its content.

        Raises InputError for a file that is not there.
        """
        if unknown := sorted(self.read - shared.keys()):
            raise InputError(
                f"a frame is said to read shared/{unknown[0]}, which is not among the job's shared "
                "resources: add it"
            )
        used = {
            "read": {path: shared[path] for path in self.read},
            "missing": sorted(self.missing),
        }
        return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()

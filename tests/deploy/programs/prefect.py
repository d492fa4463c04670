"""prefect, where a Prefect server is in Prefect Cloud's place; all but this is the real one's.

``cloud login`` finds the server whose API is ``PREFECT_CLOUD_STAND_IN``. A push pool is made as a
pool of workers, which is all that a server has.
"""

from __future__ import annotations

import os
import subprocess
import sys

_REAL = [sys.executable, "-m", "prefect"]
_LOGGED_IN_BY = "PREFECT_API_KEY=pnu_login"
_PUSH = ":push"


def main() -> None:
    """Log in, or run the real prefect."""
    words = sys.argv[1:]
    if words[:2] == ["cloud", "login"]:
        if words[2:]:
            sys.exit(f"the stand-in logs in without options, as a person does: {words[2:]}")
        api = f"PREFECT_API_URL={os.environ['PREFECT_CLOUD_STAND_IN']}"
        words = ["config", "set", api, _LOGGED_IN_BY]
    elif words[:2] == ["work-pool", "create"]:
        words = [word.removesuffix(_PUSH) for word in words]
    sys.exit(subprocess.run([*_REAL, *words], check=False).returncode)


if __name__ == "__main__":
    main()

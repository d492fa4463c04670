"""``python -m tests.chaos``: chaos runs, one after another, each with the next seed."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.chaos.plan import draw_plan
from tests.chaos.prefect_server import PrefectServer
from tests.chaos.run import run


def main() -> int:
    """Print a report of each run, and the sum; 1 if an audit found anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    faults: Counter[str] = Counter()
    renderings = retries = lost = corrupt = violations = 0
    with tempfile.TemporaryDirectory(prefix="povstorm-chaos-") as home:
        os.environ["PREFECT_HOME"] = home
        os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
        with PrefectServer() as prefect:
            for seed in range(options.seed, options.seed + options.rounds):
                with tempfile.TemporaryDirectory(prefix="povstorm-chaos-") as folder:
                    report = run(draw_plan(seed), Path(folder), prefect)
                print(report, flush=True)
                faults += report.faults
                renderings += report.renderings
                retries += report.retries
                if report.audit is not None:
                    lost += report.audit.lost
                    corrupt += report.audit.corrupt
                    violations += len(report.audit.violations)
    print(f"\n{options.rounds} runs: faults injected {faults.total()}")
    for kind, count in faults.most_common():
        print(f"  {count:6} {kind}")
    print(
        f"renderings {renderings}, retries {retries}, frames lost {lost}, "
        f"corrupt accepted {corrupt}, violations {violations}"
    )
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())

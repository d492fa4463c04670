"""``python -m tests.chaos``: the named plans, and then drawn ones, each with the next seed."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.named_plans import NAMED
from tests.chaos.plan import ChaosPlan, draw_plan
from tests.chaos.prefect_server import PrefectServer
from tests.chaos.run import Report, run


@dataclass
class _Sum:
    """Of all runs."""

    runs: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    renderings: int = 0
    retries: int = 0
    lost: int = 0
    corrupt: int = 0
    violations: int = 0

    def add(self, report: Report) -> None:
        self.runs += 1
        self.faults += report.faults
        self.renderings += report.renderings
        self.retries += report.retries
        if report.audit is not None:
            self.lost += report.audit.lost
            self.corrupt += report.audit.corrupt
            self.violations += len(report.audit.violations)

    def __str__(self) -> str:
        lines = [f"{self.runs} runs: faults injected {self.faults.total()}"]
        lines += [f"  {count:6} {kind}" for kind, count in self.faults.most_common()]
        lines.append(
            f"renderings {self.renderings}, retries {self.retries}, frames lost {self.lost}, "
            f"corrupt accepted {self.corrupt}, violations {self.violations}"
        )
        return "\n".join(lines)


def main() -> int:
    """Print a report of each run, and the sum; 1 if an audit found anything.

    Or if a named plan's fault did not come: it is there for that.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first run that is drawn")
    parser.add_argument("--rounds", type=int, default=10, help="that are drawn")
    options = parser.parse_args()
    total, not_met = _Sum(), 0

    def told(plan: ChaosPlan, prefect: PrefectServer) -> Report:
        with tempfile.TemporaryDirectory(prefix="povstorm-chaos-") as folder:
            report = run(plan, Path(folder), prefect)
        print(report, flush=True)
        total.add(report)
        return report

    with tempfile.TemporaryDirectory(prefix="povstorm-chaos-") as home:
        os.environ["PREFECT_HOME"] = home
        os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
        with PrefectServer() as prefect:
            for name, plan in NAMED.items():
                print(f"{name}:")
                not_met += len(told(plan, prefect).missed)
            for seed in range(options.seed, options.seed + options.rounds):
                told(draw_plan(seed), prefect)
    print(f"\n{total}, named faults not met {not_met}")
    return 1 if total.violations or not_met else 0


if __name__ == "__main__":
    sys.exit(main())

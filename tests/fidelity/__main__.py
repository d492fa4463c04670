"""``python -m tests.fidelity --examples 2000 --seed 1``: compare many cases with POV-Ray's loop."""

from __future__ import annotations

import argparse
import os
import sys

from tests.fidelity.cases import draw_cases
from tests.fidelity.outcome import Outcome, outcomes

# A POV-Ray process waits most of its time.
_AT_ONCE_A_CORE = 4


def main() -> int:
    """Print what differs, and how many cases there were of each kind; 1 if something differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.fidelity", description=__doc__)
    parser.add_argument("--examples", type=int, default=200, help="how many cases")
    parser.add_argument("--seed", type=int, default=1, help="another one draws other cases")
    parser.add_argument("--all", action="store_true", help="print all that is not equal")
    arguments = parser.parse_args()

    def tell(result: Outcome) -> None:
        if result.kind == "different":
            print(result, flush=True)
        elif arguments.all and result.kind != "equal":
            print(f"{result.kind}:", *result.case.words, *result.details, flush=True)

    cases = draw_cases(arguments.examples, arguments.seed)
    counts = outcomes(cases, at_once=_AT_ONCE_A_CORE * (os.cpu_count() or 1), tell=tell)
    print(", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())))
    return 1 if counts["different"] else 0


if __name__ == "__main__":
    sys.exit(main())

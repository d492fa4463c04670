"""What POV-Ray's own loop is said to take, beside what it takes.

``python -m benchmarks.own_loop [--frames 40] [--size 320x240]`` renders animations of the package
povray-examples, light and heavy, with povstorm, whose statistics estimate the own loop, and then
with ``povray FILE.ini +WTcores``. Aim, on a machine that does nothing else: the estimate within a
fifth of the truth. Beside other programs the loop takes longer; its CPU time tells.
"""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks.local_throughput import CORES, copied_scene, own_loop, picture
from benchmarks.measure import measure

# The last two are not those that the estimate's constants were measured on.
ANIMATIONS = {
    "light": "camera2",
    "heavy": "fractalzoom",
    "light too": "splinefollow",
    "radiosity": "raddem",
}
ROW = "{:10} {:12} {:>11} {:>9} {:>9} {:>7}"


def main() -> None:
    """Print, for each animation, the estimate, the truth, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--size", default="320x240")
    arguments = parser.parse_args()
    print(ROW.format("", f"{CORES} cores", "estimate s", "loop s", "loop CPU", "ratio"))
    for weight, name in ANIMATIONS.items():
        options = picture(arguments.size, arguments.frames)
        with copied_scene(name) as folder:
            command = [sys.executable, "-m", "benchmarks.local_throughput", "--render"]
            taken = measure([*command, str(folder / f"{name}.ini"), *options])
            estimate = json.loads(taken.output.strip().splitlines()[-1])["own_loop"]
            truth, cpu = own_loop(folder, name, options)
        ratio = f"{estimate / truth:.2f}"
        print(
            ROW.format(weight, name, f"{estimate:.1f}", f"{truth:.1f}", f"{cpu:.1f}", ratio),
            flush=True,
        )


if __name__ == "__main__":
    main()

"""What it costs to parse all frames of an animation first, to see what they leave to each other.

``python -m benchmarks.tracing [--frames 1000]`` traces a scene whose frames go on from each other,
at a small and at a large size, beside POV-Ray's own loop over the same frames with the same one
pixel, and with its whole image. Aim: at most 40 ms a frame, wall, whatever the image's size.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.measure import measure

SCENE = """#version 3.7; global_settings { assumed_gamma 1 }
#declare N = 0;
#if (file_exists("n.txt")) #fopen F "n.txt" read #read (F, N) #fclose F #end
#declare N = N + 1;
#fopen F "n.txt" write #write (F, N, ",") #fclose F
#fopen L "log.txt" append #write (L, N, "\\n") #fclose L
camera { location -5*z look_at 0 } light_source { -10*z 1 }
sphere { <sin(N / 50), 0, 0>, 1 pigment { rgb 1 } }
"""
SIZES = ("320x240", "1920x1080")
ONE_PIXEL = ("+SC2", "+EC2", "+SR2", "+ER2", "-F")
# A loop with whole images takes long; so many of its frames tell what one takes.
WHOLE_FRAMES = 20
ROW = "{:10} {:34} {:>7} {:>9} {:>12} {:>11}"


def main() -> None:
    """Print, for each size, the milliseconds of a frame."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1000)
    frames = parser.parse_args().frames
    print(ROW.format("size", "", "frames", "seconds", "ms a frame", "CPU ms"))
    for size in SIZES:
        width, height = size.split("x")
        options = [f"+W{width}", f"+H{height}"]
        loop = ["povray", "scene.pov", *options, "-D", "-GA", "+WT1"]
        check = ["povstorm", "check", "scene.pov", *options]
        row("povstorm check", size, frames, [*check, f"+KFF{frames}"])
        row("POV-Ray's own loop, one pixel", size, frames, [*loop, *ONE_PIXEL, f"+KFF{frames}"])
        whole = min(frames, WHOLE_FRAMES)
        row("POV-Ray's own loop", size, whole, [*loop, f"+KFF{whole}"])


def row(name: str, size: str, frames: int, command: list[str]) -> None:
    """Run a command in a fresh folder with the scene, and print what it takes."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "scene.pov").write_text(SCENE)
        taken = measure(command, cwd=Path(folder))
    wall, cpu = taken.wall, taken.cpu
    each = f"{1000 * wall / frames:.1f}", f"{1000 * cpu / frames:.1f}"
    print(ROW.format(size, name, frames, f"{wall:.1f}", *each), flush=True)


if __name__ == "__main__":
    main()

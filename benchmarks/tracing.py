"""What it costs to parse all frames of an animation first, to see what they leave to each other.

``python -m benchmarks.tracing [--frames 1000]`` traces a scene whose frames go on from each other,
at a small and at a large size, beside POV-Ray's own loop over the same frames with the same one
pixel, and with its whole image. Aim: at most 40 ms a frame, wall, whatever the image's size. Then
scenes whose frames leave each other nothing, light and heavy to parse, as parts and in order.
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
HEAD = "#version 3.7; global_settings { assumed_gamma 1 }\ncamera { location -5*z look_at 0 }\n"
NAMED = '#if (file_exists(concat("n", str(frame_number, 0, 0), ".inc"))) #end\n'
# Never done, but enough for all to be parsed in their order.
WRITES = '#if (frame_number < 0) #fopen F "n.txt" write #fclose F #end\n'
BUSY = "#declare I = 0; #while (I < 20000) #declare I = I + 1; #end\n"
STATELESS = {"light": HEAD + NAMED, "heavy": HEAD + BUSY + NAMED}
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
    check = ["povstorm", "check", "scene.pov", "+W320", "+H240", f"+KFF{frames}"]
    for weight, scene in STATELESS.items():
        row(f"povstorm check, {weight}, in parts", "320x240", frames, check, scene)
        row(f"povstorm check, {weight}, in order", "320x240", frames, check, scene + WRITES)


def row(name: str, size: str, frames: int, command: list[str], scene: str = SCENE) -> None:
    """Run a command in a fresh folder with the scene, and print what it takes."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "scene.pov").write_text(scene)
        taken = measure(command, cwd=Path(folder))
    wall, cpu = taken.wall, taken.cpu
    each = f"{1000 * wall / frames:.1f}", f"{1000 * cpu / frames:.1f}"
    print(ROW.format(size, name, frames, f"{wall:.1f}", *each), flush=True)


if __name__ == "__main__":
    main()

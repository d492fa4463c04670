"""Three worlds on a figure-eight: a simulation in Python, and a frame of POV-Ray for each moment.

Run it with ``make render``; ``--frames 24 --width 320`` makes a small one.
"""

from argparse import ArgumentParser
from pathlib import Path

from three_bodies import bodies_inc, simulate

from povstorm_client import Cluster, Job, RenderSettings, WorkUnit

HERE = Path(__file__).parent


def main() -> None:
    options = ArgumentParser(description=__doc__)
    options.add_argument("--frames", type=int, default=96)
    options.add_argument("--width", type=int, default=640)
    options.add_argument("--output", type=Path, default=HERE / "out")
    chosen = options.parse_args()

    # This machine renders, and a folder (~/.povstorm) keeps what was rendered.
    cluster = Cluster.local()
    job = Job(cluster, "orbit", fps=24)

    # What all frames see in ./shared: the scene, its segments, the maps of the three worlds.
    job.add_shared_resources(HERE / "scene")

    settings = RenderSettings(
        scene="shared/orbit.pov",
        library_paths=("shared",),
        width=chosen.width,
        height=chosen.width * 9 // 16,
        antialias=0.2,
        antialias_method=2,
        final_frame=chosen.frames,
        cyclic=True,
    )

    # What each frame has for itself: POV-Ray can't know where gravity has taken the worlds.
    path = simulate(chosen.frames)
    for frame in range(1, chosen.frames + 1):
        unit = WorkUnit(settings, frame=frame)
        unit.add_inline_resource("bodies.inc", bodies_inc(path, frame))
        job.add_work_unit(unit)

    job.run()

    images = job.save_images(chosen.output / "frames")
    video = job.save_video(chosen.output / "orbit.mp4")
    job.save_report(chosen.output / "report.html")
    print(job.statistics())
    print(f"{len(images)} images in {images[0].parent}, the video is {video}")


if __name__ == "__main__":
    main()

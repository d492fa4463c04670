"""Three bodies that chase each other along a figure-eight, and the scene segment that shows them.

render.py uses it. The orbit was found by Moore, and proven by Chenciner and Montgomery (2000).
"""

PERIOD = 6.32591398
STEPS_A_FRAME = 40
TRAIL_POINTS = 90
# Positions and velocities in the plane, as complex numbers.
_PLACE = 0.97000436 - 0.24308753j
_SPEED = -0.93240737 - 0.86473146j


def simulate(frames: int) -> list[list[complex]]:
    """The three positions at each step of one period, by velocity Verlet."""
    step = PERIOD / (frames * STEPS_A_FRAME)
    places = [_PLACE, -_PLACE, 0j]
    speeds = [-_SPEED / 2, -_SPEED / 2, _SPEED]
    pulls = _pulls(places)
    path = []
    for _ in range(frames * STEPS_A_FRAME):
        path.append(places)
        places = [
            place + speed * step + pull * step * step / 2
            for place, speed, pull in zip(places, speeds, pulls, strict=True)
        ]
        before, pulls = pulls, _pulls(places)
        speeds = [
            speed + (old + new) * step / 2
            for speed, old, new in zip(speeds, before, pulls, strict=True)
        ]
    return path


def _pulls(places: list[complex]) -> list[complex]:
    return [
        sum((other - place) / abs(other - place) ** 3 for other in places if other != place)
        for place in places
    ]


def bodies_inc(path: list[list[complex]], frame: int) -> str:
    """POV-Ray declarations for one frame: where the worlds are, and where they have been."""
    now = (frame - 1) * STEPS_A_FRAME
    spacing = len(path) // (2 * TRAIL_POINTS)
    steps = [(now - spacing * point) % len(path) for point in range(TRAIL_POINTS)]
    trails = [", ".join(_point(path[step][body]) for step in steps) for body in range(3)]
    return (
        f"#declare Trail_Length = {TRAIL_POINTS};\n"
        f"#declare Turn = {now / len(path)};\n"
        f"#declare Position = array[3] {{{', '.join(map(_point, path[now]))}}}\n"
        f"#declare Trail = array[3][{TRAIL_POINTS}] {{{{{'}, {'.join(trails)}}}}}\n"
    )


def _point(place: complex) -> str:
    return f"<{place.real:.6f}, 0, {place.imag:.6f}>"

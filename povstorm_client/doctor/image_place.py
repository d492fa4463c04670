"""Where in Artifact Registry an image is: ``povstorm doctor`` asks there for it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_IMAGE = re.compile(r"([a-z0-9-]+)-docker\.pkg\.dev/([^/]+)/([^/]+)/([^/:@]+):([^/:@]+)")


@dataclass(frozen=True)
class ImagePlace:
    """An image with its tag; path: of its repository in the API."""

    path: str
    repository: str
    package: str
    tag: str


def image_place(image: str) -> ImagePlace | None:
    """Of ``REGION-docker.pkg.dev/PROJECT/REPOSITORY/NAME:TAG``; None for what is elsewhere."""
    match = _IMAGE.fullmatch(image)
    if match is None:
        return None
    region, project, repository, package, tag = match.groups()
    path = f"v1/projects/{project}/locations/{region}/repositories/{repository}"
    return ImagePlace(path, repository, package, tag)

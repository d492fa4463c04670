"""Check that an image is whole before it is stored: it decodes to its end and has the right size.

Called by render_unit after POV-Ray, and by the flow on images taken from the cache.
"""

from __future__ import annotations

from pathlib import Path

from povstorm_client.errors import RenderError


def check_image(path: Path, width: int, height: int) -> None:
    """Raise RenderError unless the file is a complete PNG of width x height pixels."""
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise RenderError(
            f"POV-Ray ended without an error but wrote no {path.name}", retryable=False
        )
    try:
        with Image.open(path) as image:
            image.load()
            size = image.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise RenderError(f"{path.name} is not a whole image: {error}", retryable=True) from error
    if size != (width, height):
        raise RenderError(
            f"{path.name} is {size[0]}x{size[1]} pixels, not {width}x{height}", retryable=False
        )

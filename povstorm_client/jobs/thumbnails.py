"""Small pictures of frames, and sheets of them; for reports, pages, notebooks, notifications.

Importing it imports Pillow, so that is left to the moment when a picture is made.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageOps

from povstorm_client.errors import StorageError

# Of an image larger than this there is none: it would take gigabytes of memory.
_LARGEST_PIXELS = 80_000_000
# Of a page's picture: twice the contact sheet's pixels, and enough for the stage while it moves.
_PAGE_SIDE = 480
_PAGE_QUALITY = 72


def small_image(data: bytes, side: int) -> Image.Image:
    """A PNG in RGB with sides of so many pixels at most; info["pixels"]: how many it had.

    Raises OSError, SyntaxError, ValueError or Image.DecompressionBombError for what is no image,
    or too large a one.
    """
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        pixels = image.width * image.height
        if pixels > _LARGEST_PIXELS:
            raise ValueError(f"{image.width}x{image.height} pixels are too many for a preview")
        image.load()
        plain = _rgb(image)
    plain.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    plain.info = {"pixels": pixels}
    return plain


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Grey with 16 bits; Pillow's own conversion would clip it.
        return image.point(lambda value: value / 256).convert("L").convert("RGB")
    if image.has_transparency_data:
        # On black, as in the video.
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "black"), layer).convert("RGB")
    return image.convert("RGB")


def encoded(image: Image.Image, side: int, quality: int) -> bytes:
    """The image as WebP, its sides so many pixels at most; quality: 0 to 100."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    target = io.BytesIO()
    # More effort takes twice the time for 3 % fewer bytes (measured).
    small.save(target, "WEBP", quality=quality, method=2)
    return target.getvalue()


def page_picture(data: bytes, what: str) -> bytes:
    """A small WebP of a PNG, for a page; StorageError, which says what it is of, if unreadable."""
    try:
        return encoded(small_image(data, _PAGE_SIDE), _PAGE_SIDE, _PAGE_QUALITY)
    except Exception as error:
        # Of a damaged image Pillow's readers raise anything.
        raise StorageError(f"{what} cannot be read: {error}") from error


def contact_sheet(images: Sequence[bytes], *, columns: int = 6, wide: int = 120) -> bytes:
    """One JPEG of the images, in rows, each so many pixels wide: small enough for a data URI."""
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    with Image.open(io.BytesIO(images[0])) as first:
        high = max(1, min(2 * wide, round(wide * first.height / first.width)))
    gap = 4
    size = (columns * (wide + gap) - gap, rows * (high + gap) - gap)
    sheet = Image.new("RGB", size, "#0b0c0e")
    for index, data in enumerate(images):
        with Image.open(io.BytesIO(data)) as image:
            row, column = divmod(index, columns)
            place = (column * (wide + gap), row * (high + gap))
            sheet.paste(ImageOps.contain(image, (wide, high)), place)
    target = io.BytesIO()
    sheet.save(target, "JPEG", quality=72, optimize=True)
    return target.getvalue()

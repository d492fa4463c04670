"""Drafts of OpenEXR and HDR images are shown by the tone mapping that was asked for."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.frames.developing import developed
from povstorm_client.frames.tone_mapping import ToneMapping
from povstorm_client.storage import layout
from povstorm_client.watch.draft_folder import DraftFolder
from render_image.stand_in import stand_in
from tests.synthetic_job import rendered


@pytest.mark.parametrize(
    ("tone", "grey"),
    [
        # sRGB of 0.5, of 1, and of 0.5 / 1.5.
        (ToneMapping(), 188),
        (ToneMapping(exposure=1.0), 255),
        (ToneMapping(tone_map="reinhard"), 156),
    ],
    ids=str,
)
def test_a_draft_is_shown_as_the_video_will_be(tmp_path: Path, tone: ToneMapping, grey: int):
    folder = DraftFolder(tmp_path, tone)
    settings = RenderSettings("own.pov", width=8, height=6, options=("+FE",))
    unit = WorkUnit(settings).assigned(
        job_id="draft", shared_prefix="", offload_prefix=layout.output("draft")
    )
    # Grey light of 0.5.
    data = stand_in(".exr", 8, 6)
    folder.storage.write(f"{layout.output('draft')}/{unit.image_name}", data)

    shown = folder.image(rendered(unit, started=0.0, seconds=0.1))
    assert shown == developed(data, tone)
    small = folder.small("v", rendered(unit, started=0.0, seconds=0.1))
    with Image.open(io.BytesIO(small)) as picture:
        assert picture.convert("L").getpixel((4, 3)) == pytest.approx(grey, abs=2)

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from helpers.small_search import make_searcher, write_split
from tangka_match.serving.app import create_app
from tangka_match.serving.desk import SearchDesk
from tangka_match.serving.pictures import Pictures

HTML_CAPTION = "绿度母<script>document.title='broken'</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def desk(tmp_path_factory):
    """Two models on a set of which only the first images have thumbnails, and one caption holds HTML."""
    folder = tmp_path_factory.mktemp("serving")
    split = write_split(folder / "data", images=12, captions=None)
    captions = (HTML_CAPTION, *split.captions[1:])
    split = type(split)(**{**split.__dict__, "captions": captions})
    (folder / "data" / "thumbnails").mkdir()
    for image_id in split.image_ids[:8]:
        Image.new("RGB", (80, 100), "teal").save(folder / "data" / "thumbnails" / f"{image_id}.png")
    searchers = {name: make_searcher(folder, split, name) for name in ("dual", "vse")}
    return SearchDesk(searchers, split, Pictures(folder / "data"), top=5)


class LikeImage:
    """Encoder of uploads for which every picture looks like one image of the split."""

    def __init__(self, split, row):
        self._features = split.features.read(np.array([row]))

    def encode(self, content):
        """Return the features of the image, if the content is a picture."""
        Image.open(io.BytesIO(content)).verify()
        return self._features


@pytest.fixture(scope="session")
def with_uploads(desk):
    """The same desk, which takes every uploaded picture for ``test-0003``."""
    return replace(desk, encoder=LikeImage(desk.split, 3))


@pytest.fixture(scope="session")
def client(desk):
    return TestClient(create_app(desk), base_url="http://127.0.0.1:7860", raise_server_exceptions=False)

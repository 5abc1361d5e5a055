import pytest

from helpers.cli import run_cli_subprocess
from tangka_match.demo.writer import DemoWriter


@pytest.fixture(scope="session")
def demo_data(tmp_path_factory):
    """Write the small demo set without thumbnails, and return the folder for ``paths.data``; use with ``DEMO``."""
    folder = tmp_path_factory.mktemp("data")
    writer = DemoWriter(
        seed=0, train=160, val=40, test=40, noise=0.3, duplicate_share=0.06, completeness=0.36, thumbnails=False
    )
    writer.ensure(folder / "demo_small")
    return folder


@pytest.fixture
def train(demo_data, tmp_path):
    """Return a function that runs ``train`` on the small demo set in a fresh process, with output in ``tmp_path``."""

    def run(*words, **options):
        return run_cli_subprocess(*words, *places(demo_data, tmp_path), **options)

    return run


def places(demo_data, folder):
    """Return overrides that keep the files of a command out of the checkout."""
    return (
        f"paths.data={demo_data}",
        f"paths.runs={folder / 'runs'}",
        f"paths.checkpoints={folder / 'checkpoints'}",
        "data.writer.thumbnails=false",
    )

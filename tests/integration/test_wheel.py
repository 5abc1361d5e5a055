"""The installed wheel contains ``conf/`` and trains from any folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CHECKOUT)],
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_contains_every_config_file(wheel):
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("tangka_match/conf/")}
    there = {
        f"tangka_match/conf/{p.relative_to(CHECKOUT / 'conf').as_posix()}" for p in CHECKOUT.glob("conf/**/*.yaml")
    }
    assert packed == there


def test_wheel_contains_the_sweepers(wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert {f"hydra_plugins/tangka_match_sweeps/{name}.py" for name in ("sweepers", "local_pool")} <= packed
    assert "hydra_plugins/__init__.py" not in packed  # a namespace package, shared with other plug-ins


def test_wheel_contains_every_script_and_style_sheet(wheel):
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith((".js", ".css"))}
    source = CHECKOUT / "src"
    there = {p.relative_to(source).as_posix() for p in source.rglob("*") if p.suffix in (".js", ".css")}
    assert packed == there
    assert len(there) > 15


def test_installed_wheel_trains_from_any_folder(wheel, demo_data, tmp_path):
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)], check=True
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tangka_match.train", "+experiment=debug", "trainer.max_steps=2"),
            *(f"paths.data={demo_data}", "data.writer.thumbnails=false", "scheduler.warmup_steps=1"),
        ],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(elsewhere.glob("checkpoints/debug/*/best.ckpt"))
    imported_from = subprocess.run(
        [sys.executable, "-c", "import tangka_match; print(tangka_match.__file__)"],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert imported_from.stdout.startswith(str(site))

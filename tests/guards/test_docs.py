"""README, its Chinese translation, and the documentation site."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
README, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+?)(?:#[^)]*)?\)")


def blocks(path):
    """Return the code blocks without comments, which are translated."""
    found = FENCE.findall(path.read_text("utf-8"))
    return [[line.partition("#")[0].rstrip() for line in code.splitlines()] for kind, code in found if kind]


def heading_levels(path):
    return re.findall(r"^#+", FENCE.sub("", path.read_text("utf-8")), re.MULTILINE)


def commands(path):
    """Return each ``python -m tangka_match…`` command of a file, with continued lines joined and comments removed."""
    text = "\n".join(code for _, code in FENCE.findall(path.read_text("utf-8"))).replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line.startswith("python -m tangka_match")]


def test_readme_is_at_most_120_lines_long():
    assert len(README.read_text("utf-8").splitlines()) <= 120


def test_both_readmes_have_the_same_headings_and_commands():
    assert heading_levels(README) == heading_levels(CHINESE)
    assert blocks(README) == blocks(CHINESE)
    assert [re.findall(r"`[^`]+`", row) for row in table_rows(README)] == [
        re.findall(r"`[^`]+`", row) for row in table_rows(CHINESE)
    ]


def table_rows(path):
    return [line for line in path.read_text("utf-8").splitlines() if line.startswith("|")]


@pytest.mark.parametrize("page", [README, CHINESE, *PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda p: p.name)
def test_links_lead_to_files(page):
    targets = [link for link in LINK.findall(page.read_text("utf-8")) if "://" not in link]
    missing = [link for link in targets if not (page.parent / link).exists()]
    assert missing == []


def test_every_page_is_in_the_navigation():
    # mkdocs.yml may hold tags of Python objects, which a safe loader does not know.
    nav = yaml.safe_load(re.search(r"^nav:\n(?:.+\n?)+", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)[0])
    listed = set(re.findall(r"[\w/-]+\.md", str(nav)))
    assert listed == {page.relative_to(ROOT / "docs").as_posix() for page in PAGES}


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda p: p.name)
def test_commands_name_modules_and_config_groups_that_exist(page):
    for command in commands(page):
        words = shlex.split(command, comments=True)
        module = words[2].partition(".")[2]
        assert not module or (ROOT / "src" / "tangka_match" / f"{module}.py").is_file(), command
        for word in words[3:]:
            name, equals, value = word.lstrip("+").partition("=")
            group = ROOT / "conf" / name
            if equals and group.is_dir() and "<" not in value:
                chosen = value.split(",")
                assert all((group / f"{each}.yaml").is_file() for each in chosen), command


def test_site_builds_and_requests_nothing_from_elsewhere(tmp_path):
    if shutil.which("mkdocs", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("mkdocs is not installed: make setup installs it")
    site = tmp_path / "site"
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = list(site.rglob("*.html"))
    assert len(pages) >= len(PAGES)
    loaded = re.compile(
        r"<(?:script|img|iframe|source)[^>]*src=\"?https?:"
        r"|<link[^>]*rel=\"?(?:stylesheet|preload)[^>]*http"
    )
    assert [page.name for page in pages if loaded.search(page.read_text("utf-8"))] == []

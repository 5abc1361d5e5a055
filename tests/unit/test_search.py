"""The ``search`` command, on a model with random weights."""

import csv
import re
import socket

import pytest

from helpers.cli import run_cli_in_process
from helpers.configs import compose_config
from helpers.small_checkpoints import write_checkpoint
from helpers.small_search import MODELS, write_split
from tangka_match.search import main


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Return the words that name a checkpoint and a data set, and the folder of both."""
    folder = tmp_path_factory.mktemp("search")
    split = write_split(folder / "data", images=20)
    for name in ("dual", "saf"):
        write_checkpoint(folder / f"{name}.ckpt", list(split.captions), model=MODELS[name])
    return folder, (f"checkpoint={folder / 'dual.ckpt'}", f"data.root={folder / 'data'}")


def run(places, *words):
    return run_cli_in_process(*places[1], *words, main=main)


@pytest.mark.parametrize("name", ["exact", "hnsw", "milvus"])
def test_index_settings_compose(name):
    assert compose_config(f"index={name}", config_name="search").index.engine == name


@pytest.mark.parametrize("query", ["绿度母, 'a' \"b\" [x] {y} ${z} \\ =1", "12", "null", "绿度母${oc.env:HOME}"])
def test_query_is_taken_verbatim(places, query, monkeypatch):
    seen = []
    monkeypatch.setattr("tangka_match.search._print_answers", lambda _, text, top: seen.append((text, top)))
    done = run(places, f"query={query}", "top=3")
    assert (done.code, seen) == (0, [(query, 3)]), done.stderr


def test_answers_are_printed_with_unknown_words(places):
    done = run(places, "query=绿度母骑自行车", "top=2")
    assert done.code == 0, done.stderr
    assert done.stdout.count("test-00") == 2
    assert "unknown to the model, which reads them as <unk>: 骑、自行车" in done.stdout
    costs = re.search(
        r"dual.ckpt: ([\d.]+) ms per query, ([\d,]+) pairs per second, peak memory ([\d,]+) MiB", done.stdout
    )
    latency, pairs, memory = (float(number.replace(",", "")) for number in costs.groups())
    assert pairs == pytest.approx(20 / (latency / 1000), rel=0.01)
    assert memory > 100


def test_queries_are_answered_to_a_file(places, tmp_path):
    (tmp_path / "q.txt").write_text("绿度母\n=白度母\n", encoding="utf-8")
    words = (f"queries={tmp_path / 'q.txt'}", f"out={tmp_path / 'a.csv'}", "top=3")
    done = run(places, *words)
    assert done.code == 0, done.stderr
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["query"], row["rank"]) for row in rows] == [
        (query, str(rank)) for query in ("绿度母", "'=白度母") for rank in (1, 2, 3)
    ]
    again = run(places, *words)
    assert (again.code, "already exists and is not overwritten" in again.stderr) == (2, True)


def test_rerank_reports_its_agreement(places):
    done = run(places, "query=绿度母", f"rerank={places[0] / 'saf.ckpt'}", "rerank_top=5")
    assert done.code == 0, done.stderr
    assert "same first image as exact search in" in done.stdout


def test_slow_model_alone_says_what_it_costs(places):
    done = run_cli_in_process(f"checkpoint={places[0] / 'saf.ckpt'}", places[1][1], "query=绿度母", "top=20", main=main)
    assert done.code == 0, done.stderr
    assert "scores all 20 images with every query" in done.stdout
    assert done.stdout.count("test-00") == 20


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("query=",), "query is empty"),
        (("query=。",), "query '。' has no words"),
        (("query=a", "queries=b", "out=c"), "query and queries exclude each other"),
        (("queries=b",), "queries and out belong together"),
        (("queries=/nowhere.txt", "out=c.csv"), "/nowhere.txt"),
        (("query=绿度母", "top=0"), "top=0"),
        (("query=绿度母", "split=extra"), "extra_ims.npy"),
        (("query=绿度母", "checkpoint=/nowhere.ckpt"), "/nowhere.ckpt: no such checkpoint"),
        (("checkpoint=[a.ckpt,a.ckpt]",), "the same file twice"),
        (("query=绿度母", "checkpoint=[a.ckpt,b.ckpt]"), "only the page compares models"),
        (("query=绿度母", "index=milvus"), "index.uri"),
        (("query=绿度母", "index.effort=3"), "index.effort"),
        (("query=绿度母", "index=hnsw", "index.effort=0"), "index"),
        (("host=192.0.2.1",), "host=192.0.2.1 port=7860: cannot be opened"),
        (("prot=1",), "prot"),
    ],
)
def test_user_error_gives_one_message(places, words, message):
    done = run(places, *words)
    assert done.code == 2, done.stdout
    assert message in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_port_in_use_is_reported_before_anything_is_loaded(places):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_cli_in_process("checkpoint=/nowhere.ckpt", places[1][1], f"port={taken.getsockname()[1]}", main=main)
    assert done.code == 2
    assert "cannot be opened (Address already in use); set port to another number" in done.stderr

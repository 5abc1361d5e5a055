"""``export`` through its command line, and its folder in an environment without this package."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

import tangka_match
from helpers.cli import run_cli_in_process
from helpers.precomp import write_precomp
from helpers.small_checkpoints import SAF, write_checkpoint
from helpers.small_search import VSE
from helpers.tiny_pretrained import write_bert
from tangka_match.data.split import load_split
from tangka_match.data.tokenizer import PieceTokenizer
from tangka_match.export import main as export
from tangka_match.retrieval.metadata import METADATA_KEY

CCA = {"_target_": "tangka_match.models.CCA", "embed_dim": 8, "codebook_size": 5, "num_hashes": 40}
CAPTIONS = ["绿度母坐在莲花上", "红色的佛"]
WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
"""
"""Makes packages impossible to import."""


def blocks_of_readme(folder):
    return re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text("utf-8"), re.DOTALL)


def follow_readme(folder, captions, absent=("tangka_match", "torch", "transformers", "tokenizers")):
    """Run the code of the README in a new process with these captions; return the scores that it computes."""
    code = "\n".join(blocks_of_readme(folder))
    assert str(CAPTIONS).replace("'", '"') in code
    code = code.replace(str(CAPTIONS).replace("'", '"'), repr(captions))
    script = WITHOUT.format(absent=absent) + code + "\nnp.save('scores.npy', scores)\n"
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return np.load(folder / "scores.npy")


def test_readme_works_without_this_package(tmp_path):
    regions = np.random.default_rng(0).standard_normal((3, 4, 8)).astype(np.float16)
    regions[1, 2:] = 0  # padding
    known = ["绿度母坐在莲花上，结跏趺坐", "红色的佛与白云"]
    checkpoint = write_checkpoint(tmp_path / "best.ckpt", known, model=CCA)
    out = tmp_path / "exported"
    done = run_cli_in_process(f"checkpoint={checkpoint}", f"out={out}", main=export)
    assert done.code == 0, done.stderr
    assert "written to" in done.stdout and done.stderr == ""
    np.save(out / "regions.npy", regions)
    captions = [*known, *CAPTIONS, "　ＧＰＵ绘制的\u200b【唐卡】!", "佛" * 60]
    expected = tangka_match.load(checkpoint).similarity(regions, captions).numpy()
    np.testing.assert_allclose(follow_readme(out, captions), expected, atol=1e-4)
    assert np.ptp(expected) > 0.1


def test_readme_works_with_word_pieces(tmp_path):
    torch = pytest.importorskip("torch")
    tokenizer = PieceTokenizer(str(write_bert(tmp_path / "bert")), prefix="右: ")
    model = {"_target_": "tangka_match.models.VSEPlusPlus", "embed_dim": 8, "word_dim": 6}
    path = write_checkpoint(tmp_path / "best.ckpt", ["绿"], model=model)
    content = torch.load(path, weights_only=True)
    vocabulary = tokenizer.vocabulary
    content[METADATA_KEY] |= {"tokenizer": tokenizer.settings(), "vocabulary": vocabulary.to_dict()}
    content["state_dict"]["matcher.txt_enc.embed.weight"] = torch.randn(len(vocabulary), 6)
    torch.save(content, path)
    out = tmp_path / "exported"
    done = run_cli_in_process(f"checkpoint={path}", f"out={out}", main=export)
    assert done.code == 0, done.stderr
    regions = np.random.default_rng(0).standard_normal((2, 4, 8)).astype(np.float32)
    np.save(out / "regions.npy", regions)
    expected = tangka_match.load(path).similarity(regions, [*CAPTIONS, "ab绿?"]).numpy()
    found = follow_readme(out, [*CAPTIONS, "ab绿?"], absent=("tangka_match", "torch", "transformers", "jieba"))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_vse_says_what_its_vectors_alone_cost(tmp_path):
    write_precomp(tmp_path / "set", "test", images=30, captions_per_image=2, ids="image")
    split = load_split(tmp_path / "set", "test")
    checkpoint = write_checkpoint(tmp_path / "best.ckpt", list(split.captions), model=VSE)
    out = tmp_path / "exported"
    words = (f"checkpoint={checkpoint}", f"out={out}", f"data.root={tmp_path / 'set'}")
    done = run_cli_in_process(*words, main=export)
    assert done.code == 0, done.stderr
    measured = json.loads((out / "model.json").read_text("utf-8"))["recalls"]
    matcher = tangka_match.load(checkpoint)
    whole = tangka_match.evaluate_split([matcher], split, tangka_match.EvaluationProtocol()).raw.metrics
    assert measured["whole_score"]["rsum"] == pytest.approx(whole["rsum"])
    assert measured["vectors"]["rsum"] != measured["whole_score"]["rsum"]
    line = f"rsum {measured['whole_score']['rsum']:.2f} → {measured['vectors']['rsum']:.2f}"
    assert line in done.stdout
    assert line in (out / "README.md").read_text("utf-8")


def test_cross_attention_models_are_refused_and_nothing_is_left(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "best.ckpt", CAPTIONS, model=SAF)
    done = run_cli_in_process(f"checkpoint={checkpoint}", f"out={tmp_path / 'out'}", main=export)
    assert done.code == 2
    assert "CheckpointError: SGRAF scores each image with each caption" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["best.ckpt"]


def test_an_existing_folder_is_not_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    done = run_cli_in_process(f"checkpoint={tmp_path}/best.ckpt", f"out={tmp_path / 'out'}", main=export)
    assert done.code == 2
    assert "out already exists and is not overwritten" in done.stderr

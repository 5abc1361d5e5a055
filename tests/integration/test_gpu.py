"""What only an NVIDIA GPU can show; skipped without one. `make gpu` runs these tests and the benchmarks of a GPU."""

import re
import signal

import pytest
import torch

from helpers.cli import run_cli_subprocess
from helpers.equal_states import same
from helpers.lone_steps import batch_of, module_of, step
from helpers.random_pairs import random_pairs
from helpers.small_matchers import SMALL, small_matcher
from tangka_match.retrieval import encode_caption_batches, encode_image_batches, score_matrix
from tangka_match.types import CaptionBatch, ImageBatch

from .conftest import places
from .test_resume import RUN, STATES, checkpoint, start_and_stop

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
CUDA = torch.device("cuda")
ON_GPU = ("trainer=gpu", "trainer.deterministic=true", "trainer.precision=32-true", "data.device_features=true")


@pytest.fixture
def waits_are_errors():
    """Let torch raise an error wherever the host would wait for the GPU."""
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("model", SMALL)
def test_training_step_does_not_wait(model, request):
    module, batch = module_of(model, "info_nce", CUDA), batch_of(CUDA)
    step(module, batch)  # libraries may wait when they are used for the first time
    request.getfixturevalue("waits_are_errors")
    step(module, batch)


def scores_on(matcher, device):
    data = random_pairs(1, images=20, captions=30, words=7)
    images = [ImageBatch(data.regions, data.region_mask, torch.arange(20))]
    texts = [CaptionBatch(data.token_ids, data.token_mask, torch.arange(30))]
    encoded = encode_image_batches(matcher, images, device), encode_caption_batches(matcher, texts, device)
    return score_matrix(matcher, *encoded)


@pytest.mark.parametrize("model", SMALL)
def test_scores_equal_those_of_a_cpu(model):
    matcher = small_matcher(model).eval()
    here = scores_on(matcher, torch.device("cpu"))
    torch.testing.assert_close(scores_on(matcher.to(CUDA), CUDA), here, rtol=0, atol=2e-5)


@pytest.mark.parametrize("model", SMALL)
def test_gradients_equal_those_of_a_cpu(model):
    here, there = (module_of(model, "info_nce", device).eval() for device in ("cpu", CUDA))
    step(here, batch_of())
    step(there, batch_of(CUDA))
    on_gpu = dict(there.named_parameters())
    for name, parameter in here.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(on_gpu[name].grad.cpu(), parameter.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_resumed_run_has_the_bits_of_an_unbroken_one(demo_data, tmp_path):
    """With ``trainer.deterministic=true``, which refuses operations without a deterministic kernel."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    done = run_cli_subprocess(*RUN, *ON_GPU, *places(demo_data, whole))
    assert done.code == 0, done.stderr
    start_and_stop(
        (*RUN, *ON_GPU, *places(demo_data, broken)), lambda: broken.glob("runs/*/ledger.jsonl"), signal.SIGKILL
    )
    done = run_cli_subprocess("resume=last", f"paths.runs={broken / 'runs'}")
    assert done.code == 0, done.stderr
    for state in STATES:
        assert same(checkpoint(whole, "last")[state], checkpoint(broken, "last")[state]), state


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_run_says_where_its_time_went(demo_data, tmp_path, precision):
    words = ("+experiment=debug", "trainer=gpu", f"trainer.precision={precision}", "trainer.max_steps=20")
    done = run_cli_subprocess(*words, *places(demo_data, tmp_path))
    assert done.code == 0, done.stderr
    assert re.search(r"time +.*forward and backward \d+ %.*peak memory [\d,]+ MiB", done.stdout)


def test_memory_that_runs_out_is_an_error_with_advice(demo_data, tmp_path):
    words = ("+experiment=debug", "trainer=gpu", "model.embed_dim=4000000", "trainer.max_steps=2")
    done = run_cli_subprocess(*words, *places(demo_data, tmp_path))
    assert done.code == 2
    assert "the memory of the GPU ran out" in done.stderr

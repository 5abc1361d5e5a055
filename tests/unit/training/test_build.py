import shutil

import pytest
import torch

from helpers.stub_matchers import MaxMeanMatcher
from tangka_match.training.build import compile_matcher


def scores(matcher):
    generator = torch.Generator().manual_seed(0)
    regions, token_ids = torch.randn(3, 4, 5, generator=generator), torch.randint(30, (2, 6), generator=generator)
    images = matcher.encode_images(regions, torch.ones(3, 4, dtype=torch.bool))
    return matcher.similarity(images, matcher.encode_texts(token_ids, torch.ones(2, 6, dtype=torch.bool)))


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_matcher_has_the_scores_gradients_and_keys_of_an_eager_one():
    eager, compiled = MaxMeanMatcher().eval(), MaxMeanMatcher().eval()
    compile_matcher(compiled)
    assert compiled.state_dict().keys() == eager.state_dict().keys()
    expected, found = scores(eager), scores(compiled)
    torch.testing.assert_close(found, expected)
    expected.sum().backward()
    found.sum().backward()
    torch.testing.assert_close(compiled.project.grad, eager.project.grad)

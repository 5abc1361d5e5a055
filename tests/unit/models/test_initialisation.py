import torch
from torch import nn

from tangka_match.models.initialisation import xavier_linears_


def test_linear_layers_at_any_depth():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(40, 20), nn.ModuleList([nn.Linear(20, 60), nn.LayerNorm(60)]))
    xavier_linears_(module)
    for layer, bound in ((module[0], 0.1**0.5), (module[1][0], 0.075**0.5)):  # sqrt(6 / (inputs + outputs))
        assert (layer.bias == 0).all()
        assert 0.95 * bound < layer.weight.abs().max() <= bound
        assert abs(layer.weight.mean()) < 0.05 * bound
    assert (module[1][1].weight == 1).all()

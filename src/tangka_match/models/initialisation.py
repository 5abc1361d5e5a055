"""The initial weights that SGRAF's authors used."""

from torch import nn


def xavier_linears_(module: nn.Module) -> None:
    """Set every linear layer inside ``module`` to Xavier-uniform weights and zero bias, in place."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

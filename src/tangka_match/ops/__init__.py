"""Pure tensor functions: norms, masked reductions, pooling, cross attention."""

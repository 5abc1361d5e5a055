"""What a run leaves behind: folder, ledger, CSV, the machine it ran on, and W&B or TensorBoard beside them."""

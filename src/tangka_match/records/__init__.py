"""A run on disk: its folder, ledger, metrics table and environment, and the records that are read from them."""

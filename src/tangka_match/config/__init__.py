"""Where conf/ is found, checks of the composed config, and building objects from it.

The only package beside the entry points that knows Hydra and OmegaConf. Importing it, and composing a config, imports
no torch, so that ``--help`` and ``--cfg job`` answer at once.
"""

"""Where conf/ is found, checks of the composed config, and building objects from it."""

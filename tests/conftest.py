"""Puts its folder on the path of every test: they share `example_snapshots` and `hostile`."""

from hypothesis import settings

# Nothing here asserts a time: a busy machine must not fail a property.
settings.register_profile("lab", deadline=None)
settings.load_profile("lab")

"""Puts its folder on the path of every test: they share `example_snapshots` and `hostile`."""

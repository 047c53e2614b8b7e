"""Command that reproduces the paper."""

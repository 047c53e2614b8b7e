"""Dials in a notebook."""

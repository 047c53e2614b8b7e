"""Reproduction of the paper: what its figures and tables need, run as sweeps, ours beside the paper's."""

"""Dials: a fine-tune turned up, down and off, whole, layer by layer and term by term, and what its metric says."""

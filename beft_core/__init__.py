"""The engine of BEFT lab: bias-efficient fine-tuning of transformers.

Two halves. ``terms``, ``architectures``, ``snapshot``, ``scores``, ``merging`` and ``extract`` need only numpy
and never import torch; ``models``, ``tasks``, ``training`` and the worker half of ``runs`` do the learning.
"""

__version__ = "0.2.0"

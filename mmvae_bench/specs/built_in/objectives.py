"""The built-in objectives: what each optimises, its parameters and its paper; one family per file of ``families``."""

from __future__ import annotations

from . import graphs as graphs  # Importing a file registers its objectives.
from .families import conditional as conditional
from .families import experts as experts
from .families import few_labels as few_labels
from .families import flows as flows
from .families import images as images
from .families import joint as joint

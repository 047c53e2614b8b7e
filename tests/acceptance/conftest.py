"""Fixtures of the browser, for the journeys of this folder."""

from browser_tools import browser, lab, profile, visit

__all__ = ["browser", "lab", "profile", "visit"]

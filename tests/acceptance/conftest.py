"""Fixtures of the browser, for the journeys of this folder."""

from browser_tools import browser, bundled_samples, dark_visit, lab, profile, server, visit

__all__ = ["browser", "bundled_samples", "dark_visit", "lab", "profile", "server", "visit"]

"""Command that brings models and data to a machine."""

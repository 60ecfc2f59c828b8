"""Posture: the guide to API key security as a checklist that is evaluated, not read."""

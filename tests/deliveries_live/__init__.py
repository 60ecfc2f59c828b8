"""Rotations without a hand, on real servers: from the start to the caller with the new token."""

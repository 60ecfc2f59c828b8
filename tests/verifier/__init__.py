"""The verifier: its parts, and its promise under a simulation of everything that may go wrong."""

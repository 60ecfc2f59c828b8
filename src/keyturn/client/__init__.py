"""The client: what a program of yours calls Keyturn with."""

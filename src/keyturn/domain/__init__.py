"""The nouns of Keyturn: pure values and rules, with no I/O, no clock and no randomness."""

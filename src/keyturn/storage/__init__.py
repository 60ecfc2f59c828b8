"""Keeping nouns: the tables, their seals and the two engines. It knows no verbs."""

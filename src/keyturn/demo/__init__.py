"""The demonstration: a key is rotated and the leak of another contained, on live traffic, with real
processes over real HTTP.

It is a caller like any other: to Keyturn it speaks through the client alone.
"""

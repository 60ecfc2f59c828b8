"""The demonstration: a key rotated and another revoked on live traffic, with real processes over
real HTTP.

It is a caller like any other: to Keyturn it speaks through the client alone.
"""

"""The canary sweep: no token that a run of the tests issued stands where none may stand.

hook.py     in every process of a run: registers what the system's generator drew, and keeps the
            answers that a server gave
needles.py  how a secret looks in each encoding
sweep.py    finds needles in bytes, fast
allowed.py  the few places where a token may stand, each with its reason
sinks.py    where one is looked for
plugin.py   a run of pytest, from its folder to its exit status
"""

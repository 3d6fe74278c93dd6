"""Measurements: `make bench`, or `python -m bench NAME...`. Each entry is one file beside this.

An entry is a function `run() -> Iterator[Result]`, listed in `bench/__main__.py`. It measures what
production runs, not a copy of it, and prints the reference of the same run beside it.
"""

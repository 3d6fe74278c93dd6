#!/usr/bin/env python
"""Costboard's command line: Django's commands and our own, on running services."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "costboard.settings")
    from costboard.command_line import run

    run(sys.argv)


if __name__ == "__main__":
    main()

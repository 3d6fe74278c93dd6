"""`make soak`: every soak in turn; `make soak ARGS="NAME [OPTIONS]"`: one. Each is bounded."""

import subprocess
import sys
from typing import Final

# Modules of this package, in the order in which they run; minutes each on two shared cores.
SOAKS: Final = {"ingest": 12, "malformed": 15, "reprice": 15, "caps": 15}


def main(arguments: list[str]) -> int:
    name, options = (arguments[0], arguments[1:]) if arguments else ("", [])
    if name and name not in SOAKS:
        print(f"no soak {name!r}; there are {', '.join(SOAKS)}", file=sys.stderr)
        return 2
    failed = 0
    for module in [name] if name else SOAKS:
        print(f"== {module}: about {SOAKS[module]} minutes, seldom more", flush=True)
        # A process of its own: each sets up its own services.
        command = [sys.executable, "-m", f"tests.soak.{module}", *options]
        failed += subprocess.run(command, check=False).returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

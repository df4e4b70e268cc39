"""`python -m benchmarks`: exits with 2 if something is not installed, whatever it is."""

import sys

try:
    from benchmarks.run import main
except ModuleNotFoundError as missing:
    sys.stderr.write(f"{missing.name} is missing: pip install -e '.[bench]'\n")
    sys.exit(2)

main()

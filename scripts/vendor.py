#!/usr/bin/env python3
"""Fetch what the pages of the console consist of and others wrote, by npm.

A file that was there with another content is replaced; `tests/test_console_files.py` knows the
hashes. Run it after a change of a version below.
"""

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

VENDOR: Final = Path(__file__).parents[1] / "wxsession" / "console" / "static" / "vendor"
PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "@picocss/pico@2.1.1": ("css/pico.min.css", "LICENSE.md"),
    "htmx.org@2.0.11": ("dist/htmx.min.js", "LICENSE"),
    "uplot@1.6.32": ("dist/uPlot.iife.min.js", "dist/uPlot.min.css", "LICENSE"),
}


def main() -> None:
    """Fetch every file."""
    for package, files in PACKAGES.items():
        name, _, version = package.rpartition("@")
        folder = VENDOR / f"{name.rpartition('/')[2]}-{version}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as there:
            packing = ["npm", "pack", "--silent", "--pack-destination", there, package]
            subprocess.run(packing, check=True)  # noqa: S603 - names of our own
            (archive,) = Path(there).glob("*.tgz")
            with tarfile.open(archive) as packed:
                for file in files:
                    content = packed.extractfile(f"package/{file}")
                    if content is not None:
                        (folder / Path(file).name).write_bytes(content.read())


if __name__ == "__main__":
    main()

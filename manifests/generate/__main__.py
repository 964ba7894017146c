"""`python -m manifests.generate`: writes the generated files; with ``--check`` it compares them, and changes nothing.

Exit codes: 0 done, or all as generated; 1 a checked-in file is not what its source makes.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from manifests.generate.files import files

ROOT = Path(__file__).parents[2]


def main(arguments: list[str]) -> int:
    """Write or compare, by ``arguments``."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m manifests.generate [--check]\n")
        return 2
    made = {ROOT / path: text for path, text in files().items()}
    if not arguments:
        for path, text in made.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return 0
    wrong = 0
    for path, text in made.items():
        there = path.read_text(encoding="utf-8") if path.exists() else ""
        if there != text:
            wrong += 1
            name = str(path.relative_to(ROOT))
            sys.stdout.writelines(
                difflib.unified_diff(there.splitlines(True), text.splitlines(True), name, "generated")
            )
    if wrong:
        sys.stderr.write(f"{wrong} generated files are not what their source makes: run `make generate`\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Messages: what the library says of every wrong call, so that no change of its words goes unnoticed.

``python -m tools.messages`` writes tests/messages.json anew: of each case of tests/message_cases.py the warnings and the error, or,
where the ways of a call through the library differ, each text with the ways that have it. tests/test_messages.py holds the library
to it. The section "two faults" says which of two is reported.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

MESSAGES = Path(__file__).parents[1] / "tests" / "messages.json"
ADVICE = "If this is meant, say in CHANGELOG.md what changes for users, and write the file anew: python -m tools.messages"


def main() -> int:
    from tests.message_cases import names, said

    argparse.ArgumentParser(prog="python -m tools.messages", description=__doc__.splitlines()[0]).parse_args()
    before = json.loads(MESSAGES.read_text()) if MESSAGES.exists() else {}
    table: dict[str, dict[str, object]] = {}
    for section, name in names():
        table.setdefault(section, {})[name] = said(section, name)
    MESSAGES.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
    changed = [
        f"{section}, {name}"
        for section in sorted(before.keys() | table.keys())
        for name in sorted(before.get(section, {}).keys() | table.get(section, {}).keys())
        if before.get(section, {}).get(name) != table.get(section, {}).get(name)
    ]
    print(*changed, f"{len(changed)} messages changed", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

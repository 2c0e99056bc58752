"""Prints, a line for each sample, which addresses the library finds to have failed, for a while or for good."""

import email
import json
import pathlib
import sys

from flufl.bounce import all_failures

for path in sorted(pathlib.Path(sys.argv[1]).glob("*.txt")):
    temporary, permanent = all_failures(email.message_from_bytes(path.read_bytes()))
    names = {"temporary": temporary, "permanent": permanent}
    print(json.dumps({"file": path.name} | {key: sorted(a.decode() for a in found) for key, found in names.items()}))

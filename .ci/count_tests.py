"""Prints how many tests passed and how many did not, over the JUnit reports that are named as arguments."""

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

passed = failed = 0
for report in filter(Path.is_file, map(Path, sys.argv[1:])):
    for suite in ET.parse(report).iter("testsuite"):
        bad = sum(int(suite.get(kind, "0")) for kind in ("failures", "errors", "skipped"))
        failed += bad
        passed += int(suite.get("tests", "0")) - bad
sys.stdout.write(f"{passed} {failed}\n")

"""Writes how this machine's pip reaches its packages into a directory: pip.conf, and ca.pem if it trusts a CA file.

That is what the Dockerfile takes as secrets of these names. Paths of this machine mean nothing in there, so the CA is
copied, and directories of wheels are left out. Variables such as PIP_INDEX_URL count, as they do for pip.
"""

import ast
import os
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

REACHING = ("index-url", "extra-index-url", "proxy", "trusted-host", "timeout", "default-timeout", "retries")
CA_IN_THE_BUILD = "/run/secrets/ca.pem"

out = Path(sys.argv[1])
listed = subprocess.run(
    [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True, encoding="utf-8"
).stdout
known: dict[tuple[str, str], str] = {}
for line in listed.splitlines():
    name, _, value = line.partition("=")
    section, _, key = name.rpartition(".")
    known[section, key] = str(ast.literal_eval(value))

# In pip's own order: what is said for all its commands, for this one, and in the environment.
options = {key: known[section, key] for section in ("global", "install", ":env:") for s, key in known if s == section}
lines = {key: options[key] for key in REACHING if key in options}
if ca := options.get("cert") or os.environ.get("REQUESTS_CA_BUNDLE"):
    shutil.copyfile(ca, out / "ca.pem")
    lines["cert"] = CA_IN_THE_BUILD
if lines:
    configuration = RawConfigParser()
    configuration["global"] = lines
    with (out / "pip.conf").open("w", encoding="utf-8") as file:
        configuration.write(file)

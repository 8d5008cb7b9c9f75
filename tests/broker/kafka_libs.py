"""Where Apache Kafka's jars are, for programs that start a broker of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_FETCH = [Path(__file__).parents[2] / ".ci" / "kafka" / "fetch"]


def kafka_libs() -> Path:
    """The directory that KAFKA_LIBS names, else one into which they are fetched, once. Ends the program without."""
    libs = Path(os.environ.get("KAFKA_LIBS") or _fetched())
    if not list(libs.glob("kafka_2.13-*.jar")):
        sys.exit(f"KAFKA_LIBS is {str(libs)!r}, which holds no Kafka; without it Kafka is fetched")
    return libs


def _fetched() -> str:
    done = subprocess.run(_FETCH, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit("Kafka could not be fetched; see above. KAFKA_LIBS may name a directory that holds its jars")
    return done.stdout.strip()

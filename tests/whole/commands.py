"""The agent's other commands, as processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.whole.one_agent import OneAgent
from tests.whole.world import World

Ended = subprocess.CompletedProcess[str]

ROUTES_HERE = """\
routes:
  - name: greet
    match: {action: greet, blueprint: service}
    key: "{{ .inputs.name }}"
    process: {command: [echo, "hello {{ .inputs.name }}"], env: {REGION: "{{ .inputs.region }}"}}
    entities: [{blueprint: service, identifier: "{{ .inputs.name }}"}]
    report: {link: "https://git.example/{{ .inputs.name }}"}
  - name: call
    match: {action: call}
    http: {method: PUT, url: "https://ops.example/{{ .inputs.name }}", body: {name: "{{ .inputs.name }}"}}
  - name: vm-changed
    match: {kind: change_event, blueprint: vm}
    http: {url: "https://ops.example/changed"}
"""


def command(*arguments: str, env: Mapping[str, str], cwd: Path) -> Ended:
    """A command of the agent, run to its end with this environment alone."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "agent", *arguments],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **env},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Commands:
    """Commands with the settings of an agent that is never started."""

    def __init__(self, world: World, home: Path, routes: str = ROUTES_HERE) -> None:
        self.home = home
        self.routes = home / "routes.yaml"
        self.routes.write_text(routes)
        settings = OneAgent(world, home.name, {"AGENT_ROUTES_PATH": str(self.routes)}).settings
        self.settings = {name: value for name, value in settings.items() if name != "PATH"}

    def __call__(self, *arguments: str, **settings: str) -> Ended:
        return command(*arguments, env=self.settings | settings, cwd=self.home)

    def begun(self, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        """The same, just started: for a look at what it says first."""
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "agent", *arguments],
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **self.settings, **settings},
            cwd=self.home,
            stdout=subprocess.PIPE,
            text=True,
        )

    def explain(self, message: str, *options: str, **settings: str) -> Ended:
        file = self.home / "message.json"
        file.write_text(message)
        return self("explain", *options, str(file), **settings)

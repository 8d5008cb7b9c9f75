"""``python -m agent``: the same as the ``action-agent`` command."""

from agent.cli import main

main()

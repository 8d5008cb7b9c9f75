"""The ``action-agent`` command, also as ``python -m agent``: hears a stop before anything heavy is imported."""

import signal
import sys
from typing import NoReturn

from agent.leaving import leave


def main() -> NoReturn:
    """Runs the command line.

    A SIGTERM or Ctrl-C while the agent still loads ends it at once: with 0 for ``run``, which has begun nothing
    yet, and as the signal would for the other commands. Without this a container's first process would not hear it
    at all; an exception instead might be caught by whatever is being imported (an action's module).
    """
    has_ctrl_c = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # in the background it is ignored
    for number in (signal.SIGTERM, signal.SIGINT) if has_ctrl_c else (signal.SIGTERM,):
        signal.signal(number, lambda number, _frame: leave(0 if sys.argv[1:2] == ["run"] else 128 + number))
    if sys.argv[1:] == ["run"]:
        # Past the command line's library: an agent that waits should be small.
        from agent.commands.run import run  # noqa: PLC0415 - takes a second, in which a stop must be heard

        run()
    from agent.cli import main as command_line  # noqa: PLC0415 - likewise

    if has_ctrl_c:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command_line()


if __name__ == "__main__":
    main()

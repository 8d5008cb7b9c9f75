"""How seldom the collector of cycles looks at what, for a process that lives long."""

from __future__ import annotations

import gc

_YOUNG = 2_000


def leave_out_what_stands() -> None:
    """From here on the collector passes over all that there is: call it once everything that stays is made.

    Else it walks modules, settings and metrics again every thousand runs, a tenth of what each of these takes. Runs
    leave few cycles: it may wait for 2,000 young objects in place of 700. Until then a cycle holds all that it
    leads to, be it a few hundred messages of a megabyte each: so no run, failed or not, may be in one.
    Whatever of today's objects becomes a cycle later is never freed. Process-wide: for commands, not for libraries.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])

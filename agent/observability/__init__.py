"""What operators see of the agent: metrics, log lines, probes and a read-only page.

Everything here hears facts (`agent.domain.events`) as an `Observer`; no logic depends on any of it. For the
composition, which wires it, and for operators, who read what comes out.
"""

"""Does the work of a run: as a command (`process`), a request (`http`) or a function (`python`).

For people who add an executor: write an `ExecutorFactory`, name it in the entry-point group ``agent.executors``.
"""

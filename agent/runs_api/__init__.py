"""Port's API as the agent needs it: reports of runs go out, a few look-ups come back.

For `agent.composition`: a `RunsClient` over an `agent.net.client.Client`, and a `PortReporter` over that client.
Nothing here knows where a run came from or what is done for it.
"""

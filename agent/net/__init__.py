"""Outgoing HTTP: one kind of pooled `httpx.AsyncClient` for Port's API and for the http executor.

`open_client` puts our transport under httpx, with TLS, proxies and the address guard; `errors` tells a request that
was certainly never sent from one that may have been executed. For rooms that talk HTTP; knows nothing of Port.
"""

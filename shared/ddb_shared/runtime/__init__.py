"""How work runs: processes, a cluster, the event loop of a worker, progress and stops."""

"""Runs dynamodump with the endpoint of the environment and without its long sleeps, which cost wall time, but no CPU."""

from dynamodump import dynamodump  # type: ignore[import-not-found] # it lives in an environment of its own

dynamodump.THREAD_START_DELAY = 0
dynamodump.AWS_SLEEP_INTERVAL = dynamodump.LOCAL_SLEEP_INTERVAL
dynamodump.main()

"""Sessions, credentials, roles and clients."""

"""What the exporter and the importer share: formats, storage, the DynamoDB client, rates, progress, errors."""

from __future__ import annotations


def __getattr__(name: str) -> str:
    """`__version__`, read on first access: reading package metadata takes 25 ms."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - see above

        return version("ddb-transfer")
    raise AttributeError(name)

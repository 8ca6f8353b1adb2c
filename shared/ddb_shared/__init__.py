"""What the exporter and the importer share: formats, wire, storage, pace, progress, errors."""

from importlib.metadata import version

__version__ = version("ddb-transfer")

"""What the exporter and the importer share: formats, wire, storage, pace, progress, errors."""

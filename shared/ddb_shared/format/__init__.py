"""The files of an export and of an import's state."""

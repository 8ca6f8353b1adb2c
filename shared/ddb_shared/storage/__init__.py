"""Where files are stored: a prefix of a bucket, or a local folder."""

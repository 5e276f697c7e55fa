"""What lakes hold: footers, listings, partition folders; read through fsspec and pyarrow, without a JVM."""

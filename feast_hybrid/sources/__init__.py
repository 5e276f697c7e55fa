"""Which rows a Feast source means: the data source, and how it is read."""

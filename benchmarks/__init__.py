"""The as-of join against its peers, shape by shape: ``make bench``."""

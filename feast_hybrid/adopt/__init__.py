"""Taking a Feast repository over: what would change with this store, and the changes themselves.

Reads a repository of any offline store, whose packages need not be installed. Starts no Spark and asks no lake.
"""

"""Feast's monitoring: features are measured in Spark, and what was measured is kept on a lake."""

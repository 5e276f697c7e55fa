"""The as-of join in this process, without Spark and without a JVM: by the code that Spark's tasks run.

Knows Arrow and nothing else: no Feast, no lakes, no Spark.
"""

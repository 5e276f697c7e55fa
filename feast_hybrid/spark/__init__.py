"""Spark: sessions, jobs, errors, formats and catalogs.

The only package that knows which kind of session it has, Classic or Connect.
"""

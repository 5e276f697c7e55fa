"""Joining by columns: tasks read Parquet themselves, and Spark shuffles blocks of columns in place of rows.

Reading tasks split a view's rows into buckets by a hash of their keys, each bucket's rows into one Arrow block;
entity rows are split likewise. Spark shuffles the blocks as binary values, once for all views that share join keys.
Each bucket is then joined in NumPy, one sort and one search for each view.
"""

"""The demo: will this flight arrive more than 15 minutes late?

From raw data to online features, with the weather in ADLS and the flights' history on HDFS. ``data`` reads the
flights of 2013, ``history`` computes features in Spark, ``template`` is the Feast repo that is left behind,
``steps`` does the steps, ``model`` trains and scores, ``agreement`` compares training with serving, ``console`` says
what happens, and ``run`` puts it together.
"""

from __future__ import annotations

from feast_hybrid.demo.run import run

__all__ = ["run"]

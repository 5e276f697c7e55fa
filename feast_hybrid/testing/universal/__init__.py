"""Feast's universal test suite on this offline store.

The suite lives in Feast's repository only; this package holds what plugs into it: data source creators for three
configurations and one for Feast's own Spark store, the module that names them to the suite, a pytest plugin that
watches the run, and a command that does it all, on Spark Classic and on Spark Connect:

    python -m feast_hybrid.testing.universal --feast-repo /path/to/feast

Nothing here imports the suite's own ``tests`` package.
"""

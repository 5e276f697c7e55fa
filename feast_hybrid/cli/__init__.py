"""The command line, ``feast-hybrid``: one module for each command."""

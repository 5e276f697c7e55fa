"""Lakes: which site a URI belongs to, and how Hadoop and fsspec sign in to it."""

from __future__ import annotations

from feast_hybrid.lakes.bare_paths import BarePaths
from feast_hybrid.lakes.connections import ConnectionRule
from feast_hybrid.lakes.location import Location
from feast_hybrid.lakes.router import Allowed, Router
from feast_hybrid.lakes.secrets import Secret
from feast_hybrid.lakes.site import Site
from feast_hybrid.lakes.source_sites import SourceRule
from feast_hybrid.lakes.uri import SCHEMES, LakeType, LakeUri, parse_uri

__all__ = [
    "SCHEMES",
    "Allowed",
    "BarePaths",
    "ConnectionRule",
    "LakeType",
    "LakeUri",
    "Location",
    "Router",
    "Secret",
    "Site",
    "SourceRule",
    "parse_uri",
]

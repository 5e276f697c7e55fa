"""Lakes: which site a URI belongs to, and how Hadoop and fsspec sign in to it."""

from __future__ import annotations

from feast_hybrid.sites.router import Router
from feast_hybrid.sites.secrets import Secret
from feast_hybrid.sites.site import Site
from feast_hybrid.sites.uri import SCHEMES, Lake, LakeUri, parse_uri

__all__ = ["SCHEMES", "Lake", "LakeUri", "Router", "Secret", "Site", "parse_uri"]

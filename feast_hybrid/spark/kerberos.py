"""Signing in a JVM with Kerberos, and handing its executors tokens.

Hadoop has one signed-in user in a JVM, whom every thread and every file system goes by. So a session that is started
here is signed in once it runs, by the sites' keytab or tickets, and nobody is put in the place of somebody else who
is signed in already. Executors of a cluster cannot sign in: they get delegation tokens. YARN and Kubernetes see to
that themselves; for Standalone, Spark's own manager of tokens is started here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

from feast_hybrid.errors import AuthenticationError, SessionError
from feast_hybrid.lakes.credentials import Kerberos
from feast_hybrid.lakes.errors import raise_from, redacted_summary
from feast_hybrid.lakes.kerberos import read_tickets, ticket_cache, ticket_file
from feast_hybrid.spark.settings import is_set

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from feast_hybrid.lakes import Router
    from feast_hybrid.lakes.site import Site

logger = logging.getLogger(__name__)

AUTHENTICATION = "hadoop.security.authentication"
_PRINCIPAL = "dfs.namenode.kerberos.principal"

#: What Hadoop's client wants to know of a lake with Kerberos, where neither the site nor Hadoop's own files say it.
#: Of the protections the first that the lake has too is taken. The NameNode's principal is what it says itself, as
#: long as it is one of those that distributions give it.
DEFAULTS = {
    "hadoop.rpc.protection": "privacy,integrity,authentication",
    "dfs.data.transfer.protection": "privacy,integrity,authentication",
    f"{_PRINCIPAL}.pattern": "{hdfs,nn}/*@*",
}

_SECURITY = "org.apache.hadoop.security.UserGroupInformation"
_TOKENS = "CoarseGrainedClusterMessages$UpdateDelegationTokens"
_signing_in = threading.Lock()
#: Spark's managers of tokens by the sessions' contexts, each with the file systems that it has tokens for.
_managers: weakref.WeakKeyDictionary[Any, tuple[frozenset[str], Any]] = weakref.WeakKeyDictionary()


def kerberos_sites(router: Router) -> list[Site]:
    """The sites that sign in with Kerberos."""
    return [site for site in router.sites if isinstance(site.credential, Kerberos)]


def session_settings(router: Router, master: str) -> dict[str, str]:
    """What a session of a cluster has to be started with, so that its executors have Kerberos on.

    A local one is not: from its start on Spark would look for tokens, in places that it takes from the environment.
    """
    sites = kerberos_sites(router)
    if not sites or _is_local(master):
        return {}
    settings = {f"spark.hadoop.{AUTHENTICATION}": "kerberos"}
    for site in sites:
        settings |= {f"spark.hadoop.{key}": value for key, value in site.options.items() if _is_of_security(key)}
        settings |= site.session_conf()
    return settings


def _is_local(master: str) -> bool:
    return master.partition("[")[0] == "local"


def _is_of_security(key: str) -> bool:
    return key.startswith(("hadoop.security.", "hadoop.kerberos.")) and key != AUTHENTICATION


def _filesystems(sites: list[Site]) -> list[str]:
    return sorted({f"{site.root.scheme}://{site.root.authority}" for site in sites})


def site_settings(spark: Any, site: Site) -> dict[str, str]:
    """The defaults of a Kerberos site that neither its options nor the session's Hadoop files have.

    Args:
        spark: a session of Spark Classic.
        site: any.
    """
    if not isinstance(site.credential, Kerberos):
        return {}
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    # A principal that somebody has set is not to be loosened by a pattern.
    named = _PRINCIPAL in site.options or is_set(hadoop, _PRINCIPAL)
    return {
        key: value
        for key, value in DEFAULTS.items()
        if not is_set(hadoop, key) and not (named and key.startswith(_PRINCIPAL))
    }


def check_files(router: Router) -> None:
    """See that the sites' keytab or tickets are there, before a session is started for them.

    Raises:
        AuthenticationError: they are not.
    """
    for site in kerberos_sites(router)[:1]:
        credential_of(site).check_files(site.name)


def sign_in(spark: SparkSession, router: Router) -> None:
    """Sign in the JVM of a session that was started here.

    Raises:
        StorageError: nobody can be signed in; it says who, by which file, and what to do.
    """
    for site in kerberos_sites(router)[:1]:
        with _signing_in:
            _sign_in(spark.sparkContext._jvm, site)


def ensure_signed_in(spark: SparkSession, router: Router) -> None:
    """See that a session's JVM is signed in as the sites want it, and that its executors have tokens.

    Raises:
        SessionError: its executors have Kerberos off, or somebody else is signed in.
        StorageError: nobody can be signed in.
    """
    sites = kerberos_sites(router)
    if not sites:
        return
    context: Any = spark.sparkContext
    with _signing_in:
        if not _class(context._jvm, _SECURITY).isSecurityEnabled():
            if not _is_local(context.master):
                raise SessionError(
                    f"site {sites[0].name!r} signs in with Kerberos, and this process's Spark session was started "
                    f"without it. Stop it first, or start it with spark.hadoop.{AUTHENTICATION}=kerberos."
                )
            _sign_in(context._jvm, sites[0])
        user = _signed_in_user(context._jvm)
        if user is None:
            _sign_in(context._jvm, sites[0])
            user = _signed_in_user(context._jvm)
        _check_user(user, sites)
        if context.master.startswith("spark://"):
            _hand_out_tokens(spark, sites)


def credential_of(site: Site) -> Kerberos:
    """The credential of one of :func:`kerberos_sites`."""
    assert isinstance(site.credential, Kerberos)
    return site.credential


def _class(jvm: Any, name: str) -> Any:
    found = jvm
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _signed_in_user(jvm: Any) -> str | None:
    """The principal that the JVM is signed in as; None where it is not, or not with Kerberos."""
    with contextlib.suppress(Exception):  # Hadoop looks for tickets when it is asked, and raises where there are none
        user = _class(jvm, _SECURITY).getLoginUser()
        if user.hasKerberosCredentials():
            return str(user.getUserName())
    return None


def _check_user(user: str | None, sites: list[Site]) -> None:
    for site in sites:
        wanted = credential_of(site).principal
        if wanted and user and not _same(wanted, user):
            raise SessionError(
                f"site {site.name!r} signs in as {wanted}, and this process's Spark session is signed in as {user}: "
                "one JVM has one principal. Work in another process, or give the site that principal."
            )


def _same(wanted: str, found: str) -> bool:
    """Whether two principals are one; the one that is wanted may come without its realm."""
    return found == wanted or ("@" not in wanted and found.partition("@")[0] == wanted)


def _sign_in(jvm: Any, site: Site) -> None:
    credential = credential_of(site)
    credential.check_files(site.name)
    if config := os.environ.get("KRB5_CONFIG"):  # Java does not read it, and takes one file
        jvm.java.lang.System.setProperty("java.security.krb5.conf", config.partition(":")[0])
    security = _class(jvm, _SECURITY)
    hadoop = jvm.org.apache.hadoop.conf.Configuration()
    for key, value in site.options.items():
        if _is_of_security(key):
            hadoop.set(key, value)
    hadoop.set(AUTHENTICATION, "kerberos")
    security.setConfiguration(hadoop)
    try:
        if credential.keytab:
            security.loginUserFromKeytab(credential.principal, str(credential.keytab))
        else:
            security.setLoginUser(security.getUGIFromTicketCache(str(_tickets(site)), _owner(credential)))
    except Exception as error:
        _raise(site, error)


def _tickets(site: Site) -> Any:
    file = ticket_file()
    if file is None:
        raise AuthenticationError(
            f"site {site.name!r}: the Kerberos tickets are in {ticket_cache()}, and Java reads files alone. Set "
            "KRB5CCNAME=FILE:/path and run kinit again, or give the site's credential a principal and a keytab."
        )
    return file


def _owner(credential: Kerberos) -> str | None:
    file = ticket_file()
    found = read_tickets(file) if file else None
    return found.principal if found else credential.principal


def _raise(site: Site, error: Exception) -> None:
    if isinstance(error, AuthenticationError):
        raise error
    fault = site.credential.find_fault(str(error))
    if fault:
        raise_from(fault.meaning(f"site {site.name!r}: {fault.text}"), error)
    raise_from(
        AuthenticationError(
            f"site {site.name!r}: the JVM cannot be signed in by {site.credential.describe()}: "
            f"{redacted_summary(error)}"
        ),
        error,
    )


def _hand_out_tokens(spark: Any, sites: list[Site]) -> None:
    """Give a Standalone cluster's executors tokens, and new ones before they expire.

    Standalone alone has no manager of tokens. That of the other clusters works there too: it gets the tokens, sends
    them to the driver, which gives them to each executor, and does so again in time.
    """
    context = spark.sparkContext
    wanted = frozenset(_filesystems(sites))
    served, manager = _managers.get(context, (frozenset(), None))
    if wanted <= served:
        return
    jvm, scala = context._jvm, context._jsc.sc()
    conf, hadoop = scala.conf().clone(), jvm.org.apache.hadoop.conf.Configuration(scala.hadoopConfiguration())
    for site in sites:
        for key, value in {**site_settings(spark, site), **site.hadoop_options()}.items():
            hadoop.set(key, value)
        for key, value in site.session_conf().items():
            conf.set(key, value)
    if not any(site.session_conf() for site in sites):
        conf.set("spark.kerberos.renewal.credentials", "ccache")
    conf.set("spark.kerberos.access.hadoopFileSystems", ",".join(sorted(wanted | served)))
    driver = scala.schedulerBackend().driverEndpoint()
    new = jvm.org.apache.spark.deploy.security.HadoopDelegationTokenManager(conf, hadoop, driver)
    try:
        tokens = new.start()
        if tokens is not None:
            driver.send(getattr(jvm.org.apache.spark.scheduler.cluster, _TOKENS)(tokens))
    except Exception as error:
        _raise(sites[0], error)
    if tokens is None:
        new.stop()
        raise AuthenticationError(
            f"site {sites[0].name!r}: the executors get no tokens for {', '.join(sorted(wanted | served))}; the log "
            f"of HadoopDelegationTokenManager says why. It was signed in to by {sites[0].credential.describe()}."
        )
    if manager is not None:
        manager.stop()
    _managers[context] = (wanted | served, new)
    logger.info("Executors have tokens for %s", ", ".join(sorted(wanted | served)))

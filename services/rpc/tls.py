"""TLS: what a process shows, whom it trusts, and files that are read again when they are renewed."""

from __future__ import annotations

import logging
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

log = logging.getLogger("hearth.rpc")

SYSTEM = Path("system")
"""In the place of an authority's file: the authorities that gRPC itself brings, which are the public ones."""
LOOK_SECONDS = 5.0
"""How often a client looks whether its files have changed; a server looks at every new connection."""


class TlsSettings(BaseSettings):
    """Each field is an environment variable that all processes and `hearth` read: HEARTH_TLS_CERTIFICATE ..."""

    model_config = SettingsConfigDict(env_prefix="HEARTH_TLS_", frozen=True, env_ignore_empty=True)

    certificate: Path | None = None
    """A PEM file of the certificate that this process shows to its clients and servers, its chain behind it."""
    key: Path | None = None
    """A PEM file of its private key, without a password."""
    authority: Path | None = None
    """A PEM file of the authorities whose certificates are good. A client then speaks TLS, and a server admits only
    clients that show such a certificate. `system`, for clients: the public authorities."""
    server_name: str = ""
    """The name that servers' certificates must have; unset, the one that they are reached by."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("HEARTH_TLS_CERTIFICATE and HEARTH_TLS_KEY belong together: set both or none")
        return self

    @property
    def serves(self) -> bool:
        """Whether a server speaks TLS."""
        return self.certificate is not None

    @property
    def calls(self) -> bool:
        """Whether a client speaks TLS."""
        return self.authority is not None


@dataclass(frozen=True, slots=True)
class Pems:
    """What the files hold; None where there is no file."""

    certificate: bytes | None
    key: bytes | None = field(repr=False)
    authority: bytes | None


class TlsFiles:
    """The files of some settings, read again when they change."""

    def __init__(self, settings: TlsSettings, look_seconds: float = 0.0) -> None:
        """Looks at most every so many seconds. Raises OSError where a file is missing or is not what it should be."""
        self._settings, self._look_seconds = settings, look_seconds
        self._looked = time.monotonic()
        self._stamps = self._stamp()
        self.pems = self._read()

    def changed(self) -> Pems | None:
        """What the files hold, if that has changed and is of use; what is of no use is logged, and the old stays."""
        now = time.monotonic()
        if now - self._looked < self._look_seconds:
            return None
        self._looked = now
        try:
            stamps = self._stamp()
            if stamps == self._stamps:
                return None
            self._stamps = stamps
            pems = self._read()
        except OSError as problem:
            log.warning("the renewed certificate is of no use, the old one stays: %s", problem)
            return None
        if pems == self.pems:
            return None
        self.pems = pems
        log.info("the certificate was renewed")
        return pems

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        found = (path.stat() for path in self._paths if path is not None)
        return tuple((each.st_mtime_ns, each.st_size, each.st_ino) for each in found)

    @property
    def _paths(self) -> tuple[Path | None, Path | None, Path | None]:
        authority = None if self._settings.authority == SYSTEM else self._settings.authority
        return self._settings.certificate, self._settings.key, authority

    def _read(self) -> Pems:
        certificate, key, authority = self._paths
        if certificate is not None and key is not None:
            _check_pair(certificate, key)
        if authority is not None:
            _check_authority(authority)
        return Pems(*(path.read_bytes() if path is not None else None for path in self._paths))


def _check_pair(certificate: Path, key: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password="")  # a password is not asked for on the terminal
    except ssl.SSLError as error:
        raise OSError(
            f"{certificate} and {key} are not a certificate and its key: {error.reason or error}"
        ) from error


def _check_authority(authority: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(authority)
    except ssl.SSLError as error:
        raise OSError(f"{authority} holds no certificates: {error.reason or error}") from error

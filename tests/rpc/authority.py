"""An authority that signs certificates for tests, good ones and bad ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.rpc.tls import TlsSettings

HERE = ("localhost", "127.0.0.1")
"""Names of a server of this machine."""
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """Keeps its files in a folder."""

    folder: Path
    name: str = "hearth-test"

    @property
    def file(self) -> Path:
        """Its own certificate."""
        return self._written("authority.pem", self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *also: str, expired: bool = False, file: str = "") -> tuple[Path, Path]:
        """A certificate for names and addresses, and its key; `file` is what their files are called, else `name`."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [_general(each) for each in (name, *also)]
        end = datetime.now(UTC) - _DAY if expired else datetime.now(UTC) + _DAY
        certificate = (
            _builder(name, self._subject, key, end)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        stem = file or name
        return (
            self._written(f"{stem}.pem", certificate.public_bytes(serialization.Encoding.PEM)),
            self._written(f"{stem}.key", _private(key)),
        )

    def settings(self, name: str, *also: str, expired: bool = False, **more: object) -> TlsSettings:
        """The settings of a process that shows such a certificate and trusts this authority."""
        certificate, key = self.issue(name, *also, expired=expired)
        return TlsSettings(certificate=certificate, key=key, authority=self.file, **more)  # type: ignore[arg-type]

    @cached_property
    def _key(self) -> ec.EllipticCurvePrivateKey:
        return ec.generate_private_key(ec.SECP256R1())

    @cached_property
    def _subject(self) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])

    @cached_property
    def _certificate(self) -> x509.Certificate:
        return (
            _builder(self.name, self._subject, self._key, datetime.now(UTC) + _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def _written(self, name: str, data: bytes) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)
        return path


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - 3 * _DAY)
        .not_valid_after(end)
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

"""What Envoy shows of certificates, whom it trusts, and where the files lie."""

from __future__ import annotations

from typing import Any

NAMES = "type.googleapis.com/envoy"
TLS_DIR = "/etc/envoy/tls"
"""Where edge.pem, edge.key (for clients), envoy.pem, envoy.key (for services) and authority.pem are mounted."""


def shows(secret: str, secrets: str, trusts: str = "") -> dict[str, Any]:
    """What is shown to the other side; where `trusts` is a name, the other side must show one with it."""
    context: dict[str, Any] = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "tls_certificate_sds_secret_configs": [_sds(secret, secrets)],
    }
    if trusts:
        context["combined_validation_context"] = {
            "default_validation_context": {
                "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": trusts}}]
            },
            "validation_context_sds_secret_config": _sds("authority", secrets),
        }
    alpn = {"alpn_protocols": ["h2"]} if trusts else {}
    return {"common_tls_context": context | alpn}


def _sds(name: str, secrets: str) -> dict[str, Any]:
    return {
        "name": name,
        "sds_config": {
            "path_config_source": {"path": f"{secrets}/{name}.yaml"},
            "resource_api_version": "V3",
        },
    }


def secrets(folder: str = TLS_DIR) -> dict[str, Any]:
    """A file for each certificate, by its name: Envoy takes one secret a file, and renewed certificates when they are
    moved into `folder`."""
    watched = {"watched_directory": {"path": folder}}
    found = {
        name: {
            "tls_certificate": {
                "certificate_chain": {"filename": f"{folder}/{name}.pem"},
                "private_key": {"filename": f"{folder}/{name}.key"},
                **watched,
            }
        }
        for name in ("edge", "envoy")
    }
    authority = {"validation_context": {"trusted_ca": {"filename": f"{folder}/authority.pem"}, **watched}}
    return {
        name: {"resources": [_secret(name, kind)]}
        for name, kind in (found | {"authority": authority}).items()
    }


def _secret(name: str, kind: dict[str, Any]) -> dict[str, Any]:
    return {
        "@type": f"{NAMES}.extensions.transport_sockets.tls.v3.Secret",
        "name": name,
        **kind,
    }


def socket(kind: str, context: dict[str, Any]) -> dict[str, Any]:
    """A transport socket of TLS, for clients or for servers."""
    tls = f"{NAMES}.extensions.transport_sockets.tls.v3.{kind}"
    common = context.pop("common_tls_context")
    common |= {key: context.pop(key) for key in ("alpn_protocols",) if key in context}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": tls, **context, "common_tls_context": common},
    }

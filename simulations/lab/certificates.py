"""The lab's own certificate authority, the servers' certificate, and the key pair that signs service-account tokens."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = datetime.timedelta(days=3650)
SKEW = datetime.timedelta(days=1)  # so that a clock set back a little does not refuse a fresh certificate

SERVER_NAME = "lagcast lab server"

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def write_all(folder: Path, now: datetime.datetime) -> None:
    """Write ca.crt, server.crt, server.key, sa.key and sa.pub into ``folder``, unless they are there.

    The authority's own key is thrown away: nothing else will ever be signed with it.
    """
    if (folder / "sa.pub").exists():  # written last
        return
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("lagcast lab authority", authority_key, None, authority_key, now)
    server_key = ec.generate_private_key(ec.SECP256R1())
    server = _certificate(SERVER_NAME, server_key, authority, authority_key, now)
    signer = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "ca.crt").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (folder / "server.crt").write_bytes(server.public_bytes(serialization.Encoding.PEM))
    write_secret(folder / "server.key", _private_pem(server_key))
    write_secret(folder / "sa.key", _private_pem(signer))
    public = signer.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "sa.pub").write_bytes(public)


KAFKA_CLIENTS = ("lagcast", "lagcast-next")  # the second is what the first is rotated to


def write_kafka(folder: Path, now: datetime.datetime) -> None:
    """Write what Kafka's TLS listeners and their clients need into ``folder``, unless it is there: ca.crt, server.pem
    (key and certificate), and for each of KAFKA_CLIENTS a certificate and a key (``<name>.crt``, ``<name>.key``).

    The authority is another than the API server's; its own key is thrown away, too.
    """
    if (folder / "server.pem").exists():  # written last
        return
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("lagcast lab Kafka authority", authority_key, None, authority_key, now)
    (folder / "ca.crt").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    for name in KAFKA_CLIENTS:
        key = ec.generate_private_key(ec.SECP256R1())
        signed = _certificate(name, key, authority, authority_key, now)
        (folder / f"{name}.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        write_secret(folder / f"{name}.key", _private_pem(key, serialization.PrivateFormat.PKCS8))
    key = ec.generate_private_key(ec.SECP256R1())
    signed = _certificate(SERVER_NAME, key, authority, authority_key, now)
    pem = _private_pem(key, serialization.PrivateFormat.PKCS8) + signed.public_bytes(serialization.Encoding.PEM)
    write_secret(folder / "server.pem", pem)


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, also while it is being written."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)


def _private_pem(
    key: PrivateKey, form: serialization.PrivateFormat = serialization.PrivateFormat.TraditionalOpenSSL
) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
) -> x509.Certificate:
    """A certificate for ``key``: an authority without ``issuer``, else one for servers and clients on loopback."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(_key_usage(authority=issuer is None), critical=True)
    )
    if issuer is not None:
        loopback = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        names = [x509.DNSName("kubernetes.default.svc"), x509.DNSName("kubernetes.default")]
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.SubjectAlternativeName([*loopback, *names]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )

"""Certificates made on the spot, and clients that speak TLS."""

import datetime
import ipaddress
import os
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from .client import RawClient
from .waiting import PATIENCE

_DAY = datetime.timedelta(days=1)


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Identity:
    """A certificate and its key, in two files."""

    def __init__(self, folder, stem, certificate, key):
        self.certificate, self.key = certificate, key
        self.certificate_path = os.path.join(folder, f"{stem}.pem")
        self.key_path = os.path.join(folder, f"{stem}.key")
        with open(self.certificate_path, "wb") as file:
            file.write(certificate.public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8
        with open(self.key_path, "wb") as file:
            file.write(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))

    @property
    def setting(self):
        return {"certificate": self.certificate_path, "key": self.key_path}

    @property
    def serial(self):
        return self.certificate.serial_number


class Authority:
    """Signs certificates in a folder of its own."""

    def __init__(self, folder, name="Test authority"):
        self.folder = folder
        self.stem = name.replace(" ", "-")
        self.made = 0
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_name(name), _name(name), key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.identity = Identity(folder, self.stem, builder.sign(key, hashes.SHA256()), key)
        self.path = self.identity.certificate_path

    @staticmethod
    def _builder(subject, issuer, public_key, days=30):
        now = datetime.datetime.utcnow()
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - 2 * _DAY).not_valid_after(now + days * _DAY)

    def issue(self, *names, use_rsa=False, common_name=None, days=30):
        """A certificate for these names; without any, its common name alone says whose it is."""
        key = rsa.generate_private_key(65537, 2048) if use_rsa else ec.generate_private_key(ec.SECP256R1())
        subject = _name(common_name or names[0])
        builder = self._builder(subject, self.identity.certificate.subject, key.public_key(), days)
        if names:
            alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
            builder = builder.add_extension(alternatives, critical=False)
        self.made += 1
        certificate = builder.sign(self.identity.key, hashes.SHA256())
        return Identity(self.folder, f"{self.stem}-{self.made}", certificate, key)

    def server(self, *names, clients=False, **options):
        """What a server of these names needs; `clients`: it wants certificates of this authority from them."""
        identity = self.issue(*names, **options)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(identity.certificate_path, identity.key_path)
        if clients:
            context.load_verify_locations(self.path)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def context(self, identity=None):
        """What a client of this authority's servers needs."""
        context = ssl.create_default_context(cafile=self.path)
        if identity:
            context.load_cert_chain(identity.certificate_path, identity.key_path)
        return context


class TlsClient(RawClient):
    """As RawClient, over TLS."""

    def __init__(self, port, context, name="app.test", session=None, timeout=PATIENCE):
        super().__init__(port, timeout=timeout)
        self.socket = context.wrap_socket(self.socket, server_hostname=name, session=session)

    @property
    def serial(self):
        """Of the certificate that the server has shown."""
        return x509.load_der_x509_certificate(self.socket.getpeercert(binary_form=True)).serial_number

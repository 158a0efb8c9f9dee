"""A SAML identity provider: pysaml2, which signs with Debian's xmlsec1."""

import base64
import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from saml2 import BINDING_HTTP_REDIRECT
from saml2.authn_context import PASSWORDPROTECTEDTRANSPORT as AUTHN_PASSWORD
from saml2.config import IdPConfig
from saml2.saml import NAMEID_FORMAT_EMAILADDRESS, NameID
from saml2.server import Server

ENTITY = "https://id.alder.example/saml"
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
RSA_SHA1 = "http://www.w3.org/2000/09/xmldsig#rsa-sha1"
SSO = "https://id.alder.example/sso"


class SamlIdp:
    """`folder` holds its key. `knows` takes the portal's metadata."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate = self._key()
        self.metadata = ""

    def knows(self, metadata: str) -> "SamlIdp":
        self.metadata = metadata
        return self

    def answer(self, address: str, email: str, **options: Any) -> dict[str, str]:
        """What the browser posts to the portal, after it was sent to `address`."""
        asked = parse_qs(urlsplit(address).query)
        server = self._server()
        request = server.parse_authn_request(asked["SAMLRequest"][0], BINDING_HTTP_REDIRECT)
        arguments = server.response_args(request.message)
        arguments.pop("name_id_policy", None)
        signed = {"sign_alg": RSA_SHA256, "digest_alg": SHA256}
        name = NameID(format=NAMEID_FORMAT_EMAILADDRESS, text=email)
        made = server.create_authn_response(
            {"mail": [email]},
            userid=email,
            name_id=name,
            authn={"class_ref": AUTHN_PASSWORD, "authn_auth": ENTITY},
            **{**arguments, "sign_assertion": True, "sign_response": False, **signed, **options},
        )
        posted = {"SAMLResponse": base64.b64encode(str(made).encode()).decode()}
        return {**posted, "RelayState": asked.get("RelayState", [""])[0]}

    def _server(self) -> Server:
        config = IdPConfig().load(
            {
                "entityid": ENTITY,
                "service": {
                    "idp": {
                        "endpoints": {"single_sign_on_service": [(SSO, BINDING_HTTP_REDIRECT)]},
                        "policy": {"default": {"lifetime": {"minutes": 5}}},
                    }
                },
                "key_file": str(self.folder / "key.pem"),
                "cert_file": str(self.folder / "cert.pem"),
                "xmlsec_binary": "/usr/bin/xmlsec1",
                "metadata": {"inline": [self.metadata]},
            }
        )
        return Server(config=config)

    def _key(self) -> str:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = certificate_make(key)
        (self.folder / "key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        (self.folder / "cert.pem").write_text(pem)
        return pem


def certificate_make(key: rsa.RSAPrivateKey | None = None) -> str:
    """A certificate as an identity provider's, in PEM."""
    if key is None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "id.alder.example")])
    now = datetime.datetime.now(tz=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()

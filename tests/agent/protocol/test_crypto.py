"""Signatures and seals: made for one purpose and one host, and worthless elsewhere."""

import pytest

from agent import protocol


def test_a_sealed_secret_opens_with_the_hosts_key():
    private, public = protocol.generate_seal_key()
    sealed = protocol.seal(public, b"hunter2", purpose="vm:1")
    assert protocol.open_sealed(private, sealed, purpose="vm:1") == b"hunter2"
    assert b"hunter2" not in sealed


def test_sealing_twice_gives_different_bytes():
    _, public = protocol.generate_seal_key()
    assert protocol.seal(public, b"x", purpose="p") != protocol.seal(public, b"x", purpose="p")


def test_a_seal_for_another_purpose_does_not_open():
    private, public = protocol.generate_seal_key()
    sealed = protocol.seal(public, b"hunter2", purpose="vm:1")
    with pytest.raises(protocol.SealError):
        protocol.open_sealed(private, sealed, purpose="vm:2")


def test_another_hosts_key_does_not_open_it():
    _, public = protocol.generate_seal_key()
    stranger, _ = protocol.generate_seal_key()
    with pytest.raises(protocol.SealError):
        protocol.open_sealed(stranger, protocol.seal(public, b"x", purpose="p"), purpose="p")


@pytest.mark.parametrize("position", [0, 31, 32, -1])
def test_a_changed_byte_is_noticed(position):
    private, public = protocol.generate_seal_key()
    sealed = bytearray(protocol.seal(public, b"hunter2", purpose="p"))
    sealed[position] ^= 1
    with pytest.raises(protocol.SealError):
        protocol.open_sealed(private, bytes(sealed), purpose="p")


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(32), bytes(48)])
def test_what_is_no_seal_is_an_error(sealed):
    private, _ = protocol.generate_seal_key()
    with pytest.raises(protocol.SealError):
        protocol.open_sealed(private, sealed, purpose="p")


def test_an_unusable_public_key_is_an_error_before_anything_is_sealed():
    with pytest.raises(protocol.SealError):
        protocol.seal(bytes(32), b"x", purpose="p")
    with pytest.raises(protocol.SealError):
        protocol.seal(b"short", b"x", purpose="p")


def test_a_signature_counts_for_its_statement_alone():
    private, public = protocol.generate_sign_key()
    link = protocol.link_statement(nonce=bytes(32), hypervisor_id="h", origin="https://a")
    signature = protocol.sign(private, link)
    protocol.verify(public, signature, link)
    others = [
        protocol.link_statement(nonce=bytes(31) + b"x", hypervisor_id="h", origin="https://a"),
        protocol.link_statement(nonce=bytes(32), hypervisor_id="i", origin="https://a"),
        protocol.link_statement(nonce=bytes(32), hypervisor_id="h", origin="https://b"),
        protocol.stream_statement(stream_id="s", hypervisor_id="h", origin="https://a"),
    ]
    for other in others:
        with pytest.raises(protocol.SignatureError):
            protocol.verify(public, signature, other)


def test_parts_of_a_statement_cannot_be_shifted_into_each_other():
    first = protocol.request_statement(method="GET", path="/a", hypervisor_id="b", timestamp=1)
    second = protocol.request_statement(method="GET", path="/", hypervisor_id="ab", timestamp=1)
    assert first != second

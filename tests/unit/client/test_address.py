from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.client.address import Token, address_of, gateway_address, is_loopback
from casemate.client.errors import AddressError

HOSTS = st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True)


@given(st.text(max_size=60) | st.text(max_size=60).map(lambda rest: f"http://{rest}") | HOSTS.map("http://{}".format))
def test_any_text_is_an_address_or_refused(url: str) -> None:
    try:
        address = gateway_address(url, token=None, verify=None, unsafe_token_over_http=False)
    except AddressError:
        return
    again = gateway_address(str(address), token=None, verify=None, unsafe_token_over_http=False)
    assert str(again) == str(address)
    assert str(address).isascii()
    assert str(address).isprintable()


@given(st.text(max_size=60))
def test_any_text_is_a_token_that_fits_in_a_header_or_refused(text: str) -> None:
    try:
        token = Token(text)
    except AddressError:
        return
    assert token.reveal() == text
    assert text.isascii()
    assert text.isprintable()
    assert " " not in text
    assert repr(token) == f"{token}" == "Token(...)"


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
@pytest.mark.parametrize("prefix", ["", "/casemate", "/v1beta", "/casemate-v1"])
def test_a_url_may_end_in_the_apis_own_path(prefix: str, end: str) -> None:
    url = f"http://localhost:8800{prefix}{end}"
    address = gateway_address(url, token=None, verify=None, unsafe_token_over_http=False)
    assert str(address) == f"http://localhost:8800{prefix}"


def named(where: Path | str) -> object:
    return address_of(where, token=None, verify=None, unsafe_token_over_http=False)


def test_what_is_a_url_and_what_a_path() -> None:
    assert str(named("http://localhost")) == "http://localhost"
    with pytest.raises(AddressError, match="scheme"):
        named("ftp://localhost")  # it is refused as such, and not taken for a file
    for path in ("/run/casemate/host.sock", "host.sock", Path("http://localhost")):
        assert named(path) is None


def test_loopback_is_what_never_leaves_this_computer() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.255.255.254", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "128.0.0.1", "localhost.", "localhost.example", "", "127.1")))  # noqa: S104

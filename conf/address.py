"""What an address on the web is."""

from urllib.parse import urlsplit


def is_address(text: str) -> bool:
    """Whether something can be asked there over HTTP.

    >>> is_address("http://127.0.0.1:8080/v1"), is_address("http://["), is_address("example.org")
    (True, False, False)
    """
    try:
        place = urlsplit(text)
        known = place.scheme in ("http", "https") and bool(place.hostname) and place.port != 0
    except ValueError:
        return False
    return known and text.split() == [text]

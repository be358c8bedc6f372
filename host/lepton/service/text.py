"""Text that strangers and devices send, fit for a database column and a terminal."""


def printable(text: str, length: int) -> str:
    """At most `length` characters of printable ASCII; all others as their Python escapes."""
    return "".join(c if " " <= c <= "~" else ascii(c)[1:-1] for c in text[:length])[:length]

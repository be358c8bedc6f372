"""Makes text of any client safe for a database column and a terminal."""


def printable(text: str, length: int) -> str:
    """At most `length` characters of printable ASCII; other characters become Python escapes."""
    return "".join(c if " " <= c <= "~" else ascii(c)[1:-1] for c in text[:length])[:length]

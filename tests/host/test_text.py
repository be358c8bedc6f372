"""Figures and tables as plain text."""

from lepton.text import fact_lines, grouped, percent, scaled, shortened, table


def test_figures():
    assert [grouped(n) for n in (0, 999, 1000, 1234567)] == ["0", "999", "1 000", "1 234 567"]
    assert [scaled(n) for n in (0, 999, 999.6e3, 1234567, 2e9)] == ["0", "999", "1000 k", "1.23 M", "2 G"]
    assert (percent(None), percent(0.1234)) == ("-", "12.3")
    assert (shortened("abcdef", 6), shortened("abcdef", 4)) == ("abcdef", "…def")


def test_tables():
    assert fact_lines([("a", "1"), ("long", "2")]) == "a     1\nlong  2"
    assert table(("name", "n"), [["x", "1"], ["yy", "22"]], total=True).splitlines() == [
        "name   n", "────────", "x      1", "────────", "yy    22"]
    assert table(("a",), []).splitlines() == ["a", "─"]

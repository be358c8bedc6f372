"""One inference as a page to look at: a self-contained HTML file, and the same data as JSON.

- `data`: what there is to show, as JSON
- `charts`: pictures of it, as SVG (matplotlib)
- `page`: the HTML page (Jinja), which needs no network

Needs the extra `lepton-chip[report]`.
"""

from .data import ReportDataError, collect, read_data
from .page import page

__all__ = ["ReportDataError", "collect", "page", "read_data"]

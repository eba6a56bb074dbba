"""The figures that the paper prints."""

from lowland.report.paper.printed import PrintedRow, printed_rows, row_average

__all__ = ["PrintedRow", "printed_rows", "row_average"]

"""From run directories to tables and figures. Reads files only; no torch."""

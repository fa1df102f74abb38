"""Numbers of bytes for people. Pure."""


def size_text(size: int) -> str:
    """By powers of 1000, as disks are sold, with two digits or more: `999 bytes`, `1.2 kB`, `690 MB`, `31 GB`."""
    value, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if value < 9.95 and unit != "bytes" else f"{value:,.0f} {unit}"

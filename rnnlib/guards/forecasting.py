"""What chapter 8 refuses: horizons, parts and windows that a series doesn't have."""

from rnnlib.guards import is_whole


def check_horizons(horizons):
    """Refuse horizons that are not whole numbers of at least 1."""
    if isinstance(horizons, int) or not len(horizons) or not all(is_whole(h, 1) for h in horizons):
        raise ValueError(f"horizons={horizons!r} must be a list of whole numbers of at least 1, such as [1, 6, 24]")


def check_part(start, stop, length):
    """Refuse a part that holds no hour or leaves the series."""
    if not 0 <= start < stop <= length:
        raise ValueError(f"the part from {start} to {stop} is empty or outside the {length} hours of the series")


def check_alike(forecast, truth):
    """Refuse a forecast and a truth of different shapes, since broadcasting would compare all pairs."""
    if forecast.shape != truth.shape:
        raise ValueError(f"forecast {tuple(forecast.shape)} and truth {tuple(truth.shape)} must have the same shape")


def check_window(num_lags, length):
    """Refuse windows longer than the series."""
    if num_lags > length:
        raise ValueError(f"num_lags={num_lags} is more than the {length} rows of the series")


def check_pieces(num_pieces, length):
    """Refuse more pieces than the series has rows."""
    if num_pieces > length:
        raise ValueError(f"num_pieces={num_pieces} is more than the {length} rows of the series")

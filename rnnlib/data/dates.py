"""Dates as people write them, for chapter 9: nothing is fetched, a rule makes them."""

import datetime
import random

FORMS = (
    *("{d} {month} {y}", "{month} {d}, {y}", "{d}.{m}.{y}", "{dd}.{mm}.{y}", "{mon} {d} {y}", "{dd} {mon} {y}"),
    *("{d}-{mon}-{y}", "{d} {mon}. {y}", "{weekday}, {d} {month} {y}", "{weekday} {mon} {d} {y}", "{month} {dd} {y}"),
    *("the {d} of {month} {y}", "{y} {month} {d}"),
)
MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SIGNS = "abcdefghijklmnopqrstuvwxyz0123456789 .,-"


def write(day: datetime.date, form: str) -> str:
    """Write a day in one of the FORMS."""
    from rnnlib import guards  # PyTorch comes with it, and a text needs none

    guards.check_known(FORMS, form=form)
    if not isinstance(day, datetime.date):
        raise ValueError(f"day={day!r} must be a datetime.date")
    month = MONTHS[day.month - 1]
    return form.format(
        d=day.day,
        dd=f"{day.day:02}",
        m=day.month,
        mm=f"{day.month:02}",
        y=day.year,
        month=month,
        mon=month[:3],
        weekday=WEEKDAYS[day.weekday()],
    )


def draw_days(number: int, seed: int = 0) -> list[datetime.date]:
    """Return so many different days of the years 1900 to 2099, in random order."""
    from rnnlib import guards  # PyTorch comes with it, and a text needs none

    guards.check_sizes(number=number)
    guards.check_seed(seed)
    first, end = datetime.date(1900, 1, 1).toordinal(), datetime.date(2100, 1, 1).toordinal()
    if number > end - first:
        raise ValueError(f"number={number} is more than the {end - first} days of the years 1900 to 2099")
    return [datetime.date.fromordinal(n) for n in random.Random(seed).sample(range(first, end), number)]

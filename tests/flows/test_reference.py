"""docs/reference.md is what the code says."""

from tests.reference import PAGE, reference


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == reference(), "run `make reference`"

import numpy as np
import pytest

from imggen_lib.notebook.exercises import check


@check
def check_half(answer):
    assert answer == 0.5, "how many times does 2 go into 1?"


@check
def check_square(square):
    assert square(3) == 9, "multiply the number by itself"


UNANSWERED = "Not answered yet: replace the ... and run this cell again.\n"


def test_a_missing_answer_prints_a_reminder_and_passes(capsys):
    assert check_half(...) is None
    assert check_square(...) is None
    assert capsys.readouterr().out == 2 * UNANSWERED


def test_a_function_that_returns_an_ellipsis_counts_as_a_missing_answer(capsys):
    def square(x):
        return ...

    assert check_square(square) is None
    assert capsys.readouterr().out == UNANSWERED


def test_a_correct_answer_prints_correct(capsys):
    assert check_half(0.5) is None
    assert check_square(lambda x: x * x) is None
    assert capsys.readouterr().out == 2 * "Correct.\n"


@pytest.mark.parametrize(
    ("checked", "answer", "hint"),
    [(check_half, 2, "how many times does 2 go into 1"), (check_square, lambda x: x + x, "multiply the number by itself")],
)
def test_a_wrong_answer_raises_an_error_with_its_hint_only(capsys, checked, answer, hint):
    with pytest.raises(AssertionError, match=f"^Not yet: {hint}") as caught:
        checked(answer)
    assert caught.value.__suppress_context__
    assert capsys.readouterr().out == ""


def test_an_answer_can_be_an_array(capsys):
    @check
    def check_ones(answer):
        np.testing.assert_array_equal(answer, np.ones(3))

    check_ones(np.ones(3))
    assert capsys.readouterr().out == "Correct.\n"
    with pytest.raises(AssertionError, match="Not yet"):
        check_ones(np.zeros(3))


def test_an_error_in_the_answer_is_not_hidden():
    def square(x):
        return x.undefined

    with pytest.raises(AttributeError, match="undefined"):
        check_square(square)


@pytest.mark.parametrize("answer", ["half", None, [1, 2], lambda: 0.5])
def test_an_answer_of_a_wrong_type_is_wrong_and_shows_no_error_of_the_check(answer):
    @check
    def check_half_of(answer):
        assert abs(answer - 0.5) < 0.01, "divide 1 by 2"

    with pytest.raises(AssertionError, match=f"^Not yet: .* of type {type(answer).__name__}") as caught:
        check_half_of(answer)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("answer", [9, lambda: 9, lambda x, y: x * y, lambda x: "nine"])
def test_a_function_that_the_check_cannot_call_or_use_is_a_wrong_answer(answer):
    @check
    def check_square_near(square):
        assert abs(square(3) - 9) < 0.01, "multiply the number by itself"

    with pytest.raises(AssertionError, match="^Not yet: the check cannot use an answer"):
        check_square_near(answer)


@pytest.mark.parametrize(
    ("answer", "kind"), [(lambda x: "nine", "that returns a value of type str"), (lambda: 9, "of type function")]
)
def test_the_message_names_the_type_that_a_function_returns(answer, kind):
    @check
    def check_square_near(square):
        assert abs(square(3) - 9) < 0.01, "multiply the number by itself"

    with pytest.raises(AssertionError, match=f"^Not yet: the check cannot use an answer {kind} here"):
        check_square_near(answer)


def test_attributes_of_a_callable_answer_are_accessible(capsys):
    class Model:
        units = 3

        def __call__(self, x):
            return self.units * x

    @check
    def check_model(model):
        assert model.units == 3 and model(2) == 6

    check_model(Model())
    assert capsys.readouterr().out == "Correct.\n"


def test_a_check_keeps_the_name_of_its_function():
    assert check_half.__name__ == "check_half"
